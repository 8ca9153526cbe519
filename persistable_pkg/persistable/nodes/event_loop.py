"""Event loops: calls awaited in a thread, and code that runs inside a loop as if there were none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(call: Callable[[], Result]) -> Result:
    """Run `call` in a thread of the loop's default executor, with the context of the caller, and return its result.

    Cancellation ends only the wait: a call that has begun runs to its end.
    """
    import asyncio

    def outcome() -> tuple[Result, None] | tuple[None, BaseException]:
        try:
            return call(), None
        except BaseException as error:  # noqa: BLE001 - a future takes no StopIteration, and a loop stops at a SystemExit of a thread
            return None, error

    value, error = await asyncio.to_thread(outcome)
    try:
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # pyright: ignore[reportReturnType] - the one or the other
    finally:
        del error  # it refers to this frame


def leave_loop() -> tuple[Any, Any] | None:
    """Unset the running event loop of this thread, so that `asyncio.run` works as in a script. The value is for `enter_loop`."""
    events: Any = sys.modules.get("asyncio.events")
    if events is None or (loop := events._get_running_loop()) is None:
        return None
    task = sys.modules["asyncio.tasks"]._swap_current_task(loop, None) if sys.version_info >= (3, 14) else None
    events._set_running_loop(None)
    return loop, task


def enter_loop(left: tuple[Any, Any]) -> None:
    """Set the running event loop of this thread again. left: the value of `leave_loop`."""
    loop, task = left
    sys.modules["asyncio.events"]._set_running_loop(loop)
    if sys.version_info >= (3, 14):
        sys.modules["asyncio.tasks"]._swap_current_task(loop, task)
