"""Archives that are damaged or made to do harm are refused by name of what is wrong, before any of them is used."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistable import open_store
from persistable.errors import MalformedBundle, StoreError
from persistable.stores import ZipStore, zip_directory
from persistable.stores.zip_directory import read_directory

HONEST = {"a/1": b"one" * 100, "b": b"two", "c/d/e": b""}


def archive(items: dict[str, bytes] = HONEST, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for path, data in items.items():
            made.writestr(zipfile.ZipInfo(path), data, method)
    return out.getvalue()


def named(name: str, **facts: int) -> bytes:
    """An archive with one member of that very name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        info = zipfile.ZipInfo("x" * len(name))
        for fact, value in facts.items():
            setattr(info, fact, value)
        made.writestr(info, b"evil")
    raw = name.encode()
    assert len(raw) == len(name)
    return out.getvalue().replace(b"x" * len(name), raw)


def with_flags(flags: int) -> bytes:
    data = bytearray(archive({"a": b"1"}))
    place = data.index(b"PK\1\2") + 8
    struct.pack_into("<H", data, place, flags)
    return bytes(data)


def with_method(method: int) -> bytes:
    data = bytearray(archive({"a": b"1"}))
    struct.pack_into("<H", data, data.index(b"PK\1\2") + 10, method)
    return bytes(data)


def twice() -> bytes:
    data = archive({"ab": b"1", "ac": b"2"})
    return data.replace(b"ac", b"ab")


def overlapping() -> bytes:
    """Two names for the same bytes: a bomb of this kind unpacks to the product of both."""
    data = bytearray(archive({"a": b"1" * 1000, "b": b"2" * 1000}, zipfile.ZIP_STORED))
    second = data.rindex(b"PK\1\2")
    struct.pack_into("<L", data, second + 42, 5)
    return bytes(data)


def bomb() -> bytes:
    return archive({"zeros": bytes(200 << 20)})


def lying() -> bytes:
    """A stored member that says to be larger than it is."""
    data = bytearray(archive({"a": b"1" * 50}, zipfile.ZIP_STORED))
    struct.pack_into("<L", data, data.index(b"PK\1\2") + 24, 5000)
    return bytes(data)


def crowd() -> bytes:
    """The end of a directory that says to have more members than anybody has."""
    data = bytearray(archive({"a": b"1"}))
    end = data.rindex(b"PK\5\6")
    begins = struct.unpack_from("<L", data, end + 16)[0]
    many = zip_directory.MOST + 1
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, many, many, end - begins, begins)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    return bytes(data[:end]) + wide + locator + bytes(data[end:])


def prefixed() -> bytes:
    return b"#!/bin/sh\n" + archive()


EVIL: dict[str, tuple[Callable[[], bytes], str]] = {
    "above": (lambda: named("../evil"), "leave its folder"),
    "deep above": (lambda: named("a/../../evil"), "leave its folder"),
    "absolute": (lambda: named("/etc/evil"), "leave its folder"),
    "drive": (lambda: named("C:/evil"), "leave its folder"),
    "backslash": (lambda: named("a\\evil"), "leave its folder"),
    "zero": (lambda: named("a\0evil"), "leave its folder"),
    "device": (lambda: named("con.txt"), "leave its folder"),
    "unfinished": (lambda: named(".a.tmp"), "leave its folder"),
    "folder above": (lambda: named("../"), "leave its folder"),
    "link": (lambda: named("link", create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16), "a link"),
    "device file": (lambda: named("file", create_system=3, external_attr=(stat.S_IFCHR | 0o666) << 16), "no file"),
    "folder as file": (lambda: named("file", create_system=3, external_attr=(stat.S_IFDIR | 0o777) << 16), "no file"),
    "encrypted": (lambda: with_flags(1), "encrypted"),
    "strongly encrypted": (lambda: with_flags(0x41), "encrypted"),
    "another method": (lambda: with_method(14), "not known"),
    "twice": (twice, "two members"),
    "overlapping": (overlapping, "overlap"),
    "bomb": (bomb, "unpacked it would be"),
    "lying": (lying, "contradict"),
    "crowd": (crowd, "is the most"),
    "prefixed": (prefixed, "not where it says"),
    "nothing": (lambda: b"", "no zip file"),
    "something else": (lambda: b"GIF89a" * 1000, "no zip file"),
    "cut at the end": (lambda: archive()[:-1], "no zip file"),
    "cut in the middle": (lambda: archive()[:100] + archive()[150:], "not where it says"),
}


