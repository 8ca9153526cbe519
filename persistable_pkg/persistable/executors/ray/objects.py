"""Large buffers in Ray's object store: put there once, and passed by reference."""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Callable
from typing import Any

from persistable.executors.calls import Buffer, pack
from persistable.executors.ray.batch import LARGE, BatchRequest, Packed
from persistable.params.hashing import max_threads

_MANY = 1000  # maximum length of a list, tuple or dict that is searched for large bytes
_BYTES = 4 << 20  # maximum bytes of the pickled calls of one batch, beyond its first
_PLAIN = frozenset({type(None), bool, int, float, str})  # types that are never large and need no import


class CachedBuffer:
    """A buffer in the object store; freed there with this object."""

    def __init__(self, ref: Any) -> None:
        self.ref = ref


class _Bytes:
    """Large bytes among the arguments: pickled as a buffer, bytes again when they arrive."""

    def __init__(self, value: bytes | bytearray) -> None:
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self._value), (pickle.PickleBuffer(self._value),)


class ObjectCache:
    """Cache of the buffers in the object store, by content, each kept as long as its owner is alive or a task needs it.

    Immutable buffers are recognised by their owner; the others are hashed each time, to notice changes.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._by_content: weakref.WeakValueDictionary[bytes, CachedBuffer] = weakref.WeakValueDictionary()
        self._by_owner: dict[tuple[int, int, int], tuple[weakref.ref[Any], CachedBuffer]] = {}

    def put(self, buffer: Buffer) -> CachedBuffer:
        view = memoryview(buffer)
        owner, frozen = _owner(view)
        key = (id(owner), _address(view), view.nbytes)
        known = self._by_owner.get(key)
        if frozen and known is not None and known[0]() is owner:
            return known[1]
        digest = _digest(view)
        held = self._by_content.get(digest)
        if held is None:
            held = self._by_content[digest] = CachedBuffer(self._ray.put(_array(view)))
        try:
            self._by_owner[key] = weakref.ref(owner, lambda _: self._by_owner.pop(key, None)), held
        except TypeError:  # bytes have no weak references: only tasks keep it
            pass
        return held


class BatchPacker:
    """Packs a batch: each function once, arguments separately, so that tasks share no mutable objects."""

    def __init__(self, cache: ObjectCache) -> None:
        self._cache = cache
        self._functions: dict[int, int] = {}
        self._packed: list[Packed] = []
        self._calls: list[tuple[int, Packed]] = []
        self._held: dict[int, int] = {}
        self._size = 0
        self.holds: list[CachedBuffer] = []

    @property
    def full(self) -> bool:
        return self._size > _BYTES

    def add(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add a call. Raises the errors of pickling; the batch is then unchanged."""
        place = self._functions.get(id(fn))
        if place is None:
            packed = self._pack(fn)
            self._packed.append(packed)
            place = self._functions[id(fn)] = len(self._packed) - 1
        self._calls.append((place, self._plain(args, kwargs) or self._pack(_wrapped(args, kwargs))))

    def request(self, name: str) -> bytes:
        """Return the pickled `BatchRequest`."""
        return pickle.dumps(BatchRequest(name, self._packed, self._calls), 5)

    def _plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed | None:
        """Pack plain arguments, as most tiny tasks have; None if there are others."""
        if not (_PLAIN.issuperset(map(type, args)) and _PLAIN.issuperset(map(type, kwargs.values()))):
            return None
        data = pickle.dumps((args, kwargs), 5)
        if len(data) >= LARGE:
            return None
        self._size += len(data)
        return data, ()

    def _pack(self, value: Any) -> Packed:
        data, *buffers = pack(value, LARGE)
        places = tuple(self._hold(buffer) for buffer in buffers)
        if len(data) >= LARGE:
            return self._hold(data), places
        self._size += len(data)
        return bytes(data), places

    def _hold(self, buffer: Buffer) -> int:
        held = self._cache.put(buffer)
        place = self._held.get(id(held))
        if place is None:
            self.holds.append(held)
            place = self._held[id(held)] = len(self.holds) - 1
        return place


def _wrapped(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with large bytes, also those directly in a list, tuple or dict, as buffers."""
    return tuple(map(_buffered, args)), {key: _buffered(value) for key, value in kwargs.items()}


def _buffered(value: Any) -> Any:
    again = _CONTAINERS.get(value.__class__)
    return again(value) if again is not None and len(value) <= _MANY else _apart(value)


def _apart(value: Any) -> Any:
    return _Bytes(value) if _is_large(value) else value


def _is_large(value: Any) -> bool:
    return type(value) in (bytes, bytearray) and len(value) >= LARGE


_CONTAINERS: dict[type, Callable[[Any], Any]] = {
    list: lambda parts: list(map(_apart, parts)),
    tuple: lambda parts: tuple(map(_apart, parts)),
    dict: lambda parts: {key: _apart(part) for key, part in parts.items()},
}


def _owner(view: memoryview) -> tuple[Any, bool]:
    """Return the object that owns this memory, and whether it is immutable."""
    owner: Any = view.obj
    frozen = view.readonly
    while type(owner).__module__ == "numpy" and getattr(owner, "base", None) is not None:
        frozen = frozen and not owner.flags.writeable
        owner = owner.base
    if hasattr(owner, "flags"):
        frozen = frozen and not owner.flags.writeable
    return owner, frozen and (isinstance(owner, bytes) or hasattr(owner, "flags"))


def _array(view: memoryview) -> Any:
    import numpy as np

    return np.frombuffer(view, dtype=np.uint8)


def _address(view: memoryview) -> int:
    address: int = _array(view).ctypes.data
    return address


def _digest(view: memoryview) -> bytes:
    from blake3 import blake3

    return blake3(view, max_threads=max_threads()).digest()
