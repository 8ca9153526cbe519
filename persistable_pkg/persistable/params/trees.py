"""Values as JSON for records and for people, and back. A tree holds exactly the data of the canonical bytes, under the same names."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import re
from enum import Enum

from persistable.params import encoding
from persistable.params.class_tables import ClassTable
from persistable.params.encoding import encode, encode_with
from persistable.params.fields import NO_PIN, Spec
from persistable.params.reduced_values import INLINE_BYTES, INLINE_ITEMS, Blob, Bulk, Parts, Tagged
from persistable.params.unset import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from persistable.params.encoding import Path

_BIG = 1 << 53
IDENTITY_ONLY = ClassTable()
"""Attribute and name in the tree of each field, by params class; only for classes whose fields are all identity at any value."""
_DECIMAL_BITS = 2048
COLLECTIONS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
"""Collections that have tags of their own in trees."""


def tree(value: Any, place: str = "") -> Any:
    """Return `value` as JSON-like data: the readable form of the bytes that `encode` makes.

    None, bool, int, float, str and lists are themselves, as is a dict whose keys are all str; a params class at the top is a dict of
    its tracked fields. Everything else is ``{"$tag": content}``. Long arrays and buffers are digests. `place` is that of `encode`, and so
    are the errors; persistables become ``{"$node": key}``.
    """
    names = IDENTITY_ONLY.found.get(id(value.__class__))
    if names is not None:  # a fast path for params classes whose fields are all identity, where these are numbers and text alone
        found: dict[str, Any] = {}
        for attr, name in names:
            item: Any = getattr(value, attr, UNSET)
            kind = item.__class__
            if (
                (kind is int and -_BIG < item < _BIG)
                or (kind is str and item.isascii())
                or (kind is float and item - item == 0)
                or kind is bool
                or item is None
            ):
                found[name] = item
            else:
                break
        else:
            return found
    return encode_with(lambda value, path, _: _root(value, path), value, place, None)


def fields_tree(params: Any) -> dict[str, Any]:
    """The tree of `params` by field, as in records: empty for None; a value without fields is in it under ``params``."""
    if params is None:
        return {}
    own: Any = tree(params)
    return own if own.__class__ is dict else {"params": own}


def _root(value: Any, path: Path) -> Any:
    cls = type(value)
    if cls not in _PLAIN and not encoding.is_node(cls):
        spec = encoding.fields_of(cls)
        if spec is not None:
            if not spec.extras and not any(field.markers.untracked or field.markers.pin is not NO_PIN for field in spec.fields):
                IDENTITY_ONLY.set(cls, [(field.attr, field.name) for field in spec.fields])
            fields = _fields(value, spec, path)
            if any(name.startswith("$") for name in fields):  # undeclared fields of a pydantic model have any name
                return {"$dict": [[name, fields[name]] for name in sorted(fields)]}
            return fields
    return _tree(value, path)


def _tree(value: Any, path: Path) -> Any:
    cls = type(value)
    plain = _PLAIN.get(cls)
    if plain is not None:
        return plain(value)
    encoding.check_depth(path)
    container = _CONTAINERS.get(cls)
    if container is not None:
        return container(value, path)
    if encoding.is_node(cls):
        return {"$node": str(value.key)}
    spec = encoding.fields_of(cls)
    if spec is not None:
        return _object(value, spec, path)
    return _at(None, encoding.reducer_of(cls)(value), path)


def _at(step: Any, value: Any, path: Path) -> Any:
    """The tree of a value at `step` of another value."""
    path.append(step)
    found = _tree(value, path)
    path.pop()
    return found


# ------------------------------------------------------------------ leaves


def _int(value: int) -> Any:
    # other JSON readers make a float of it, and Python refuses to write thousands of digits
    if -_BIG < value < _BIG:
        return value
    return {"$int": str(value) if value.bit_length() <= _DECIMAL_BITS else hex(value)}


def _float(value: float) -> Any:
    if value - value == 0:
        return value
    return {"$float": "nan" if value != value else "inf" if value > 0 else "-inf"}


def _str(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair: JSON has no form for it that every reader accepts
        return {"$str": value.encode("utf-8", "surrogatepass").hex()}
    return value


def _bytes(value: bytes) -> Any:
    if len(value) > INLINE_BYTES:
        return {"$bytes": {"size": len(value), "blake3": encoding.blake3_hex(value)}}
    return {"$bytes": _base64(value)}


def _base64(value: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(value, newline=False).decode()


_PLAIN: dict[type, Any] = {type(None): lambda value: value, bool: lambda value: value, int: _int, float: _float, str: _str, bytes: _bytes}

# ------------------------------------------------------------------ containers


def _items(value: Any, path: Path) -> list[Any]:
    return [_at(i, item, path) for i, item in enumerate(value)]


def _sorted_items(value: Any, path: Path) -> list[Any]:
    # in the order of their bytes, so that the tree of a set does not depend on the hash seed
    rows = sorted(((encoding.item_bytes(item, path, []), item) for item in value), key=lambda row: row[0])
    return _items([item for _, item in rows], path)


def _dict(value: Any, path: Path) -> Any:
    plain = all(type(key) is str and not key.startswith("$") and key.isprintable() for key in value)
    pairs = [(key if plain else _at((key,), key, path), _at((key,), item, path)) for key, item in value.items()]
    if plain:
        return dict(pairs)
    order = sorted(range(len(pairs)), key=[encoding.item_bytes(key, path, []) for key in value].__getitem__)
    return {"$dict": [list(pairs[i]) for i in order]}


def _parts(value: Any, path: Path) -> Any:
    return {key: _at(key, item, path) for key, item in value.items()}


def _tagged(value: Tagged, path: Path) -> Any:
    data = {f"${value.tag}": _tree(value.content, path)}
    if value.cls is not None:
        data["$class"] = f"{value.cls.__module__}:{value.cls.__qualname__}"
    return data


def _blob(value: Blob, _path: Path) -> Any:
    if value.raw is None:
        return {"$blob": {"size": value.size, "blake3": value.digest.hex()}}
    return {"$bytes": _base64(value.raw)}


def _bulk(value: Bulk, path: Path) -> Any:
    if len(value) > INLINE_ITEMS:
        return {"$bulk": {"length": len(value), "blake3": encoding.blake3_hex(encoding.item_bytes(value, path, []))}}
    return _items(value, path)


_CONTAINERS: dict[type, Any] = {
    list: _items,
    tuple: lambda value, path: {"$tuple": _items(value, path)},
    dict: _dict,
    set: lambda value, path: {"$set": _sorted_items(value, path)},
    frozenset: lambda value, path: {"$frozenset": _sorted_items(value, path)},
    Parts: _parts,
    Bulk: _bulk,
    Tagged: _tagged,
    Blob: _blob,
}

# ------------------------------------------------------------------ params classes


def _fields(value: Any, spec: Spec, path: Path) -> dict[str, Any]:
    out = {}
    for field in spec.fields:
        markers = field.markers
        if markers.untracked:
            continue
        if markers.pin is not NO_PIN and encoding.field_bytes(value, field.attr, path, []) == encode(markers.pin):
            continue
        out[field.name] = _attribute(value, field.attr, path)
    if spec.extras:
        for name in value.__pydantic_extra__ or ():
            out[name] = _attribute(value, name, path)
    return out


def _attribute(value: Any, attr: str, path: Path) -> Any:
    try:
        item = getattr(value, attr)
    except AttributeError:
        raise encoding.unset(attr, path) from None
    return _at(attr, item, path)


def _object(value: Any, spec: Spec, path: Path) -> dict[str, Any]:
    """The tree of a params object. The class is named twice: `$object` is identity, `$class` is the place to find it."""
    cls = type(value)
    fields = _fields(value, spec, path)
    head = {"$object": spec.name, "$class": f"{cls.__module__}:{cls.__qualname__}"}
    if any(name.startswith("$") for name in fields):
        return {**head, "$fields": [[name, fields[name]] for name in sorted(fields)]}
    return {**head, **fields}


# ------------------------------------------------------------------ and back


def from_tree(data: Any) -> Any:
    """The value whose tree is `data`, for types the library itself knows. A tree of params gives a dict of their fields: see `build`.

    Raises ParamsError where the tree does not suffice: long arrays and columns (of which it has the digest), persistables, types that
    were registered, classes that cannot be imported any more. Its ``path`` is the place in the tree, dotted.
    """
    from persistable.params.reader import Reader

    return Reader().read(data)


def item_tree(value: Any) -> Any:
    """The tree of `value` as an item of another: params, too, are named by their class. Raises the errors of `tree`."""
    return tree([value])[0]


def rewritten(data: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Copy a tree with each dict in it, inner ones first, replaced by the result of `change`, which may change its argument."""
    if data.__class__ is list:
        return [rewritten(item, change) for item in data]
    if data.__class__ is dict:
        return change({key: rewritten(item, change) for key, item in data.items()})
    return data


