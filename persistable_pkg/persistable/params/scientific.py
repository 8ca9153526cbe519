"""Sparse matrices of scipy and labelled arrays of xarray: plain arrays, and the structure that joins them."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from persistable.params.reduced_values import Parts, Refused, Tagged

if TYPE_CHECKING:
    from persistable.params.reduced_values import Reduce


def reducer(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`, a class of these packages; None if there is none."""
    package, name = cls.__module__.partition(".")[0], cls.__name__
    if package == "scipy" and name.partition("_")[0] in _STORED and name.partition("_")[2] in ("matrix", "array"):
        return _sparse
    if package == "xarray":
        return {"DataArray": _data_array, "Dataset": _dataset, "Variable": _variable, "IndexVariable": _variable}.get(name)
    return None


# ------------------------------------------------------------------ scipy

_STORED = {
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "coords"),
    "csc": ("data", "indices", "indptr"),
    "csr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "dok": (),
    "lil": (),
}


def _sparse(value: Any) -> Tagged:
    """Reduce to all stored data, in its stored form: also explicit zeros, duplicate entries, and their order, since code sees them."""
    kind, _, sort = type(value).__name__.partition("_")
    names = _STORED[kind]
    held: Any = value
    if not names:  # entries by their place, which have no order
        held, names = value.tocoo(), _STORED["coo"]
    stored: dict[str, Any] = {name: _coordinates(held) if name == "coords" else getattr(held, name) for name in names}
    if held is not value:
        order = np.lexsort(stored["coords"][::-1])
        stored = {"data": held.data[order], "coords": tuple(each[order] for each in stored["coords"])}
    # scipy chooses 32 or 64 bits for indices
    wide = {name: part if name == "data" else _wide(part) for name, part in stored.items()}
    return Tagged("scipy.sparse", Parts(format=kind, sort=sort, shape=tuple(map(int, value.shape)), **wide))


def _coordinates(held: Any) -> tuple[Any, ...]:
    coords: Any = getattr(held, "coords", None)
    return tuple(coords) if coords is not None else (held.row, held.col)


def _wide(part: Any) -> Any:
    return tuple(_wide(each) for each in part) if isinstance(part, tuple) else np.asarray(part, dtype=np.int64)


def rebuild_sparse(content: Any) -> Any:
    """The matrix or array that was reduced to `content`: format, sort, shape and stored data."""
    from importlib import import_module

    sparse = import_module("scipy.sparse")
    kind, sort, shape = content["format"], content["sort"], tuple(content["shape"])
    if kind not in _STORED or sort not in ("matrix", "array"):
        raise ValueError(f"{kind}_{sort} is no sparse format")
    make = getattr(sparse, f"{kind}_{sort}")
    names = _STORED[kind]
    if names in ((), ("data", "coords")):
        held = getattr(sparse, f"coo_{sort}")((content["data"], tuple(content["coords"])), shape=shape)
        return held if names else make(held)
    parts = tuple(content[name] for name in names)
    return make(parts, shape=shape)


# ------------------------------------------------------------------ xarray


def _data_array(value: Any) -> Tagged:
    return Tagged("xarray.DataArray", Parts(name=value.name, variable=value.variable, coords=_variables(value.coords)))


def _dataset(value: Any) -> Tagged:
    return Tagged("xarray.Dataset", Parts(data=_variables(value.data_vars), coords=_variables(value.coords), attrs=dict(value.attrs)))


def _variables(named: Any) -> dict[Any, Any]:
    return {name: each.variable for name, each in named.items()}


def _variable(value: Any) -> Tagged:
    """Dimensions, values and attributes. The form in which it was or would be written to a file (`encoding`) is no part of it."""
    if value.chunks is not None or is_unread(value):
        raise Refused("this xarray object is not in memory, so looking at it would read or compute it", "pass .load() of it")
    return Tagged("xarray.Variable", Parts(dims=tuple(value.dims), data=value.to_numpy(), attrs=dict(value.attrs)))


def is_unread(variable: Any) -> bool:
    """Tell whether a variable only refers to its values in a file. The values of an index are in memory, even if it is a range."""
    return getattr(variable, "_in_memory", True) is False and not type(variable._data).__name__.startswith("Pandas")
