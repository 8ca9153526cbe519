"""Presence of very many payloads: a call or two of the store for thousands, and next to nothing parsed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from persistable.fileio.base import FileIO
from persistable.records.failure import FAILED_SUFFIX, Failure
from persistable.records.key import Key
from persistable.records.record import SUFFIX, encoded
from persistable.records.record_cache import Read, is_sound, records_at
from persistable.stores.base import Store

_TEXT = rb'"[^"]*+"'


@lru_cache(maxsize=32)
def _line(io: bytes) -> re.Pattern[bytes]:
    """The first line of nearly every record of the format `io`: of a payload that is one file, and nothing more."""
    return re.compile(
        rb'\{"record":1,"key":%b,"token":%b,"io":%b,"class":%b,"code":\{"python":%b,"quick":"([^"]*+)"\},'
        % (_TEXT, _TEXT, re.escape(io), _TEXT, _TEXT)
        + rb'"files":\[\["","([^"]++)",([0-9]++),"([0-9a-f]++)"\]\](?:,"made_from":\[([^\]]*+)\])?,\n'
    )


class Head(NamedTuple):
    """The first facts in the record of one payload. made_by: see the function."""

    made_by: bytes
    path: str
    size: int
    digest: str
    data: bytes | None
    """The bytes at `path`, where it came with the record."""


def heads(store: Store, bases: Sequence[str], format_: bytes) -> dict[str, Head]:
    """Return the first line of each record that is sound, of this format and of the usual form. bases: paths of keys."""
    records = [base + SUFFIX for base in bases]
    get, match = Read(store, records, colocated=True).data.get, _line(format_).match
    found: dict[str, Head] = {}
    for base, data in zip(bases, map(get, records), strict=True):
        head = match(data) if data is not None else None
        if head is not None and data is not None and is_sound(data):
            quick, file, size, digest, made_from = head.groups()
            path = file.decode()
            if path.startswith(base):
                found[base] = Head(quick if made_from is None else quick + made_from, path, int(size), digest.decode(), get(path))
    return found


def failed_attempts(store: Store, bases: Sequence[str]) -> dict[str, int]:
    """The numbers of the last attempts at those of the `bases` whose failure is recorded. bases: paths of keys."""
    found = records_at(store, [base + FAILED_SUFFIX for base in bases])
    failures = {path.removesuffix(FAILED_SUFFIX): data for path, data in found.items()}
    return {base: Failure.parse(data, Key.parse(base)).attempt for base, data in failures.items()}


def made_by(told: tuple[str, list[Any] | None] | None) -> bytes | None:
    """The bytes of a record where nothing has changed since, as `heads` and `present` give it; None where that cannot be told for all."""
    if told is None or not told[0]:
        return None
    quick, made_from = told
    return quick.encode() if made_from is None else quick.encode() + encoded(made_from)[1:-1]


def format_in_records(io: FileIO[Any]) -> bytes:
    """The name of a format in records, for `heads` and `present`."""
    return encoded(io.spec())


def present(store: Store, bases: Sequence[str], format_: bytes) -> dict[str, bytes]:
    """The `bases` with a sound record and a file of the size that it names, and what they were made by and from, see `made_by`.

    One that is left out may be there all the same: it takes a closer look, as do those that another format has written than `format_`.
    """
    records = [base + SUFFIX for base in bases]
    read = Read(store, records, colocated=True)
    get, match = read.data.get, _line(format_).match
    found: dict[str, bytes] = {}
    apart: dict[str, tuple[str, int, bytes]] = {}
    for base, data in zip(bases, map(get, records), strict=True):
        if data is None:
            continue
        head = match(data)
        if head is None or not is_sound(data):
            continue
        quick, file, size, _, made_from = head.groups()
        if made_from is not None:
            quick += made_from
        path = file.decode()
        if not path.startswith(base):
            continue  # moved here by hand
        beside = get(path)
        if beside is None:
            apart[base] = path, int(size), quick
        elif len(beside) == int(size):
            found[base] = quick
    if apart:
        files = read.stat_many([path for path, _, _ in apart.values()])
        found.update({base: quick for base, (path, size, quick) in apart.items() if path in files and files[path].size == size})
    return found
