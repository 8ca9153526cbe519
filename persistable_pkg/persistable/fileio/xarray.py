"""Labelled arrays of xarray as a group of Zarr arrays, which `xarray.open_zarr` can read too.

Written here and not by xarray, whose own round trip changes dtypes, resolutions of times, indexes and attributes.
"""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from persistable.errors import need
from persistable.fileio.json import why_not_json_like

OWN = "persistable"
"""The attribute, of the group and of its arrays, with the facts that Zarr itself cannot hold."""
_TIMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_INDEXES = ("Index", "RangeIndex", "DatetimeIndex", "TimedeltaIndex")
_ALONE = "__xarray_dataarray_variable__"  # xarray's own name for the array of a DataArray without one


def why_not(value: Any, name_taken: Callable[[Any], bool]) -> str:
    """The reason why `value` would not be kept exactly; empty where it would. name_taken: tells whether Zarr refuses a name."""
    named, attrs = _parts(value)
    if len(named) != len(value.coords) + len(getattr(value, "data_vars", [0])):
        return f"its name {value.name!r} is that of a coordinate too"
    if any(name in attrs for name in ("coordinates", OWN)):
        return f"it has an attribute 'coordinates' or {OWN!r}, which the file uses itself; remove it from .attrs"
    for name, index in value.xindexes.items():
        if reason := _why_not_index(index):
            return f"the index of {name!r} {reason}"
    for name, variable in named.items():
        if type(name) is not str or (name_taken(name) and name != _ALONE) or any(type(dim) is not str for dim in variable.dims):
            return f"the variable {name!r} or one of its dimensions has a name that Zarr does not take; use .rename(...)"
        if reason := _why_not_values(variable) or _why_not_attrs(variable.attrs):
            return f"the variable {name!r} {reason}"
    return _why_not_attrs(attrs)


def write(zarr: Any, store: Any, value: Any, chunks: Callable[[Any], Any]) -> None:
    """Write `value`, which has passed `why_not`, as the root group of a Zarr store."""
    named, attrs = _parts(value)
    single = not hasattr(value, "data_vars")
    own = {
        "kind": type(value).__name__,
        "name": value.name if single else None,
        "order": list(named),
        "coords": list(value.coords),
        "indexes": {name: _index_facts(index) for name, index in value.xindexes.items()},
        "attrs": _odd(attrs),
    }
    plain = [name for name in value.coords if name not in value.dims and " " not in name]
    zarr.create_group(
        store=store,
        zarr_format=3,
        attributes={**_readable(attrs), OWN: own, **({"coordinates": " ".join(plain)} if plain else {})},
    )
    for name, variable in named.items():
        values, facts = variable.values, {"dtype": _dtype_name(variable.dtype), "attrs": _odd(variable.attrs)}
        units: dict[str, Any] = {}
        if values.dtype.kind in "mM":
            unit = _TIMES[np.datetime_data(values.dtype)[0]]
            units = (
                {"units": f"{unit} since 1970-01-01", "calendar": "proleptic_gregorian"} if values.dtype.kind == "M" else {"units": unit}
            )
            values = values.view(np.int64)
        elif values.dtype.kind in "OUT":
            values = values.astype(object)
        array = zarr.create_array(
            store=store, name=name, shape=values.shape, dtype=str if values.dtype == object else values.dtype, chunks=chunks(values),
            zarr_format=3, config={"write_empty_chunks": True}, dimension_names=list(variable.dims),
            attributes={**_readable(variable.attrs), **units, OWN: facts},
        )  # fmt: skip
        array[...] = values


def read(stored: Any) -> Any:
    """The Dataset or DataArray in a group from `write`."""
    xarray = need("xarray", "xarray", "xarray", "ZarrFileIO")
    own = stored.attrs[OWN]
    if any(name_ in ("", ".", "..") or "/" in name_ for name_ in own["order"]):
        raise ValueError(f"its variables are called {own['order']}")
    named = {name: _variable(xarray, stored[name]) for name in own["order"]}
    coords = {name: named.pop(name) for name in own["coords"]}
    indexes = {name: _index(xarray, coords[name], facts) for name, facts in own["indexes"].items()}
    coordinates = xarray.Coordinates(coords, indexes=indexes)
    if own["kind"] == "DataArray":
        (variable,) = named.values()
        return xarray.DataArray(variable, coords=coordinates, name=own["name"])
    attrs = _attrs({name: value for name, value in stored.attrs.items() if name not in (OWN, "coordinates")}, own["attrs"])
    return xarray.Dataset(named, coords=coordinates, attrs=attrs)


