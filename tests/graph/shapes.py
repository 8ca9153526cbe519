"""Lineages to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from persistable import Persistable
from persistable.stores import MemoryStore


@dataclass
class Params:
    n: int = 0
    text: str = ""


class Node(Persistable[Any, Params]):
    """A node with any number of upstream nodes, in roles ``above.0``, ``above.1``."""

    above: list[Node] | None = None

    def _generate_payload(self, **_: Any) -> Any:
        if self.params.text == "fail":
            raise ValueError("as asked")
        return self.params.n


class Passing(Node):
    """A node whose payload is never stored."""

    is_persisted = False


def node(name: str, *above: Any, n: int = 0, text: str = "", cls: type[Node] = Node, store: Any = None) -> Node:
    upstream = {"above": list(above)} if above else {}
    return cls(STORE if store is None else store, Params(n, text), payload_name=name, **upstream)


STORE = MemoryStore()


def diamond(store: Any = None) -> Node:
    source = node("source", n=1, store=store)
    left, right = node("left", source, n=2, store=store), node("right", source, n=3, store=store)
    return node("join", left, right, n=4, store=store)


def ladder(rungs: int) -> Node:
    top = node("start")
    for rung in range(rungs):
        top = node("join", node("left", top, n=rung), node("right", top, n=rung), n=rung)
    return top


def chain(length: int) -> Node:
    last = node("first")
    for number in range(length - 1):
        last = node("link", last, n=number)
    return last


def pipeline(
    sources: Sequence[str] = ("books", "films", "songs"), params: int = 20, stages: Sequence[str] = ("read", "clean", "fit", "score")
) -> Node:
    """Three sources, each with many chains of stages, joined per source and at the end."""
    summaries: list[Node] = []
    for source in sources:
        start = node(source)
        ends: list[Node] = []
        for n in range(params):
            end = start
            for stage in stages:
                end = node(stage, end, n=n)
            ends.append(node("check", end, n=n, cls=Passing))
        summaries.append(node("summary", *ends))
    return node("report", *summaries)
