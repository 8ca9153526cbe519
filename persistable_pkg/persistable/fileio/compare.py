"""Differences between two pandas payloads, down to the type of every object.

Comparison for equality ignores the scale of a Decimal, and None in place of NaN.
"""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

_BY_EQUALITY = frozenset((str, int, bool, bytes, type(None)))


def same_value(left: Any, right: Any) -> bool:
    """Tell whether two objects have the same type and content: -0.0 is not 0.0, ``Decimal("2")`` not ``Decimal("2.00")``, NaN is NaN."""
    kind = type(left)
    if kind is not type(right):
        return False
    if left is right:
        return True
    if kind in _BY_EQUALITY:
        return bool(left == right)
    if kind is float:
        return (left == right and math.copysign(1, left) == math.copysign(1, right)) or (math.isnan(left) and math.isnan(right))
    if kind is Decimal:
        return bool(left.as_tuple() == right.as_tuple())
    if kind in (list, tuple):
        return len(left) == len(right) and all(map(same_value, left, right))
    if kind is dict:
        return len(left) == len(right) and all(
            same_value(*names) and same_value(left[names[0]], right[names[1]]) for names in zip(left, right, strict=True)
        )
    return bool(left == right) and repr(left) == repr(right)


def difference(left: Any, right: Any) -> str:
    """The first difference between two frames or Series: shape, names, index, dtypes, attrs and every object; empty if there is none.

    Numbers and times are not compared: binary formats keep them, and formats that write them as text compare them themselves.
    """
    if type(left) is not type(right):
        return f"it would come back as a {type(right).__name__}"
    if left.shape != right.shape:
        return f"its shape {left.shape} would come back as {right.shape}"
    if left.ndim == 1 and not same_value(left.name, right.name):
        return f"its name {left.name!r} would come back as {right.name!r}"
    if left.ndim == 2 and (flaw := index_difference(left.columns, right.columns, "its column names")):
        return flaw
    if flaw := index_difference(left.index, right.index, "its index"):
        return flaw
    if not same_value(left.attrs, right.attrs):
        return f"its attrs {left.attrs!r} would come back as {right.attrs!r}"
    if left.ndim == 1:
        return _column_difference(left, right, "it")
    for place, name in enumerate(left.columns):
        if flaw := _column_difference(left.iloc[:, place], right.iloc[:, place], f"column {name!r}"):
            return flaw
    return ""


def index_difference(left: Any, right: Any, label: str) -> str:
    """The first difference between two indexes: type, names, dtype, freq, and every value."""
    import pandas as pd

    if type(left) is not type(right) or left.nlevels != right.nlevels:
        return f"{label}, a {type(left).__name__}, would come back as a {type(right).__name__}"
    if not same_value(list(left.names), list(right.names)):
        return f"{label} would be named {list(right.names)!r}, not {list(left.names)!r}"
    if isinstance(left, pd.MultiIndex):
        for level in range(left.nlevels):
            values = left.get_level_values(level), right.get_level_values(level)
            if flaw := _column_difference(*values, f"level {level} of {label}") or (
                "" if values[0].equals(values[1]) else f"{label} would change"
            ):
                return flaw
        return ""
    if isinstance(left, pd.RangeIndex):
        same = (left.start, left.stop, left.step) == (right.start, right.stop, right.step)
        return "" if same else f"{label} {left!r} would come back as {right!r}"
    freqs: list[Any] = [getattr(index, "freq", None) for index in (left, right)]
    if freqs[0] != freqs[1]:
        return f"the frequency of {label}, {freqs[0]!r}, would come back as {freqs[1]!r}"
    return _column_difference(left, right, label) or ("" if left.equals(right) else f"{label} would come back as {right!r}")


def _column_difference(left: Any, right: Any, label: str) -> str:
    if flaw := dtype_difference(left.dtype, right.dtype, label):
        return flaw
    if left.dtype != object:
        return ""
    for mine, other in zip(left, right, strict=True):
        if type(mine) in (list, tuple, dict, set):
            return f"{label} holds {type(mine).__name__}s; use PickleFileIO"
        if not same_value(mine, other):
            return f"{label} holds {mine!r}, which would come back as {other!r}; give the column one type, or use PickleFileIO"
    return ""


def dtype_difference(left: Any, right: Any, label: str) -> str:
    """The difference between two dtypes, including byte order, kind of text, and the order and dtype of categories; empty if none."""
    if type(left) is not type(right):
        return f"{label} has the dtype {left!r}, which would come back as {right!r}"
    categories = getattr(left, "categories", None)
    if categories is not None:
        if left.ordered != right.ordered:
            return f"the categories of {label} would be ordered otherwise"
        return index_difference(categories, right.categories, f"the categories of {label}")
    same = bool(left == right) and repr(left) == repr(right)
    return "" if same else f"{label} has the dtype {left!r}, which would come back as {right!r}"
