"""pandas values: labels, dtypes and items, independent of the blocks they are in. Loaded when the first one is met."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persistable.params.columns import masked, numbers
from persistable.params.numpy import objects, typed
from persistable.params.numpy_scalars import rebuilt
from persistable.params.reduced_values import Bulk, Parts, Refused, Tagged
from persistable.params.stdlib import fixed_offset

if TYPE_CHECKING:
    from persistable.params.reduced_values import Reduce

_WRAPPED = type(pd.array(np.zeros(0, np.complex128)).dtype)  # a numpy array as an extension array of pandas
_PER_SECOND = {"ns": 10**9, "us": 10**6, "ms": 10**3, "s": 1}
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def reducer(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`, a class of pandas or derived from one; None if there is none."""
    found = _EXACT.get(cls)
    if found is not None:
        return found
    if cls.__module__.partition(".")[0] != "pandas":
        return _foreign if issubclass(cls, pd.DataFrame | pd.Series | pd.Index) else None
    if issubclass(cls, pd.Index):
        return _index
    if issubclass(cls, pd.offsets.BaseOffset):
        return _offset_param
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
    return Tagged("pandas.DataFrame", _with_attrs(value, Parts(columns=_labels(value.columns), index=_labels(value.index), data=columns)))


def _series(value: Any) -> Tagged:
    return Tagged("pandas.Series", _with_attrs(value, Parts(name=value.name, index=_labels(value.index), data=_column(value.array))))


def _with_attrs(value: Any, made: Parts) -> Parts:
    if value.attrs:
        made["attrs"] = rebuilt(dict(value.attrs), typed)
    return made


def _index(value: Any) -> Tagged:
    return Tagged("pandas.Index", _labels(value))


def _labels(index: Any) -> Parts:
    """The labels and their known frequency; a range of integers is reduced to its labels."""
    if isinstance(index, pd.MultiIndex):
        levels = [_column(index.get_level_values(i).array) for i in range(index.nlevels)]
        return Parts(names=list(index.names), levels=levels, multi=True)
    made = Parts(names=[index.name], levels=[_column(index.array)], multi=False)
    if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) and index.freq is not None:
        made["freq"] = _offset(index.freq)
    return made


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
        return _objects(array.tolist())
    if array.dtype.kind in "mM":
        unit, items = _in_finest(np.datetime_data(array.dtype)[0], array.view("i8"))
        return Parts(dtype=f"<{array.dtype.kind}8[{unit}]", items=numbers(items))
    return Parts(dtype=array.dtype.str, items=numbers(array))


