"""Values as canonical bytes: typed, injective, self-delimiting. ``docs/design/identity.md`` is the specification.

Every function here that encodes takes ``(value, path, nodes)``: `path` is the stack of steps that led to the value, for errors, for the
roles of nodes, and for the limit on depth; `nodes` collects persistables found among the values, or is None.
"""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from _struct import Struct

from persistable.errors import UntrackableParam
from persistable.params import extensions
from persistable.params.class_tables import ClassTable, TypeTable
from persistable.params.fields import NO_PIN, Spec, name_in_identity, spec_of
from persistable.params.reduced_values import Blob, Bulk, Parts, Refused, Tagged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from persistable.params.reduced_values import Reduce

    Path = list[Any]
    Nodes = list[Any] | None
    Writer = Callable[[Any, Path, Nodes], bytes]

MAX_DEPTH = 100
"""Largest depth of nested values. Deeper ones are refused: nearly always, such a value contains itself."""

# ------------------------------------------------------------------ plain values

_NAN = b"f\x7f\xf8\x00\x00\x00\x00\x00\x00"
_double = Struct(">d").pack


def _none(_: None) -> bytes:
    return b"N"


def _bool(value: bool) -> bytes:
    return b"T" if value else b"F"


def _int(value: int) -> bytes:
    return b"i%x;" % value


def _float(value: float) -> bytes:
    return b"f" + _double(value) if value == value else _NAN


def _str(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(raw), raw)


def _bytes(value: bytes) -> bytes:
    return b"b%d:%b" % (len(value), value)


SCALARS: dict[type, Callable[[Any], bytes]] = {type(None): _none, bool: _bool, int: _int, float: _float, str: _str, bytes: _bytes}
_scalar = SCALARS.get


def _item(value: Any, path: Path, nodes: Nodes) -> bytes:
    kind = type(value)
    scalar = _scalar(kind)
    if scalar is not None:
        return scalar(value)
    if len(path) > MAX_DEPTH:
        check_depth(path)
    writer = _containers.get(kind) or _WRITERS.found.get(id(kind)) or _resolve(kind)
    return writer(value, path, nodes)


item_bytes = _item


def check_depth(path: Path) -> None:
    """Raise Refused if values are nested too deep."""
    if len(path) > MAX_DEPTH:
        raise Refused(f"it is nested more than {MAX_DEPTH} deep, or contains itself", "make it flatter")


def _items(value: Any, path: Path, nodes: Nodes) -> list[bytes]:
    out = []
    for i, item in enumerate(value):
        scalar = _scalar(type(item))
        if scalar is not None:
            out.append(scalar(item))
        else:
            path.append(i)
            out.append(_item(item, path, nodes))
            path.pop()
    return out


def _list(value: Any, path: Path, nodes: Nodes) -> bytes:
    return b"[" + b"".join(_items(value, path, nodes)) + b"]"


def _tuple(value: Any, path: Path, nodes: Nodes) -> bytes:
    return b"(" + b"".join(_items(value, path, nodes)) + b")"


def _set(value: Any, path: Path, nodes: Nodes) -> bytes:
    return b"<" + b"".join(sorted(_items(value, path, nodes))) + b">"


def _frozenset(value: Any, path: Path, nodes: Nodes) -> bytes:
    return b"@s9:frozenset<" + b"".join(sorted(_items(value, path, nodes))) + b">"


def _dict(value: Any, path: Path, nodes: Nodes) -> bytes:
    rows = []
    for key, item in value.items():
        path.append((key,))
        # no encoding is the start of another, so sorting whole rows sorts them by their keys
        rows.append(_item(key, path, nodes) + _item(item, path, nodes))
        path.pop()
    rows.sort()
    return b"{" + b"".join(rows) + b"}"


def _parts(value: Any, path: Path, nodes: Nodes) -> bytes:
    rows = []
    for key, item in value.items():
        path.append(key)
        rows.append(_str(key) + _item(item, path, nodes))
        path.pop()
    rows.sort()
    return b"{" + b"".join(rows) + b"}"


def _tagged(value: Tagged, path: Path, nodes: Nodes) -> bytes:
    return b"@" + _str(value.tag) + _item(value.content, path, nodes)


def _blob(value: Blob, _path: Path, _nodes: Nodes) -> bytes:
    return b"#" + value.digest


_containers: dict[type, Writer] = {
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
    Parts: _parts,
    Bulk: _list,
    Tagged: _tagged,
    Blob: _blob,
}

# ------------------------------------------------------------------ everything else, worked out once per class

_WRITERS = ClassTable()
_REDUCERS = ClassTable()
_FIELDS = ClassTable()
_REGISTERED = TypeTable()
_PACKAGE_REDUCERS: list[TypeTable] = []
"""The table of functions that installed packages register by entry points, once these have been listed."""


