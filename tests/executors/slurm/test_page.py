"""The how-to page on Slurm shows what happens. Its code needs a cluster, so it runs here and not with the other pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.xdist_group("slurm")
def test_the_code_of_the_page_runs_and_shows_the_real_result(slurm_cluster: Path, tmp_path: Path) -> None:
    assert slurm_cluster
    text = (ROOT / "docs/howto/slurm.md").read_text(encoding="utf-8").replace("```py\n", "```python\n")
    (tmp_path / "slurm.md").write_text(text, encoding="utf-8")
    command = [sys.executable, str(ROOT / "tests/docs/run_page.py"), "slurm.md", "page.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "persistable_pkg")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
