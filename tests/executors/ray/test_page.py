"""The how-to page on Ray shows what happens. Its code needs a cluster, so it runs here and not with the other pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers.ray_cluster import RayCluster

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.xdist_group("ray")
def test_the_code_of_the_page_runs_and_shows_the_real_result(ray_cluster: RayCluster, tmp_path: Path) -> None:
    page = tmp_path / "ray.md"
    page.write_text((ROOT / "docs/howto/ray.md").read_text(encoding="utf-8").replace("```py\n", "```python\n"), encoding="utf-8")
    command = [sys.executable, str(ROOT / "tests/docs/run_page.py"), str(page), str(tmp_path / "page.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "persistable_pkg")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
