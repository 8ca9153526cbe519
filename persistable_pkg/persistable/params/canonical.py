"""Canonical bytes from a tree, without the classes of the values: what a tree holds is what the bytes hold."""

# Trees hold values of every type, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from persistable.errors import ParamsError
from persistable.params.encoding import SCALARS, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

WAYS = 3
"""Ways to read a short ``$bytes`` inside an array or frame, where a tree does not tell a raw buffer from a bytes value."""
_BUFFERED = ("array", "matrix", "recarray", "masked", "scalar", "dtype")
_LIBRARIES = ("pandas.", "polars.", "pyarrow.", "torch.", "scipy.", "xarray.")


def canonical(data: Any, way: int = 0) -> bytes:
    """The bytes that `encode` gives for the value of which `data` is the tree.

    way: 0 takes each ``$bytes`` inside an array or frame for a raw buffer, 1 those that are not in a list, 2 none. Whoever knows the digest
    tells which is right. Raises ParamsError where the tree has only the digest of something.
    """
    return _Writer(way).value(data, False)


def object_bytes(name: str, fields: Iterable[tuple[str, Any]], way: int = 0) -> bytes:
    """The bytes of a params object whose class is called `name`; `fields` are name and tree of each."""
    return _Writer(way).fields(name, fields, False)


class _Writer:
    def __init__(self, way: int) -> None:
        self._way = way

    def value(self, data: Any, buffered: bool, listed: bool = False) -> bytes:
        """The bytes of a tree. buffered: whether it is inside an array or frame. listed: whether it is an item of a list."""
        if isinstance(data, list):
            return b"[" + b"".join([self.value(item, buffered, True) for item in data]) + b"]"
        if not isinstance(data, dict):
            return SCALARS[type(data)](data)
        if "$object" in data:
            return self.fields(data["$object"], fields_of(data), buffered)
        tag = next((key for key in data if key.startswith("$")), None)
        if tag is None:
            return self._rows([(encode(key), item) for key, item in data.items()], buffered)
        return self._tagged(tag[1:], data[tag], buffered, listed)

    def fields(self, name: str, fields: Iterable[tuple[str, Any]], buffered: bool) -> bytes:
        return b"@s6:object(" + encode(name) + self._rows([(encode(key), item) for key, item in fields], buffered) + b")"

    def _rows(self, pairs: Iterable[tuple[bytes, Any]], buffered: bool) -> bytes:
        return b"{" + b"".join(sorted([key + self.value(item, buffered) for key, item in pairs])) + b"}"

    def _tagged(self, tag: str, content: Any, buffered: bool, listed: bool) -> bytes:
        if tag in ("int", "float", "str"):
            from persistable.params.reader import Reader

            return encode(Reader().read({f"${tag}": content}))
        if tag in ("bytes", "blob", "bulk"):
            return self._bytes(tag, content, buffered, listed)
        if tag == "dict":
            return self._rows([(self.value(key, buffered), item) for key, item in content], buffered)
        if tag in ("tuple", "set", "frozenset"):
            items = [self.value(item, buffered, True) for item in content]
            if tag == "tuple":
                return b"(" + b"".join(items) + b")"
            return (b"@s9:frozenset" if tag == "frozenset" else b"") + b"<" + b"".join(sorted(items)) + b">"
        if tag == "node":
            return b"@s4:node" + encode(bytes.fromhex(content.rpartition("/")[2]))
        return b"@" + encode(tag) + self.value(content, buffered or tag in _BUFFERED or tag.startswith(_LIBRARIES))

    def _bytes(self, tag: str, content: Any, buffered: bool, listed: bool) -> bytes:
        if tag == "blob":
            return b"#" + bytes.fromhex(content["blake3"])
        if isinstance(content, dict):
            raise ParamsError(f"of a large value only the digest is known ({content['blake3']})")
        from binascii import a2b_base64

        raw = a2b_base64(content)
        if buffered and (self._way == 0 or (self._way == 1 and not listed)):
            from blake3 import blake3

            return b"#" + blake3(raw).digest()
        return encode(raw)


def fields_of(data: dict[str, Any]) -> list[tuple[str, Any]]:
    """Name and tree of each field of the params object that `data` is the tree of."""
    if "$fields" in data:
        return [(name, item) for name, item in data["$fields"]]
    return [(name, item) for name, item in data.items() if not name.startswith("$")]
