"""The protocol of executors that `run` needs, and the transfer of errors between processes."""

from __future__ import annotations

import pickle
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent import futures
from typing import Any, ClassVar, ParamSpec, TypeVar

from persistable.errors import PersistableError, RemoteError
from persistable.executors.resources import Resources
from persistable.params.secret import message_of
from persistable.stores.base import Store

P = ParamSpec("P")
T = TypeVar("T")


class Executor(futures.Executor, ABC):
    """A `concurrent.futures.Executor` that also declares its capabilities, so that unsupported requests are refused and not ignored.

    Usable on its own: `submit`, `map`, `shutdown` and the ``with`` block are those of the standard library. An error of a task that cannot
    be pickled is replaced by `RemoteError`; a task whose process dies fails with `WorkerDied`.
    """

    name: ClassVar[str]
    """The executor's name in messages."""
    shares_memory: ClassVar[bool] = False
    """Tasks run in this process: objects can be passed to them without pickling."""
    can_stop: ClassVar[bool] = False
    """`stop` ends a task that is running, with every process it started. Without it, no timeout can be enforced."""
    isolates: bool = False
    """A task that crashes its process fails alone: no other is lost. Where tasks share a worker, as on Ray, those without an answer yet run
    again."""

    local: bool = False
    """Tasks run on this machine, and data for them is sent through memory only: private keys may be included."""

    schedules_resources: ClassVar[bool] = False
    """True if the executor itself schedules tasks by the resources that they request; else `run` counts these against this machine's."""

    min_call_seconds: float = 0.0
    """Seconds of work that a call should contain if sending one is expensive: short nodes then share calls, in any store."""

    reattaches: ClassVar[bool] = False
    """True if tasks continue when this process ends, and `submit_as` takes over those that still wait or run."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """Number of tasks that run at the same time; read again while running, since a cluster may grow."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        """Run ``fn(*args, **kwargs)``, which requests no particular resources."""
        return self.submit_for(None, fn, *args, **kwargs)

    @abstractmethod
    def submit_for(self, resources: Resources | None, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        """Run ``fn(*args, **kwargs)`` where `resources` are free; its `time` is enforced by the caller, see `stop`.

        Raises Infeasible if no worker can ever have them, RuntimeError after `shutdown`.
        """

    def submit_as(self, identity: str, resources: Resources | None, fn: Callable[[Any], T], argument: Any) -> futures.Future[T]:
        """Submit as `submit_for` does; executors with `adopts` take over a task of that identity from a process that has ended instead."""
        return self.submit_for(resources, fn, argument)

    def check(self, resources: Resources) -> None:
        """Raise Infeasible if no worker can ever have `resources`; by default every worker is assumed to have them."""

    def check_store(self, store: Store) -> None:
        """Raise NotEnforceable if workers do not find payloads of this process in `store`; by default they are assumed to."""

    def stop(self, future: futures.Future[Any]) -> bool:
        """End a task, waiting or running; its future is cancelled, or fails with CancelledError. False if it had ended before.

        An executor with `can_stop` kills a running task's whole process group and returns when it is gone. The others only cancel tasks
        that have not begun.
        """
        return future.cancel()


def portable(error: BaseException) -> Exception:
    """Return `error` itself if it survives pickling unchanged, else a `RemoteError` with its facts.

    Errors whose ``__init__`` takes other arguments than ``args``, or that hold values that cannot be pickled, would fail on arrival and
    break the receiver. SystemExit and KeyboardInterrupt would end the receiving process.
    """
    if isinstance(error, Exception):
        try:
            again = pickle.loads(pickle.dumps(error))
            if type(again) is type(error) and str(again) == str(error) and type(error).__module__ != "__main__":
                return error
        except Exception:  # noqa: BLE001 - pickling an error may raise anything
            pass
    return remote(error)


def remote(error: BaseException) -> RemoteError:
    """Return an error that pickles, with the facts of `error`."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    message = message_of(error)
    key = error.__dict__.get("key") if isinstance(error, PersistableError) else None
    lines = "".join(traceback.format_exception(error))
    return RemoteError(f"{kind}: {message}" if message else kind, error=kind, text=message, traceback=lines, key=key)
