"""Hypothesis strategies for values that can be params, and `typed`, which distinguishes values without use of their encoding.

`scalars`, `library_values` (dates, decimals, paths, ...), `hashable`, `plain` (scalars in any nesting) and `values` (all of them).
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import math
import uuid
from pathlib import PurePosixPath
from typing import Any, cast
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 2),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, math.nan]),
    st.text(max_size=8),
    st.text("ab[](){}<>@#;:,0123456789", max_size=6),
    st.characters(categories=["Cs"]),
    st.binary(max_size=8),
)

zones = st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=-30)), ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")])

library_values = st.one_of(
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=zones),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.complex_numbers(allow_nan=False),
    st.text("abc/.", max_size=6).map(PurePosixPath),
    st.builds(range, st.integers(-5, 5), st.integers(-5, 5), st.integers(1, 3)),
)

hashable = st.recursive(scalars, lambda inner: st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)

plain = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.frozensets(hashable, max_size=3),
    ),
    max_leaves=12,
)

values = st.recursive(
    scalars | library_values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=3).map(tuple), st.dictionaries(hashable, inner, max_size=4)
    ),
    max_leaves=8,
)


def typed(value: Any) -> Any:
    """Return a value that is equal for two values exactly if they are one value of one type: ``typed(1) != typed(True) != typed(1.0)``."""
    kind = type(value).__name__
    if isinstance(value, float):
        return kind, "nan" if math.isnan(value) else value.hex()
    if isinstance(value, complex):
        return kind, typed(value.real), typed(value.imag)
    if isinstance(value, list | tuple):
        return kind, tuple(map(typed, cast("list[Any]", value)))
    if isinstance(value, dict):
        items: Any = value.items()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - of any type
        return kind, frozenset((typed(key), typed(item)) for key, item in items)
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(typed, cast("set[Any]", value)))
    if isinstance(value, dt.datetime | dt.time):
        return kind, value.replace(tzinfo=None).isoformat(), value.utcoffset(), value.fold if value.tzinfo is None else 0
    if isinstance(value, decimal.Decimal):
        return kind, value.as_tuple()
    if isinstance(value, range):
        return kind, value.start, value.stop, value.step
    if isinstance(value, str | bytes | int | uuid.UUID | fractions.Fraction | PurePosixPath | dt.date | dt.timedelta) or value is None:
        return kind, value
    raise TypeError(kind)