@pytest.mark.parametrize("kind", EVIL)
def test_what_does_harm_is_refused(kind: str, tmp_path: Path) -> None:
    made, why = EVIL[kind]
    (tmp_path / "a.zip").write_bytes(made())
    store = open_store(tmp_path / "a.zip")
    for use in (lambda: list(store.list()), lambda: store.get("a"), lambda: store.exists("a"), lambda: store.get_many(["a"])):
        with pytest.raises(MalformedBundle, match=why) as caught:
            use()
    assert "a.zip" in str(caught.value) and "Nothing of it was used" in str(caught.value)
    assert os.listdir(tmp_path) == ["a.zip"]


def test_there_is_no_such_file(tmp_path: Path) -> None:
    for where in (tmp_path / "none.zip", tmp_path / "no" / "none.zip"):
        with pytest.raises(StoreError, match="there is no file"):
            open_store(where).exists("a")
    assert not list(tmp_path.iterdir())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_changed_is_refused_or_read_as_it_is(tmp_path: Path, data: st.DataObject) -> None:
    """A flipped byte anywhere: an error of ours, or bytes that are shorter, others or the same; never another name, never more bytes."""
    whole = archive()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    file = tmp_path / "a.zip"
    file.write_bytes(changed)
    os.utime(file, ns=(place, place))
    try:
        store = ZipStore(file)
        for path in store.list():
            found = store.stat(path)
            assert found is not None and len(store.get(path)) <= found.size
        damaged = store.first_damaged()
        assert damaged is None or store.exists(damaged)
    except MalformedBundle:
        pass


def test_any_damage_of_the_bytes_is_found(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        whole = archive({"a": b"some bytes" * 1000, "b": b"others" * 100}, method)
        end = whole.index(b"PK\1\2")
        for place in range(31, end, 7):
            file = tmp_path / f"{method}-{place}.zip"
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            store = ZipStore(file)
            try:
                good = store.get_many(["a", "b"]) == {"a": b"some bytes" * 1000, "b": b"others" * 100}
                assert (store.first_damaged() is None) == good
            except MalformedBundle:
                pass


def test_a_replaced_archive_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(archive({"a": b"1"}))
    store = open_store(file)
    first = store.listing_stamp()
    assert store.get("a") == b"1"
    (tmp_path / "new").write_bytes(archive({"b": b"2"}))
    os.replace(tmp_path / "new", file)
    assert store.get("b") == b"2" and list(store.list()) == ["b"] and not store.exists("a")
    assert store.listing_stamp() != first


def test_folders_and_comments_are_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.mkdir("a")
        made.writestr("a/1", b"1")
        made.comment = b"PK\5\6 is how it ends, says " + b"this comment" * 100
    store = open_store(tmp_path / "a.zip")
    assert list(store.list()) == ["a/1"] and store.get("a/1") == b"1"


def test_archives_beyond_four_gigabytes(tmp_path: Path) -> None:
    """Sizes and places of more than 32 bits: of a sparse file, whose bytes nobody writes."""
    size = (1 << 32) + 7
    file = tmp_path / "a.zip"
    data = b"behind it"
    crc = zlib.crc32(data)
    with open(file, "wb") as out:
        out.write(struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 33, 0, 0xFFFFFFFF, 0xFFFFFFFF, 5, 20) + b"large")
        out.write(struct.pack("<2H2Q", 1, 16, size, size))
        out.seek(size, os.SEEK_CUR)
        second = out.tell()
        out.write(struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 33, crc, len(data), len(data), 5, 0) + b"small" + data)
        begins = out.tell()
        entry = "<4s6H3L5H2L"
        extra = struct.pack("<2H2Q", 1, 16, size, size)
        out.write(
            struct.pack(entry, b"PK\1\2", 45, 45, 0, 0, 0, 33, 0, 0xFFFFFFFF, 0xFFFFFFFF, 5, len(extra), 0, 0, 0, 0, 0) + b"large" + extra
        )
        extra = struct.pack("<2HQ", 1, 8, second)
        out.write(
            struct.pack(entry, b"PK\1\2", 45, 45, 0, 0, 0, 33, crc, len(data), len(data), 5, len(extra), 0, 0, 0, 0, 0xFFFFFFFF)
            + b"small"
            + extra
        )
        end = out.tell()
        out.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, end - begins, begins))
        out.write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
        out.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    assert zipfile.ZipFile(file).namelist() == ["large", "small"]
    store = open_store(file)
    assert store.get("small") == data
    with store.read("large") as reading:
        reading.seek(size - 3)
        assert reading.read() == b"\0\0\0"


def test_a_directory_of_many_members_takes_one_read(tmp_path: Path) -> None:
    whole = archive({f"x/{number}": b"%d" % number for number in range(500)})
    reads: list[tuple[int, int]] = []

    def read(first: int, last: int) -> bytes:
        reads.append((first, last))
        return whole[first:last]

    assert len(read_directory(read, len(whole), "a.zip")) == 500
    assert len(reads) == 1
