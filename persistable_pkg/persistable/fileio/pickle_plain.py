"""A reader of pickles of plain values that runs no code that the file names.

A pickle can call any function by name. Here only a few names are allowed, for numbers, sets, dates and numpy arrays, and each is replaced
by a wrapper of this module: no name in the file is imported, and the only state that reaches numpy is a dtype of numbers or text, a
shape and the bytes.
"""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from typing import Any

from persistable.errors import FormatError
from persistable.fileio.base import Buffer
from persistable.fileio.pickle import PickleFileIO

_DTYPE = re.compile(r"[biufcSUmM]\d{1,9}")
_ORDERS = ("<", ">", "|", "=")


class PlainPickleFileIO(PickleFileIO):
    """Reads files of `PickleFileIO` with numbers, text, lists, dicts, dates and numpy arrays. Raises FormatError for other content."""

    def _unpickled(self, stream: Buffer, buffers: Iterable[memoryview]) -> Any:
        try:
            return _PlainUnpickler(io.BytesIO(stream), buffers=buffers).load()
        except FormatError:
            raise
        except Exception as error:
            raise FormatError(f"it is no pickle of plain values: {type(error).__name__}: {error}", format="PickleFileIO") from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        found = _KNOWN.get((module_name.replace("numpy._core", "numpy.core"), global_name))
        if found is None:
            raise FormatError(
                f"it names {module_name}.{global_name}, and only plain values are read without its class", format="PickleFileIO"
            )
        return found

    def persistent_load(self, pid: Any, /) -> Any:
        raise FormatError("it refers to something outside", format="PickleFileIO")


class _Dtype:
    """A dtype in a pickle: its code, then a state, of which only the byte order is used."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise FormatError(f"its arrays are of dtype {code!r:.40}", format="PickleFileIO")
        self.code = code
        self.order: Any = "="

    def __setstate__(self, state: Any) -> None:
        _, order, inner, names, fields, *_ = state
        if order not in _ORDERS or inner is not None or names is not None or fields is not None or self.code[0] in "mM":
            raise FormatError("its arrays are of a dtype with fields or units", format="PickleFileIO")
        self.order = order

    def __repr__(self) -> str:
        return f"dtype({self.code!r})"

    def made(self) -> Any:
        import numpy as np

        return np.dtype(self.code).newbyteorder(self.order)


def _array(buffer: Any, dtype: Any, shape: Any, order: Any = "C", *_: Any) -> Any:
    import numpy as np

    if not isinstance(dtype, _Dtype) or order not in ("C", "F") or not isinstance(shape, tuple):
        raise FormatError("its arrays are made in an unknown way", format="PickleFileIO")
    data = memoryview(buffer).cast("B")
    if not data.nbytes:
        return np.zeros(shape if 0 in shape else (0,), dtype.made())
    return np.frombuffer(data, dtype.made()).reshape(shape, order=order)


def _scalar(dtype: Any, data: Any) -> Any:
    import numpy as np

    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise FormatError("its numbers are made in an unknown way", format="PickleFileIO")
    return np.frombuffer(data, dtype.made())[0]


class _Call:
    """A stand-in for a name in a pickle, which can call it but not change its state."""

    __slots__ = ("_act",)

    def __init__(self, act: Callable[..., Any]) -> None:
        self._act = act

    def __call__(self, *parts: Any) -> Any:
        return self._act(*parts)

    def __setstate__(self, state: Any) -> None:
        raise FormatError("it changes what makes its values", format="PickleFileIO")


_KNOWN: dict[tuple[str, str], _Call] = {
    ("numpy.core.numeric", "_frombuffer"): _Call(_array),
    ("numpy.core.multiarray", "scalar"): _Call(_scalar),
    ("numpy", "dtype"): _Call(_Dtype),
    **{("builtins", kind.__name__): _Call(kind) for kind in (complex, set, frozenset)},
    **{("datetime", kind.__name__): _Call(kind) for kind in (date, datetime, time, timedelta)},
}
