"""Bytes at paths in a repository of a container registry."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from itertools import islice
from tempfile import SpooledTemporaryFile, TemporaryFile
from time import monotonic, sleep
from typing import Any, BinaryIO, cast

from persistable.errors import StoreError
from persistable.params.secret import Secret
from persistable.stores.base import BaseStore, Bytes, Stat, byte_view, check_path, check_paths, check_prefix, in_folder
from persistable.stores.connections import ConnectionRegistry
from persistable.stores.filesystem import Upload
from persistable.stores.oci.address import Address
from persistable.stores.oci.artifacts import Artifacts, TagListing, at_once
from persistable.stores.oci.blobs import Source, pull
from persistable.stores.oci.credentials import find_credentials, secret_of
from persistable.stores.oci.login import Login
from persistable.stores.oci.registry import Registry
from persistable.stores.oci.tags import tag_of
from persistable.stores.remote_errors import room_in

SETTLE = 0.02
"""Seconds that `create` waits at least before it checks whether its file is the one that stayed."""
_LONGEST_SETTLE = 2.0
_SCANNED_AT_ONCE = 1000
_SPOOL = 8 << 20
_connected = ConnectionRegistry[Artifacts](16)


def connected(place: Address, secret: Secret | None, timeout: float) -> Artifacts:
    """The files of a repository, over connections that are shared by all callers with equal arguments."""

    def login(client: Callable[[], Any]) -> Login:
        return Login(place.url, lambda: find_credentials(place.host, secret), client)

    return _connected.get((place, secret, timeout), lambda: Artifacts(Registry(place, login, timeout)))


class OCIStore(BaseStore):
    """A repository of a container registry, ``oci://registry/repository``, used for nothing else. Needs ``persistable[oci]``.

    Each file is an artifact whose tag spells its path; the tag of a key has its record, and with it the payload. The protocol is http for a
    registry on this machine, https for any other. Credentials are those of ``docker login``, or of `auth`, which names an environment
    variable that holds ``user:password``: ``"env:NAME"`` or ``Secret("NAME")``. timeout: seconds to wait for the registry.

    Registries set tags unconditionally, so `create` is not exclusive: it sets the tag, waits a moment, and checks whose file stayed. If
    a registry refuses to delete, a deleted file is replaced by a manifest that marks it as deleted.
    """

    in_memory = False
    poll = 3.0

    def __init__(self, url: str, *, auth: str | Secret | None = None, timeout: float = 60.0) -> None:
        if not 0 < timeout < float("inf"):
            raise ValueError(f"timeout is {timeout!r}; give a number of seconds, such as 60")
        self._place = Address.parse(url)
        self._secret = secret_of(auth)
        self._timeout = timeout

    @property
    def url(self) -> str:
        return self._place.url

    @property
    def exclusive(self) -> bool:
        return False

    # --- reading

    def get(self, path: str) -> bytes:
        with self._errors(path):
            file = io.BytesIO()
            self._pulled(path, lambda _: file)
            return file.getvalue()

    def read(self, path: str) -> BinaryIO:
        def opened(size: int) -> BinaryIO:
            return io.BytesIO() if size <= _SPOOL else cast("BinaryIO", TemporaryFile())

        with self._errors(path), room_in(self.url, "among temporary files", path):
            file = self._pulled(path, opened)
            file.seek(0)
            return file

    def _pulled(self, path: str, opened: Callable[[int], BinaryIO]) -> BinaryIO:
        """Pull the bytes at a path into the file that `opened` returns for their size. Raises FileNotFoundError.

        Bytes that the registry has lost are missing in it: with a tag that still names them, the payload is corrupt, not absent.
        """
        for last in (False, True):  # between the two requests the file may be replaced and its old blob removed
            entry = self._files.find(check_path(path))
            if entry is None:
                break
            file = opened(entry.size)
            if pull(self._files.registry, entry, file) or last:
                return file
            file.seek(0)
            file.truncate()
        raise FileNotFoundError(errno.ENOENT, "nothing is stored here", f"{self.url}/{path}")

    def read_range(self, path: str, first: int, last: int) -> bytes:
        with self._errors(path):
            entry = self._files.find(check_path(path))
            if entry is not None and last > first and len(entry.blobs) == 1 and entry.blobs[0].data is None:
                found = self._files.registry.blob_range(entry.blobs[0].digest, first, last)
                if found is not None:
                    return found
        return self.get(path)[first : max(first, last)]

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        def found(path: str) -> bytes | None:
            try:
                return self.get(path)
            except FileNotFoundError:
                return None

        return {path: data for path, data in at_once(found, dict.fromkeys(check_paths(paths))) if data is not None}

    def stat(self, path: str) -> Stat | None:
        with self._errors(path):
            entry = self._files.find(check_path(path))
        return None if entry is None else Stat(entry.size, entry.digest)

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        return {path: found for path, found in at_once(self.stat, dict.fromkeys(check_paths(paths))) if found is not None}

    def list(self, prefix: str = "") -> Iterator[str]:
        return self._listed(check_prefix(prefix))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return self._scanned(check_prefix(prefix))

    def _listed(self, prefix: str) -> Iterator[str]:
        listed = self._tags(prefix)
        yield from listed.paths
        for path, _ in self._at_tags(listed.unsure, prefix):
            yield path

    def _scanned(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        listed = self._tags(prefix)
        yield from self._at_tags([*map(tag_of, listed.paths), *listed.unsure], prefix)

    def _tags(self, prefix: str) -> TagListing:
        with self._errors(prefix):
            return self._files.list(prefix)

    def _at_tags(self, tags: Iterable[str], prefix: str) -> Iterator[tuple[str, Stat]]:
        pending = iter(tags)
        while some := tuple(islice(pending, _SCANNED_AT_ONCE)):
            with self._errors(prefix):
                entries = [entry for _, entry in at_once(self._files.at_tag, some)]
            for entry in entries:
                if entry is not None and not entry.is_deleted and in_folder(entry.path, prefix):
                    yield entry.path, Stat(entry.size, entry.digest)

    # --- writing

    def put(self, path: str, data: Bytes) -> None:
        self._upload(check_path(path), Source.of(bytes(byte_view(data))))

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        check_paths(items)
        at_once(lambda path: self.put(path, items[path]), items)

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        return _Spooled(self.url, check_path(path), self._upload).sending()

    def _upload(self, path: str, source: Source) -> None:
        with self._errors(path):
            self._files.put(path, source)

    def create(self, path: str, data: Bytes) -> bool:
        return path in self.create_many({path: data})

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        check_paths(items)

        def begin(path: str) -> str | None:
            with self._errors(path):
                return self._files.put_alone(path, bytes(byte_view(items[path]))) if self._files.find(path) is None else None

        began = monotonic()
        put = {path: digest for path, digest in at_once(begin, items) if digest is not None}
        if not put:
            return set()
        # all callers that have set the tag by then see the last file; a caller that takes longer than this wait may come after
        sleep(min(_LONGEST_SETTLE, max(SETTLE, 2 * (monotonic() - began))))
        return {path for path, found in self.stat_many(put).items() if found.stamp == put[path]}

    def delete(self, path: str) -> bool:
        with self._errors(path):
            return self._files.delete(check_path(path))

    def close(self) -> None:
        """Forget the connections; they close when no other store uses them."""
        _connected.drop((self._place, self._secret, self._timeout))

    # --- the registry

    @property
    def _files(self) -> Artifacts:
        return connected(self._place, self._secret, self._timeout)

    @contextmanager
    def _errors(self, path: str) -> Generator[None]:
        try:
            yield
        except StoreError as error:
            error.path = error.path or path
            raise


class _Spooled(Upload):
    """An upload that is kept in memory, then in an unnamed temporary file, and sent by `commit`."""

    def __init__(self, url: str, path: str, upload: Callable[[str, Source], None]) -> None:
        super().__init__(path)
        self._url = url
        self._upload = upload
        self._spool = SpooledTemporaryFile[bytes](_SPOOL)
        self._hash = sha256()

    def accept(self, data: memoryview) -> None:
        with room_in(self._url, f"among temporary files for {self.size + len(data)} bytes", self.place):
            self._spool.write(data)
        self._hash.update(data)

    def commit(self) -> None:
        with self._spool as spool:
            spool.seek(0)
            data = spool.read() if self.size <= _SPOOL else None
            source = Source(f"sha256:{self._hash.hexdigest()}", self.size, data, cast("BinaryIO", spool) if data is None else None)
            self._upload(self.place, source)

    def abort(self) -> None:
        self._spool.close()
