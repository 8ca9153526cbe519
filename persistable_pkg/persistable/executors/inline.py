"""An executor without workers: what `submit` returns is done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any, ClassVar, ParamSpec, TypeVar

from persistable.executors import machine
from persistable.executors.base import Executor, remote
from persistable.executors.resources import Resources

P = ParamSpec("P")
T = TypeVar("T")


class InlineExecutor(Executor):
    """Runs each task inside `submit`, in the thread that calls it: for debuggers, profilers and the smallest work.

    An error becomes the future's, as everywhere; only KeyboardInterrupt leaves `submit`, since it was meant for the caller.
    """

    name: ClassVar[str] = "inline"
    shares_memory: ClassVar[bool] = True
    local: bool = True

    _open = True

    @property
    def workers(self) -> int:
        return 1

    def submit_for(self, resources: Resources | None, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        if not self._open:
            raise RuntimeError("this InlineExecutor was shut down; submit to it before that, or make another")
        machine.check(resources)
        future: futures.Future[T] = futures.Future()
        future.set_running_or_notify_cancel()
        try:
            result = fn(*args, **kwargs)
        except KeyboardInterrupt:
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to whoever holds the future
            future.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the program at `result`
            future.set_exception(remote(error))
        else:
            future.set_result(result)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._open = False

    def __repr__(self) -> str:
        return "InlineExecutor()"


def contained(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call ``fn(*args, **kwargs)``; an error that would end a program becomes one that does not."""
    try:
        return fn(*args, **kwargs)
    except Exception:
        raise
    except BaseException as error:
        raise remote(error) from error
