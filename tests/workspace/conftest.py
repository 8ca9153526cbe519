"""Workspaces over every kind of store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from store_kinds import each_store
from tests.workspace.flows import CALLS, Files, calls

from persistable.stores import Store, open_store


@pytest.fixture(autouse=True)
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`calls` starts at nothing."""
    monkeypatch.setenv(CALLS, f"{tmp_path}.calls")


store = each_store("folder", "memory", "sqlite", "s3")


def filled(store: Store, ids: tuple[str, ...] = ("001", "002", "003")) -> Store:
    """With seeds for `Files`: of id 002 the first cell is 2."""
    for name in ids:
        store.put(f"raw/data-{name}.csv", f"x,y\n{int(name)},0.5\n{int(name)},0.25\n".encode())
    store.put("params/factor", b"3\n")
    return store


@pytest.fixture
def ws(store: Store) -> Files:
    """Three ids, nothing computed."""
    return Files(filled(store))


@pytest.fixture
def local(tmp_path: Path) -> Files:
    """The same in a folder."""
    return Files(filled(open_store(tmp_path / "data")))


def frame(value: int) -> pd.DataFrame:
    """What `filled` puts there for an id."""
    return pd.DataFrame({"x": [value, value], "y": [0.5, 0.25]})


__all__ = ["calls", "filled", "frame"]
