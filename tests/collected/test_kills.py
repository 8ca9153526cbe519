"""What is left of items and rows when the process that makes them is killed."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from store_kinds import each_url

HERE = Path(__file__).parent
url = each_url("folder", "sqlite")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["items", "rows"])
def test_killed_at_any_point_what_is_committed_stays_and_the_next_attempt_goes_on(url: str, kind: str) -> None:
    seed = 1 if os.environ.get("CI") else random.randrange(1_000_000)
    command = [sys.executable, "-W", "ignore", str(HERE / "kill_items.py"), url, "62", str(seed), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    # the points fell before, into and after what is to be shown, else this would show nothing
    for word in ("absent" if kind == "rows" else "partial", "whole", "gone on with"):
        assert f"'{word}'" in done.stdout, done.stdout
