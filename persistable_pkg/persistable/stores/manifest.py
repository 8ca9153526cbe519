"""The manifest of an exported folder or bundle: every file in it with size and digest, so that a folder of a web server can be listed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from zlib import crc32

from persistable.errors import InvalidName, MalformedBundle, StoreTooNew
from persistable.stores.base import HIDDEN, check_paths

FORMAT = 1
"""The format that is written here, and the latest that is read."""
PATH = f"{HIDDEN}/manifest.json"
_CHECK = b'\n],"check":"'
_CHECK_BYTES = len(_CHECK) + 8 + len(b'"}\n')


class ManifestEntry(NamedTuple):
    """A file of a manifest: its size in bytes, and its BLAKE3 (hexadecimal)."""

    size: int
    digest: str


def write_manifest(files: Iterable[tuple[str, ManifestEntry]], made_by: str, write: Callable[[bytes], Any]) -> None:
    """Pass the content of the manifest to `write`, in a piece per file: one JSON object, whose last member is the CRC-32 of all before."""
    head = json.dumps({"manifest": FORMAT, "made_by": made_by}, separators=(",", ":"))[:-1]
    crc, between = 0, f'{head},"files":['
    for path, (size, digest) in files:
        piece = f"{between}\n{json.dumps([path, size, digest], separators=(',', ':'))}".encode()
        between = ","
        crc = crc32(piece, crc)
        write(piece)
    if between != ",":
        crc = crc32(between.encode(), crc)
        write(between.encode())
    write(b'%b%08x"}\n' % (_CHECK, crc))


def read_manifest(data: bytes, url: str) -> dict[str, ManifestEntry]:
    """Each file by its path. Raises MalformedBundle for a damaged manifest or an invalid path in it, StoreTooNew for a later format."""
    body = data[:-_CHECK_BYTES]
    if data[-_CHECK_BYTES:] != b'%b%08x"}\n' % (_CHECK, crc32(body)):
        raise _refused(url, "is damaged: its checksum is not that of its content")
    try:
        facts: Any = json.loads(data)
        version: Any = facts["manifest"]
        if version.__class__ is int and version > FORMAT:
            raise StoreTooNew.of(f"the manifest of {url} has format {version}", version, FORMAT, url=url, path=PATH)
        found = {path: ManifestEntry(size, digest) for path, size, digest, *_ in facts["files"]}
        check_paths(found)
    except InvalidName as error:
        raise _refused(url, f"names an invalid path ({error})") from None
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise _refused(url, f"means nothing ({type(error).__name__})") from error
    if not all(size.__class__ is int and size >= 0 and digest.__class__ is str for size, digest in found.values()):
        raise _refused(url, "has sizes or digests that are none")
    return found


def _refused(url: str, why: str) -> MalformedBundle:
    return MalformedBundle(f"the manifest of {url} {why}; export it anew", url=url, path=PATH)
