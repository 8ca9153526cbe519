"""Steps that another process imports."""

from __future__ import annotations

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
