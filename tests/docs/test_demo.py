"""`make demo`: what it says it does is what it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def demo(folder: Path) -> list[list[str]]:
    """The words of the lines that tell of a payload, each pass after the other."""
    done = subprocess.run(
        [sys.executable, "-m", "persistable.cli.demo", str(folder)], capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "agg"}
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines() if " loaded " in line or " generated " in line]


@pytest.mark.timeout(900)
def test_the_demo_generates_once_and_loads_ever_after(tmp_path: Path) -> None:
    first = demo(tmp_path)
    assert [line[1] for line in first] == ["generated"] * 6 + ["loaded"] * 6 + ["loaded"] * 2 + ["generated"] * 4
    assert len(list(tmp_path.glob("report/*.png"))) == 2
    second = demo(tmp_path)
    assert [line[1] for line in second] == ["loaded"] * 18
    assert [line[-1] for line in second] == [line[-1] for line in first], "the keys are the same in every process"
