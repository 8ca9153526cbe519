"""A call and its answer as bytes: the transfer of functions, arguments, results and errors between processes.

Plain pickle if it suffices, else cloudpickle: for lambdas, closures, and everything in ``__main__``, which is sent by value. Large buffers,
such as those of arrays, are not copied into the pickle.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, cast

Buffer: TypeAlias = bytes | memoryview
Parts: TypeAlias = Sequence[Buffer]
"""A pickle, followed by the buffers that it refers to."""

_ASIDE = 1 << 16  # bytes; copying a smaller buffer is faster than sending it separately


def pack(value: Any, large: int = _ASIDE) -> Parts:
    """Pickle `value`; buffers of `large` bytes and more follow uncopied, so that later changes of them are sent too.

    Raises the errors of pickling.
    """
    aside: list[Buffer] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes < large:
            return True
        aside.append(raw)
        return False

    try:
        data = pickle.dumps(value, 5, buffer_callback=keep)
        if not _by_value() and (b"__main__" not in data or _only_says_main(value)):
            return [data, *aside]
    except Exception:  # noqa: BLE001 - cloudpickle succeeds or raises the error
        pass
    import cloudpickle  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

    aside.clear()
    dumps = cast("Callable[..., bytes]", cloudpickle.dumps)  # pyright: ignore[reportUnknownMemberType]
    return [dumps(value, protocol=5, buffer_callback=keep), *aside]


def unpack(parts: Parts) -> Any:
    """Unpickle packed parts. Raises the errors of unpickling."""
    return pickle.loads(parts[0], buffers=parts[1:])


def perform(parts: Parts, function: Callable[[], Any] | None = None) -> tuple[bool, Parts]:
    """Perform a packed ``(fn, args, kwargs)``; return whether it succeeded, and its packed result or error. Never raises.

    function: returns the `fn`, if it is not among `parts`.
    """
    fn = None
    try:
        if function is None:
            fn, args, kwargs = unpack(parts)
        else:
            fn = function()
            args, kwargs = unpack(parts)
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - SystemExit too is an error of the task
        return False, _failure(error)
    try:
        return True, pack(result)
    except BaseException as error:  # noqa: BLE001
        return False, _unpicklable(fn, result, error)


def perform_to_bytes(parts: Parts) -> tuple[bool, list[bytes]]:
    """Perform as `perform` does, for executors that pickle the answer: all its parts are bytes."""
    went_well, packed = perform(parts)
    return went_well, to_bytes(packed)


def to_bytes(parts: Parts) -> list[bytes]:
    """Copy all parts, for executors that pickle their arguments."""
    return [bytes(part) for part in parts]


def answer(went_well: bool, parts: Parts) -> tuple[Any, BaseException | None]:
    """Unpack the result, or the error, of `perform`. Never raises: failed unpickling is returned as an error."""
    try:
        found = unpack(parts)
    except BaseException as error:  # noqa: BLE001 - unpickling an object may raise anything
        from persistable.executors.base import remote

        failure = remote(error)
        failure.args = (f"the task ended, but its {'result' if went_well else 'error'} cannot be unpickled here: {failure}",)
        return None, failure
    if went_well:
        return found, None
    raised: BaseException = found[0]
    raised.__cause__ = found[1]
    return None, raised


def flush_output() -> None:
    """Flush the output of a task, so that it appears before the result, and is not lost if the next task crashes the process."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, its reader is gone, or a task closed it
            stream.flush()


def name_of(fn: Callable[..., Any]) -> str:
    """Return the name of a function in messages."""
    return str(getattr(fn, "said_as", None) or getattr(fn, "__qualname__", None) or type(fn).__qualname__)


def _failure(error: BaseException) -> Parts:
    from persistable.errors import RemoteError
    from persistable.executors.base import portable, remote

    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next  # without the frame of this module
    carried = portable(error)
    if isinstance(carried, RemoteError):
        return pack((carried, None))
    there = remote(error)
    there.args = (f"raised in worker process {os.getpid()}\n{there.traceback.rstrip()}",)
    return pack((carried, there))


def _unpicklable(fn: Any, result: Any, error: BaseException) -> Parts:
    from persistable.executors.base import remote

    failure = remote(error)
    kind = f"{type(result).__module__}.{type(result).__qualname__}".removeprefix("builtins.")
    failure.args = (f"the result of {name_of(fn)}, a {kind}, cannot be pickled: {failure}",)
    return pack((failure, None))


class _Main(Exception):
    pass


class _Detector(pickle.Pickler):
    def reducer_override(self, thing: Any) -> Any:
        if getattr(thing, "__module__", None) == "__main__":
            raise _Main
        return NotImplemented


def _only_says_main(value: Any) -> bool:
    """Tell whether ``__main__`` only occurs as text in `value`, such as in bytes that are a pickle themselves."""
    try:
        _Detector(io.BytesIO(), 5, buffer_callback=lambda _: False).dump(value)
    except _Main:
        return False
    return True


def _by_value() -> bool:
    """Tell whether a module was registered to be pickled by value, which plain pickle ignores."""
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is not None and bool(cloudpickle.list_registry_pickle_by_value())
