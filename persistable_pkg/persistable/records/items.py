"""`Collected`: a payload of many items by key, each stored by itself and loaded when it is accessed.

Items are in a folder of their own, one file each (or a folder, for formats of several files). The payload that the record of the node names
is the index: one line an item, in order, with its key and the facts that a record has about files. It is written last, and seals the items.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, NamedTuple, NoReturn, TypeVar, cast
from zlib import crc32

from blake3 import blake3

from persistable.errors import InvalidName, PayloadCorrupted, PayloadNotFound, UnknownMember
from persistable.fileio.base import FileIO
from persistable.fileio.memory_copy import InMemoryCopy
from persistable.params.building import nearest
from persistable.records.files import drop_damaged_copies, read
from persistable.records.key import Key
from persistable.records.record import FileFact, Record
from persistable.stores.base import Store, check_path, extended

T = TypeVar("T")

INDEX_SUFFIX = ".items.jsonl"
_PLAIN = re.compile(r"[a-z][a-z0-9_\-]{0,80}|[0-9a-f]{32}")
_NOT_PLAIN = re.compile(r"[^a-z0-9_]+")
_SHOWN = 5


# keys


def checked(key: Any) -> Any:
    """`key` in the form of items: text, a whole number, or a tuple of such; numpy's as Python's. Raises InvalidName for any other."""
    if type(key) is str or type(key) is int:
        return key
    if isinstance(key, tuple):
        parts = cast("Any", key)
        return tuple([checked(part) for part in parts])
    plain = key.item() if hasattr(key, "item") and getattr(key, "shape", None) == () else None
    if type(plain) is str or type(plain) is int:
        return plain
    raise InvalidName(
        f"{key!r:.60} is a {type(key).__name__}, and keys of items are text, whole numbers, or tuples of these; yield (str(key), payload)",
        name=repr(key),
    )


def stem(key: Any) -> str:
    """The common stem of the names of an item's files: the key itself if it is a plain name, else its plain characters and a digest.

    No two keys share one, on any file system: there are no capitals, and keys that are not plain differ in their digests.
    """
    if type(key) is int and 0 <= key < 10**18:
        return str(key)
    if type(key) is str and _PLAIN.fullmatch(key) and _is_safe(key):
        return key
    readable = _NOT_PLAIN.sub("-", str(key).lower().encode("ascii", "ignore").decode())[:40].strip("-")
    return f"{readable or 'item'}={blake3(json.dumps(_as_json(key)).encode()).hexdigest(length=16)}"


def _is_safe(name: str) -> bool:
    try:
        check_path(f"{name}.x")
    except InvalidName:  # a name of a device on Windows
        return False
    return True


def _as_json(key: Any) -> Any:
    kind: Any = key.__class__
    return {"of": [_as_json(part) for part in key]} if kind is tuple else key


def _from_json(key: Any) -> Any:
    kind: Any = key.__class__
    return tuple([_from_json(part) for part in key["of"]]) if kind is dict else key


# entries


class Entry(NamedTuple):
    """One item: its key, its files, and the facts that its format could not put into them (None for most formats)."""

    key: Any
    files: tuple[FileFact, ...]
    schema: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    def to_line(self, folder: str) -> str:
        """The entry as one line of JSON; paths are those below `folder`."""
        files = [[file.part, file.path.removeprefix(folder + "/"), file.size, file.digest] for file in self.files]
        return json.dumps([_as_json(self.key), files, self.schema], separators=(",", ":"))

    @classmethod
    def of(cls, facts: list[Any], folder: str) -> Entry:
        """The entry of a parsed line."""
        key, files, schema, *_ = facts  # and facts that later versions add
        named = [FileFact(part, f"{folder}/{path}", size, digest) for part, path, size, digest, *_ in files]
        return cls(_from_json(key), tuple(named), schema)


def checked_line(entry: Entry, folder: str) -> bytes:
    """An entry as a file of its own, with a checksum."""
    line = entry.to_line(folder).encode()
    return b"%b\n%08x\n" % (line, crc32(line))


def entry_in(data: bytes, folder: str) -> Entry | None:
    """The entry in the line `data`, which `checked_line` wrote; None where it is damaged."""
    line, _, check = data.partition(b"\n")
    if check[:9] != b"%08x\n" % crc32(line):  # a store that signs adds a line after it
        return None
    try:
        entry = Entry.of(json.loads(line), folder)
        for file in entry.files:
            check_path(file.path)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entry


def parsed_index(data: bytes | bytearray, folder: str) -> dict[Any, Entry]:
    """Key to entry, in order. Raises ValueError for data that is no index."""
    lines = data.decode().splitlines()
    entries = [Entry.of(facts, folder) for facts in json.loads(f"[{','.join(lines)}]")]
    return {entry.key: entry for entry in entries}


def folder_of(record: Record) -> str | None:
    """The location of the items of a record; None for a record of one payload."""
    items = record.head.get("items")
    return None if items is None else items[0]


def read_index(store: Store, record: Record, verify: bool = True) -> dict[Any, Entry]:
    """Key to entry, of the sealed items of `record`. Raises PayloadCorrupted, FileNotFoundError."""
    folder = folder_of(record)
    assert folder is not None
    (fact,) = record.files
    data = store.get(fact.path)
    found = blake3(data).hexdigest() if verify else fact.digest
    if len(data) != fact.size or found != fact.digest:
        if drop_damaged_copies(store, record.files):
            return read_index(store, record, verify)
        raise PayloadCorrupted(
            f"the index of {record.key} at {fact.path} is not what its record names; generate it again, `load_generate` does so",
            key=record.key,
            expected=fact.digest,
            found=found,
        )
    return parsed_index(data, folder)


def item_files(store: Store, record: Record) -> list[FileFact]:
    """The files of all items of `record`; none for a record of one payload. Raises as `read_index`."""
    if folder_of(record) is None:
        return []
    return [file for entry in read_index(store, record).values() for file in entry.files]


def missing_item(store: Store, record: Record) -> str | None:
    """The fault of the items of `record`, in words; None if there is none, and for a record of one payload.

    One listing shows missing files. Sizes are compared as well where that is cheap: in a database, or on this machine.
    """
    folder = folder_of(record)
    if folder is None:
        return None
    try:
        entries = read_index(store, record, verify=False)
    except (PayloadCorrupted, FileNotFoundError, ValueError) as error:
        return str(error)
    files = [(key, file) for key, entry in entries.items() for file in entry.files]
    whole = extended(store)
    is_quick = (whole.batches and whole.definite) or store.local_path(folder) is not None
    found = whole.stat_many([file.path for _, file in files]) if is_quick else dict(whole.scan(folder))
    for key, file in files:
        there = found.get(file.path)
        if there is not None and there.size != file.size and drop_damaged_copies(store, [file]):
            there = store.stat(file.path)
        if there is None:
            return f"the item {key!r:.60} at {file.path} is missing"
        if there.size != file.size:
            return f"the item {key!r:.60} at {file.path} has {there.size} bytes, expected {file.size}"
    return None


# the payload


class Source(NamedTuple):
    """The store of items, and how they are read."""

    store: Store
    owner: Key
    io: FileIO[Any]
    verify: bool = True
    writable: bool = True

    def load(self, entry: Entry) -> Any:
        """The payload of one item. Raises PayloadCorrupted, PayloadNotFound."""
        io = self.io if entry.schema is None else self.io.with_schema(entry.schema)
        try:
            return read(self.store, self.owner, entry.files, io, verify=self.verify, writable=self.writable)
        except FileNotFoundError as error:
            raise PayloadNotFound(
                f"the item {entry.key!r:.60} of {self.owner} is gone: it was deleted, or made anew; load it again, or run(node)",
                key=self.owner,
                nearest=None,
                differences={},
            ) from error
        except PayloadCorrupted as error:
            error.add_note(f"it is the item {entry.key!r:.60}; generate() makes all of them again")
            raise


class Collected(Mapping[Any, T], Generic[T]):
    """The payload of a node that yields ``(key, payload)``: a mapping from key to payload, in the order in which they came.

    Items are loaded at each access, anew: keep those you use. Looking at keys, lengths and `sizes` loads nothing. Two of
    them are equal if they have equal keys, in the same order, with equal payloads. Access to a key that is not there raises
    UnknownMember, which is a KeyError.
    """

    __slots__ = ("_entries", "_held", "_source")
    _is_shared: ClassVar[bool] = True

    def __init__(self, source: Source | None, entries: dict[Any, Entry], held: dict[Any, InMemoryCopy] | None = None) -> None:
        self._source = source
        self._entries = entries
        self._held = held

    @classmethod
    def of(cls, items: Mapping[Any, T]) -> Collected[T]:
        """Make a mapping of items in memory, for nodes that are not persisted."""
        return cls(None, {}, {checked(key): InMemoryCopy(value, key) for key, value in items.items()})

    def __getitem__(self, key: Any) -> T:
        if self._held is not None and key in self._held:
            held: T = self._held[key].copy(writable=True)
            return held
        entry = self._entries.get(key)
        if entry is None:
            self._unknown(key)
        assert self._source is not None
        loaded: T = self._source.load(entry)
        return loaded

    def _unknown(self, key: Any) -> NoReturn:
        near = nearest(key, [name for name in list(self)[:5000] if isinstance(name, str)]) if isinstance(key, str) else None
        hint = f"; did you mean {near!r}?" if near is not None else ""
        raise UnknownMember(
            f"no item is called {key!r:.60} (there are {len(self)}: {self._shown()}){hint}", axis="", label=key, nearest=near
        )

    def __contains__(self, key: object) -> bool:
        try:
            return key in (self._entries if self._held is None else self._held)
        except TypeError:  # an unhashable object is no key
            return False

    def __len__(self) -> int:
        return len(self._entries if self._held is None else self._held)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries if self._held is None else self._held)

    @property
    def entries(self) -> Mapping[Any, Entry]:
        """Key to the entry of the item, with the paths, sizes and digests of its files; empty where items are in memory."""
        return self._entries

    @property
    def sizes(self) -> dict[Any, int]:
        """Key to size in bytes, as stored."""
        return {key: entry.size for key, entry in self._entries.items()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        others = cast("Any", other)
        if len(self) != len(others) or any(mine != their for mine, their in zip(self, others, strict=True)):
            return False
        known: Mapping[Any, Entry] = cast("Any", other).entries if isinstance(other, Collected) else {}
        return all(_same(self._entries.get(key), known.get(key)) or bool(cast("Any", self[key]) == others[key]) for key in self)

    __hash__ = None  # type: ignore[assignment]

    def _shown(self) -> str:
        names = [repr(name)[:40] for name, _ in zip(self, range(_SHOWN), strict=False)]
        return ", ".join(names) + (", ..." if len(self) > _SHOWN else "")

    def __repr__(self) -> str:
        where = "in memory" if self._held is not None else f"{sum(entry.size for entry in self._entries.values())} bytes"
        return f"<Collected: {len(self)} items, {where}: {self._shown()}>"


def _same(mine: Entry | None, other: Entry | None) -> bool:
    """Tell whether two items are known to be equal without loading them."""
    if mine is None or other is None:
        return False
    return [(file.part, file.digest) for file in mine.files] == [(file.part, file.digest) for file in other.files]
