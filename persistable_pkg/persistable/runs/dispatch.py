"""Members of large families performed by other processes, many to a task: the round trip costs more than a short member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent import futures
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any, NamedTuple

from persistable import events
from persistable.executors import notes
from persistable.executors.base import Executor
from persistable.runs import relay


class Lot(NamedTuple):
    """Some members of a family, by number, which are performed together. tries: how often they were given back before."""

    share: Any
    numbers: Sequence[int]
    tries: int = 0


def perform(
    executor: Executor,
    more: Callable[[], Lot | None],
    task: Callable[[Lot], tuple[Callable[..., Any], Any]],
    take: Callable[[Lot, Any], None],
    drop: Callable[[Lot], None],
    go_on: Callable[[], bool],
    at_once: Callable[[int], int],
    run: str,
) -> None:
    """Perform what `more` gives, which is asked when there is room, until it has nothing and nothing runs.

    at_once: how many lots there is room for, given the number of workers.

    `task` gives what is called, and with what. `take` is given what came of it, or the error of a lot that could not be sent, or of which
    nothing came back: its worker has died. Once `go_on` says no, nothing more begins. What workers say to `run` meanwhile is told. Whatever
    ends this early leaves nothing running; what ran is given to `drop`.
    """
    running: dict[futures.Future[Any], Lot] = {}
    arrived: SimpleQueue[futures.Future[Any] | tuple[events.NodeEvent, ...]] = SimpleQueue()
    hearing = ExitStack()
    hearing.enter_context(notes.received_at(run, arrived.put))
    try:
        while True:
            while go_on() and len(running) < at_once(executor.workers) and (lot := more()) is not None:
                try:
                    function, argument = task(lot)
                    future = executor.submit_for(None, function, argument)
                except Exception as error:  # noqa: BLE001 - each of them is tried alone, and told apart
                    take(lot, error)
                    continue
                running[future] = lot
                future.add_done_callback(arrived.put)
            if not running:
                return
            news = arrived.get()
            if isinstance(news, tuple):
                relay.tell_all(news, None, executor.workers > 1)
                continue
            future = news
            lot = running.pop(future)
            try:
                found = future.result()
            except Exception as error:  # noqa: BLE001 - the executor's own
                found = error
            take(lot, found)
    finally:
        hearing.close()
        _end(executor, list(running))
        for lot in running.values():
            drop(lot)


def _end(executor: Executor, running: list[futures.Future[Any]]) -> None:
    for future in running:
        future.cancel()
    for future in running:
        if executor.stops:
            executor.stop(future)
    futures.wait(running)
