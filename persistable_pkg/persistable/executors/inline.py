"""An executor without workers: `submit` returns a future that is done."""

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
    """Runs each task inside `submit`, in the thread that calls it: for debuggers, profilers and tiny tasks.

    An error is set on the future, as everywhere; only KeyboardInterrupt is raised by `submit`, since it is meant for the caller.
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
        except Exception as error:  # noqa: BLE001 - the owner of the future gets it
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
    """Call ``fn(*args, **kwargs)``; convert SystemExit and KeyboardInterrupt, which would end the program, to RemoteError."""
    try:
        return fn(*args, **kwargs)
    except Exception:
        raise
    except BaseException as error:
        raise remote(error) from error