# ------------------------------------------------------------------ differences


class Absent(Enum):
    """The mark for a param that one of two trees does not have."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "absent"


absent = Absent.ABSENT


def differences(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """The differences of two trees: dotted path to the value in `a` and the value in `b`, `absent` where there is none."""
    found: dict[str, tuple[Any, Any]] = {}
    _compare(a, b, "", found)
    return found


def _compare(a: Any, b: Any, place: str, found: dict[str, tuple[Any, Any]]) -> None:
    left, right = children(a), children(b)
    if left is None or right is None or left[0] != right[0]:
        if type(a) is not type(b) or a != b or _zero_signs(a, b):
            found[place] = (a, b)
        return
    for name in {**left[1], **right[1]}:
        inner = f"{place}.{name}" if place else name
        in_a, in_b = left[1].get(name, absent), right[1].get(name, absent)
        if in_a is absent or in_b is absent:
            found[inner] = (in_a, in_b)
        else:
            _compare(in_a, in_b, inner, found)


def _zero_signs(a: Any, b: Any) -> bool:
    return a == 0 and type(a) is float and str(a) != str(b)


def fields_of(data: dict[str, Any]) -> list[tuple[str, Any]]:
    """Name and tree of each field of the params object whose tree is `data`."""
    if "$fields" in data:
        return [(name, item) for name, item in data["$fields"]]
    return [(name, item) for name, item in data.items() if not name.startswith("$")]


def children(data: Any) -> tuple[str, dict[str, Any]] | None:
    """The kind of a tree that has parts, and the parts by name; None for a leaf."""
    if isinstance(data, list):
        return "list", {str(i): item for i, item in enumerate(data)}
    if not isinstance(data, dict):
        return None
    tag = next((key for key in data if key.startswith("$")), "")
    if not tag:
        return "dict", data
    if "$object" in data:
        return f"object {data['$object']}", dict(fields_of(data))
    content = data[tag]
    if tag == "$estimator":
        return f"estimator {content['class']}", content["params"]
    if tag == "$dict":
        return tag, {repr(key): item for key, item in content}
    if tag == "$namedtuple":
        name, pairs = content["$tuple"]
        return f"namedtuple {name}", dict(pair["$tuple"] for pair in pairs["$tuple"])
    if tag in ("$tuple", "$OrderedDict", "$deque", "$partial", "$defaultdict"):
        inner = children(content)
        return (f"{tag} {inner[0]}", inner[1]) if inner else None
    return None


_OBJECTS = {"$object", "$estimator", "$namedtuple"}


def leaves_of(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted path and tree of each value in the params; of an object, its class name and its fields; other collections stay whole."""
    stack = list(params.items())[::-1]
    while stack:
        path, tree = stack.pop()
        inner = children(tree) if tree.__class__ is dict and (_OBJECTS & tree.keys() or not any(name[:1] == "$" for name in tree)) else None
        if inner is None or not inner[1]:
            yield path, tree
            continue
        if _OBJECTS & tree.keys():
            yield path, tree.get("$object") or re.findall(r"\w+", inner[0])[-1]
        stack.extend((f"{path}.{name}", each) for name, each in reversed(inner[1].items()))
