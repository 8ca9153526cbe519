"""The example of a subject-by-subject analysis, as somebody who copied it runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers.needs import need
from servers.ray_cluster import RayCluster

ROOT = Path(__file__).resolve().parents[2]


def ran(folder: Path, *command: str) -> str:
    """What a script of the example prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "persistable_pkg"), "COLUMNS": "100"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def computed(folder: Path) -> int:
    """How many nodes a run of it computes."""
    found = re.search(r"subjects: (\d+) nodes computed", ran(folder, "subjects.py", "data"))
    assert found is not None
    return int(found[1])


@pytest.mark.xdist_group("ray")
@pytest.mark.timeout(1200)
def test_what_the_readme_promises(ray_cluster: RayCluster, tmp_path: Path) -> None:
    need("sklearn", "matplotlib")
    folder = tmp_path / "subjects"
    shutil.copytree(ROOT / "examples" / "subjects", folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    assert ran(folder, "prepare.py", "data") == "20 subjects in data\n"
    shown = ran(folder, "subjects.py", "data")
    assert "20 subjects: 100 nodes computed" in shown
    readme = (folder / "README.md").read_text()
    for line in shown.splitlines()[-5:]:
        assert line in readme
    data = folder / "data"
    assert len(list((data / "results").glob("subject-*/*"))) == 60
    assert (data / "pictures" / "subject-10.svg").read_text().startswith("<?xml")
    assert float((data / "results" / "subject-10" / "fitness.txt").read_text()) > 2

    assert computed(folder) == 0
    files = {path: path.read_bytes() for path in data.glob("*/subject-*/*")}
    (data / "raw" / "subject-03" / "exercise.csv").write_text("Chins,Situps,Jumps\n13,101,101\n")
    assert computed(folder) == 5
    changed = {path.parent.name for path, content in files.items() if path.read_bytes() != content}
    assert changed == {"subject-03"}
    shutil.copytree(data / "raw" / "subject-10", data / "raw" / "subject-21")
    assert computed(folder) > 0
    assert (data / "results" / "subject-21" / "fitness.txt").read_text() == (data / "results" / "subject-10" / "fitness.txt").read_text()
