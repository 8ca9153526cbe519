"""Export of records with their lineage and payloads, into one zip archive or a folder that any web server can publish.

Both are stores: files have the same paths. They also hold a manifest with the digest of every file, and a description as an RO-Crate.
Payloads are written first, then records, description and manifest; an archive appears when it is complete.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PureWindowsPath
from tempfile import SpooledTemporaryFile, TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from blake3 import blake3

from persistable.catalog.entry import Entry
from persistable.catalog.share import crate
from persistable.catalog.share.selection import inputs, selected
from persistable.catalog.share.sinks import Sink, sink_at
from persistable.errors import InputError, PayloadCorrupted, StoreError
from persistable.nodes.generation import persist
from persistable.nodes.node import Persistable
from persistable.params.streams import digest_rest
from persistable.records import items, record_access, store_format
from persistable.records.key import Key, Placed
from persistable.records.record import SUFFIX, FileFact, Record
from persistable.records.units import size_in_words
from persistable.stores import manifest
from persistable.stores.base import Store, extended
from persistable.stores.local import LocalStore
from persistable.stores.manifest import ManifestEntry

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

Payloads = Literal["all", "sources", "none"]
Progress = Callable[[int, int], None]
AT_ONCE = 500
"""Records that are read at once."""
_SMALL = 1 << 20
_SPOOL = 32 << 20
_PERSONAL = ("host", "platform", "project", "untracked", "notes")
"""Members of a record that may identify a machine or a person; none of them is needed to load a payload or to generate it again."""
_DOWNLOADS = ("persistable:HttpGet",)


@dataclass(repr=False)
class ExportResult:
    """The result of an export."""

    to: str
    """The path or URL."""
    records: int = 0
    """The number of records."""
    files: int = 0
    """The number of files."""
    size: int = 0
    """The bytes of all files."""
    missing: list[Key] = field(default_factory=list[Key])
    """Keys of requested payloads that are not in the store, of which the bundle has the record alone."""
    named: list[Key] = field(default_factory=list[Key])
    """Keys of signed records, which `anonymous` leaves as they are."""

    def __repr__(self) -> str:
        text = f"exported {self.records} {'record' if self.records == 1 else 'records'} in {self.files} files ({size_in_words(self.size)})"
        text += f" to {self.to}"
        if self.missing:
            text += f"; {len(self.missing)} without their payloads, which are not stored"
        if self.named:
            text += f"; {len(self.named)} signed, so left as they are, with host"
        return text


def export(
    catalog: Catalog, to: Any, nodes: Any, payloads: Payloads, *, anonymous: bool, about: dict[str, str | None], progress: Progress | None
) -> ExportResult:
    """Write the records of `nodes`, of everything upstream, and their payloads, as `Catalog.export` says."""
    if payloads not in get_args(Payloads):
        raise ValueError(f"payloads={payloads!r}: give 'all', 'sources' or 'none'")
    store = catalog.store
    entries = selected(catalog, nodes)
    external = inputs(catalog, nodes) if payloads != "none" else []
    with sink_at(to) as sink:
        if sink.url == store.url:
            raise StoreError(f"{to} is the store itself; export into another folder", url=store.url, path="")
        return _Export(store, sink, payloads, anonymous, progress).write(entries, external, about)


class _Export:
    """One export. It holds the paths of records and files; everything else is streamed."""

    def __init__(self, store: Store, sink: Sink, payloads: Payloads, anonymous: bool, progress: Progress | None) -> None:
        self._store = store
        self._sink = sink
        self._payloads = payloads
        self._anonymous = anonymous
        self._progress = progress
        self._files: dict[str, ManifestEntry] = {}
        self._places: list[tuple[str, int, tuple[str, ...]]] = []
        """Path and size of each record, and the exported files of its payload; its bytes are in the spool."""
        self._published = 0.0
        self._wanted = self._done = 0
        self._result = ExportResult(sink.url)

    def write(self, entries: Sequence[Entry], external: Sequence[Any], about: dict[str, str | None]) -> ExportResult:
        """Write everything; return the result."""
        self._wanted = sum(entry.size or 0 for entry in entries)
        known = {entry.key for entry in entries}
        with SpooledTemporaryFile[bytes](_SPOOL, prefix="persistable-") as spool:
            for entry, record in self._records(entries):
                self._note_record(entry.place.path, record, self._payload(entry, record), spool)
            for node in external:
                if node.key not in known:
                    self._input(node, spool)
            spool.seek(0)
            for path, size, _ in self._places:
                self._put(path, spool.read(size))
            self._put(store_format.PATH, store_format.to_bytes(store_format.Format(made_by=_made_by())))
            self._describe(spool, about)
        self._list()
        self._result.records, self._result.files = len(self._places), len(self._files) + 1
        return self._result

    def _note_record(self, place: str, record: Record, present: tuple[str, ...], spool: SpooledTemporaryFile[bytes]) -> None:
        """Write the output of a record, and spool the record, to be written after the payloads."""
        shared = self._shared(record)
        data = shared.data
        spool.write(data)
        path = shared.output_path
        if path is not None:
            with suppress(FileNotFoundError):
                self._put(path, self._store.get(path))
        self._places.append((place + SUFFIX, len(data), present))
        self._published = max(self._published, record.started + record.seconds)

    def _input(self, node: Persistable[Any, Any], spool: SpooledTemporaryFile[bytes]) -> None:
        """Write the payload of an external input as one that was put in by hand: under its key, whichever path it came from."""
        with TemporaryDirectory(prefix="persistable-") as folder:
            store = LocalStore(folder)
            twin = node.bind(store)
            try:
                persist(twin, store, twin.payload, made="put")
            except InputError:
                self._result.missing.append(node.key)
                return
            record = record_access.find_record(store, node.key)
            assert record is not None
            for file in record.files:
                self._copy(record, file, store)
            self._note_record(str(record.key), record, tuple([file.path for file in record.files]), spool)

    def _records(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Record]]:
        """Yield each entry with its record. Raises PayloadCorrupted for a damaged or missing record."""
        remaining = iter(entries)
        while some := list(islice(remaining, AT_ONCE)):
            data = self._store.get_many([entry.place.path + SUFFIX for entry in some])
            for entry in some:
                place = entry.place
                found = data.get(place.path + SUFFIX)
                if found is None:
                    raise PayloadCorrupted(
                        f"the record of {place} was removed meanwhile; export again", key=place.key, expected="a record", found="nothing"
                    )
                yield entry, Record.parse(found, place.key).checked()

    # files

    def _payload(self, entry: Entry, record: Record) -> tuple[str, ...]:
        """Write the files of a payload, if requested; return their paths."""
        if not self._is_wanted(record):
            return ()
        files = self._files_of(entry, record)
        if files is None:
            self._result.missing.append(record.key)
            return ()
        for file in files:
            self._copy(record, file, self._store)
        return tuple([file.path for file in files])

    def _is_wanted(self, record: Record) -> bool:
        if self._payloads == "sources":
            return record.by_hand or record.class_reference in _DOWNLOADS
        return self._payloads == "all"

    def _files_of(self, entry: Entry, record: Record) -> list[FileFact] | None:
        """The files of a payload; None unless all are there."""
        if isinstance(entry.place, Placed) and record_access.find_record(self._store, entry.place) is None:
            return None
        files = list(record.files)
        if len(extended(self._store).stat_many([file.path for file in files])) < len(files):
            return None
        files += items.item_files(self._store, record)
        return list({file.path: file for file in files}.values())

    def _copy(self, record: Record, file: FileFact, store: Store) -> None:
        """Copy one file. Raises PayloadCorrupted where its bytes differ from the digest in the record."""
        try:
            with self._sink.open(file.path, file.size, packed=False) as out:
                if file.size <= _SMALL:
                    data = store.get(file.path)
                    digest, size = blake3(data).hexdigest(), len(data)
                    out.write(data)
                else:
                    with store.read(file.path) as reading:
                        digest, size = digest_rest(reading, out)
                if (digest, size) != (file.digest, file.size):
                    raise PayloadCorrupted(
                        f"{file.path} has other bytes than the record of {record.key} names, so it is not exported; generate it again",
                        key=record.key,
                        expected=file.digest,
                        found=digest,
                    )
        except FileNotFoundError as error:
            message = f"{file.path} of {record.key} was removed meanwhile; export again"
            raise PayloadCorrupted(message, key=record.key, expected=file.path, found="nothing") from error
        self._note(file.path, ManifestEntry(file.size, file.digest))
        self._done += file.size
        if self._progress is not None:
            self._progress(self._done, max(self._done, self._wanted))

    def _put(self, path: str, data: bytes) -> None:
        with self._sink.open(path, len(data), packed=True) as out:
            out.write(data)
        self._note(path, ManifestEntry(len(data), blake3(data).hexdigest()))

    def _note(self, path: str, listed: ManifestEntry) -> None:
        if path in self._files or path in (crate.PATH, manifest.PATH):
            raise StoreError(f"two of the exported files would be at {path}; export them one by one", url=self._sink.url, path=path)
        self._files[path] = listed
        self._result.size += listed.size

    # description and manifest

    def _describe(self, spool: SpooledTemporaryFile[bytes], about: dict[str, str | None]) -> None:
        """Write the RO-Crate description."""

        def records() -> Iterator[crate.CrateRecord]:
            spool.seek(0)
            for path, size, present in self._places:
                yield path, Record.parse(spool.read(size)), present

        number = len(self._places)
        description = crate.About(
            about.get("name") or "Results with their records",
            about.get("description") or f"{number} results, each with the record of how it was made, and their lineage.",
            about.get("author") or "",
            about.get("license") or "",
            self._published,
        )
        hasher, size = blake3(), 0
        with self._sink.open(crate.PATH, None, packed=True) as out:

            def write(data: bytes) -> None:
                nonlocal size
                hasher.update(data)
                size += len(data)
                out.write(data)

            crate.write_crate(description, self._files, records, write)
        self._files[crate.PATH] = ManifestEntry(size, hasher.hexdigest())
        self._result.size += size

    def _list(self) -> None:
        """Write the manifest: last, so that its readers find all files that it names."""
        with self._sink.open(manifest.PATH, None, packed=True) as out:
            manifest.write_manifest(sorted(self._files.items()), _made_by(), out.write)

    def _shared(self, record: Record) -> Record:
        """`record` as it is exported: unchanged, or, if anonymous and unsigned, without facts of a machine or a person."""
        if not self._anonymous:
            return record
        if record.to_dict().get("signature") is not None:
            self._result.named.append(record.key)
            return record
        return without_persons(record)


def without_persons(record: Record) -> Record:
    """`record` without host, platform and other facts of a machine or a person, with a new checksum."""
    facts = {name: fact for name, fact in record.to_dict().items() if name not in record.head and name not in (*_PERSONAL, "checksum")}
    if "accepted" in facts:
        facts["accepted"] = [{name: fact for name, fact in each.items() if name != "host"} for each in facts["accepted"]]
    if facts.get("call") is not None:
        facts["call"] = _without_folders(facts["call"], json.dumps(facts["params"]))
    head = {name: fact for name, fact in record.head.items() if name != "output"}  # output may hold anything
    return Record.compose(record.key, head, {**facts, "host": ""})


_ABSOLUTE = re.compile(r"(?:/|~|[A-Za-z]:[\\/]|\\\\|file:)")


def _without_folders(value: Any, kept: str) -> Any:
    """`value` with absolute paths, such as that of a store, cut to their last name, unless the params, in `kept`, have them too."""
    if isinstance(value, dict):
        return {name: _without_folders(each, kept) for name, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_without_folders(each, kept) for each in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, str) and _ABSOLUTE.match(value) and json.dumps(value) not in kept:
        return PureWindowsPath(value).name  # which knows both kinds of separators
    return value


def _made_by() -> str:
    return f"persistable {sys.modules['persistable'].__version__}"
