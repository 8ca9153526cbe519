"""A project in a folder of its own, and what was made by whom."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persistable import Project

FLOWS = "tests.project.flows"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current folder and the search path of modules are those of the test, and no variable of the outside counts."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in os.environ:
        if name.startswith("PERSISTABLE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MADE", str(tmp_path / "made.txt"))
    return


@pytest.fixture
def made(tmp_path: Path) -> Callable[[], Counter[str]]:
    """How often each was made since it was last asked."""

    def counted() -> Counter[str]:
        log = tmp_path / "made.txt"
        found = Counter(log.read_text().split()) if log.exists() else Counter[str]()
        log.unlink(missing_ok=True)
        return found

    return counted


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Project]:
    """Write a ``persistable.toml``, in which FLOWS is the module of the tests, and load it."""

    def loaded(text: str, **options: Any) -> Project:
        Path("persistable.toml").write_text(text.replace("FLOWS", FLOWS))
        return Project.load(**options)

    return loaded


BASIC = """
[targets.points]
use = "FLOWS:Points"
params = { n = 4 }
[targets.model]
use = "FLOWS:Model"
params = { alpha = 1 }
upstream = { points = "points" }
[targets.sweep]
use = "FLOWS:scaled"
over = { factor = [1, 2] }
upstream = { points = "points" }
[targets.total]
use = "FLOWS:total"
upstream = { many = ["sweep"] }
[stages]
prepare = ["points"]
train = ["model", "sweep"]
"""
