"""Presence of very many payloads: one or two calls of the store for thousands of them, and almost no parsing."""

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
    """A pattern of the first line of nearly every record of the format `io`: of a payload in one file, without other members."""
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
    """The bytes at `path`, if they were read with the record."""


def heads(store: Store, bases: Sequence[str], format_: bytes) -> dict[str, Head]:
    """Return the first line of each record that is sound, of this format and of the usual form. bases: paths of keys."""
    return _heads(_read(store, bases), bases, format_)


def _read(store: Store, bases: Sequence[str]) -> Read:
    return Read(store, [base + SUFFIX for base in bases], colocated=True)


def _heads(read: Read, bases: Sequence[str], format_: bytes) -> dict[str, Head]:
    get, match = read.data.get, _line(format_).match
    found: dict[str, Head] = {}
    for base in bases:
        data = get(base + SUFFIX)
        head = match(data) if data is not None else None
        if head is not None and data is not None and is_sound(data):
            quick, file, size, digest, made_from = head.groups()
            path = file.decode()
            if path.startswith(base):  # else it was moved here by hand
                found[base] = Head(quick if made_from is None else quick + made_from, path, int(size), digest.decode(), get(path))
    return found


def failed_attempts(store: Store, bases: Sequence[str]) -> dict[str, int]:
    """The number of the last attempt at each of the `bases` whose failure is recorded. bases: paths of keys."""
    found = records_at(store, [base + FAILED_SUFFIX for base in bases])
    failures = {path.removesuffix(FAILED_SUFFIX): data for path, data in found.items()}
    return {base: Failure.parse(data, Key.parse(base)).attempt for base, data in failures.items()}


def made_by(fingerprint: tuple[str, list[Any] | None] | None) -> bytes | None:
    """The bytes that `heads` and `present` give for a record that is up to date; None where upstream is stale, or the code unknown."""
    if fingerprint is None or not fingerprint[0]:
        return None
    quick, made_from = fingerprint
    return quick.encode() if made_from is None else quick.encode() + encoded(made_from)[1:-1]


def format_in_records(io: FileIO[Any]) -> bytes:
    """The name of a format in records, for `heads` and `present`."""
    return encoded(io.spec())


def present(store: Store, bases: Sequence[str], format_: bytes) -> dict[str, bytes]:
    """The `bases` with a sound record and a file of the recorded size, mapped to their `made_by` bytes.

    A payload that is left out may exist all the same: it needs a closer look, as do records of another format than `format_`.
    """
    read = _read(store, bases)
    found = _heads(read, bases, format_)
    sizes = {head.path: len(head.data) for head in found.values() if head.data is not None}
    elsewhere = read.stat_many([head.path for head in found.values() if head.data is None])
    sizes.update({path: stat.size for path, stat in elsewhere.items()})
    return {base: head.made_by for base, head in found.items() if sizes.get(head.path) == head.size}
