"""An attempt that was cut off under old code, and is gone on with under new code: warned of, in the record, and stale."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from tests.edits import edited

from persistable import Status, open_store, run
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


@pytest.fixture(params=["folder", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with open_store(tmp_path / "data" if request.param == "folder" else f"sqlite:///{tmp_path}/data.db") as opened:
        yield opened


def node(source: str, value: int, fails: int = -1) -> Any:
    return edited(source.format(value=value, fails=fails)).rows.step(4)


def values(payload: Any) -> list[int]:
    return [int(each) for each in (payload.values() if hasattr(payload, "values") else payload)]


def told(act: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(each.message) for each in caught if issubclass(each.category, StaleCodeWarning)]


@pytest.mark.parametrize("source", [ROWS, ITEMS], ids=["rows", "items"])
def test_gone_on_with_warned_of_and_stale(store: Any, source: str) -> None:
    with pytest.raises(RuntimeError):
        node(source, 1, fails=2).generate()
    mended = node(source, 7)
    said = told(lambda: run(mended))
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
    assert told(lambda: run(same)) == [] and same.status is Status.DONE and values(same.payload) == [1] * 4


def test_code_that_is_changed_twice_and_back_is_still_said(store: Any) -> None:
    for value, fails in ((1, 1), (2, 2)):
        with pytest.raises(RuntimeError):
            node(ROWS, value, fails).generate()
    back = node(ROWS, 1)
    assert told(back.generate) and back.status is Status.STALE and values(back.payload) == [1, 2, 1, 1]
