"""numpy values: scalars as the Python value they hold, arrays as dtype, shape and bytes. Loaded when the first one is met."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from persistable.params.numpy_scalars import rebuilt
from persistable.params.reduced_values import Bulk, Parts, Refused, Tagged, blob
from persistable.params.reducers import reference

if TYPE_CHECKING:
    from persistable.params.reduced_values import Reduce

CHUNK_BYTES = 1 << 22
"""Bytes copied at a time of an array that is not contiguous."""

_PLAIN = "convert it with numpy.asarray, or register_params its type"
_STRING = getattr(getattr(np, "dtypes", None), "StringDType", None)  # numpy 2


def reducer(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`, a class of numpy or derived from one; None if there is none."""
    found = _EXACT.get(cls)
    if found is not None:
        return found
    if issubclass(cls, np.generic):
        return _scalar
    if issubclass(cls, np.dtype):
        return _dtype
    if issubclass(cls, np.ndarray):
        return _foreign
    return None


def _foreign(value: Any) -> Tagged:
    raise Refused(f"{type(value).__qualname__} is an array with something more, and that would not be tracked", _PLAIN)


# ------------------------------------------------------------------ arrays


def _array(value: Any) -> Tagged:
    return Tagged("array", parts(value))


def parts(array: Any) -> Parts:
    """The parts of an array: its dtype, its shape, and its items in C order."""
    return Parts(dtype=describe(array.dtype), shape=list(array.shape), items=_items(array))


def describe(dtype: Any) -> Any:
    """A dtype as plain values. Padding, alignment, titles and metadata are not part of it; byte order is."""
    if dtype.names is not None:
        return [[name, describe(dtype.fields[name][0])] for name in dtype.names]
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return Parts(base=describe(base), shape=list(shape))
    if _STRING is not None and isinstance(dtype, _STRING):
        return Parts(string=True, missing=[dtype.na_object] if hasattr(dtype, "na_object") else [])
    if not dtype.isbuiltin and dtype.kind == "V" and dtype.type is not np.void:  # such as ml_dtypes.bfloat16, whose str says V2
        return dtype.name
    return str(dtype.str)


def _items(array: Any) -> Any:
    dtype = array.dtype
    if dtype.names is not None:
        return [_items(array[name]) for name in dtype.names]
    if dtype.kind == "O":
        return Bulk(objects(array.ravel(order="C").tolist() if array.ndim else [array.item()]))
    if _STRING is not None and isinstance(dtype, _STRING):
        return Bulk(array.ravel(order="C").tolist())
    if not dtype.isnative and dtype.char in "gG":
        raise Refused("extended precision in foreign byte order has no portable bytes", "convert it with astype")
    return blob(_chunks(array), array.nbytes)


def objects(items: list[Any]) -> list[Any]:
    """Items of an array or column of objects, numpy scalars among them tagged with their dtypes, since code that reads them sees these."""
    if not any(issubclass(kind, np.generic) for kind in {*map(type, items)}):
        return items
    return list(map(typed, items))


def typed(value: Any) -> Any:
    """`value` with each numpy scalar in it tagged with its dtype, for holders that return their scalars unchanged."""
    if isinstance(value, np.generic):
        return Tagged("scalar", parts(np.asarray(value)))
    return rebuilt(value, typed)


