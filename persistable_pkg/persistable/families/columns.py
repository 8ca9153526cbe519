"""Columns of a table for the values on an axis: one of the values as text, and one for each of their leaves, to sort and group by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from persistable.nodes.label import label, shown_fields, value_in_words
from persistable.nodes.types import is_node
from persistable.params.credentials import is_credential
from persistable.params.display import MASK
from persistable.params.encoding import fields_of

_DEEPEST = 8


def columns_of(name: str, values: Sequence[Any]) -> dict[str, list[Any]]:
    """The columns of an axis: `name`, and ``name.field`` for each leaf of params, dicts and nodes; None where a value has no such leaf.

    Plain values and dates stay unchanged; values with leaves, and all others, are shown as text.
    """
    plain = [_is_plain(value) for value in values]
    found = {name: [value if as_is else words(value) for value, as_is in zip(values, plain, strict=True)]}
    if all(plain):
        return found
    for place, value in enumerate(values):
        for path, leaf in _leaves(value, name, 0):
            found.setdefault(path, [None] * len(values))[place] = leaf
    return found


def _is_plain(value: Any) -> bool:
    kind: Any = value.__class__
    nested = kind in (list, tuple, set, frozenset) or isinstance(value, Mapping) or getattr(kind, "_node_is_family", False)
    return not (nested or is_node(value) or fields_of(kind) is not None)


def words(value: Any) -> str:
    """A value on an axis as text; for a node, its label."""
    return label(value) if is_node(value) else value_in_words(value)


def _leaves(value: Any, path: str, depth: int) -> list[tuple[str, Any]]:
    """The paths and values of the leaves below `value`; empty if it has no fields."""
    fields: Mapping[Any, Any] = {}
    if is_node(value):
        fields = shown_fields(value)
    elif isinstance(value, Mapping):
        fields = dict(value)  # pyright: ignore[reportUnknownArgumentType]
    elif (spec := fields_of(value.__class__)) is not None:
        fields = {field.attr: getattr(value, field.attr, None) for field in spec.fields if not field.markers.untracked}
    found: list[tuple[str, Any]] = []
    for name, item in fields.items():
        below = _leaves(item, f"{path}.{name}", depth + 1) if depth < _DEEPEST else []
        found += below or [(f"{path}.{name}", masked_as(str(name), item) if _is_plain(item) else words(item))]
    return found


def masked_as(name: str, value: Any) -> Any:
    """`value`, masked if `name` or the look of the value suggests a credential."""
    return MASK if isinstance(value, str) and is_credential(name, value) else value
