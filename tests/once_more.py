"""Run pytest within a time limit, and the few tests that failed once more, alone and one after the other.

    python tests/once_more.py PYTEST-ARGUMENTS

Tests start processes, servers and clusters, several at a time, on machines that are busy: what fails there and passes alone is a fault of
the test, to be mended, but no fault of the change at hand. The exit status is pytest's; 0 only if every test has passed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

FEW = 5
LIMIT = float(os.environ.get("TESTS_LIMIT", "3600"))  # seconds for all tests; a run on two cores takes a quarter of that
LIMIT_AGAIN = 1200.0  # seconds for those that failed
FAREWELL = 60.0  # seconds that pytest has to say what it was doing
MARK = "PERSISTABLE_TEST_RUN"  # in the environment of all that a run starts
SPREAD = ("-n", "--dist", "--numprocesses")


def main(arguments: list[str]) -> int:
    failed, status = run(arguments, LIMIT)
    if status != 1 or not 0 < len(failed) <= FEW:
        return status
    tell("failed, and now run once more, alone:", failed)
    still, status = run([*options(arguments), "-n", "0", "--cov-append", *failed], LIMIT_AGAIN)
    if status == 0:
        tell("failed among the others and passed alone: mend them:", failed)
    else:
        tell("failed again:", still or failed)
    return status


def run(arguments: list[str], limit: float) -> tuple[list[str], int]:
    """The tests that failed, and pytest's exit status."""
    run = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "failures"
        command = [sys.executable, "-m", "pytest", f"--failures={file}", *arguments]
        process = subprocess.Popen(command, env={**os.environ, MARK: run})
        status = wait(process, limit)
        clear(run)
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else [], status


def wait(process: subprocess.Popen[bytes], limit: float) -> int:
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        print(f"\nthe tests took more than {limit:.0f} s and are stopped", file=sys.stderr, flush=True)
        process.send_signal(signal.SIGINT)
    except KeyboardInterrupt:  # pytest got it too, and tells how far it had come
        pass
    try:
        process.wait(FAREWELL)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
    return 2


def clear(run: str) -> None:
    """Kill what pytest left behind: it would slow down what comes next, and keep open the pipe that somebody reads our output from."""
    import psutil

    left: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == run and process.status() != psutil.STATUS_ZOMBIE:
                left.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
                process.kill()
        except (psutil.Error, OSError):
            pass
    if left:
        tell("left behind by the tests, and killed:", left)


def options(arguments: list[str]) -> list[str]:
    """The arguments without tests, folders of tests, and what spreads them over processes."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument in SPREAD:
            skip = not skip
        elif argument.startswith("-"):
            kept.append(argument)
    return kept


def tell(what: str, tests: list[str]) -> None:
    print(f"\n{what}", *tests, sep="\n  ", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
