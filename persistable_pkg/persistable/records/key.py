"""A key: the name of a payload and the digest of everything that determines the payload.

The digest is BLAKE3, 128 bits, of: the scheme, the payload name, its version, its own canonical params, and the digest of each upstream
node under its role. ``docs/design/identity.md`` says how each is encoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from blake3 import blake3

from persistable.errors import InvalidName
from persistable.params.encoding import encode
from persistable.stores.custom_path import PLACED

SCHEME = 1
DIGEST_BYTES = 16
MAX_NAME_BYTES = 150
_PREFIX = b"persistable/%d\n" % SCHEME
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,80}", re.ASCII)
_DEVICE = re.compile(r"(?i:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]) *(?:[.:]|\Z)")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_DIGEST = re.compile(r"[0-9a-f]{%d}" % (2 * DIGEST_BYTES))


class Key(NamedTuple):
    """The identity of one payload. ``str(key)`` is its path, ``name/digest``, and `parse` inverts that."""

    name: str
    """The name of the payload."""
    digest: str
    """32 hexadecimal digits."""

    @property
    def path(self) -> str:
        """The path of the payload in a store, without suffix."""
        return f"{self.name}/{self.digest}"

    @property
    def key(self) -> Key:
        """Itself: a payload is stored under its key unless it is placed elsewhere, see `Placed`."""
        return self

    def file(self, token: str, suffix: str) -> str:
        """The path at which the attempt `token` stores its payload."""
        return f"{self.name}/{self.digest}.{token}{suffix}"

    def __str__(self) -> str:
        return f"{self.name}/{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key whose `path` is `text`. Raises InvalidName for anything else."""
        name, _, digest = text.rpartition("/")
        if not _DIGEST.fullmatch(digest):
            raise InvalidName(f"{text!r} is no key: expected name/digest with {2 * DIGEST_BYTES} hexadecimal digits", name=text)
        return cls(_checked(name), digest)


class Placed(NamedTuple):
    """A payload at a custom path, `to`. Its record is stored apart, and shows whether the file there is this payload."""

    name: str
    digest: str
    to: str

    @property
    def key(self) -> Key:
        return Key(self.name, self.digest)

    @property
    def path(self) -> str:
        """The beginning of the names of its record, failure and claim."""
        return f"{PLACED}/{self.to}"

    def file(self, token: str, suffix: str) -> str:
        """The path at which every attempt stores its payload."""
        return self.to

    def __str__(self) -> str:
        return f"{self.name}/{self.digest} at {self.to}"


Place = Key | Placed
"""The location of a payload and its record."""


def check_payload_name(name: str) -> str:
    """Return `name`, if it can be a folder on every platform and in every store; else raise InvalidName with the reason."""
    device = _DEVICE.match(name)
    if _SAFE_NAME.fullmatch(name) and not device:
        return name
    unsafe = _UNSAFE.search(name)
    if not name:
        reason = "it is empty"
    elif device:
        reason = "Windows takes it for a device, whatever its suffix"
    elif unsafe:
        reason = f"it contains {unsafe.group()!r}"
    elif name[0] == "." or name[-1] in ". " or name[0] == " ":
        reason = "it starts or ends with a dot or a space"
    else:
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            reason = "it contains half a surrogate pair"
        else:
            if size <= MAX_NAME_BYTES:
                return name
            reason = f"it is {size} bytes long, the limit is {MAX_NAME_BYTES}"
    shown = name if len(name) <= 60 else name[:57] + "..."
    raise InvalidName(f"payload name {shown!r}: {reason}; set payload_name, of a step @step(name=...), to another", name=name)


_checked = lru_cache(256)(check_payload_name)


def digest_of(name: str, version: object, params: bytes, upstream: Mapping[str, str]) -> str:
    """The digest of a node: `params` are its canonical bytes, `upstream` maps each role to the digest of its node."""
    parts = [beginning(name, version), params]
    if upstream:
        parts.extend([encode(role) + bytes.fromhex(upstream[role]) for role in sorted(upstream)])
    return blake3(b"".join(parts)).digest(DIGEST_BYTES).hex()


def beginning(name: str, version: object) -> bytes:
    """The bytes of scheme, payload name and version, with which the input of `digest_of` to the hash begins."""
    if type(version) is not int:
        return b"".join((_PREFIX, encode(name), encode(version)))
    known = _beginnings.get((name, version))
    if known is None:
        known = _beginnings[name, version] = b"".join((_PREFIX, encode(name), encode(version)))
    return known


_beginnings: dict[tuple[str, int], bytes] = {}