def register_params(cls: type | str, reduce: Callable[[Any], Any], *, replace: bool = False) -> None:
    """Make values of `cls`, and of subclasses that have no registration of their own, usable as params.

    `cls` may be named as ``"module:Qualname"``, so that its package need not be imported. `reduce` maps such a value to
    one that can be encoded: all that distinguishes it from others, and nothing else. The name of the value's class is part of
    identity, its module is not. Processes that work for this one register it too. An installed package can do it by an entry point
    of the group ``persistable.params``, whose name is ``module:Qualname``.

    Raises RegistrationError where another function is registered for `cls`, unless `replace` is true: keys would change.
    """
    if isinstance(cls, type) or cls.count(":") == 1:
        extensions.register("params", cls, reduce, replace)
    register_reduce(cls, reduce)


def register_reduce(cls: type | str, reduce: Callable[[Any], Any]) -> None:
    """Register as `register_params` does, but over any other registration, and for this process only."""
    _REGISTERED.register(cls, reduce)
    _WRITERS.clear()
    _REDUCERS.clear()
    _FIELDS.clear()


def is_node(cls: type) -> bool:
    """Tell whether values of `cls` are persistables, which the params represent by their keys."""
    return getattr(cls, "_node_is_node", False) is True


def reducer_of(cls: type) -> Reduce:
    """The function that reduces a value of `cls` to one that can be encoded. Raises Refused if there is none."""
    found: Reduce | None = _REDUCERS.found.get(id(cls))
    if found is None:
        registered = _REGISTERED.find(cls)
        if registered is not None:
            found = _registered(name_in_identity(cls), registered)
        else:
            from persistable.params.reducers import find

            found = find(cls) or _reducer_from_package(cls)
        _REDUCERS.set(cls, found)
    return found


def _registered(name: str, reduce: Callable[[Any], Any]) -> Reduce:
    def reduced(value: Any) -> Tagged:
        try:
            return Tagged("registered", (name, reduce(value)))
        except Refused:
            raise
        except Exception as error:
            raise Refused(f"what is registered for it raised {type(error).__name__}: {error}", "correct that function") from error

    return reduced


def _reducer_from_package(cls: type) -> Reduce:
    """The function that an installed package registers for `cls`, or else the one for any object."""
    from persistable.params.reducers import unknown

    if cls.__module__ != "builtins":
        if not _PACKAGE_REDUCERS:
            table = TypeTable()
            for name in extensions.entries("params"):
                table.register(name, name)
            _PACKAGE_REDUCERS.append(table)
        found = _PACKAGE_REDUCERS[0].find(cls)
        if found is not None:
            return _registered(name_in_identity(cls), extensions.load("params", found))
    return unknown(cls)


def fields_of(cls: type) -> Spec | None:
    """The fields of a params class; None for other classes, for registered ones and for enums."""
    found: Spec | bool | None = _FIELDS.found.get(id(cls))
    if found is None:
        special = _REGISTERED.find(cls) is not None or any(base.__module__ == "enum" for base in cls.__mro__)
        found = (not special and spec_of(cls)) or False
        _FIELDS.set(cls, found)
    return found if isinstance(found, Spec) else None


def _resolve(cls: type) -> Writer:
    writer: Writer
    if is_node(cls):
        writer = _node
    else:
        spec = fields_of(cls)
        writer = _object_writer(spec) if spec is not None else _reducing(reducer_of(cls))
    _WRITERS.set(cls, writer)
    return writer


def _reducing(reduce: Reduce) -> Writer:
    def write(value: Any, path: Path, nodes: Nodes) -> bytes:
        path.append(None)
        raw = _item(reduce(value), path, nodes)
        path.pop()
        return raw

    return write


def _node(value: Any, path: Path, nodes: Nodes) -> bytes:
    if nodes is None:
        raise Refused("it is a persistable, which is not allowed here", "pass it as an upstream of its own")
    nodes.append((role_at(path), value))
    return b"@s4:node" + _bytes(bytes.fromhex(value.key.digest))


def blake3_hex(raw: bytes) -> str:
    """The BLAKE3 digest of `raw`, 32 bytes, hexadecimal."""
    from blake3 import blake3

    return blake3(raw).hexdigest()


# ------------------------------------------------------------------ params classes


def object_prefix(spec: Spec) -> bytes:
    """The bytes with which each value of a params class begins."""
    return b"@s6:object(" + _str(spec.name) + b"{"


def tracked_rows(spec: Spec) -> list[tuple[str, bytes, bytes | None]]:
    """Attribute, encoded name and encoded pinned value of each tracked field, in the order in which they are encoded."""
    rows = []
    for field in spec.fields:
        if not field.markers.untracked:
            pin = None if field.markers.pin is NO_PIN else encode(field.markers.pin, f"{spec.name}.{field.attr}: omit_when")
            rows.append((field.attr, _str(field.name), pin))
    return sorted(rows, key=lambda row: row[1])