def _in_finest(unit: str, items: Any) -> tuple[str, Any]:
    """Times in the finest unit that holds them all, independent of their own unit: versions of pandas choose differently."""
    missing = items == np.iinfo(np.int64).min
    plain = np.where(missing, 0, items)
    for finer, per_second in _PER_SECOND.items():
        factor = per_second // _PER_SECOND.get(unit, per_second)
        if factor <= 1:
            break
        if not (np.abs(plain) > np.iinfo(np.int64).max // factor).any():
            return finer, np.where(missing, items, plain * factor)
    return unit, items


def _objects(items: list[Any]) -> Parts:
    """Reduce objects one by one. In text, which is `str` in pandas 3 and objects in pandas 2, each missing one becomes NaN, as in `str`."""
    kinds = {*map(type, items)}
    if str in kinds and kinds - {str}:
        texts = [item if type(item) is str else np.nan if _is_missing(item) else None for item in items]
        items = items if None in texts else texts
    return Parts(dtype="object", items=Bulk(objects(items)))


def _is_missing(item: Any) -> bool:
    return item is None or (isinstance(item, float) and item != item)


def _text(array: Any, dtype: Any) -> Parts:
    # installed packages decide where the text is stored (Python or Arrow); the value of missing ones affects behaviour
    items = array.tolist()
    if dtype.na_value is not pd.NA:
        return _objects(items)
    return Parts(dtype="string", items=Bulk([None if gone else text for gone, text in zip(array.isna().tolist(), items, strict=True)]))


def _categorical(array: Any, dtype: Any) -> Parts:
    codes = np.asarray(array.codes).astype(np.int64)
    return Parts(dtype="category", ordered=bool(dtype.ordered), categories=_column(dtype.categories.array), codes=numbers(codes))


def _zoned(array: Any, dtype: Any) -> Parts:
    unit, items = _in_finest(dtype.unit, array.asi8)
    return Parts(dtype=f"datetime64[{unit}]", zone=_zone_name(dtype.tz), items=numbers(items))


def _zone_name(zone: Any) -> str:
    offset = fixed_offset(zone)
    if offset is not None:
        return str(dt.timezone(offset))
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if name is None:
        raise Refused(f"nothing tells the time zone {zone} from others on every machine", "use zoneinfo.ZoneInfo, or a fixed offset")
    return str(name)


def _periods(array: Any, dtype: Any) -> Parts:
    return Parts(dtype="period", freq=_alias(dtype.freq), items=numbers(array.asi8))


def _intervals(array: Any, dtype: Any) -> Parts:
    return Parts(dtype="interval", closed=dtype.closed, left=_column(array.left.array), right=_column(array.right.array))


def _sparse(array: Any, dtype: Any) -> Parts:
    return Parts(dtype="sparse", fill_value=dtype.fill_value, items=_plain(np.asarray(array)))


def _arrow(array: Any, _dtype: Any) -> Parts:
    from persistable.params.arrow import arrow_column

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


# ------------------------------------------------------------------ frequencies

_ALIASES = {
    "YearEnd": "Y-{month}",
    "QuarterEnd": "Q-{month}",
    "MonthEnd": "M",
    "Week": "W-{day}",
    "BusinessDay": "B",
    "Day": "D",
    "Hour": "h",
    "Minute": "min",
    "Second": "s",
    "Milli": "ms",
    "Micro": "us",
    "Nano": "ns",
}
"""The frequencies that periods have, by the classes of their offsets, whose names do not change as aliases do."""
_MONTHS = ["DEC", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV"]
_DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]


def _alias(offset: Any) -> str:
    """The frequency of a period, in the spelling of this library."""
    known = offset.kwds
    alias = _ALIASES.get(type(offset).__name__)
    if alias is None:
        raise Refused(f"the frequency {offset} is not a known frequency of periods", "pass its numbers")
    month = _MONTHS[(known.get("month") or known.get("startingMonth") or 0) % 12]
    text = alias.format(month=month, day=_DAYS[known.get("weekday") or 0])
    return text if offset.n == 1 else f"{offset.n}{text}"


def _offset(value: Any) -> Parts:
    """A date offset: its class, its multiple, and its options."""
    options = {name: option for name, option in value.kwds.items() if name != "calendar"}
    if type(value).__name__ == "Easter" and options.get("method") == 3:  # the only method of older versions of pandas
        del options["method"]
    return Parts(
        {"offset": type(value).__name__, "n": int(value.n), "normalize": bool(value.normalize), "options": rebuilt(options, typed)}
    )


def _offset_param(value: Any) -> Tagged:
    return Tagged("pandas.offset", _offset(value))


# ------------------------------------------------------------------ scalars


def _timestamp(value: Any) -> Tagged:
    # one moment is one value, in any unit: versions of pandas choose differently
    moment = value._value * _NANOSECONDS[value.unit]
    return Tagged("pandas.Timestamp", (moment, None if value.tz is None else _zone_name(value.tz)))


_EXACT: dict[type, Reduce] = {
    pd.DataFrame: _frame,
    pd.Series: _series,
    pd.Timestamp: _timestamp,
    pd.Timedelta: lambda value: Tagged("pandas.Timedelta", value._value * _NANOSECONDS[value.unit]),
    pd.Period: lambda value: Tagged("pandas.Period", (value.ordinal, _alias(value.freq))),
    pd.Interval: lambda value: Tagged("pandas.Interval", (value.left, value.right, value.closed)),
    type(pd.NaT): lambda _: Tagged("pandas.NaT", None),
    type(pd.NA): lambda _: Tagged("pandas.NA", None),
}


# ------------------------------------------------------------------ and back


def rebuild(tag: str, content: Any) -> Any:
    """The value that was reduced to `content` under `tag`. Its blobs must hold their bytes."""
    return _REBUILD[tag](content)


def _frame_back(content: Any) -> Any:
    index = _labels_back(content["index"])
    columns = [pd.Series(_column_back(column), index=index) for column in content["data"]]
    made = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=index)
    made.columns = _labels_back(content["columns"])
    made.attrs.update(content.get("attrs", {}))
    return made


