"""`run`: the plan of some targets, performed by an executor.

The run alone owns the amount of work under way, retries, timeouts, limits, and the effect of a failure on other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from persistable import events
from persistable.executors.base import Executor
from persistable.executors.inline import InlineExecutor
from persistable.executors.resources import check_number
from persistable.nodes import capture
from persistable.runs.chunks import ChunkedRun
from persistable.runs.loop import Loop
from persistable.runs.phases import PhasedRun, check_every, watched
from persistable.runs.planner import check_stale
from persistable.runs.result import RunResult
from persistable.runs.targets import base_of, leaves_of, pairs, remember, unfinished_makers
from persistable.stores.base import enclosing_store

if TYPE_CHECKING:
    import os

    from persistable.runs.progress import Bar
    from persistable.stores.base import Store


def run(
    *targets: Any,
    executor: str | futures.Executor = "inline",
    max_workers: int | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    errors: Literal["raise", "return"] = "raise",
    fail_fast: bool = False,
    failed: Literal["retry", "skip"] = "retry",
    progress: bool = False,
    hooks: Sequence[events.Hook] = (),
    limits: Mapping[str, float] | None = None,
    watch: float | None = None,
    until: Callable[[RunResult], object] | None = None,
    stale: Literal["reuse", "generate", "raise"] = "reuse",
    output: bool = True,
) -> RunResult:
    """Generate all of `targets`, and of the nodes upstream of them, that are not stored yet, each node once.

    Parameters:
        targets: nodes, lists or dicts of nodes, pipelines.
        executor: ``"inline"``, ``"threads"``, ``"processes"``, one of `persistable.executors`, or any `concurrent.futures.Executor`. One
            that is created here is shut down here.
        max_workers: number of nodes at once, for ``"threads"`` and ``"processes"``; by default the number of cores of the machine.
        store: for nodes that name none, which remember it; by default the enclosing one, that of their last run, or the default.
        errors: ``"raise"`` one RunFailed at the end, whose ``.result`` is the result, or ``"return"`` failures as values in the result.
        fail_fast: stop everything at the first failure; otherwise all nodes that can finish do.
        failed: ``"retry"`` nodes recorded as failed, or ``"skip"`` them and the nodes downstream of them.
        progress: show the progress, in the terminal or the notebook.
        hooks: functions to call with every event of this run, and of no other.
        limits: the amount of each named resource, such as ``{"db": 2}``; nodes ask for it by ``resources=Resources(db=1)``.
        watch: seconds between rounds: after each, look again at the inputs of families (see `Source`) and run new members, until Ctrl-C.
            The last result is returned, with failures as values for any `errors`; they are not tried again before the next call.
        until: with `watch`, a function of a round's result that ends the watch if it is true.
        stale: ``"reuse"`` stale payloads, with one warning, and list them in the result's ``stale``; ``"generate"`` them anew, and those
            downstream if the bytes changed, except payloads put in by hand; or ``"raise"`` StaleCode before anything begins.
        output: keep the end of the text that the generating code prints and logs, with its record or failure; see `Record.output`.

    Raises RunFailed; NotEnforceable and Infeasible, before anything begins, for nodes that this executor cannot perform. Ctrl-C cancels
    running nodes, keeps committed payloads, and records nothing as failed.
    """
    if errors not in ("raise", "return") or failed not in ("retry", "skip"):
        raise ValueError(f'errors is "raise" or "return", failed is "retry" or "skip"; they were {errors!r} and {failed!r}')
    check_stale(stale)
    if callable(hooks) or not all(map(callable, hooks := tuple(hooks or ()))):
        raise TypeError(f"hooks is {hooks!r}; give a list of functions that take an event, such as hooks=[print]")
    for name, amount in limits.items() if limits else ():
        check_number(f"limits[{name!r}]", amount)
        if not amount >= 0:
            raise ValueError(f"limits[{name!r}] is {amount:g}; give zero or more")
    leaves = leaves_of(targets)
    base = base_of(leaves, store)
    if store is not None or enclosing_store() is not None:
        remember(leaves, base)
    if watch is not None:
        check_every(watch)
    bars = _bars(progress)
    with events.receive_events_with((*hooks, *bars)), _carrier_of(executor, max_workers) as carrier:

        def loop_for(wanted: list[tuple[Any, Any]], given_up: Collection[Any] = ()) -> Loop:
            return Loop(carrier, base, wanted, fail_fast, limits or {}, given_up, stale)

        def all_targets() -> Loop | ChunkedRun:
            large: list[Any] = []
            wanted = pairs(targets, base, large)
            return ChunkedRun(loop_for, wanted, large, base, carrier, fail_fast, stale) if large else loop_for(wanted)

        def loop() -> Loop | ChunkedRun | PhasedRun:
            whole = all_targets()  # invalid targets raise here, before the run begins
            ahead = unfinished_makers(leaves_of(targets), base)
            return PhasedRun(loop_for(ahead), all_targets, fail_fast) if ahead else whole

        kept = capture.keep_output.set(output)
        try:
            if watch is not None:
                return watched(loop, failed, watch, until)
            result = loop().run(failed)
        finally:
            capture.keep_output.reset(kept)
            for bar in bars:
                bar.close()
    __tracebackhide__ = True
    if errors == "raise" and result.failures:
        raise result.failed()
    return result


def _bars(progress: bool) -> list[Bar]:
    if not progress:
        return []
    from persistable.runs.progress import Bar

    return [Bar()]


_INLINE = InlineExecutor()
"""The shared inline executor: it has nothing to shut down."""


@contextmanager
def _carrier_of(executor: str | futures.Executor, max_workers: int | None) -> Generator[Executor]:
    """Provide `executor` itself, or a new one of that name, which is shut down at the end of the block."""
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
    made = _executor_named(executor, max_workers)
    try:
        yield made
    except BaseException:
        made.shutdown(wait=True, cancel_futures=True)
        raise
    made.shutdown(wait=True)


def _executor_named(name: str, max_workers: int | None) -> Executor:
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
