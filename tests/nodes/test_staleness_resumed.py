"""An attempt that was cut off under old code, and is gone on with under new code: warned of, in the record, and stale."""

from __future__ import annotations

from typing import Any

import pytest
from store_kinds import each_store
from tests.edits import edited, warned

from persistable import Status, run
from persistable.errors import StaleCodeWarning

ROWS = """
import numpy as np
from persistable import append, appended, step
from persistable.fileio import NumpyFileIO

@step(io=NumpyFileIO())
def rows(n: int) -> np.ndarray:
    for block in range(int(appended()), n):
        if block == {fails}:
            raise RuntimeError("cut off")
        append(np.full(1, {value}))
    return appended()
"""
ITEMS = """
from collections.abc import Iterator
from persistable import step

@step
def rows(n: int) -> Iterator[tuple[str, int]]:
    for block in range(n):
        if block == {fails}:
            raise RuntimeError("cut off")
        yield str(block), {value}
"""


store = each_store("folder", "sqlite")


def node(source: str, value: int, fails: int = -1) -> Any:
    return edited(source.format(value=value, fails=fails)).rows.step(4)


def values(payload: Any) -> list[int]:
    return [int(each) for each in (payload.values() if hasattr(payload, "values") else payload)]


@pytest.mark.parametrize("source", [ROWS, ITEMS], ids=["rows", "items"])
def test_gone_on_with_warned_of_and_stale(store: Any, source: str) -> None:
    with pytest.raises(RuntimeError):
        node(source, 1, fails=2).generate()
    mended = node(source, 7)
    said = warned(lambda: run(mended))
    assert any("made by code that has changed" in each and "changed: rows" in each for each in said)
    assert mended.status is Status.STALE and "rows" in mended.explain()
    assert "before the code changed" in mended.record.notes["mixed"]
    assert values(mended.load().payload) == [1, 1, 7, 7]
    assert node(source, 1, fails=2).status is Status.STALE  # nor is it what the old code makes
    mended = node(source, 7)
    mended.accept_code("the first two are as good")
    assert mended.status is Status.DONE
    run(node(source, 8), stale="generate")
    again = node(source, 8)
    assert again.status is Status.DONE and values(again.payload) == [8] * 4


@pytest.mark.parametrize("source", [ROWS, ITEMS], ids=["rows", "items"])
def test_gone_on_with_by_the_same_code_is_done(store: Any, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = source.replace("{fails}", "2 and 'CUT' in __import__('os').environ")
    monkeypatch.setenv("CUT", "1")
    with pytest.raises(RuntimeError):
        node(cut, 1).generate()
    monkeypatch.delenv("CUT")
    same = node(cut, 1)
    assert warned(lambda: run(same)) == [] and same.status is Status.DONE and values(same.payload) == [1] * 4


def test_code_that_is_changed_twice_and_back_is_still_said(store: Any) -> None:
    for value, fails in ((1, 1), (2, 2)):
        with pytest.raises(RuntimeError):
            node(ROWS, value, fails).generate()
    back = node(ROWS, 1)
    assert warned(back.generate) and back.status is Status.STALE and values(back.payload) == [1, 2, 1, 1]


UPSTREAM = """
@step{persist}
def base(n: int) -> int:
    return n + {add}
"""


def above(source: str, fails: int = -1, add: int = 0, persist: str = "") -> tuple[Any, Any]:
    """A node that yields or appends four of what its upstream is, and that upstream."""
    body = source.replace("def rows(n: int)", "def rows(base: int)").replace("n)", "4)").format(fails=fails, value="base")
    module = edited(body + UPSTREAM.format(persist=persist, add=add))
    base = module.base.step(1)
    return base, module.rows.step(base)


@pytest.mark.parametrize("source", [ROWS, ITEMS], ids=["rows", "items"])
def test_bytes_upstream_that_changed_in_between(store: Any, source: str) -> None:
    base, cut = above(source, fails=2)
    with pytest.raises(RuntimeError):
        cut.generate()
    base.put(5)
    cut = above(source, fails=3)[1]
    with pytest.raises(RuntimeError):
        cut.generate()
    base, mended = above(source, fails=3)
    base.put(7)
    mended = above(source)[1]
    said = warned(lambda: run(mended))
    assert any("made from upstream that has changed since" in each and str(base.key) in each for each in said)
    assert values(mended.load().payload) == [1, 1, 5, 7]
    for content in (7, 5, 1):
        base.put(content)
        assert mended.status is Status.STALE, content
    assert str(base.key.digest[:8]) in mended.explain() and "something upstream changed" in mended.record.notes["mixed"]
    mended.accept_code("all the same")
    assert mended.status is Status.DONE
    base.put(5)
    mended.generate()
    assert mended.status is Status.DONE and values(mended.payload) == [5] * 4


@pytest.mark.parametrize("source", [ROWS, ITEMS], ids=["rows", "items"])
def test_code_of_what_is_not_stored_that_changed_in_between(store: Any, source: str) -> None:
    with pytest.raises(RuntimeError):
        above(source, 2, 0, "(persist=False)")[1].generate()
    mended = above(source, 2, 10, "(persist=False)")[1]
    with pytest.raises(RuntimeError), pytest.warns(StaleCodeWarning, match="made from upstream that has changed since"):
        mended.generate()
    mended = above(source, -1, 10, "(persist=False)")[1]
    mended.generate()
    assert values(mended.payload) == [1, 1, 11, 11] and mended.status is Status.STALE
    assert above(source, -1, 0, "(persist=False)")[1].status is Status.STALE
    mended.delete()
    mended.generate()
    assert values(mended.payload) == [11] * 4 and mended.status is Status.DONE


@pytest.mark.parametrize("source", [ROWS, ITEMS], ids=["rows", "items"])
def test_made_anew_alike_in_between_is_done(store: Any, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = source.replace("{fails}", "2 and 'CUT' in __import__('os').environ")
    monkeypatch.setenv("CUT", "1")
    with pytest.raises(RuntimeError):
        above(cut)[1].generate()
    monkeypatch.delenv("CUT")
    base, same = above(cut)
    base.generate()
    assert warned(lambda: run(same)) == [] and same.status is Status.DONE and values(same.payload) == [1] * 4