def _series_back(content: Any) -> Any:
    made = pd.Series(_column_back(content["data"]), index=_labels_back(content["index"]), name=content["name"])
    made.attrs.update(content.get("attrs", {}))
    return made


def _labels_back(labels: Any) -> Any:
    levels = [_column_back(level) for level in labels["levels"]]
    if labels["multi"]:
        return pd.MultiIndex.from_arrays(levels, names=labels["names"])
    made: Any = pd.Index(levels[0], name=labels["names"][0])
    if "freq" in labels:
        made.freq = _offset_back(labels["freq"])
    return made


def _array_back(content: Any) -> Any:
    column = _column_back(content)
    plain = isinstance(column, np.ndarray) and column.dtype.kind not in "mMO"
    return pd.arrays.NumpyExtensionArray(column) if plain else pd.array(column)  # type: ignore[attr-defined,unused-ignore]


def _dtype_back(content: Any) -> Any:
    """The dtype of an empty column. Plain objects have no dtype of pandas, so a column of objects had a dtype of text."""
    return pd.StringDtype(na_value=np.nan) if content["dtype"] == "object" else _column_back(content).dtype


def _column_back(column: Any) -> Any:
    kind, items = column["dtype"], column.get("items")
    if kind in _COLUMNS_BACK:
        return _COLUMNS_BACK[kind](column)
    if "zone" in column:
        utc = pd.DatetimeIndex(np.frombuffer(items, f"<M8[{kind[11:-1]}]"), tz="UTC")
        return utc.tz_convert(column["zone"]).array
    if "missing" in column:
        made = pd.array(np.frombuffer(items, "?" if kind == "boolean" else kind.lower()).copy(), dtype=kind)
        made[np.frombuffer(column["missing"], "?")] = pd.NA
        return made
    return np.frombuffer(items, kind).copy()


def _objects_back(column: Any) -> Any:
    """Objects; text as this pandas keeps it."""
    items = column["items"]
    if items and all(type(item) is str or _is_missing(item) for item in items):
        return pd.Series(items).array
    return objects(items)


def _arrow_back(column: Any) -> Any:
    from persistable.params.arrow import column_back

    return pd.arrays.ArrowExtensionArray(column_back(column["items"]))  # type: ignore[attr-defined,unused-ignore]


_COLUMNS_BACK: dict[str, Any] = {
    "object": _objects_back,
    "string": lambda column: pd.array(column["items"], dtype="string"),
    "category": lambda column: pd.Categorical.from_codes(
        np.frombuffer(column["codes"], np.int64), pd.Index(_column_back(column["categories"])), ordered=column["ordered"]
    ),
    "period": lambda column: pd.arrays.PeriodArray(np.frombuffer(column["items"], np.int64), pd.PeriodDtype(column["freq"])),
    "interval": lambda column: pd.arrays.IntervalArray.from_arrays(
        _column_back(column["left"]), _column_back(column["right"]), column["closed"]
    ),
    "sparse": lambda column: pd.arrays.SparseArray(_column_back(column["items"]), fill_value=column["fill_value"]),
    "arrow": _arrow_back,
}


def _offset_back(content: Any) -> Any:
    return getattr(pd.offsets, content["offset"])(content["n"], normalize=content["normalize"], **content["options"])


def _timestamp_back(content: Any) -> Any:
    moment, zone = content
    return pd.Timestamp(np.datetime64(moment, "ns") if zone is None else moment, tz=zone)


_REBUILD: dict[str, Any] = {
    "pandas.DataFrame": _frame_back,
    "pandas.Index": _labels_back,
    "pandas.Interval": lambda content: pd.Interval(*content),
    "pandas.NA": lambda _: pd.NA,
    "pandas.NaT": lambda _: pd.NaT,
    "pandas.Period": lambda content: pd.Period(ordinal=content[0], freq=content[1]),
    "pandas.Series": _series_back,
    "pandas.Timedelta": lambda content: pd.Timedelta(content, unit="ns"),
    "pandas.Timestamp": _timestamp_back,
    "pandas.array": _array_back,
    "pandas.dtype": _dtype_back,
    "pandas.offset": _offset_back,
}
