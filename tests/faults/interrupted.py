"""Interrupt commits again and again, by real signals at random moments, in a process that lives on.

``python interrupted.py URL LOOPS SEED``: says "lives on", waits for a line, and checks that what is held afterwards is sound.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from typing import Any

from persistable import step


@step
def number(n: int, turn: int = 0) -> Any:
    return [n] * 200


def main(url: str, loops: int, seed: int) -> None:
    chance = random.Random(seed)
    node: Any = number.step(n=-1)
    node.bind(url).generate()
    start = time.perf_counter()
    for n in range(-20, 0):
        node = number.step(n=n).bind(url).generate()
    usual = (time.perf_counter() - start) / 20
    interrupted = 0
    go = threading.Event()
    over = threading.Event()

    def interrupt() -> None:
        while True:
            go.wait()
            go.clear()
            time.sleep(chance.uniform(0, 1.5 * usual))
            os.kill(os.getpid(), signal.SIGINT)
            over.set()

    threading.Thread(target=interrupt, daemon=True).start()
    for n in range(loops):
        node = number.step(n=n % max(1, loops // 2)).bind(url)
        try:
            over.clear()
            go.set()
            node.put([n]) if n % 3 == 0 else node.generate()
            while not over.is_set():
                time.sleep(0.0005)
            time.sleep(0.001)
        except KeyboardInterrupt:
            interrupted += 1
            while not over.is_set():
                time.sleep(0.0005)
        try:
            time.sleep(0)
        except KeyboardInterrupt:
            pass
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("lives on", interrupted, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
