"""The status of each node in a picture: looked up, or given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.graph.shapes import Node, Passing, diamond, node

from persistable.graph import lineage
from persistable.nodes.status import Status
from persistable.records import claims
from persistable.records.record import SUFFIX
from persistable.stores import LocalStore, MemoryStore


def test_a_look_says_what_each_node_says_of_itself(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    done = node("done", store=store).generate()
    failed = node("failed", done, text="fail", store=store)
    with pytest.raises(ValueError, match="as asked"):
        failed.generate()
    blocked = node("blocked", failed, store=store)
    absent = node("absent", done, store=store)
    broken = node("broken", store=store).generate()
    store.put(broken.key.path + SUFFIX, b"{")
    running = node("running", store=store)
    claim = claims.acquire(store, running.key.path, lambda: False)
    try:
        top = node("top", blocked, absent, broken, running, store=store)
        graph = lineage(top, status=True)
        assert {member.key.name: graph.statuses[member.key] for member in graph.nodes} == {
            "done": "done",
            "failed": "failed",
            "blocked": "blocked",
            "absent": "absent",
            "broken": "corrupt",
            "running": "running",
            "top": "blocked",
        }
        assert all(graph.statuses[member.key] == member.status.value for member in graph.nodes)
    finally:
        claim.release()


def test_statuses_are_looked_up_only_when_asked_or_when_a_store_is_given(tmp_path: Path) -> None:
    assert not lineage(diamond()).statuses
    assert not lineage(diamond(), store=tmp_path, status=False).statuses
    assert set(lineage(Node(payload_name="alone"), store=tmp_path).statuses.values()) == {"absent"}
    assert set(lineage(diamond(), status=True).statuses.values()) == {"absent"}


class Counting(MemoryStore):
    """Counts the requests that a picture makes of its store."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get_many(self, paths: Any) -> dict[str, bytes]:
        self.asked.append("get_many")
        return super().get_many(paths)

    def exists(self, path: str) -> bool:
        self.asked.append("exists")
        return super().exists(path)

    def stat(self, path: str) -> Any:
        self.asked.append("stat")
        return super().stat(path)


def test_what_is_stored_is_looked_up_in_one_batch() -> None:
    store = Counting()
    top = node("all", *(node("part", n=n, store=store) for n in range(50)), store=store).generate()
    store.asked.clear()
    assert set(lineage(top, status=True).statuses.values()) == {"done"}
    assert store.asked.count("get_many") <= 2 and store.asked.count("exists") == 0
    assert store.asked.count("stat") <= 51, "the size of each file is looked at once, in one call where the store has one for that"


def test_what_is_never_stored_has_no_status() -> None:
    store = MemoryStore()
    graph = lineage(node("top", node("passing", cls=Passing, store=store), store=store), status=True)
    assert [key.name for key in graph.statuses] == ["top"]


def test_statuses_may_be_words_of_ones_own_with_colours() -> None:
    top = diamond()
    words = {member.key: word for member, word in zip(lineage(top).nodes, ("run", "load", Status.STALE, "wait <&>"), strict=True)}
    graph = lineage(top, status=words, colours={"run": "#123456"})
    assert graph.statuses[top.key] == "wait <&>" and "stale" in graph.statuses.values()
    for text in (graph.svg(), graph.dot(), graph.mermaid()):
        assert "#123456" in text and "#b06a00" in text and "load" in text and "<&>" not in text.replace("wait <&amp;>", "")
    assert "[run]" in graph.text()


def test_a_stack_whose_members_differ_says_how_many_have_which_status() -> None:
    fits = [node("fit", n=n) for n in range(40)]
    graph = lineage(node("report", *fits), collapse=10, status={fit.key: "failed" if fit.params.n < 3 else "done" for fit in fits})
    assert "37 done, 3 failed" in graph.text()
    svg = graph.svg()
    assert "37 done, 3 failed" in svg and ">done 37<" in svg and ">failed 3<" in svg


def test_a_status_that_cannot_be_looked_up_is_an_error_unless_nobody_asked_for_it(tmp_path: Path) -> None:
    class Broken(MemoryStore):
        def get_many(self, paths: Any) -> dict[str, bytes]:
            raise OSError("no route")

    top = diamond(Broken())
    with pytest.raises(OSError, match="no route"):
        lineage(top, status=True)
    assert "<svg" in top._repr_html_()
