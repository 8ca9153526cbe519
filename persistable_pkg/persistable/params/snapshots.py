"""Snapshots of params, to tell whether they have changed since their key was made."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from persistable.params import encoding
from persistable.params.class_tables import ClassTable
from persistable.params.encoding import encode_with
from persistable.params.fields import Spec
from persistable.params.reduced_values import Refused
from persistable.params.unset import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from persistable.params.encoding import Nodes, Path


class Snapshot:
    """The result of `capture`: for each tracked field its value, and its bytes if a value of that kind can change in place.

    plain: whether all of them are numbers, text and the like, which cannot change and hold no code. version: that of the node, once it
        is part of a key.
    """

    __slots__ = ("plain", "raw", "rows", "version")

    def __init__(
        self, rows: tuple[tuple[str, Any, bytes | None], ...], raw: bytes | None, plain: bool = False, version: Any = UNSET
    ) -> None:
        self.rows = rows
        self.raw = raw
        self.plain = plain
        self.version = version


def capture(params: Any, place: str = "", nodes: list[tuple[str, Any]] | None = None) -> tuple[bytes, Snapshot]:
    """Return the canonical bytes of `params`, as `encode` does, and a Snapshot to compare with later, for the cost of the bytes alone."""
    found: tuple[bytes, Snapshot] = encode_with(_capture, params, place, nodes)
    return found


def snapshot(params: Any) -> Snapshot:
    """A Snapshot of `params` as they are now. Raises UntrackableParam as `encode` does."""
    return capture(params, nodes=[])[1]


def _capture(params: Any, path: Path, nodes: Nodes) -> tuple[bytes, Snapshot]:
    rows = tracked_rows(type(params))
    if rows is None:
        raw = encoding.item_bytes(params, path, nodes)
        fixed = is_immutable(params)
        return raw, Snapshot((), None if fixed else _compact(raw), fixed)
    prefix, fields = rows
    out = [prefix]
    kept: list[tuple[str, Any, bytes | None]] = []
    plain = True
    for attr, key, pin in fields:
        value = getattr(params, attr, UNSET)
        scalar = encoding.SCALARS.get(type(value))
        if scalar is not None:
            raw = scalar(value)
            kept.append((attr, value, None))
        else:
            plain = False
            raw = encoding.field_bytes(params, attr, path, nodes)
            kept.append(row_of(attr, value, raw))
        if raw != pin:
            out.append(key + raw)
    out.append(b"})")
    return b"".join(out), Snapshot(tuple(kept), None, plain)


def row_of(attr: str, value: Any, raw: bytes) -> tuple[str, Any, bytes | None]:
    """The entry of a `Snapshot` for a field whose value has these bytes."""
    return attr, value, None if is_immutable(value) else _compact(raw)


def tracked_rows(cls: type) -> tuple[bytes, list[tuple[str, bytes, bytes | None]]] | None:
    """The first bytes of each value of a params class with a fixed set of fields, and the fields in the order of their bytes; else None."""
    found: Any = _ROWS.found.get(id(cls))
    if found is None:
        spec: Spec | None = None if cls in encoding.SCALARS or encoding.is_node(cls) else encoding.fields_of(cls)
        found = False if spec is None or spec.extras else (encoding.object_prefix(spec), encoding.tracked_rows(spec))
        _ROWS.set(cls, found)
    return found or None


_ROWS = ClassTable()


def first_change(params: Any, before: Snapshot) -> str | None:
    """The first tracked field of `params` that has changed since the snapshot `before`, or None.

    A field that cannot be encoded any more counts as changed. Costs next to nothing where fields hold numbers, text and the like;
    lists, dicts, arrays and frames are encoded again.
    """
    for attr, value, raw in before.rows:
        now = getattr(params, attr, UNSET)
        if now is value and raw is None:
            continue
        if now is UNSET or _bytes(now) != (_bytes(value) if raw is None else raw):
            return attr
    if before.raw is not None and _bytes(params) != before.raw:
        return type(params).__name__
    return None


def unchanged(before: Any, now: Any) -> bool:
    """Tell whether two values have the same canonical bytes; False if `before` has none."""
    raw = _bytes(before)
    return raw is not None and raw == _bytes(now)


def _bytes(value: Any) -> bytes | None:
    try:
        return _compact(encoding.item_bytes(value, [], []))
    except (Refused, RecursionError):
        return None


def _compact(raw: bytes) -> bytes:
    """The bytes, or their digest if they are long, since a node keeps them in memory."""
    if len(raw) <= _KEPT_BYTES:
        return raw
    from blake3 import blake3

    return blake3(raw).digest()


_KEPT_BYTES = 200


def is_immutable(value: Any) -> bool:
    """Tell whether `value` cannot change in place, as far as Python can guarantee that."""
    cls = type(value)
    if cls in encoding.SCALARS or isinstance(value, type):
        return True
    if cls is tuple or cls is frozenset:
        return all(map(is_immutable, value))
    if encoding.is_node(cls):
        return True  # its digest is fixed
    if cls.__module__.partition(".")[0] in _LASTING and cls.__name__ in _LASTING_NAMES:
        return True
    return any(base.__module__ == "enum" for base in cls.__mro__) or isinstance(getattr(value, "__code__", None), _CODE)


_CODE = type(is_immutable.__code__)
_LASTING = ("pathlib", "datetime", "decimal", "fractions", "uuid", "builtins", "re", "zoneinfo", "numpy", "pandas")
_LASTING_NAMES = {
    "PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath", "date", "datetime", "time", "timedelta", "timezone",
    "Decimal", "Fraction", "UUID", "complex", "range", "ellipsis", "Pattern", "ZoneInfo", "float16", "float32", "float64", "int8", "int16",
    "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "bool_", "str_", "bytes_", "complex64", "complex128", "datetime64",
    "timedelta64", "Timestamp", "Timedelta", "NaTType", "NAType",
}  # fmt: skip


def untracked_values(params: Any) -> dict[str, Any]:
    """The values of the untracked fields of `params`, nested ones too: dotted path to tree, or to ``{"$repr": …}``. Never raises."""
    found: dict[str, Any] = {}
    try:
        _untracked(params, "", found, 0)
    except Exception:  # noqa: BLE001 - values that are not identity must not cause failures
        return found
    return found


def _untracked(params: Any, place: str, found: dict[str, Any], depth: int) -> None:
    if type(params) in encoding.SCALARS or depth > encoding.MAX_DEPTH:
        return
    if isinstance(params, list | tuple | dict):
        inside = params.items() if isinstance(params, dict) else enumerate(params)
        for key, item in inside:
            _untracked(item, f"{place}.{key}" if place else str(key), found, depth + 1)
        return
    try:
        spec = encoding.fields_of(type(params))
    except Exception:  # noqa: BLE001
        return
    for field in spec.fields if spec is not None else ():
        value = getattr(params, field.attr, None)
        inner = f"{place}.{field.attr}" if place else field.attr
        if field.markers.untracked:
            found[inner] = _shown(value)
        elif type(value) not in encoding.SCALARS:
            _untracked(value, inner, found, depth + 1)


def _shown(value: Any) -> Any:
    from persistable.params.trees import item_tree

    try:
        return item_tree(value)
    except Exception:  # noqa: BLE001
        pass
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001
        text = f"<{type(value).__qualname__}>"
    return {"$repr": text if len(text) <= 1000 else text[:1000] + "…"}
