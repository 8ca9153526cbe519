"""Executors by name, and those of other libraries."""

from __future__ import annotations

from collections.abc import Generator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

from persistable.executors.base import Executor
from persistable.executors.inline import InlineExecutor

_INLINE = InlineExecutor()
"""There is nothing about it that would be shut down."""


@contextmanager
def carrier_of(executor: str | futures.Executor, max_workers: int | None) -> Generator[Executor]:
    """Give `executor` itself, or one made by that name, which is shut down at the end of the block."""
    if isinstance(executor, Executor):
        yield executor
        return
    if isinstance(executor, futures.Executor):
        from persistable.executors import FuturesExecutor

        yield FuturesExecutor(executor)
        return
    if executor == "inline":
        yield _INLINE
        return
    made = _made(executor, max_workers)
    try:
        yield made
    except BaseException:
        made.shutdown(wait=True, cancel_futures=True)
        raise
    made.shutdown(wait=True)


def _made(name: str, max_workers: int | None) -> Executor:
    from persistable import executors
    from persistable.params import extensions

    if name == "threads":
        return executors.ThreadExecutor(max_workers)
    if name == "processes":
        return executors.ProcessExecutor(max_workers)
    brought = extensions.load("executors", name)
    if brought is not None:
        made: Any = brought() if max_workers is None else brought(max_workers=max_workers)
        return made if isinstance(made, Executor) else executors.FuturesExecutor(made)
    names = "".join(f'"{each}", ' for each in ("inline", "threads", "processes", *extensions.entries("executors")))
    raise ValueError(f"executor is {name!r}; give {names}one of persistable.executors, or any concurrent.futures.Executor")
