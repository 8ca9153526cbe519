"""Kill a generating process at random points, many times, and look at what is left each time.

``python kill_points.py URL POINTS SEED``: prints how often each state was found. Exits with 1 at the first broken promise.
The parent never touches the store: every act happens in a child forked from it, so nothing is remembered between them. It has imported all
that a generation needs, so that the points fall into the generation and not into imports.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import sys
import time
from typing import Any

from persistable import Persistable
from persistable.errors import PayloadNotFound

BLOB = 200_000
state = {"generation": 0}


class Torn(Persistable[Any, None]):
    def _generate_payload(self, **_: Any) -> Any:
        number = state["generation"]
        return {"generation": number, "blob": bytes([number % 251]) * BLOB}


def child(act: Any, wait: float = 45.0) -> tuple[int, int]:
    """Run `act` in a forked child; exit code and signal. The wait is below the minute that a lost heartbeat takes to be noticed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = act() or 0
        except BaseException:  # noqa: BLE001 - a child says what went wrong and ends
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1), (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise SystemExit(f"{act.__name__} did not end within {wait} s")


def die_at_line(number: int) -> Any:
    """A trace function that ends this process, as kill -9 does, when `number` lines of the library have run."""
    package = os.sep + "persistable" + os.sep
    left = [number]

    def trace(frame: Any, event: str, arg: Any) -> Any:
        if package not in frame.f_code.co_filename:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def count_lines(act: Any) -> int:
    read, write = os.pipe()

    def counted() -> int:
        lines = [0]
        package = os.sep + "persistable" + os.sep

        def trace(frame: Any, event: str, arg: Any) -> Any:
            if package not in frame.f_code.co_filename:
                return None
            lines[0] += event == "line"
            return trace

        sys.settrace(trace)
        act()
        sys.settrace(None)
        os.write(write, str(lines[0]).encode())
        return 0

    assert child(counted) == (0, 0)
    return int(os.read(read, 100))


def warm_up(url: str) -> None:
    """Import what a generation and a load import, here, in a store nobody looks at."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        elsewhere = folder if "://" not in url else f"sqlite:///{folder}/warm.db"
        Torn(elsewhere).generate(persist=False).persist()
        Torn(elsewhere).generate().load()
        Torn(elsewhere).delete()
        Torn(elsewhere).store.close()


def main(url: str, points: int, seed: int) -> None:
    chance = random.Random(seed)
    seen: collections.Counter[str] = collections.Counter()

    def generate() -> int:
        Torn(url).generate()
        return 0

    def persist() -> int:
        Torn(url).generate(persist=False).persist()
        return 0

    def delete() -> int:
        Torn(url).delete()
        return 0

    def found() -> int:
        """2: nothing; 10 + n: generation n, whole."""
        try:
            payload = Torn(url).load().payload
        except PayloadNotFound:
            return 2
        assert payload["blob"] == bytes([payload["generation"] % 251]) * BLOB, "torn"
        return 10 + payload["generation"] % 200

    warm_up(url)
    lines = max(count_lines(generate), count_lines(persist))
    clock = time.monotonic()
    child(generate)
    duration = time.monotonic() - clock
    for point in range(points):
        if point % 3 == 0:
            child(delete)
        state["generation"] = 2 * point + 1
        before, _ = child(found)
        state["generation"] = 2 * point + 2
        act = persist if point % 5 == 0 else generate

        if point % 4:
            at = chance.randrange(lines)

            def killed(act: Any = act, at: int = at) -> int:
                sys.settrace(die_at_line(at))
                act()
                return 0
        else:
            delay = chance.uniform(0, 1.2 * duration)

            def killed(act: Any = act, delay: float = delay) -> int:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.setitimer(signal.ITIMER_REAL, delay)  # the default action ends the process between any two instructions
                act()
                return 0

        _, by = child(killed)
        after, _ = child(found)
        new = 10 + state["generation"] % 200
        if after not in (before, new) or after == 1:
            raise SystemExit(f"point {point}: before {before}, after {after}, expected {before} or {new}")
        seen[f"{'killed' if by else 'finished'}, then {'old' if after == before else 'new'}"] += 1
        state["generation"] = 2 * point + 3
        if child(generate) != (0, 0):
            raise SystemExit(f"point {point}: the next generation failed")
        if child(found)[0] != 10 + state["generation"] % 200:
            raise SystemExit(f"point {point}: the next generation is not what is read")
    print(dict(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
