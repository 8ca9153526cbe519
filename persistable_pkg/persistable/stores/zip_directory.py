"""The directory of a zip archive, with checks for damage and malice before any member is used."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from persistable.errors import InvalidName, MalformedBundle
from persistable.stores.base import check_path

STORED, DEFLATED = 0, 8
MOST = 5_000_000
"""Members of an archive, at most."""
EXPANSION = 200
"""Factor of its own size that an archive may unpack to at most, beyond the bytes of `ALLOWANCE`."""
ALLOWANCE = 64 << 20
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = (1 << 16) - 1
TAIL = 1 << 18
"""Bytes at the end that are read first: for a small archive they include its directory."""
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8 = 0x800
_NO_FILES = "it is no zip file, or its end is missing"
Read = Callable[[int, int], bytes]
"""Function that returns the bytes of the archive from one place up to, not including, another."""


class Member(NamedTuple):
    """A file in an archive: its start there, packed size, size, CRC-32, compression method, and length of its name."""

    offset: int
    packed: int
    size: int
    crc: int
    method: int
    name_bytes: int


def read_directory(read: Read, size: int, url: str) -> dict[str, Member]:
    """The members of an archive of `size` bytes by path, in the order of their places.

    Raises MalformedBundle for an archive that is damaged or malicious: names that leave their folder or are not valid on every platform,
    links, duplicate names, members that overlap, are encrypted, or expand too much.
    """
    tail_at = max(0, size - TAIL)
    tail = read(tail_at, size)
    if len(tail) != size - tail_at:
        raise refused(url, "it is cut short")

    def part(first: int, last: int) -> bytes:
        if first >= tail_at:
            return tail[first - tail_at : last - tail_at]
        return read(first, last)

    number, begins, length = _place(part, tail, tail_at, url)
    if number > MOST:
        raise refused(url, f"it has {number} members; {MOST} is the most")
    data = part(begins, begins + length)
    if len(data) != length:
        raise refused(url, "its directory is cut short")
    return _checked(dict(_members(data, number, url)), begins, size, url)


def refused(url: str, why: str, path: str = "") -> MalformedBundle:
    """The error for an archive that is refused."""
    return MalformedBundle(f"{url} is refused: {why}. Nothing of it was used; get a new copy of it", url=url, path=path)


def _place(part: Read, tail: bytes, tail_at: int, url: str) -> tuple[int, int, int]:
    """The number of members, and the start and length of their directory."""
    at = len(tail) - _END.size
    lowest = max(0, at - _LONGEST_COMMENT)
    while True:
        at = tail.rfind(b"PK\5\6", lowest, at + 4)
        if at < 0:
            raise refused(url, _NO_FILES)
        _, disk, first_disk, here, number, length, begins, comment = _END.unpack_from(tail, at)
        if at + _END.size + comment == len(tail):
            break
        at -= 1
    end = tail_at + at
    if end >= _LOCATOR_64.size:
        locator = part(end - _LOCATOR_64.size, end)
        sign, of_disk, place, _ = _LOCATOR_64.unpack(locator)
        if sign == b"PK\6\7":
            found = part(place, place + _END_64.size) if place + _END_64.size <= end else b""
            if len(found) != _END_64.size or found[:4] != b"PK\6\6" or of_disk:
                raise refused(url, "the end of its directory is damaged")
            _, _, _, _, disk, first_disk, here, number, length, begins = _END_64.unpack(found)
            end = place
    if disk or first_disk or here != number:
        raise refused(url, "it is one part of several")
    if begins + length != end:
        raise refused(url, "its directory is not where it says: something was put before it or cut out")
    return number, begins, length


def _members(data: bytes, number: int, url: str) -> Iterator[tuple[str, Member]]:
    """Path and entry of each file in the directory `data`."""
    at = 0
    names: set[str] = set()
    for _ in range(number):
        if at + _ENTRY.size > len(data):
            raise refused(url, "its directory is cut short")
        (sign, made_by, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes, comment_bytes, disk, _, attributes, offset) = (
            _ENTRY.unpack_from(data, at)
        )
        if sign != b"PK\1\2":
            raise refused(url, "its directory is damaged")
        start = at + _ENTRY.size
        raw, extra = data[start : start + name_bytes], data[start + name_bytes : start + name_bytes + extra_bytes]
        at = start + name_bytes + extra_bytes + comment_bytes
        name = _name(raw, flags, url)
        if 0xFFFFFFFF in (size, packed, offset) or disk == 0xFFFF:
            size, packed, offset, disk = _wide(extra, size, packed, offset, disk, name, url)
        is_folder = name.endswith("/")
        _check_member(name.rstrip("/") if is_folder else name, flags, method, packed, size, url)
        _check_kind(name, attributes, made_by, is_folder, url)
        if disk or (is_folder and (size or packed > 2)):
            raise refused(url, f"its member {name!r:.80} is none that a bundle has", name)
        if name in names:
            raise refused(url, f"it has two members called {name!r:.80}", name)
        names.add(name)
        if not is_folder:
            yield name, Member(offset, packed, size, crc, method, name_bytes)
    if at != len(data):
        raise refused(url, "its directory has extra bytes")


def _name(raw: bytes, flags: int, url: str) -> str:
    try:
        return raw.decode() if flags & _UTF8 or raw.isascii() else raw.decode("cp437")
    except UnicodeDecodeError:
        raise refused(url, f"the name of its member {raw!r:.80} is no text") from None


def _check_member(name: str, flags: int, method: int, packed: int, size: int, url: str) -> None:
    try:
        check_path(name)
    except InvalidName as error:
        raise refused(
            url, f"its member {name!r:.80} would leave its folder, or has a name that not every platform has ({error})", name
        ) from None
    if flags & _ENCRYPTED:
        raise refused(url, f"its member {name!r:.80} is encrypted", name)
    if method not in (STORED, DEFLATED):
        raise refused(url, f"its member {name!r:.80} is packed in a way ({method}) that is not known here; pack it as zip deflate", name)
    if method == STORED and packed != size:
        raise refused(url, f"the sizes of its member {name!r:.80} contradict each other", name)


def _check_kind(name: str, attributes: int, made_by: int, is_folder: bool, url: str) -> None:
    """Refuse a member that is neither a file nor a folder, where the archive was made by Unix, which records kinds."""
    kind = stat.S_IFMT(attributes >> 16) if made_by >> 8 == 3 else 0
    if kind and kind != (stat.S_IFDIR if is_folder else stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "no file"
        raise refused(url, f"its member {name!r:.80} is {what}", name)


def _wide(extra: bytes, size: int, packed: int, offset: int, disk: int, name: str, url: str) -> tuple[int, int, int, int]:
    """The numbers of a member, those too large for 32 bits read from its extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field, numbers = extra[at + 4 : at + 4 + length], [size, packed, offset]
            place = 0
            for index, number in enumerate(numbers):
                if number == 0xFFFFFFFF and place + 8 <= len(field):
                    (numbers[index],) = struct.unpack_from("<Q", field, place)
                    place += 8
            if disk == 0xFFFF and place + 4 <= len(field):
                (disk,) = struct.unpack_from("<L", field, place)
            return numbers[0], numbers[1], numbers[2], disk
        at += 4 + length
    raise refused(url, f"the sizes of its member {name!r:.80} are missing", name)


def _checked(members: dict[str, Member], directory: int, size: int, url: str) -> dict[str, Member]:
    """`members` in the order of their places, unless they overlap or expand too much."""
    ordered = dict(sorted(members.items(), key=lambda item: item[1].offset))
    before, end = "", 0
    for name, member in ordered.items():
        if member.offset < end:
            raise refused(url, f"its members {before!r:.80} and {name!r:.80} overlap", name)
        before, end = name, member.offset + LOCAL.size + member.name_bytes + member.packed
    if end > directory:
        raise refused(url, f"its member {before!r:.80} reaches beyond where files can be", before)
    whole = sum(member.size for member in ordered.values())
    if whole > EXPANSION * size + ALLOWANCE:
        times = whole // max(1, size)
        raise refused(url, f"unpacked it would be {whole} bytes, {times} times what it is; if that is right, unpack it yourself")
    return ordered
