"""Tasks of the workers in the tests of executors. Traces are left as files, which survive a killed process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from persistable.executors import notes

_LONGEST = 120.0  # seconds; leftovers of a failed test end by themselves


class TwoArguments(Exception):
    """Pickles, and cannot be unpickled: ``__init__`` needs more arguments than `args` holds."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(f"{text} number {number}")


class HoldsLock(Exception):
    """Cannot be pickled: it carries a lock."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class FailsOnArrival:
    """Pickles, and cannot be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return fail, ("this fails on arrival",)


def double(number: int) -> int:
    """The smallest task."""
    return number * 2


def echo_arguments(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """All arguments of the call."""
    return args, kwargs


def tell(address: str, things: list[Any]) -> bool:
    """Send each of `things` while the task runs; return whether that is possible."""
    sender = notes.sender()
    return sender is not None and all(sender.send(notes.packed(address, each)) for each in things)


def fail(message: str) -> Any:
    """Raise an error that can be pickled."""
    raise ValueError(message)


def fail_if(message: str) -> str:
    """Raise unless the message is empty."""
    return str(fail(message)) if message else message


def fail_with_two_arguments() -> None:
    """Raise an error that cannot be unpickled."""
    raise TwoArguments("attempt", 7)


def fail_with_a_lock() -> None:
    """Raise an error that cannot be pickled."""
    raise HoldsLock("it holds a lock")


def raise_system_exit() -> None:
    """Raise SystemExit, as a program that ends."""
    sys.exit(3)


def interrupt() -> None:
    """Interrupt as Ctrl-C would."""
    raise KeyboardInterrupt


def make_lock() -> Any:
    """A result that cannot be pickled."""
    return threading.Lock()


def make_what_fails_on_arrival() -> FailsOnArrival:
    """A result that cannot be unpickled."""
    return FailsOnArrival()


def leave_trace(folder: str, number: int) -> int:
    """Leave one file for each run of this task."""
    Path(folder, f"{number}.{uuid.uuid4().hex}").touch()
    return number


def leave_trace_or_exit(folder: str, number: int, victim: int) -> int:
    """Leave a trace as `leave_trace` does; the victim also ends its process."""
    leave_trace(folder, number)
    if number == victim:
        os._exit(3)
    return number


def traces(folder: Path) -> dict[int, int]:
    """Number of runs of each number."""
    counts: dict[int, int] = {}
    for name in os.listdir(folder):
        number = int(name.partition(".")[0])
        counts[number] = counts.get(number, 0) + 1
    return counts


def kill_own_process(number: int) -> None:
    """Kill this process, as the kernel does when memory runs out."""
    os.kill(os.getpid(), number)
    time.sleep(_LONGEST)


def process_id() -> int:
    """The number of the process of this call."""
    return os.getpid()


def signal_and_wait(begun: str, gate: str) -> str:
    """Make the file `begun`, and return when there is a file `gate`."""
    Path(begun).touch()
    wait_for(Path(gate))
    return begun


def wait_for(file: Path, seconds: float = _LONGEST) -> None:
    """Wait until the file is there; TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{file} did not appear within {seconds} s")
        time.sleep(0.01)


def tick_in_a_subprocess(file: str, stubborn: bool = False) -> None:
    """Wait for a subprocess that makes `file` grow; if stubborn, both processes ignore SIGTERM."""
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    trap = "trap '' TERM; " if stubborn else ""
    loop = f'{trap}i=0; while [ $i -lt {int(_LONGEST * 20)} ]; do echo >> "$0"; sleep 0.05; i=$((i+1)); done'
    subprocess.run(["sh", "-c", loop, file], check=False)


def measure(array: Any) -> tuple[str, tuple[int, ...], int]:
    """Facts of an array, enough to compare it with another."""
    return str(array.dtype), array.shape, int(array.sum())


def reverse(array: Any) -> Any:
    """The items in reverse: an answer as large as the argument."""
    return array[::-1].copy()
