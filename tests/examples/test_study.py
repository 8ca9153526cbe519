"""The example of a study that is made again from its records, as its README says, and after changes that matter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers.needs import need

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "examples" / "study"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    need("sklearn")
    shutil.copytree(STUDY, tmp_path / "study", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "study"


def ran(folder: Path, *command: str, expect: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "persistable_pkg"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def test_the_records_restore_the_study(folder: Path) -> None:
    shown = ran(folder, "reproduce.py")
    assert shown.count("identical  ") == 10
    told = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("identical")]
    assert told
    for line in told:
        assert line in shown


def test_the_study_writes_what_is_kept(folder: Path, tmp_path: Path) -> None:
    shown = ran(folder, "study.py", str(tmp_path / "store"), str(tmp_path / "results"))
    assert "13 features: 98.1%" in shown
    kept = {path.relative_to(folder / "results") for path in (folder / "results").rglob("*.record.json")}
    assert kept == {path.relative_to(tmp_path / "results") for path in (tmp_path / "results").rglob("*.record.json")}
    assert not [
        path for path in (folder / "results").rglob("*") if path.is_file() and path.suffix not in (".json", "") and path.name[0] != "."
    ]


def test_nothing_of_a_machine_is_kept() -> None:
    for path in (STUDY / "results").rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert '"host":"' not in text or '"host":""' in text
            assert "/home/" not in text and "/work/" not in text and "/tmp/" not in text


def test_another_study_is_found_out(folder: Path) -> None:
    code = (folder / "study.py").read_text()
    (folder / "study.py").write_text(code.replace("np.random.default_rng(self.params.seed)", "np.random.default_rng(self.params.seed + 1)"))
    shown = ran(folder, "reproduce.py", expect=1)
    assert "split(test=0.3, seed=1)" in shown and "changed" in shown
