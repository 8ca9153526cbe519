"""A small project on disk whose code is fingerprinted in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import persistable
from persistable.nodes.code import Fingerprint

ROOT = Path(persistable.__path__[0]).parent
SITE = Path(pytest.importorskip("blake3").__file__).parents[1]

SHOW = """
import importlib, json, sys
from persistable.nodes.code import code_of
module, _, name = sys.argv[1].partition(":")
target = importlib.import_module(module)
for part in name.split("."):
    target = getattr(target, part)
print(json.dumps(code_of(target, ("_generate_payload", "_validate_payload")).fingerprint().to_json()))
"""


class Project:
    """Files in a folder, and what python makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, files: dict[str, str]) -> Project:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def edit(self, name: str, old: str, new: str) -> Project:
        text = (self.folder / name).read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
        (self.folder / name).write_text(text.replace(old, new))
        return self

    def run(self, *args: str, text: str = "", python: str = sys.executable, **environment: str) -> str:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1", **environment}
        done = subprocess.run(
            [python, *args], input=text, capture_output=True, text=True, env=env, cwd=self.folder, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def last(self, *args: str, **options: Any) -> Any:
        """The JSON on the last line a process prints."""
        return json.loads(self.run(*args, **options).strip().splitlines()[-1])

    def fingerprint(self, target: str = "pk.flows:Points", *flags: str, **options: Any) -> Fingerprint:
        return Fingerprint.from_json(self.last(*flags, "-c", SHOW, target, **options))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