def _object_writer(spec: Spec) -> Writer:
    prefix, rows = object_prefix(spec), tracked_rows(spec)
    if not spec.extras and all(pin is None for _, _, pin in rows):
        return _closed_writer(prefix, [(attr, key) for attr, key, _ in rows])

    def write(value: Any, path: Path, nodes: Nodes) -> bytes:
        out = []
        for attr, key, pin in rows:
            raw = field_bytes(value, attr, path, nodes)
            if raw != pin:
                out.append(key + raw)
        if spec.extras:  # a pydantic model that accepts undeclared fields
            out.extend(_str(name) + field_bytes(value, name, path, nodes) for name in value.__pydantic_extra__ or ())
            out.sort()
        return prefix + b"".join(out) + b"})"

    return write


def _closed_writer(prefix: bytes, rows: list[tuple[str, bytes]]) -> Writer:
    def write(value: Any, path: Path, nodes: Nodes) -> bytes:
        out = [prefix]
        for attr, key in rows:
            try:
                item = getattr(value, attr)
            except AttributeError:
                raise unset(attr, path) from None
            out.append(key)
            scalar = _scalar(type(item))
            if scalar is not None:
                out.append(scalar(item))
            else:
                path.append(attr)
                out.append(_item(item, path, nodes))
                path.pop()
        out.append(b"})")
        return b"".join(out)

    return write


def field_bytes(value: Any, attr: str, path: Path, nodes: Nodes) -> bytes:
    """The encoded value of one field."""
    try:
        item = getattr(value, attr)
    except AttributeError:
        raise unset(attr, path) from None
    path.append(attr)
    raw = _item(item, path, nodes)
    path.pop()
    return raw


def unset(attr: str, path: Path) -> Refused:
    """Return the error for a field without a value, as slots can be."""
    path.append(attr)
    return Refused("the field was never given a value", "set it in __post_init__, or give it a default")


# ------------------------------------------------------------------ the way in


def encode(value: Any, place: str = "", nodes: list[tuple[str, Any]] | None = None) -> bytes:
    """Encode `value` as canonical bytes. Equal bytes mean the same value of the same type, on every machine and in every process.

    Parameters:
        place: the name of `value` in errors; the name of its class if it is empty and `value` has fields.
        nodes: the list for each persistable found in `value`, as (dotted path within `value`, persistable); None refuses them.

    Raises UntrackableParam, naming the place, for a value that has no such bytes.
    """
    raw: bytes = encode_with(_item, value, place, nodes)
    return raw


def encode_with(write: Callable[..., Any], value: Any, place: str, nodes: Nodes) -> Any:
    """Call ``write(value, path, nodes)`` with a new path, and raise UntrackableParam where it raises Refused."""
    path: Path = []
    try:
        return write(value, path, nodes)
    except Refused as refused:
        reason, advice = refused.reason, refused.advice
        cause = refused.__cause__
    except RecursionError:
        reason, advice, cause = "it is nested too deep, or contains itself", "make it flatter", None
    where = place or _root_name(value)
    found = _follow(value, path)
    # a value that contains itself has a long path, of which the start is enough
    steps = "".join(map(step_text, path[:6])) + "…" if len(path) > MAX_DEPTH // 2 else "".join(map(step_text, path))
    full = f"{where}{steps}" or "the value"
    message = f"{full} cannot be part of an identity: {reason}. To go on, {advice}"
    raise UntrackableParam(message, path=full, found=found) from cause


def _root_name(value: Any) -> str:
    cls = type(value)
    return cls.__name__ if any(hasattr(cls, mark) for mark in ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__")) else ""


def _follow(value: Any, path: Path) -> str:
    """The type of the value at `path`, or of the last one that can be reached."""
    for step in path:
        try:
            value = (
                getattr(value, step)
                if isinstance(step, str)
                else value
                if step is None
                else value[step[0] if isinstance(step, tuple) else step]
            )
        except Exception:  # noqa: BLE001 - only for the message
            break
    return f"{type(value).__module__}.{type(value).__qualname__}"


def step_text(step: Any) -> str:
    """A step of a path as errors show it: ``.name``, ``['key']``, ``[3]``; "" for the step from a value to its reduced form."""
    if isinstance(step, str):
        return f".{step}"
    if isinstance(step, tuple):
        shown = repr(step[0])
        return f"[{shown if len(shown) <= 60 else shown[:57] + '...'}]"
    return "" if step is None else f"[{step}]"


def role_at(path: Path) -> str:
    """The place of a persistable among params as a role: ``models.0``, ``models.best``."""
    return ".".join(str(step[0] if isinstance(step, tuple) else step) for step in path if step is not None)
