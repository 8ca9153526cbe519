"""What a script makes with `functools` reaches worker processes, and records say the same of it on every executor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import functools, json, sys
from typing import Any

from persistable import run, step


@functools.singledispatch
def size(thing: Any) -> int:
    return 0


@size.register
def _(thing: str) -> int:
    return len(thing)


@functools.lru_cache(maxsize=5, typed=True)
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


class Shape:
    def __init__(self, side: int) -> None:
        self.side = side

    @functools.cached_property
    def area(self) -> int:
        return self.side**2

    @functools.singledispatchmethod
    def scaled(self, by: Any) -> int:
        return 0

    @scaled.register
    def _(self, by: int) -> int:
        return self.side * by

    @functools.cache
    def around(self) -> int:
        return 4 * self.side

    doubled = functools.partialmethod(scaled, 2)


@step
def used(text: str) -> list[Any]:
    shape = Shape(3)
    return [size(text), fibonacci(10), fibonacci.cache_parameters(), shape.area, shape.scaled(2), shape.around(), shape.doubled()]


@step
def applied(fn: Any, thing: Any) -> Any:
    return fn(thing)


@step
def shape(side: int) -> Shape:
    return Shape(side)


@step
def area(shape: Shape) -> int:
    return shape.area


if __name__ == "__main__":
    nodes = [used.step("abc"), applied.step(size, "abcd"), applied.step(fibonacci, 9), area.step(shape.step(4))]
    result = run(nodes, store=sys.argv[1], executor=sys.argv[2])
    found = [[result[node].payload, node.record.code_parts] for node in nodes]
    print(json.dumps([found, result.counts["stale"], run(nodes, store=sys.argv[1]).counts]))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "script.py"
    path.write_text(SCRIPT)
    return path


def said(script: Path, executor: str) -> str:
    words = [sys.executable, "-W", "error", script, script.with_name(executor), executor]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_the_same_on_every_executor(script: Path, executor: str) -> None:
    here = said(script, "inline")
    assert said(script, executor) == here
    payloads = [payload for payload, _ in json.loads(here)[0]]
    assert payloads == [[3, 55, {"maxsize": 5, "typed": True}, 9, 6, 12, 6], 4, 34, 16]
