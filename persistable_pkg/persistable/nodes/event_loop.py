"""Event loops: calls that one waits for while it goes on with other work, and code that runs inside one without seeing it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(call: Callable[[], Result]) -> Result:
    """The result of `call`, made in a thread of the loop's default executor, with the context of the caller.

    Cancelling it ends the waiting: a call that has begun goes on to its end.
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
    """Let this thread have no running event loop, as in a script, so that `asyncio.run` works; the value is for `enter_loop`."""
    events: Any = sys.modules.get("asyncio.events")
    if events is None or (loop := events._get_running_loop()) is None:
        return None
    task = sys.modules["asyncio.tasks"]._swap_current_task(loop, None) if sys.version_info >= (3, 14) else None
    events._set_running_loop(None)
    return loop, task


def enter_loop(left: tuple[Any, Any]) -> None:
    """Let this thread have the running event loop again that `leave_loop` found."""
    loop, task = left
    sys.modules["asyncio.events"]._set_running_loop(loop)
    if sys.version_info >= (3, 14):
        sys.modules["asyncio.tasks"]._swap_current_task(loop, task)
