"""pandas values: labels, dtypes and items, whatever blocks they lie in. Loaded when the first one is met."""

# Values of every type pass through here, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persistable.params.columns import masked, numbers, values
from persistable.params.forms import Parts, Refused, Tagged

if TYPE_CHECKING:
    from persistable.params.forms import Reduce

_WRAPPED = type(pd.array(np.zeros(0, np.complex128)).dtype)  # a numpy array in pandas' dress
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def reducer(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`, a class of pandas' or derived from one; None if nothing does."""
    found = _EXACT.get(cls)
    if found is not None:
        return found
    if cls.__module__.partition(".")[0] != "pandas":
        return _foreign if issubclass(cls, pd.DataFrame | pd.Series | pd.Index) else None
    if issubclass(cls, pd.Index):
        return _index
    if issubclass(cls, pd.api.extensions.ExtensionDtype):
        return _dtype
    if issubclass(cls, pd.api.extensions.ExtensionArray):
        return _array
    return None


def _foreign(value: Any) -> Tagged:
    raise Refused(
        f"{type(value).__qualname__} is a frame with something more, and that would not be tracked", "convert it to a plain DataFrame"
    )


# ------------------------------------------------------------------ frames


def _frame(value: Any) -> Tagged:
    columns = [_column(value.iloc[:, i].array) for i in range(value.shape[1])]
    return Tagged("pandas.DataFrame", Parts(columns=_labels(value.columns), index=_labels(value.index), data=columns))


def _series(value: Any) -> Tagged:
    return Tagged("pandas.Series", Parts(name=value.name, index=_labels(value.index), data=_column(value.array)))


def _index(value: Any) -> Tagged:
    return Tagged("pandas.Index", _labels(value))


def _labels(index: Any) -> Parts:
    """The labels; that they count up, or follow a frequency, is how pandas keeps them."""
    if isinstance(index, pd.MultiIndex):
        levels = [_column(index.get_level_values(i).array) for i in range(index.nlevels)]
        return Parts(names=list(index.names), levels=levels, multi=True)
    return Parts(names=[index.name], levels=[_column(index.array)], multi=False)


# ------------------------------------------------------------------ columns


def _column(array: Any) -> Parts:
    dtype = array.dtype
    if isinstance(dtype, np.dtype | _WRAPPED):
        return _plain(np.asarray(array))
    for kind, describe in _COLUMNS:
        if isinstance(dtype, kind):
            found: Parts = describe(array, dtype)
            return found
    if hasattr(array, "_mask") and hasattr(array, "_data"):  # Int64, Float32, boolean
        items, missing = masked(array._data, array._mask)
        return Parts(dtype=dtype.name, items=items, missing=missing)
    raise Refused(f"it has a column of dtype {dtype}, which is not known here", "convert the column with astype")


def _plain(array: Any) -> Parts:
    if array.dtype.kind == "O":
        return Parts(dtype="object", items=values(array.tolist()))
    return Parts(dtype=array.dtype.str, items=numbers(array))


def _text(array: Any, dtype: Any) -> Parts:
    # where the text lies (Python or Arrow) is chosen by what is installed; what stands for a missing one is behaviour
    missing = array.isna()
    items = [None if gone else text for gone, text in zip(missing.tolist(), array.tolist(), strict=True)]
    return Parts(dtype="string" if dtype.na_value is pd.NA else "str", items=values(items))


def _categorical(array: Any, dtype: Any) -> Parts:
    codes = np.asarray(array.codes).astype(np.int64)
    return Parts(dtype="category", ordered=bool(dtype.ordered), categories=_column(dtype.categories.array), codes=numbers(codes))


def _zoned(array: Any, dtype: Any) -> Parts:
    return Parts(dtype=f"datetime64[{dtype.unit}]", zone=str(dtype.tz), items=numbers(array.asi8))


def _periods(array: Any, dtype: Any) -> Parts:
    return Parts(dtype="period", freq=dtype.freq.freqstr, items=numbers(array.asi8))


def _intervals(array: Any, dtype: Any) -> Parts:
    return Parts(dtype="interval", closed=dtype.closed, left=_column(array.left.array), right=_column(array.right.array))


def _sparse(array: Any, dtype: Any) -> Parts:
    return Parts(dtype="sparse", fill_value=dtype.fill_value, items=_plain(np.asarray(array)))


def _arrow(array: Any, _dtype: Any) -> Parts:
    from persistable.params.tables import arrow_column

    return Parts(dtype="arrow", items=arrow_column(array.__arrow_array__()))


_COLUMNS: tuple[tuple[Any, Any], ...] = (
    (pd.StringDtype, _text),
    (pd.CategoricalDtype, _categorical),
    (pd.DatetimeTZDtype, _zoned),
    (pd.PeriodDtype, _periods),
    (pd.IntervalDtype, _intervals),
    (pd.SparseDtype, _sparse),
    (pd.ArrowDtype, _arrow),
)


def _array(value: Any) -> Tagged:
    return Tagged("pandas.array", _column(value))


def _dtype(value: Any) -> Tagged:
    return Tagged("pandas.dtype", _column(pd.array([], dtype=value)))


# ------------------------------------------------------------------ scalars


def _timestamp(value: Any) -> Tagged:
    # one moment is one value, in whichever unit it is counted: versions of pandas choose differently
    moment = value._value * _NANOSECONDS[value.unit]
    return Tagged("pandas.Timestamp", (moment, None if value.tz is None else str(value.tz)))


def _timedelta(value: Any) -> Tagged:
    return Tagged("pandas.Timedelta", value._value * _NANOSECONDS[value.unit])


def _period(value: Any) -> Tagged:
    return Tagged("pandas.Period", (value.ordinal, value.freqstr))


def _interval(value: Any) -> Tagged:
    return Tagged("pandas.Interval", (value.left, value.right, value.closed))


_EXACT: dict[type, Reduce] = {
    pd.DataFrame: _frame,
    pd.Series: _series,
    pd.Timestamp: _timestamp,
    pd.Timedelta: _timedelta,
    pd.Period: _period,
    pd.Interval: _interval,
    type(pd.NaT): lambda _: Tagged("pandas.NaT", None),
    type(pd.NA): lambda _: Tagged("pandas.NA", None),
}


def rebuild(tag: str, content: Any) -> Any:
    """The scalar that was reduced to `content` under `tag`."""
    if tag == "pandas.Timestamp":
        moment, zone = content
        return pd.Timestamp(np.datetime64(moment, "ns") if zone is None else moment, tz=zone)
    if tag == "pandas.Timedelta":
        return pd.Timedelta(content, unit="ns")
    if tag == "pandas.Period":
        return pd.Period(ordinal=content[0], freq=content[1])
    if tag == "pandas.Interval":
        return pd.Interval(*content)
    return pd.NaT if tag == "pandas.NaT" else pd.NA
