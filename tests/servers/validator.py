"""The validator of RO-Crates, in an environment of its own: its dependencies are not ours.

`python tests/servers/validator.py` installs it, which needs the network that tests have not (see `tests/lonet`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

WANTED = "roc-validator==0.13.0"


def installed() -> Path:
    """The Python that has it. Raises CalledProcessError where it cannot be had."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "persistable-tests" / "roc-validator"
    if not (home / ".complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        for command in (
            [sys.executable, "-m", "uv", "venv", "-q", "-p", sys.executable, str(home)],
            [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(home / "bin" / "python"), WANTED],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True)
        (home / ".complete").touch()
    return home / "bin" / "python"


if __name__ == "__main__":
    try:
        installed()
    except subprocess.CalledProcessError as error:
        print(f"{WANTED} cannot be had: {error.stderr}", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") else 0)
