"""`Axis`: the values that a family varies, with the labels by which members are found."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from numbers import Complex, Integral, Real
from typing import Any, cast

from persistable.errors import UnknownMember
from persistable.params.building import nearest

_COMPARED = 5000
"""Most labels of an axis that are compared to find the nearest to a wrong one."""


class Axis:
    """One direction of a family: a param with its values, or several params whose values go together.

    Equal values raise ValueError, since a key must find one member.
    """

    columns: dict[str, Sequence[Any]]
    """The values of each param, all of one length."""
    labels: Sequence[Any]
    """The names of members along it: the values themselves, tuples of them where there are several columns; lists and dicts as tuples;
    indices (0, 1, ...) where values cannot be hashed."""

    __slots__ = ("_indices", "_original_names", "columns", "is_listed", "labels")

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any]],
        labels: Sequence[Any] | None = None,
        born: tuple[str, ...] | None = None,
        is_listed: bool = False,
    ) -> None:
        self.columns = dict(columns)
        self.is_listed = is_listed
        """True if the values were listed outside and may differ another time: such axes are joined by name, not crossed."""
        self._original_names = born if born is not None else tuple(self.columns)
        self._indices: dict[Any, int] | None = None
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"params that vary together need equally many values: {', '.join(f'{name} has {n}' for name, n in lengths.items())}"
            )
        self.labels: Sequence[Any] = labels if labels is not None else _labels(self.name, list(self.columns.values()))

    @property
    def name(self) -> str:
        """The name of the param; the names of several are joined by ``+``."""
        return "+".join(self.columns)

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, label: Any) -> int:
        """Index of `label`. Raises UnknownMember, which names the nearest label."""
        try:
            index = self._find(label)
        except (KeyError, ValueError, TypeError):
            raise self._unknown(label) from None
        if not matches_label(frozen(label), self.labels[index]):
            raise self._unknown(label)
        return index

    def _find(self, label: Any) -> int:
        if isinstance(self.labels, range):
            return self.labels.index(operator.index(label))  # for anything but an int, a range would compare all its values
        if self._indices is None:
            self._indices = {known: index for index, known in enumerate(self.labels)}
        key = frozen(label)
        index = self._indices.get(key)
        if index is None and sought(key) != key:  # a NaN only equals itself, by identity
            index = next((index for index, known in enumerate(self.labels) if sought(known) == sought(key)), None)
        if index is None:
            raise KeyError(key)
        return index

    def _unknown(self, label: Any) -> UnknownMember:
        near = self.nearest(label)
        hint = f"; the nearest is {near!r:.60}" if near is not None else ""
        return UnknownMember(
            f"no {self.name} is {label!r:.60} (there are {len(self)}{': ' if len(self) else ''}{_shown(self.labels)}){hint}",
            axis=self.name,
            label=label,
            nearest=near,
        )

    def nearest(self, label: Any) -> Any:
        """The label closest to a wrong one, by number or spelling; None if none is near."""
        if isinstance(label, str):
            return nearest(label, [each for each in self.labels[:_COMPARED] if isinstance(each, str)])
        try:
            if isinstance(self.labels, range) and self.labels:
                place: int = round((label - self.labels.start) / self.labels.step)
                return self.labels[min(max(place, 0), len(self.labels) - 1)]
            return min(self.labels, key=lambda each: abs(each - label), default=None)
        except (TypeError, ValueError, OverflowError):
            return None

    def is_same_axis(self, other: Axis) -> bool:
        """Tell whether both are the same axis: created with equal names, and with equal values of equal types."""
        if self is other:
            return True
        if self._original_names != other._original_names or len(self) != len(other):
            return False
        mine, others = [*self.columns.values(), self.labels], [*other.columns.values(), other.labels]
        return all(a is b or (isinstance(a, range) and a == b) or all(map(_equal, a, b)) for a, b in zip(mine, others, strict=True))

    def with_column_names(self, names: Mapping[str, str]) -> Axis:
        """The same axis with its columns under other names."""
        return Axis(
            {names.get(name, name): values for name, values in self.columns.items()}, self.labels, self._original_names, self.is_listed
        )

    def as_new_axis(self, names: Mapping[str, str]) -> Axis:
        """A distinct axis of the same values: with its columns under other names, as if created with these."""
        return Axis({names.get(name, name): values for name, values in self.columns.items()}, self.labels, None, self.is_listed)

    def subset(self, indices: Sequence[int]) -> Axis:
        """An axis of the values at `indices`."""
        columns = {name: _taken(values, indices) for name, values in self.columns.items()}
        return Axis(columns, _taken(self.labels, indices), self._original_names, self.is_listed)

    def is_joinable_with(self, other: Axis) -> bool:
        """Tell whether both were listed outside and have a column in common, so that they are to be joined."""
        return self.is_listed and other.is_listed and not self.columns.keys().isdisjoint(other.columns)

    def join(self, other: Axis) -> Axis:
        """Join with `other` on the columns that both have: each value of this with each matching one of `other`, in the order of this."""
        if len(self) == len(other) and self.columns.keys() == other.columns.keys() and self.is_same_axis(other):
            return self
        common = [name for name in self.columns if name in other.columns]
        more = [name for name in other.columns if name not in self.columns]
        matches: dict[Any, list[int]] = {}
        for index, values in enumerate(_rows(other, common)):
            matches.setdefault(values, []).append(index)
        pairs = [(mine, its) for mine, values in enumerate(_rows(self, common)) for its in matches.get(values, ())]
        columns = {name: [self.columns[name][mine] for mine, _ in pairs] for name in self.columns}
        columns |= {name: [other.columns[name][its] for _, its in pairs] for name in more}
        return Axis(columns, is_listed=True)

    def indices_of(self, joined: Axis) -> Sequence[int]:
        """The index on this axis of each value of `joined`, an axis that this one was joined into."""
        if joined is self:
            return range(len(self))
        indices = {values: index for index, values in enumerate(_rows(self, list(self.columns)))}
        return [indices[values] for values in _rows(joined, list(self.columns))]

    def __repr__(self) -> str:
        return f"<axis {self.name}: {_shown(self.labels)}>"


def _rows(axis: Axis, names: Sequence[str]) -> list[Any]:
    """The rows of these columns, as hashable keys."""
    return [frozen(values) for values in zip(*[axis.columns[name] for name in names], strict=True)]


def values_of(value: Any) -> Sequence[Any] | None:
    """The values of an argument that makes an axis (list, nodes of a family, range, one-dimensional array); None for a fixed value."""
    if isinstance(value, list) or getattr(value.__class__, "_node_are_members", False):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - items of any type
    if isinstance(value, range):
        return value
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray) and value.ndim == 1:
        # as Python values, which have the identity of the numpy scalars; dates keep their type
        return cast("list[Any]", value.tolist() if value.dtype.kind in "biufcUS" else list(value))
    return None


def frozen(value: Any) -> Any:
    """`value` as a hashable key: lists and dicts as tuples, dicts sorted by name, since their order is no part of an identity."""
    kind: Any = value.__class__
    if kind is list or kind is tuple:
        return tuple([frozen(item) for item in value])
    if kind is dict:
        return tuple([(name, frozen(value[name])) for name in sorted(value, key=str)])
    return frozenset(cast("Iterable[Any]", value)) if kind is set else value


def sought(label: Any) -> Any:
    """A label in a form to compare: a NaN, which does not equal itself, as a constant that does."""
    kind: Any = label.__class__
    if kind is tuple:
        return tuple(map(sought, label))
    return _Label.NAN if isinstance(label, float) and label != label else label


class _Label(Enum):
    """The constant that replaces a NaN in comparisons."""

    NAN = "nan"


def matches_label(label: Any, known: Any) -> bool:
    """Tell whether a label that equals `known` matches it: ``True`` and ``1.0`` do not match ``1``, though ``1`` matches ``1.0``."""
    if label.__class__ is known.__class__:
        return label.__class__ is not tuple or all(map(matches_label, label, known))
    wanted, there = _rank(label), _rank(known)
    return wanted == there or 0 < wanted < there


def _rank(value: Any) -> int:
    """Rank of a number type, each of which is accepted for the next: 0 for a bool, -1 for other types."""
    if isinstance(value, bool) or value.__class__.__name__ in ("bool_", "bool"):  # numpy's is no subclass of bool
        return 0
    return next((rank for rank, kind in enumerate((Integral, Real, Complex), 1) if isinstance(value, kind)), -1)


def _labels(name: str, columns: list[Sequence[Any]]) -> Sequence[Any]:
    if len(columns) == 1 and isinstance(columns[0], range):
        return columns[0]
    labels: Sequence[Any] = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    number = _different(labels)
    if number is None:
        labels = [frozen(label) for label in labels]
        number = _different(labels)
    if number is None:
        return range(len(labels))
    if number < len(labels):
        first: dict[Any, int] = {}
        for index, label in enumerate(labels):
            if first.setdefault(label, index) != index:
                raise ValueError(_twice(name, labels, first[label], index))
    return labels


def _twice(name: str, labels: Sequence[Any], first: int, second: int) -> str:
    one, other = labels[first], labels[second]
    if _equal(one, other) and repr(one) == repr(other):
        return f"{name} is {other!r:.60} twice, at {first} and {second}; a key must find one member, so leave one out"
    return (
        f"{name} is {one!r:.60} at {first} and {other!r:.60} at {second}, which are different params but equal in Python, so that a key "
        f"would find both; leave one out, or make two families"
    )


def _different(labels: Sequence[Any]) -> int | None:
    """Number of distinct `labels`; None if one cannot be hashed."""
    try:
        return len(set(labels))
    except TypeError:
        return None


def _taken(values: Sequence[Any], indices: Sequence[int]) -> Sequence[Any]:
    if isinstance(indices, range) and len(indices):  # the slice of a range is a range
        return values[indices.start : indices.stop if indices.stop >= 0 else None : indices.step]
    return [values[index] for index in indices]


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    kind: Any = a.__class__
    if kind is not b.__class__:
        return False
    if kind is list or kind is tuple:
        return len(a) == len(b) and all(map(_equal, a, b))
    if kind is dict:
        return a.keys() == b.keys() and all(_equal(item, b[name]) for name, item in a.items())
    try:
        return bool(a == b)
    except Exception:  # noqa: BLE001 - values that cannot be compared count as different
        return False


def _shown(labels: Sequence[Any]) -> str:
    shown = ", ".join([f"{label!r:.40}" for label in labels[:5]])
    return shown if len(labels) <= 5 else f"{shown}, ..., {labels[-1]!r:.40}"