def _chunks(array: Any) -> Iterator[Any]:
    """The bytes of `array` in C order: a view where they are contiguous, else copied piece by piece."""
    if array.nbytes == 0:
        return
    if array.dtype.char in "gG":
        yield _without_padding(array)
    elif array.flags.c_contiguous:
        yield array.reshape(-1).view(np.uint8).data
    elif array.nbytes <= CHUNK_BYTES:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    else:
        rows = max(1, CHUNK_BYTES * len(array) // array.nbytes)
        for start in range(0, len(array), rows):
            yield from _chunks(array[start : start + rows] if rows > 1 or array.ndim == 1 else array[start])


def _without_padding(array: Any) -> bytes:
    """The bytes with zeros as padding: an x86 long double is ten bytes in sixteen, and the others are undefined."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if array.dtype.char == "G":
        flat = flat.view(np.longdouble)
    size = flat.dtype.itemsize
    raw = flat.view(np.uint8).reshape(-1, size).copy()
    if np.finfo(np.longdouble).nmant == 63:
        raw[:, 10:] = 0
    return raw.tobytes()


def _masked(value: Any) -> Tagged:
    mask = np.ma.getmaskarray(value)
    data = np.array(value.data, copy=True, subok=False)
    _blank(data, mask)
    fill = value.fill_value
    return Tagged("masked", Parts(data=parts(data), mask=parts(mask), fill_value=parts(np.asarray(fill))))


def _blank(data: Any, mask: Any) -> None:
    """Overwrite the masked items with zeros."""
    if data.dtype.names is not None:
        for name in data.dtype.names:
            _blank(data[name], mask[name])
    else:
        data[mask] = np.zeros((), data.dtype)[()]


# ------------------------------------------------------------------ scalars and the rest


def _scalar(value: Any) -> Any:
    if type(value) in _AS_BYTES or isinstance(value, np.void):
        return Tagged("scalar", parts(np.asarray(value)))
    plain = value.item()
    if isinstance(plain, np.generic) or type(value).__module__.partition(".")[0] != "numpy":
        raise Refused(f"{type(value).__qualname__} holds no Python value", "convert it with float() or int()")
    return plain


_AS_BYTES = (np.datetime64, np.timedelta64, np.longdouble, np.clongdouble)


def _dtype(value: Any) -> Tagged:
    return Tagged("dtype", describe(value))


def _ufunc(value: Any) -> Tagged:
    name: str = value.__name__
    for home in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(home), name, None) is value:
            return Tagged("reference", f"{home}:{name}")
    return Tagged("reference", reference(value))


_EXACT: dict[type, Reduce] = {
    np.ndarray: _array,
    np.memmap: _array,
    np.matrix: lambda value: Tagged("matrix", parts(np.asarray(value))),
    np.recarray: lambda value: Tagged("recarray", parts(np.asarray(value))),
    np.ma.MaskedArray: _masked,
    type(np.ma.masked): lambda _: Tagged("numpy.ma.masked", None),
    np.ufunc: _ufunc,
}


# ------------------------------------------------------------------ and back


def from_description(described: Any) -> Any:
    """The dtype for which `describe` returned `described`."""
    if isinstance(described, list):
        return np.dtype([(name, from_description(inner)) for name, inner in described])
    if isinstance(described, dict):
        if "base" in described:
            return np.dtype((from_description(described["base"]), tuple(described["shape"])))
        missing = described["missing"]
        return _STRING(na_object=missing[0]) if missing else _STRING()  # type: ignore[misc]
    return np.dtype(described)


def from_parts(content: Any) -> Any:
    """The array for which `parts` returned `content`. Its blobs must hold their bytes."""
    dtype = from_description(content["dtype"])
    array: Any = np.zeros(tuple(content["shape"]), dtype)
    _fill(array, content["items"])
    return array


def _fill(array: Any, items: Any) -> None:
    if array.dtype.names is not None:
        for name, inner in zip(array.dtype.names, items, strict=True):
            _fill(array[name], inner)
    elif isinstance(items, bytes):
        flat = np.frombuffer(items, array.dtype.base if array.dtype.subdtype else array.dtype)
        array[...] = flat.reshape(array.shape)
    else:
        for index, item in zip(np.ndindex(array.shape), items, strict=True):
            array[index] = item


def rebuild(tag: str, content: Any) -> Any:
    """The value that was reduced to `content` under `tag`."""
    if tag == "dtype":
        return from_description(content)
    if tag == "numpy.ma.masked":
        return np.ma.masked
    if tag == "masked":
        data = from_parts(content["data"])
        return np.ma.MaskedArray(data, from_parts(content["mask"]), fill_value=from_parts(content["fill_value"])[()])
    array = from_parts(content)
    if tag == "scalar":
        return array[()]
    if tag == "matrix":
        return array.view(np.matrix)
    if tag == "recarray":
        return array.view(np.recarray)
    return array
