"""Canonical bytes from a tree, without the classes of the values: both hold the same data."""

# Trees hold values of every type, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from persistable.errors import ParamsError
from persistable.params.encoding import encode
from persistable.params.reduced_values import Blob, Tagged, blob
from persistable.params.trees import COLLECTIONS, fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

BYTES_READINGS = 3
"""Ways to read a short ``$bytes`` inside an array or frame, where a tree does not distinguish a raw buffer from a bytes value."""
_BUFFERED = ("array", "matrix", "recarray", "masked", "scalar", "dtype")
_LIBRARIES = ("pandas.", "polars.", "pyarrow.", "torch.", "scipy.", "xarray.")


def canonical(data: Any, bytes_reading: int = 0) -> bytes:
    """The bytes that `encode` gives for the value with the tree `data`.

    bytes_reading: 0 reads each ``$bytes`` inside an array or frame as a raw buffer, 1 those that are not in a list, 2 none. A caller that
    knows the digest finds the right one. Raises ParamsError where the tree has only the digest of a value.
    """
    return encode(_Reduced(bytes_reading).value(data))


def object_bytes(name: str, fields: Iterable[tuple[str, Any]], bytes_reading: int = 0) -> bytes:
    """The bytes of a params object whose class is called `name`; `fields` are name and tree of each."""
    return encode(_Reduced(bytes_reading).object(name, fields))


class _Reduced:
    """Turns trees into the reduced form of their values, which can be encoded."""

    def __init__(self, bytes_reading: int) -> None:
        self._bytes_reading = bytes_reading

    def value(self, data: Any, buffered: bool = False, listed: bool = False) -> Any:
        """The reduced form of a tree. buffered: whether it is inside an array or frame. listed: whether it is an item of a list."""
        if isinstance(data, list):
            return [self.value(item, buffered, True) for item in data]
        if not isinstance(data, dict):
            return data
        if "$object" in data:
            return self.object(data["$object"], fields_of(data), buffered)
        tag = next((key for key in data if key.startswith("$")), None)
        if tag is None:
            return {key: self.value(item, buffered) for key, item in data.items()}
        return self._tagged(tag[1:], data[tag], buffered, listed)

    def object(self, name: str, fields: Iterable[tuple[str, Any]], buffered: bool = False) -> Tagged:
        return Tagged("object", (name, {key: self.value(item, buffered) for key, item in fields}))

    def _tagged(self, tag: str, content: Any, buffered: bool, listed: bool) -> Any:
        if tag in ("int", "float", "str"):
            from persistable.params.reader import Reader

            return Reader().read({f"${tag}": content})
        if tag in ("bytes", "blob", "bulk"):
            return self._bytes(tag, content, buffered, listed)
        if tag == "dict":
            return {self.value(key, buffered): self.value(item, buffered) for key, item in content}
        if tag in COLLECTIONS:
            return COLLECTIONS[tag]([self.value(item, buffered, True) for item in content])
        if tag == "node":
            return Tagged(tag, bytes.fromhex(content.rpartition("/")[2]))
        return Tagged(tag, self.value(content, buffered or tag in _BUFFERED or tag.startswith(_LIBRARIES)))

    def _bytes(self, tag: str, content: Any, buffered: bool, listed: bool) -> Any:
        if tag == "blob":
            return Blob(bytes.fromhex(content["blake3"]), content["size"], None)
        if isinstance(content, dict):
            raise ParamsError(f"of a large value only the digest is known ({content['blake3']})")
        from binascii import a2b_base64

        raw = a2b_base64(content)
        return blob([raw], len(raw)) if buffered and (self._bytes_reading == 0 or (self._bytes_reading == 1 and not listed)) else raw