def _parts(value: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The variables by name, coordinates last, and the attributes of a Dataset (none for a DataArray)."""
    coords = {name: each.variable for name, each in value.coords.items()}
    if hasattr(value, "data_vars"):
        return {**{name: each.variable for name, each in value.data_vars.items()}, **coords}, value.attrs
    return {_ALONE if value.name is None else value.name: value.variable, **coords}, {}


def _why_not_values(variable: Any) -> str:
    dtype = variable.dtype
    kind: str = getattr(dtype, "kind", "?")
    if not isinstance(dtype, np.dtype) or not isinstance(variable.data, np.ndarray):
        return f"holds a {type(variable.data).__name__}, not a NumPy array"
    if kind in "mM":
        return "" if np.datetime_data(dtype)[0] in _TIMES and "units" not in variable.attrs and "calendar" not in variable.attrs else (
            "holds times and has an attribute 'units' or 'calendar', which say how these are written; remove it from its .attrs"
        )  # fmt: skip
    if kind == "O" and not all(type(each) is str for each in variable.values.flat):
        return "holds Python objects other than text"
    if kind not in "biufcOUT" or (dtype.itemsize > 16 and kind in "fc") or not dtype.isnative or dtype.metadata:
        return f"has the dtype {dtype!r}; Zarr keeps bool, int, uint, float, complex, text and times exactly"
    if kind == "T" and dtype != np.dtypes.StringDType():  # type: ignore[attr-defined,unused-ignore]
        return f"has the dtype {dtype!r}; text has no missing values here"
    return ""


def _why_not_index(index: Any) -> str:
    if type(index).__name__ != "PandasIndex":
        return f"is a {type(index).__name__}, which a file does not give back; use .reset_index(...)"
    held = index.index
    kind = type(held).__name__
    if kind not in _INDEXES or not (isinstance(held.dtype, np.dtype) or str(held.dtype) == "str"):
        return f"is a {kind} of {held.dtype}, which a file does not give back; convert its coordinate to plain values"
    return ""


def _index_facts(index: Any) -> dict[str, Any]:
    held = index.index
    facts: dict[str, Any] = {"kind": type(held).__name__, "dtype": str(held.dtype), "coord_dtype": _dtype_name(index.coord_dtype)}
    if facts["kind"] == "RangeIndex":
        facts["range"] = [held.start, held.stop, held.step]
    elif facts["kind"] != "Index" and held.freq is not None:
        facts["freq"] = held.freqstr
    return facts


def _index(xarray: Any, variable: Any, facts: dict[str, Any]) -> Any:
    import pandas as pd

    (dim,) = variable.dims
    kind, values = facts["kind"], variable.values
    if kind not in _INDEXES:
        raise ValueError(f"{kind} is no index")
    if kind == "RangeIndex":
        held: Any = pd.RangeIndex(*facts["range"])
    elif kind == "Index":
        held = pd.Index(values, dtype=facts["dtype"])
    else:
        held = getattr(pd, kind)(values, freq=facts.get("freq"))
    return xarray.indexes.PandasIndex(held.rename(dim), dim, coord_dtype=np.dtype(facts["coord_dtype"]))


def _variable(xarray: Any, array: Any) -> Any:
    own = array.attrs[OWN]
    dtype = np.dtypes.StringDType() if own["dtype"] == "T" else np.dtype(own["dtype"])  # type: ignore[attr-defined,unused-ignore]
    values = np.asarray(array[...])
    values = values.view(dtype) if dtype.kind in "mM" else values.astype(dtype)
    left_out = {OWN, "units", "calendar"} if dtype.kind in "mM" else {OWN}
    attrs = _attrs({name: value for name, value in array.attrs.items() if name not in left_out}, own["attrs"])
    return xarray.Variable(array.metadata.dimension_names or (), values, attrs)


def _dtype_name(dtype: Any) -> str:
    return "T" if dtype.kind == "T" else str(dtype.str)


# ------------------------------------------------------------------ attributes: JSON, and npy bytes beside it


def _why_not_attrs(attrs: dict[Any, Any]) -> str:
    for name, value in attrs.items():
        if type(name) is not str or name == OWN:
            return f"has an attribute {name!r}, whose name cannot be kept"
        array = _as_array(value)
        if not _is_json(value) and (array is None or array.dtype.kind not in "biufcUSmM"):
            return f"has an attribute {name!r}, a {type(value).__name__} that cannot be kept; finite JSON-like values and NumPy's are"
    return ""


def _as_array(value: Any) -> Any:
    """`value` as an array, if it is one or a scalar of NumPy, or a float or complex; else None."""
    return np.asarray(value) if isinstance(value, np.generic) or type(value) in (np.ndarray, float, complex) else None


def _readable(attrs: dict[str, Any]) -> dict[str, Any]:
    """The attributes that other programs can read."""
    shown = {name: value if (array := _as_array(value)) is None else array.tolist() for name, value in attrs.items()}
    return {name: value for name, value in shown.items() if _is_json(value)}


def _odd(attrs: dict[str, Any]) -> dict[str, Any]:
    """The order of all attributes, and the npy bytes of those that JSON cannot hold."""
    return {"order": list(attrs), "odd": {name: _kept(value) for name, value in attrs.items() if not _is_json(value)}}


def _is_json(value: Any) -> bool:
    if why_not_json_like(value):
        return False
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:  # NaN and infinities, which Zarr would write as text
        return False
    return True


def _attrs(readable: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    odd = own["odd"]
    return {name: _given_back(odd[name]) if name in odd else readable[name] for name in own["order"]}


def _kept(value: Any) -> Any:
    file = io.BytesIO()
    np.save(file, _as_array(value), allow_pickle=False)
    kind = "array" if isinstance(value, np.ndarray) else "scalar" if isinstance(value, np.generic) else "python"
    return {"kind": kind, "npy": base64.b64encode(file.getvalue()).decode()}


def _given_back(kept: dict[str, Any]) -> Any:
    array = np.load(io.BytesIO(base64.b64decode(kept["npy"])), allow_pickle=False)
    return array if kept["kind"] == "array" else array[()] if kept["kind"] == "scalar" else array.item()
