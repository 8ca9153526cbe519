"""Other ways to write the code that a step reaches: each is edited between two processes, and noticed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from persistable.nodes.code import Fingerprint, compare

HEAD = "import functools\nfrom typing import Any, Literal, Union, get_args\n"
FINGERPRINTS = """
import importlib, json
from persistable.nodes.code import code_of
print(json.dumps({name: code_of(importlib.import_module(f"ways.{name}").f).fingerprint().to_json() for name in NAMES}))
"""

HERE = Path(__file__).parent
WAYS = re.findall(r"^=== (changed|same): (.*?)\n(.*?)\n--- (.*?) >>> (.*?)$", (HERE / "ways.txt").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Fingerprint, Fingerprint]]:
    """The fingerprints of every way before and after its edit: two processes."""
    folder = tmp_path_factory.mktemp("ways")
    (folder / "ways").mkdir()
    modules = [f"w{number}" for number in range(len(WAYS))]
    found: list[Any] = []
    for after in (False, True):
        for module, (_, _, text, old, new) in zip(modules, WAYS, strict=True):
            assert old in text
            (folder / f"ways/{module}.py").write_text(HEAD + (text.replace(old, new) if after else text))
        done = subprocess.run(
            [sys.executable, "-B", "-c", f"NAMES = {modules}\n{FINGERPRINTS}"], cwd=folder, capture_output=True, text=True, check=True
        )
        found.append({module: Fingerprint.from_json(each) for module, each in json.loads(done.stdout).items()})
    return {way[1]: (found[0][module], found[1][module]) for module, way in zip(modules, WAYS, strict=True)}


@pytest.mark.parametrize("way", [name for kind, name, *_ in WAYS if kind == "changed"])
def test_an_edit_is_noticed(edited: dict[str, tuple[Fingerprint, Fingerprint]], way: str) -> None:
    """Also where a library calls the code, where a name is imported from elsewhere, and where it is reached by a string."""
    before, after = edited[way]
    assert not compare(before, after).same
    assert not before.unknown


@pytest.mark.parametrize("way", [name for kind, name, *_ in WAYS if kind == "same"])
def test_what_is_not_reached_is_no_change(edited: dict[str, tuple[Fingerprint, Fingerprint]], way: str) -> None:
    """Imports that nothing uses, methods that nothing calls."""
    assert compare(*edited[way]).describe() == ""


def test_a_record_from_before_imports_were_kept_is_not_stale(edited: dict[str, tuple[Fingerprint, Fingerprint]]) -> None:
    """A name of a library counts where both sides have it."""
    before, _ = edited["a library's module"]
    older = before._replace(quick="", parts={name: part for name, part in before.parts.items() if not part.startswith("i:")})
    assert older.parts != before.parts
    assert compare(older, before).same
    assert compare(before, older).same
