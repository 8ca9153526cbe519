"""`InMemoryCopy`: a snapshot of an object in memory, of which each user takes its own copy."""

# Values of every type pass through here, so pyright may find unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import copy
import io
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from persistable.errors import PayloadNotRepresentable

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
"""Types whose values are immutable."""
_BY_REFERENCE = (type, FunctionType, BuiltinFunctionType, ModuleType)


class InMemoryCopy:
    """A snapshot of `thing` at construction. `copy` returns a private copy; an object that cannot be copied goes to one taker only.

    swapped: replacements of objects inside it in each copy, by identity.
    """

    __slots__ = ("_itself", "_make", "_name", "_taker")

    def __init__(self, thing: Any, name: object = "it", swapped: Mapping[int, Any] | None = None) -> None:
        self._name = name
        self._taker: object = None
        self._make = _maker(thing, swapped or {}, frozen_now=True)
        self._itself = thing if self._make is None else None

    def copy(self, writable: bool = False, taker: object = None) -> Any:
        """A copy whose arrays are writable, or read-only and share their memory with other copies.

        taker: a name of the caller, for comparison. Raises PayloadNotRepresentable where it cannot be copied and another taker has it.
        """
        if self._make is not None:
            return self._make(writable)
        if taker is not None and self._taker not in (None, taker):
            raise PayloadNotRepresentable(
                f"the payload of {self._name} is not stored and cannot be copied ({type(self._itself).__name__}), so only one node can be "
                "given it, and several need it; store it, make it in each of them, or share it by connection(...)",
                format="pickle",
                reason="it cannot be copied",
            )
        self._taker = taker if taker is not None else self._taker
        return self._itself

    def __reduce__(self) -> tuple[Any, ...]:
        from persistable.fileio.pickle import PickleFileIO

        return _unpacked, (PickleFileIO().dumps(self.copy()), str(self._name))


def _unpacked(data: bytes, name: str) -> InMemoryCopy:
    from persistable.fileio.pickle import PickleFileIO

    return InMemoryCopy(PickleFileIO().loads(data), name)


def private_copy(thing: Any, writable: bool = True, swapped: Mapping[int, Any] | None = None) -> Any:
    """A private copy of `thing`; `thing` itself where it cannot be copied."""
    make = _maker(thing, swapped or {}, frozen_now=False)
    return thing if make is None else make(writable)


def refuse_iterator(payload: Any, name: object) -> None:
    """Raise PayloadNotRepresentable for an iterator, which would be empty for a second reader."""
    if type(payload) in ATOMS or not isinstance(payload, Iterator):
        return
    kind = type(payload).__name__
    raise PayloadNotRepresentable(
        f"the payload of {name} is of type {kind}, which can be read only once; return list(...) of it, or its content",
        format="memory",
        reason=f"a {kind} can be read only once",
    )


# making copies


def _maker(thing: Any, swapped: Mapping[int, Any], frozen_now: bool) -> Callable[[bool], Any] | None:
    """The function that makes copies of `thing`; None where it cannot be copied. frozen_now: copies of its state now, after changes too."""
    if type(thing) in ATOMS:
        return lambda _: thing
    try:
        return _Pickled(thing, swapped, frozen_now).copy
    except Exception:  # noqa: BLE001 - an object that cannot be pickled may still be copied
        pass
    try:
        template = copy.deepcopy(thing, _memo(swapped))
    except Exception:  # noqa: BLE001 - a lock or an open file cannot be copied
        return None
    return (lambda _: copy.deepcopy(template, _memo(swapped))) if frozen_now else (lambda _: template)


def _memo(swapped: Mapping[int, Any]) -> dict[int, Any]:
    return {**swapped, **{id(other): other for other in swapped.values()}}


class _Pickled:
    """A pickle for this process: classes, functions, modules and shared objects go by reference, arrays out of band."""

    __slots__ = ("_buffers", "_kept", "_stream")

    def __init__(self, thing: Any, swapped: Mapping[int, Any], frozen_now: bool) -> None:
        self._kept: list[Any] = []
        self._buffers: list[memoryview] = []
        file = io.BytesIO()
        _Pickler(file, self._kept, self._buffers, swapped, frozen_now).dump(thing)
        self._stream = file.getvalue()

    def copy(self, writable: bool) -> Any:
        """Make another copy."""
        outer = getattr(_loading, "kept", None)
        _loading.kept = self._kept
        try:
            buffers: Any = map(bytearray, self._buffers) if writable else (buffer.toreadonly() for buffer in self._buffers)
            return pickle.loads(self._stream, buffers=buffers)
        finally:
            _loading.kept = outer


_loading = threading.local()


def _kept(number: int) -> Any:
    return _loading.kept[number]


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, kept: list[Any], buffers: list[memoryview], swapped: Mapping[int, Any], frozen_now: bool) -> None:
        own: dict[int, Any] = {}

        def keep(buffer: pickle.PickleBuffer) -> None:  # no method: that would be a reference cycle, which keeps the pickled objects alive
            view = buffer.raw()
            buffers.append(memoryview(bytes(view)) if frozen_now and id(view.obj) not in own else view)

        super().__init__(file, 5, buffer_callback=keep)
        self._things = kept
        self._swapped = swapped
        self._lasting = frozen_now
        self._own = own

    def reducer_override(self, thing: Any) -> Any:
        if thing is _kept:
            return NotImplemented
        other = self._swapped.get(id(thing)) if self._swapped else None
        kind: Any = type(thing)
        if other is not None or issubclass(kind, _BY_REFERENCE) or getattr(kind, "_is_shared", False):
            self._things.append(thing if other is None else other)
            return _kept, (len(self._things) - 1,)
        numpy = sys.modules.get("numpy")
        if numpy is not None and issubclass(kind, numpy.ndarray):
            return self._array(thing, kind, numpy)
        return NotImplemented

    def _array(self, array: Any, kind: Any, numpy: Any) -> Any:
        if kind is not numpy.ndarray:
            return (numpy.ndarray.view, (array.view(numpy.ndarray), kind)) if kind in (numpy.memmap, numpy.recarray) else NotImplemented
        if array.dtype.hasobject or not array.nbytes:
            return NotImplemented
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        if self._lasting or not (array.flags.writeable and array.flags.forc):
            array = array.copy(order)
        raw = array.ravel(order).view(numpy.uint8)  # times and records do not support the buffer protocol
        self._own[id(raw)] = raw
        return _array_of, (pickle.PickleBuffer(raw), array.dtype, array.shape, order)


def _array_of(buffer: Any, dtype: Any, shape: tuple[int, ...], order: Any) -> Any:
    import numpy as np

    return np.frombuffer(buffer, dtype).reshape(shape, order=order)
