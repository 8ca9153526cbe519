"""Nothing is printed or logged unless someone asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from servers.needs import need

SCRIPT = """
import logging
from dataclasses import dataclass
from persistable import Persistable

@dataclass
class P:
    n: int

class Fails(Persistable[int, P]):
    def _generate_payload(self):
        if self.params.n:
            raise ValueError("no")
        return 1

Fails("data", n=0).payload
try:
    Fails("data", n=1).payload
except ValueError:
    pass
"""


def said(script: str, folder: Path) -> str:
    file = folder / "script.py"
    file.write_text(script)
    package = str(Path(__file__).parents[2] / "persistable_pkg")
    done = subprocess.run(
        [sys.executable, str(file)], cwd=folder, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": package}
    )
    return done.stdout + done.stderr


def test_success_and_failure_are_silent_where_no_log_handler_is_installed(tmp_path: Path) -> None:
    assert said(SCRIPT, tmp_path) == ""


def test_requests_that_are_tried_again_are_silent(tmp_path: Path) -> None:
    """Nothing listens at port 1, and a refused connection is tried again."""
    need("httpx")
    script = """
from persistable import HttpGet
from persistable.errors import HttpFailed

try:
    HttpGet("http://127.0.0.1:1/", attempts=3, delay=0.01).generate()
except HttpFailed as error:
    print(*error.__notes__)
"""
    assert said(script, tmp_path).startswith("tried 3 times")


def test_both_are_told_to_an_application_that_logs(tmp_path: Path) -> None:
    told = said(SCRIPT.replace("import logging", "import logging; logging.basicConfig(level=logging.INFO)", 1), tmp_path)
    assert "INFO:persistable:Persisted" in told and "ERROR:persistable:Failed" in told
