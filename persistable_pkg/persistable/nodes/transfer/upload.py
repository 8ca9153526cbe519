"""`Upload`: a payload written to a URL outside the stores."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

from persistable.errors import ParamsError, StoreError
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.fileio.location import LocalPlace, place
from persistable.nodes.construction import Construction, RecordedFacts, set_given
from persistable.nodes.lineage import replace_nodes
from persistable.nodes.loading import format_of
from persistable.nodes.node import Persistable
from persistable.nodes.transfer.client import check_address
from persistable.params.fields import omit_when
from persistable.params.masking import masked
from persistable.params.secret import Secret, redact
from persistable.records import files as payloads
from persistable.records.record_access import find_record
from persistable.stores.base import check_name
from persistable.stores.open import open_store

if TYPE_CHECKING:
    from persistable.executors.resources import Resources, Retry
    from persistable.stores.base import Store

_PIECE = 1 << 20


@dataclass(frozen=True)
class UploadParams:
    """The destination, and the format if it is not the upstream's. Built by `Upload`."""

    target_url: str
    writes: Annotated[dict[str, Any], omit_when({})] = field(default_factory=dict[str, Any])


class Upload(Persistable[str, UploadParams]):
    """A node that writes the payload of its one upstream node, ``source``, to `target_url`; its own payload is that URL.

    A side effect, performed at each run and never stored: ``node >> Upload("gs://bucket/report.csv")``. The file is written
    atomically if the destination supports it (buckets, local folders, sftp); of a format of several files each one is, and
    other files of an earlier upload are removed. A payload stored in the wanted format already is copied byte for byte.

    Parameters:
        target_url: a path, or a URL with a scheme of `open_store`, with the name of the file.
        io: the format to write; default: that of the upstream.
        options: options of the file system, such as ``endpoint_url``; credentials may be `Secret`. Never recorded.
        retry, resources: as for any node.

    Raises ParamsError for a password in the URL, InvalidName for an ambiguous name in it; when it writes, StoreError.
    """

    __module__ = "persistable"  # records keep this name, so it must not change if the class moves
    _node_by_payload = True
    is_persisted = False
    params: UploadParams
    source: Persistable[Any, Any]

    def __init__(
        self,
        target_url: str | os.PathLike[str],
        io: FileIO[Any] | None = None,
        *,
        source: Persistable[Any, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        retry: Retry | None = None,
        resources: Resources | None = None,
        persist_data_dir: str | os.PathLike[str] | Store | None = None,
        data_dir: str | os.PathLike[str] | Store | None = None,
        payload_name: str | None = None,
        verbose: bool = False,
        logger: Any = None,
    ) -> None:
        url, own = _url_of(target_url)
        upstream: dict[str, Any] = {} if source is None else {"source": source}
        self._target_io = io
        set_given(self, retry=retry, resources=resources)
        self._options = {**own, **(options or {})}
        self._folder = os.getcwd()  # the base of a relative path, also on a worker in another folder
        super().__init__(
            params=UploadParams(url, io.spec() if io is not None else {}),
            persist_data_dir=persist_data_dir,
            data_dir=data_dir,
            payload_name=payload_name,
            verbose=verbose,
            logger=logger,
            **upstream,
        )
        self._node_call = None  # it would record the options

    @classmethod
    def _node_construction(cls, recorded: RecordedFacts) -> Construction:
        params: UploadParams = recorded.params
        options = {"io": recorded.format(params.writes)} if params.writes else {}
        name = {"payload_name": recorded.name} if recorded.name != "upload" else {}
        return Construction("persistable:Upload", (params.target_url,), {**recorded.upstream, **options, **name})

    def _generate_payload(self, **_: Any) -> str:
        problem: Exception
        try:
            self._upload()
            return self.params.target_url
        except Exception as error:
            problem = _without_secrets(error)
            if problem is error:
                raise
        raise problem

    def _upload(self) -> None:
        source = self.source
        store = source._node_store or self._node_running("source").store
        wanted = self._target_io or source._node_format()
        record = find_record(store, source.place) if source.is_persisted else None
        target = _Target(self.params.target_url, replace_nodes(self._options, Secret.reveal, Secret), self._folder)
        if record is not None:
            stored_as = format_of(source, record)
            if stored_as.spec() == wanted.spec():
                facts = [(fact.part, payloads.opened(store, source.key, fact)) for fact in record.files]
                target.copy(facts, wanted, record.schema)
                return
        target.save(source.payload, wanted)


class _Target:
    """The file or folder to replace."""

    def __init__(self, url: str, options: dict[str, Any], folder: str) -> None:
        at = place(url if "://" in url else os.path.join(folder, os.path.expanduser(url))) if _is_local(url) else None
        self._local = at if isinstance(at, LocalPlace) else None
        if self._local is not None:
            root, self._name = os.path.split(self._local.path)
        else:
            address, query = _split(url)
            root, _, self._name = address.rpartition("/")
            root += query
        self._store = open_store(root, **options)

    def save(self, payload: Any, io: FileIO[Any]) -> None:
        io.check(payload)
        if isinstance(io, PartsFileIO):
            with self._replacing() as create:
                io.dump_parts(payload, create)
        else:
            with self._store.write(self._name) as file:
                io.dump(payload, file)
        self._describe(io, io.schema(payload))

    def copy(self, files: Sequence[tuple[str, AbstractContextManager[BinaryIO]]], io: FileIO[Any], schema: dict[str, Any] | None) -> None:
        if isinstance(io, PartsFileIO):
            with self._replacing() as create:
                for part, opened in files:
                    with opened as source, create(part) as target:
                        shutil.copyfileobj(source, target, _PIECE)
        else:
            with files[0][1] as source, self._store.write(self._name) as target:
                shutil.copyfileobj(source, target, _PIECE)
        self._describe(io, schema)

    def _describe(self, io: FileIO[Any], schema: dict[str, Any] | None) -> None:
        """Write the schema beside the file, as `FileIO.save` does, so that `FileIO.load` of the URL gives an equal payload."""
        import json

        beside = f"{self._name}.schema.json"
        if schema is not None:
            self._store.put(beside, json.dumps(schema, indent=1).encode())
        elif io._keeps_schema():  # pyright: ignore[reportPrivateUsage]
            self._store.delete(beside)

    @contextmanager
    def _replacing(self) -> Generator[Any]:
        """A block in which to create parts; at its end all other files of the folder are removed."""
        if self._local is not None:
            from persistable.fileio.parts import replacing_folder

            with replacing_folder(self._local) as create:
                yield create
            return
        written: set[str] = set()

        def create_there(part: str) -> AbstractContextManager[BinaryIO]:
            written.add(f"{self._name}/{part}")
            return self._store.write(f"{self._name}/{part}")

        yield create_there
        for path in set(self._store.list(self._name)) - written:
            self._store.delete(path)


def _url_of(target: object) -> tuple[str, dict[str, Any]]:
    """The URL or path as text, and the options of a UPath. Raises ParamsError, InvalidName, TypeError."""
    options: dict[str, Any] = {}
    if isinstance(target, str):
        url = target
    elif hasattr(target, "storage_options"):
        url, options = str(target), dict(cast("Any", target).storage_options)
    elif isinstance(target, os.PathLike):
        url = os.fsdecode(target)  # pyright: ignore[reportUnknownArgumentType]
    else:
        raise TypeError(f"Upload takes a path or a URL, not {type(target).__name__}")
    if "::" in url:
        raise ParamsError(f"Upload cannot write through the chained URL {masked(url)}; upload the file itself")
    if not _is_local(url):
        check_address("Upload", url.replace("{", "%7B").replace("}", "%7D"), {})
    name = _split(url)[0].rpartition("/")[2]
    if not name or url.partition("://")[2] == name:
        raise ParamsError(f"{url!r} names no file to write; give a path or a URL that ends in one, such as gs://bucket/report.csv")
    parts = [os.path.basename(url)] if _is_local(url) else _split(url)[0].partition("://")[2].lstrip("/").split("/")[1:]
    for part in parts:
        check_name(part)
    return url, options


def _split(url: str) -> tuple[str, str]:
    """Split off a query ``?endpoint_url=...``, with its question mark. Any other question mark is part of the name."""
    place, mark, query = url.rpartition("?")
    return (place, mark + query) if mark and query.startswith("endpoint_url=") else (url, "")


def _is_local(url: str) -> bool:
    return "://" not in url or url.startswith(("file://", "local://"))


def _without_secrets(error: Exception) -> Exception:
    """`error`, or, if it or its cause quotes a secret, a StoreError with the same message, redacted."""
    import traceback

    text = "".join(traceback.format_exception(error))
    if redact(text) == text:
        return error
    return StoreError(redact(f"{type(error).__name__}: {error}"), url="", path="")
