"""One of several runs of the same pipeline, each a process of its own, that begin at the same time."""

import json
import os
import sys
import time
from typing import Any

from persistable import run, step

SECONDS = float(os.environ["SECONDS_EACH"])


@step
def work(n: int, log: str) -> int:
    with open(log, "a", encoding="ascii") as file:
        file.write(f"{n}\n")
    time.sleep(SECONDS)
    return n


@step
def total(xs: list[int]) -> int:
    return sum(xs)


def main(kind: str, executor: str, workers: str, store: str, number: str, log: str, begin: str) -> None:
    numbers = range(int(number))
    nodes: Any = work.over(n=numbers, log=log) if kind == "family" else [work.step(n, log) for n in numbers]
    options: dict[str, Any] = {} if executor == "inline" else {"max_workers": int(workers)}
    if executor == "processes":  # its workers are there before it begins
        from persistable.executors import ProcessExecutor

        options = {"executor": ProcessExecutor(int(workers))}
        list(options["executor"].map(time.sleep, [0.05] * 2 * int(workers)))
    target = total.step(nodes) if kind == "total" else nodes
    options.setdefault("executor", executor)
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    result = run(target, store=store, **options)
    took = time.perf_counter() - start
    print(json.dumps({"took": took, "counts": result.counts}), flush=True)
    if executor == "processes":
        options["executor"].shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
