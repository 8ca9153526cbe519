"""Digests and nodes of many members of a family by number, without making the members where that gives the same.

What a node takes to make is mostly not its digest. Where members differ only in plain values of fields, and in members of other such
families, their digests differ only in these bytes: the rest is taken from one member that is made. Everything else (params classes with
code of their own, values that are no plain ones, classes with an ``__init__``) is left to the nodes themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from blake3 import blake3

from persistable.families.grid import OPTIONS
from persistable.nodes.node import Persistable, declaration_of
from persistable.nodes.step import Step
from persistable.params import encoding
from persistable.params.encoding import encode
from persistable.params.snapshots import tracked_rows
from persistable.records.key import DIGEST_BYTES, beginning

if TYPE_CHECKING:
    from persistable.families.grid import Recipe
    from persistable.families.view import Layout
from collections.abc import Iterator
from typing import TYPE_CHECKING

from persistable.families.direct import Straight, straight_of
from persistable.nodes.lineage import walk
from persistable.records.key import Key

if TYPE_CHECKING:
    from persistable.families.view import Layout


Places = tuple[int, ...]
"""Of one member, on each axis of the recipe."""


def keys_of(layout: Layout) -> Keys | None:
    """The maker of the digests of the members of `layout`; None where only nodes can."""
    recipe = layout.recipe
    if recipe.given or not isinstance(recipe.maker, type | Step):
        told: Keys | None = getattr(recipe.maker, "keys", None)  # what knows the keys of what it makes
        return told if len(layout.recipe.axes[0]) else None
    if not all(map(len, recipe.axes)) or not _is_plain(recipe):
        return None
    upstream: dict[str, tuple[Any, Keys]] = {}
    for relation in recipe.relations:
        keys = keys_of(relation.layout)
        if keys is None:
            return None
        upstream[recipe.role(relation.slot)] = (relation, keys)
    ends: list[Places] = [tuple(0 for _ in recipe.axes), tuple(len(axis) - 1 for axis in recipe.axes)]
    models = [recipe.make(places) for places in ends]
    made = Keys.of(recipe, models[0], upstream)
    if made is None or made.digests(ends) != [model.key.digest for model in models]:
        return None
    return made


class Keys:
    """Bytes that all members have in common, and between them those that vary."""

    def __init__(self, model: Any, parts: list[bytes | _Field | _Upstream]) -> None:
        self.model = model
        """A member."""
        self._parts = parts

    @classmethod
    def of(cls, recipe: Recipe, model: Any, upstream: dict[str, tuple[Any, Keys]]) -> Keys | None:
        """The keys of what `recipe` makes, of which `model` is one; None where its params are not plain fields."""
        columns = {recipe.role(column.slot): column for column in recipe.columns}
        rows = _rows_of(model, set(columns))
        if rows is None or any(role not in model._upstream for role in upstream):
            return None
        parts: list[bytes | _Field | _Upstream] = [beginning(model.payload_name, model.version) + rows[0]]
        for name, key, pin in rows[1]:
            if name in columns:
                parts.append(_Field(columns[name], key, pin))
            else:
                raw = encoding.field_bytes(model.params, name, [], [])
                parts.append(b"" if raw == pin else key + raw)
        parts.append(rows[2])
        for role in sorted(model._upstream):
            parts.append(encode(role))
            parts.append(_Upstream(*upstream[role]) if role in upstream else bytes.fromhex(model._upstream[role].key.digest))
        return cls(model, _merged(parts))

    def digests(self, members: Sequence[Places]) -> list[str] | None:
        """Those of `members`; None where a value is no plain one, so that only the nodes can tell."""
        pieces: list[Any] = []
        for part in self._parts:
            if isinstance(part, bytes):
                pieces.append(part)
                continue
            varying = part.pieces(members)
            if varying is None:
                return None
            pieces.append(varying)
        if len(pieces) == 3 and isinstance(pieces[0], bytes) and isinstance(pieces[2], bytes):
            before, varying, after = pieces
            return [blake3(before + piece + after).hexdigest(DIGEST_BYTES) for piece in varying]
        whole = [[piece] * len(members) if isinstance(piece, bytes) else piece for piece in pieces]
        return [blake3(b"".join(all_of_one)).hexdigest(DIGEST_BYTES) for all_of_one in zip(*whole, strict=True)]


class _Field:
    """A field whose value comes from a column."""

    def __init__(self, column: Any, key: bytes, pin: bytes | None) -> None:
        self._axis: int = column.axis
        self._values: Sequence[Any] = column.values
        self._key = key
        self._pin = pin

    def pieces(self, members: Sequence[Places]) -> list[bytes] | None:
        values, axis, key, pin, scalars = self._values, self._axis, self._key, self._pin, encoding.SCALARS
        try:
            raw = [scalars[type(value)](value) for value in [values[places[axis]] for places in members]]
        except KeyError:
            return None
        if pin is None:
            return [key + one for one in raw]
        return [b"" if one == pin else key + one for one in raw]


class _Upstream:
    """The digest of a member of another family."""

    def __init__(self, relation: Any, keys: Keys) -> None:
        self._relation = relation
        self._keys = keys

    def pieces(self, members: Sequence[Places]) -> list[bytes] | None:
        relation = self._relation
        wanted = [relation.layout.full(relation.of(places)) for places in members]
        each = list(dict.fromkeys(wanted))
        digests = self._keys.digests(each)
        if digests is None:
            return None
        known = {places: bytes.fromhex(digest) for places, digest in zip(each, digests, strict=True)}
        return [known[places] for places in wanted]


def _merged(parts: list[bytes | _Field | _Upstream]) -> list[bytes | _Field | _Upstream]:
    merged: list[bytes | _Field | _Upstream] = []
    for part in parts:
        if isinstance(part, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def _is_plain(recipe: Recipe) -> bool:
    """Tell whether nothing but fields and roles vary, and no code of the user's decides what becomes of them."""
    maker = recipe.maker
    slots = [recipe.role(column.slot) for column in recipe.columns] + [recipe.role(relation.slot) for relation in recipe.relations]
    if maker.__class__ is Step:
        return maker.__wrapped__.__closure__ is None and all(slot in maker.maker.ordinary for slot in slots)
    own = [name for base in maker.__mro__[: maker.__mro__.index(Persistable)] for name in base.__dict__]
    if not _OWN.isdisjoint(own) or not isinstance(maker.version, int) or not isinstance(getattr(maker, "payload_name", ""), str):
        return False
    declaration = declaration_of(maker)
    roles = [recipe.role(relation.slot) for relation in recipe.relations]
    return not _OPTIONS.intersection(slots) and all((slot in declaration.roles) == (slot in roles) for slot in slots)


