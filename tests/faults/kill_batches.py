"""Kill a run over a family at random points, many times, and look each time at what is left, and at what the next run does again.

``python kill_batches.py URL POINTS SEED LOG``: prints how many members were found committed. Exits with 1 at the first broken promise.
The parent never touches the store: every act happens in a child forked from it.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import sys
import time
from typing import Any

from kill_points import child, count_lines, die_at_line

from persistable import Status, open_store, run, step
from persistable.runs import targets

MEMBERS = 40


@step
def member(n: int, turn: int) -> dict[str, Any]:
    log = os.open(os.environ["LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, f"{turn} {n}\n".encode())
    os.close(log)
    return {"n": n, "blob": bytes([n]) * 3000}


def main(url: str, points: int, seed: int) -> None:
    chance = random.Random(seed)
    left: collections.Counter[str] = collections.Counter()
    turn = [0]

    def all_of_it() -> int:
        if url.startswith("sqlite") and turn[0] % 4 >= 2:  # as of very large families
            targets.SMALLEST = 1
        with open_store(url):
            run(member.over(n=range(MEMBERS), turn=turn[0]))
        return 0

    def committed() -> int:
        """How many are stored, each of them whole."""
        with open_store(url):
            family = member.over(n=range(MEMBERS), turn=turn[0])
            counts = family.status()
            assert counts[Status.CORRUPT] == counts[Status.FAILED] == counts[Status.STALE] == 0, counts
            for n, node in family.items():
                if node.exists():
                    assert node.load().payload == {"n": n, "blob": bytes([n]) * 3000}
            return counts[Status.DONE]

    def made() -> collections.Counter[int]:
        with open(os.environ["LOG"]) as log:
            return collections.Counter(int(line.split()[1]) for line in log if int(line.split()[0]) == turn[0])

    child(all_of_it)
    turn[0] = -1
    lines = count_lines(all_of_it)
    clock = time.monotonic()
    turn[0] = -2
    child(all_of_it)
    duration = time.monotonic() - clock
    for point in range(points):
        turn[0] = point + 1
        at, delay = chance.randrange(lines), chance.uniform(0, duration)

        def killed(at: int = at, delay: float = delay, by_line: bool = bool(point % 2)) -> int:
            if by_line:
                sys.settrace(die_at_line(at))
            else:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.setitimer(signal.ITIMER_REAL, delay)
            return all_of_it()

        child(killed)
        before, (stored, by) = made() if os.path.exists(os.environ["LOG"]) else collections.Counter[int](), child(committed)
        assert not by and stored <= len(before), (point, stored, before)
        assert child(all_of_it) == (0, 0), f"point {point}: the next run failed"
        assert child(committed) == (MEMBERS, 0), f"point {point}: not all are there"
        again = {n: times for n, times in made().items() if times != 1}
        # what was performed and not committed, and nothing else, was performed once more
        assert max(again.values(), default=1) <= 2 and len(again) == len(before) - stored, (point, again, stored, before)
        left["none" if not stored else "all" if stored == MEMBERS else "some"] += 1
    print(dict(left))


if __name__ == "__main__":
    os.environ["LOG"] = sys.argv[4]
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
