"""`ZipStore`: a zip archive as a read-only store, read in place: a file, an object in a bucket, or behind an http(s) URL.

Nothing is unpacked to disk. Uncompressed members, as `Catalog.export` writes payloads, are read by ranges; compressed ones from their
beginning. The directory of the archive is checked before any of it is used, see `zip_directory`; the bytes of a member are not checked
here: their reader compares them with the digest in a record.
"""

from __future__ import annotations

import errno
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, BinaryIO, Protocol, cast

from persistable.errors import StoreError
from persistable.params.streams import SeekableReader
from persistable.stores.base import Stat, Store, check_path, check_prefix, extended, in_folder
from persistable.stores.local import LocalStore
from persistable.stores.readonly import Unwritable
from persistable.stores.zip_directory import DEFLATED, LOCAL, Member, read_directory, refused

SUFFIX = ".zip"
_SLACK = 64
"""Bytes by which the head of a member may be longer than its directory says, in most archives."""
_GAP = 1 << 12
_AT_ONCE = 8 << 20
"""Bytes of neighbouring members that are read at once."""


class Archive(Protocol):
    """The bytes of an archive. Picklable."""

    url: str
    is_near: bool
    """True where `stamp` costs nothing."""

    def stamp(self) -> tuple[int, object]:
        """Size, and a stamp that changes whenever the bytes do. Raises FileNotFoundError."""
        ...

    def read(self, first: int, last: int) -> bytes:
        """The bytes from `first` up to, not including, `last`. Raises FileNotFoundError."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class _InFolder:
    """An archive that is a file of this machine."""

    is_near = True

    def __init__(self, place: str) -> None:
        self._place = place
        self.url = LocalStore(place).url

    def stamp(self) -> tuple[int, object]:
        found = os.stat(self._place)
        return found.st_size, (found.st_dev, found.st_ino, found.st_mtime_ns)

    def read(self, first: int, last: int) -> bytes:
        with open(self._place, "rb") as file:
            file.seek(first)
            return file.read(last - first)

    def close(self) -> None:
        return None


class _InStore:
    """An archive in another store, such as a bucket."""

    is_near = False

    def __init__(self, store: Store, path: str) -> None:
        self._store = store
        self._path = check_path(path)
        place, mark, query = store.url.partition("?")
        self.url = f"{place.rstrip('/')}/{path}{mark}{query}"

    def stamp(self) -> tuple[int, object]:
        found = self._store.stat(self._path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such file", self.url)
        return found.size, found.stamp

    def read(self, first: int, last: int) -> bytes:
        return extended(self._store).read_range(self._path, first, last)

    def close(self) -> None:
        self._store.close()


class ZipStore(Unwritable):
    """The files in the zip archive at a path or URL that ends in ``.zip``.

    Raises MalformedBundle at its first use where the archive is damaged or malicious, StoreError where there is none. Options are
    those of the store that holds the archive.
    """

    in_memory = False
    definite = True
    why = "it is a zip file, of which nothing is changed; import_ it into a store, or export another one"

    def __init__(self, where: str | os.PathLike[str] | Archive, **options: Any) -> None:
        self._archive = where if not isinstance(where, str | os.PathLike) else _archive_at(os.fspath(where), options)
        self._seen: tuple[tuple[int, object], dict[str, Member]] | None = None

    @property
    def url(self) -> str:
        return self._archive.url

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._archive,), self.pickled_options()

    # members

    def _members(self, *, anew: bool = False) -> dict[str, Member]:
        """The files in the archive by path; checked for a replaced archive if `anew`, or where that costs nothing."""
        seen = self._seen
        if seen is not None and not (anew or self._archive.is_near):
            return seen[1]
        try:
            stamp = self._archive.stamp()
            if seen is None or seen[0] != stamp:
                seen = self._seen = stamp, read_directory(self._archive.read, stamp[0], self.url)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise StoreError(f"there is no file {self.url}; export makes one, or correct the path", url=self.url, path="") from error
        return seen[1]

    def listing_stamp(self) -> str | None:
        self._members(anew=True)
        return repr(self._seen[0]) if self._seen is not None else None

    def _member(self, path: str) -> Member:
        member = self._members().get(check_path(path))
        if member is None:
            raise FileNotFoundError(errno.ENOENT, "nothing is stored here", f"{self.url}/{path}")
        return member

    def stat(self, path: str) -> Stat | None:
        member = self._members().get(check_path(path))
        return None if member is None else _stat_of(member)

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        check_prefix(prefix)
        return ((path, _stat_of(member)) for path, member in self._members(anew=True).items() if in_folder(path, prefix))

    # bytes

    def get(self, path: str) -> bytes:
        member = self._member(path)
        first, last = self._span(member)
        return self._unpacked(path, member, self._archive.read(first, last))

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        members = self._members()
        wanted = [(path, members[path]) for path in dict.fromkeys(map(check_path, paths)) if path in members]
        wanted.sort(key=lambda item: item[1].offset)
        found: dict[str, bytes] = {}
        for group in _neighbours(wanted):
            first = group[0][1].offset
            data = memoryview(self._archive.read(first, self._span(group[-1][1])[1]))
            for path, member in group:
                found[path] = self._unpacked(path, member, data[member.offset - first :])
        return found

    def read(self, path: str) -> BinaryIO:
        member = self._member(path)
        if member.packed <= _AT_ONCE and member.size <= _AT_ONCE:
            return io.BytesIO(self.get(path))
        begins = self._begins(path, member, self._archive.read(member.offset, member.offset + LOCAL.size + member.name_bytes + _SLACK))
        packed = _Packed(self._archive, member.offset + begins, member.packed)
        stored = io.BufferedReader(packed, _AT_ONCE)
        return cast("BinaryIO", stored if member.method != DEFLATED else io.BufferedReader(_Inflated(stored, member.size), 1 << 18))

    def _span(self, member: Member) -> tuple[int, int]:
        """The start of a member, and the end of its bytes in most archives."""
        return member.offset, member.offset + LOCAL.size + member.name_bytes + _SLACK + member.packed

    def _begins(self, path: str, member: Member, head: bytes | memoryview) -> int:
        """The start of the bytes of a member, after its head. Raises MalformedBundle where that is not its head."""
        if len(head) >= LOCAL.size:
            sign, _, _, method, _, _, _, _, _, name_bytes, extra_bytes = LOCAL.unpack_from(head)
            if sign == b"PK\3\4" and method == member.method and name_bytes == member.name_bytes:
                return int(LOCAL.size + name_bytes + extra_bytes)
        raise refused(self.url, f"the head of its member {path!r:.80} is damaged", path)

    def _unpacked(self, path: str, member: Member, data: bytes | memoryview) -> bytes:
        """The bytes of a member, from `data` that begins with its head; fewer, or others, where they are damaged."""
        begins = self._begins(path, member, data)
        packed = memoryview(data)[begins : begins + member.packed]
        if len(packed) < member.packed:  # its head was longer than usual
            packed = memoryview(self._archive.read(member.offset + begins, member.offset + begins + member.packed))
        if member.method != DEFLATED:
            return bytes(packed)
        try:
            return zlib.decompressobj(-15).decompress(packed, member.size) if member.size else b""
        except zlib.error:
            return b""

    def first_damaged(self) -> str | None:
        """The path of the first file whose bytes do not match the directory; None where all are sound. Everything is read."""
        for path, member in self._members(anew=True).items():
            crc = size = 0
            try:
                with self.read(path) as file:
                    while piece := file.read(_AT_ONCE):
                        crc, size = zlib.crc32(piece, crc), size + len(piece)
            except (zlib.error, EOFError):
                return path
            if (crc, size) != (member.crc, member.size):
                return path
        return None

    def close(self) -> None:
        self._archive.close()


class _Packed(SeekableReader):
    """The bytes of one member as they are in the archive."""

    def __init__(self, archive: Archive, first: int, size: int) -> None:
        super().__init__(size)
        self._archive = archive
        self._first = first

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._at)
        if wanted <= 0:
            return 0
        data = self._archive.read(self._first + self._at, self._first + self._at + wanted)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Inflated(SeekableReader):
    """The unpacked bytes of a compressed member; seeking back unpacks again from the beginning."""

    def __init__(self, packed: BinaryIO, size: int) -> None:
        super().__init__(size)
        self._packed = packed
        self._begin()

    def _begin(self) -> None:
        self._packed.seek(0)
        self._inflate = zlib.decompressobj(-15)
        self._reached = 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._at < self._reached:
            self._begin()
        while self._reached < self._at:
            passed = self._next(min(1 << 20, self._at - self._reached))
            if not passed:
                return 0
        data = self._next(min(len(view), self._size - self._at))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _next(self, most: int) -> bytes:
        """The next bytes, `most` of them at most; none at the end."""
        while most > 0 and not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._packed.read(1 << 18)
            found = self._inflate.decompress(data, most)  # without data too: some output may be held back
            if found:
                self._reached += len(found)
                return found
            if not data:
                break
        return b""

    def close(self) -> None:
        self._packed.close()
        super().close()


def _stat_of(member: Member) -> Stat:
    return Stat(member.size, f"{member.crc:08x}-{member.offset}")


def _neighbours(members: list[tuple[str, Member]]) -> Iterator[list[tuple[str, Member]]]:
    """Split `members`, in the order of their places, into groups that are read at once."""
    number, begins, end = 0, 0, -1 - _GAP
    numbered: list[tuple[int, tuple[str, Member]]] = []
    for item in members:
        offset = item[1].offset
        if offset > end + _GAP or offset - begins > _AT_ONCE:
            number, begins = number + 1, offset
        end = offset + LOCAL.size + item[1].name_bytes + item[1].packed
        numbered.append((number, item))
    for _, group in groupby(numbered, key=lambda each: each[0]):
        yield [item for _, item in group]


def is_zip(where: str) -> bool:
    """Tell whether a path or URL has the name of a zip archive; a folder of such a name is none."""
    scheme, sign, rest = where.partition("://")
    if not sign:
        return where[-4:].lower() == SUFFIX and not os.path.isdir(os.path.expanduser(where))
    if "::" in where or scheme.lower() in ("sqlite", "memory", "layered"):
        return False
    path = rest.partition("?")[0].partition("#")[0]
    if path[-4:].lower() != SUFFIX or "/" not in path:
        return False
    return scheme.lower() not in ("file", "local") or not os.path.isdir(LocalStore.from_url(where).root)


def parted(where: str) -> tuple[str, str]:
    """The path or URL of the store that holds the archive at a path or URL, and its name there."""
    place, mark, query = where.partition("?") if "://" in where else (where, "", "")
    if "://" not in where:
        place = os.path.abspath(os.path.expanduser(place))
        return os.path.dirname(place), os.path.basename(place)
    folder, _, name = place.rpartition("/")
    return f"{folder}{mark}{query}", name


def _archive_at(where: str, options: dict[str, Any]) -> Archive:
    from persistable.stores.open import open_store

    scheme, sign, _ = where.partition("://")
    if not sign or scheme.lower() in ("file", "local"):
        store = LocalStore.from_url(where, **options) if sign else LocalStore(where, **options)
        return _InFolder(store.root)
    if scheme.lower() in ("http", "https"):
        from persistable.stores.http import HTTPFile

        return HTTPFile(where, **options)
    folder, name = parted(where)
    return _InStore(open_store(folder, **options), name)