_OWN = frozenset({"__init__", "__new__", "_identify", "key", "params", "_upstream", "__setattr__", "__getattribute__"})
"""Members that a class may not define itself, or it decides what its nodes are."""
_OPTIONS = frozenset(OPTIONS)


def _rows_of(model: Any, varying: set[str]) -> tuple[bytes, list[tuple[str, bytes, bytes | None]], bytes] | None:
    """How the params of `model` are encoded: what they begin with, their fields, and how they end."""
    params = model.params
    if params is None:
        return (encoding.item_bytes(None, [], []), [], b"") if not varying else None
    kind: Any = params.__class__
    if (
        "__dataclass_fields__" not in kind.__dict__
        or getattr(kind, "__post_init__", None) is not None
        or kind.__new__ is not object.__new__
    ):
        return None
    generated = kind.__init__.__code__.co_filename == "<string>"  # by dataclasses, and so without a surprise
    frozen = kind.__dataclass_params__.frozen
    if not generated or not (frozen or kind.__setattr__ is object.__setattr__):
        return None
    fields = kind.__dataclass_fields__
    if any(
        name not in fields or not fields[name].init or getattr(kind.__dict__.get(name), "__set__", None) is not None for name in varying
    ):
        return None
    rows = tracked_rows(cast("type", kind))
    return None if rows is None else (*rows, b"})")


LOT = 5000
"""So many members are looked at, planned and in memory together."""


class Lots:
    """The members of a family by number, as they were laid out then: their keys without the nodes, and the nodes when asked for.

    nodes: by number. store: theirs, None where they have none of their own. model: one of them.
    """

    def __init__(self, layout: Layout, keys: Keys, nodes: Sequence[Any], store: Any) -> None:
        self._layout = layout
        self._keys = keys
        self.recipe = layout.recipe
        self._is_range = len(layout.shape) == 1 and layout.picks == (range(len(nodes)),)
        self.nodes = nodes
        self.model: Any = keys.model
        self.store = store

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[range]:
        """The numbers of each lot."""
        return (range(first, min(first + LOT, len(self))) for first in range(0, len(self), LOT))

    def keys(self, numbers: Sequence[int]) -> list[Key]:
        """The keys of these members."""
        name: str = self.model.payload_name
        return [Key(name, digest) for digest in self._digests(numbers)]

    def bases(self, numbers: Sequence[int]) -> list[str]:
        """The paths of these keys."""
        folder = f"{self.model.payload_name}/"
        return [folder + digest for digest in self._digests(numbers)]

    def rows(self, numbers: Sequence[int]) -> list[tuple[Any, ...]]:
        """The values in the columns of the recipe, of these members."""
        columns = [(column.axis, column.values) for column in self.recipe.columns]
        if self._is_range and len(columns) == 1:
            values = columns[0][1]
            return [(values[number],) for number in numbers]
        return [tuple([values[places[axis]] for axis, values in columns]) for places in map(self.places, numbers)]

    def straight(self, store: Any) -> Straight | None:
        """The generator of the members into `store` without their nodes; None where that cannot be."""
        return straight_of(self, store)

    def _digests(self, numbers: Sequence[int]) -> list[str]:
        places: list[Places] = [(number,) for number in numbers] if self._is_range else [self.places(number) for number in numbers]
        digests = self._keys.digests(places)
        return digests if digests is not None else [self.nodes[number].key.digest for number in numbers]

    def places(self, number: int) -> Places:
        """The places of this member on the axes of the recipe."""
        if self._is_range:
            return (number,)
        places: list[int] = []
        for length in reversed(self._layout.shape):
            number, place = divmod(number, length)
            places.append(place)
        return self._layout.full(places[::-1])


def lots_of(layout: Layout, nodes: Sequence[Any], store: Any) -> Lots | None:
    """The lots of a family whose members can be worked on some at a time: all that they are made from is kept, or lies outside."""
    keys = keys_of(layout) if len(nodes) else None
    if keys is None or any(not (node._persisted or node._external) for node in walk(keys.model)):
        return None
    return Lots(layout, keys, nodes, store if store is not None else keys.model._store)
