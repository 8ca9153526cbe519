"""Steps that another process imports."""

from __future__ import annotations

import time
from typing import Any

from persistable import step


@step(persist=False)
def tiny(n: int, k: float = 1.0) -> dict[str, int]:
    """The same as `lines.tiny.plain`."""
    return {"a": 1}


@step
def twice(n: int) -> float:
    """A tiny item of a family."""
    return n * 2.0


@step
def scaled(n: int, by: int) -> float:
    """A tiny item of a family that is made from another node."""
    return n * 2.0 * by


@step(persist=False)
def burn(n: int, turns: int) -> int:
    """Work for one processor."""
    return turn(n, turns)


@step(persist=False)
def join(left: int, right: int) -> int:
    return left + right


def turn(n: int, turns: int) -> int:
    """`turns` rounds of plain Python."""
    total = n
    for number in range(turns):
        total = (total * 31 + number) & 0xFFFFFFFF
    return total


def branches(turns: int) -> Any:
    """Two branches of two nodes, joined."""
    left, right = (burn.step(burn.step(n, turns // 2), turns // 2) for n in (1, 2))
    return join.step(left, right)


@step
def begin(n: int) -> int:
    """The first of nodes that are stored."""
    return n


@step
def after(before: int, n: int) -> int:
    """Made from one other."""
    return before + n


@step
def both(left: int, right: int, n: int) -> int:
    """Made from two."""
    return left + right + n


@step
def total(parts: list[int]) -> int:
    """Made from any number."""
    return sum(parts)


def chain(upstream: int) -> Any:
    """A node at the end of a chain of so many."""
    node: Any = begin.step(0)
    for n in range(upstream):
        node = after.step(node, n)
    return node


def diamonds(upstream: int) -> Any:
    """A node below so many, a multiple of three, each four of which are a diamond."""
    node: Any = begin.step(0)
    for n in range(0, upstream, 3):
        node = both.step(after.step(node, n), after.step(node, n + 1), n + 2)
    return node


def wide(upstream: int) -> Any:
    """A node made from so many at once."""
    return total.step([begin.step(n) for n in range(upstream)])


@step
def sleeping(n: int, seconds: float) -> int:
    """Work that leaves the processor to others."""
    time.sleep(seconds)
    return n


@step
def summed(xs: list[float], n: int) -> float:
    """Made from very many."""
    return sum(xs) + n
