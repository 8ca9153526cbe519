"""`keys`: written down, compared, and why what moved has moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Shell


def lock(project: Shell) -> Path:
    project("keys", "--lock", "keys.lock")
    return project.folder / "keys.lock"


def edit(project: Shell, file: str, *changes: tuple[str, str]) -> None:
    path = project.folder / file
    text = path.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)


def test_what_did_not_move_is_said_and_nothing_is_stored_or_read(project: Shell) -> None:
    file = lock(project)
    held = json.loads(file.read_text())
    assert list(held["targets"]) == ["points", "total", "report", "grid", "cross", "broken", "after"]
    assert len(held["targets"]["grid"]) == 3 and held["targets"]["points"]["points"].startswith("points/")
    again = file.read_bytes()
    lock(project)
    assert file.read_bytes() == again
    # what is no part of a key moves none: code, format, comments
    edit(project, "flows.py", ("sum(points) * scale", "scale * sum(points)"), ("io=TextFileIO()", ""))
    assert "12 keys are what they were" in project("keys", "--check", "keys.lock").out
    assert not (project.folder / "data").exists()
    assert project("keys", "--json").json == held["targets"]
    assert len(project("keys", "grid").out.splitlines()) == 4


@pytest.mark.parametrize(
    ("file", "before", "after", "target", "why"),
    [
        ("flows.py", "scale: float = 1.0", "scale: float = 1.0, whiten: bool = False", "total", "added, with False; `omit_when(False)`"),
        ("flows.py", "title: str", "heading: str", "report", "the param title was removed"),
        ("flows.py", "@step\ndef total", "@step(version=2)\ndef total", "total", "version was 1 and is 2"),
        ("flows.py", "@step\ndef points", '@step(name="dots")\ndef points', "points", "the payload name was points and is dots"),
        ("persistable.toml", "n = 4", "n = 5", "points", "the param n was 4 and is 5"),
        ("flows.py", "x=[1, 2, 3]", "x=[1, 2, 4]", "grid", "the param x was 3 and is 4"),
        ("flows.py", "x=[1, 2, 3]", "x=[1, 2]", "grid", "no member has these params"),
    ],
)  # fmt: skip
def test_what_moved_is_named_with_the_reason(project: Shell, file: str, before: str, after: str, target: str, why: str) -> None:
    lock(project)
    edit(project, file, (before, after))
    said = project("keys", "--check", "keys.lock", expect=1).out
    assert any(line.startswith(f"{target}") for line in said.splitlines()), said
    assert why in said, said
    found = project("keys", "--check", "keys.lock", "--json", expect=1).json["moved"]
    assert any(each["target"] == target and why in " ".join(each["why"]) for each in found)
    # what follows moved too, and says what it follows
    if target == "points" and "the param" in why:
        assert any(each["target"] == "report" and "total.points: " in each["why"][0] for each in found)
    lock(project)
    project("keys", "--check", "keys.lock")


def test_targets_that_came_and_went(project: Shell) -> None:
    lock(project)
    edit(project, "persistable.toml", ("[targets.broken]", "[targets.cracked]"), ('number = "broken"', 'number = "cracked"'))
    done = project("keys", "--check", "keys.lock", expect=1)
    assert "broken" in done.out and "no such target" in done.out and "not in keys.lock: cracked" in done.err
    assert "after" not in done.out
    assert project("keys", "--check", "keys.lock", "points").out.startswith("1 keys are")


def test_a_renamed_params_class_and_other_packages(project: Shell) -> None:
    (project.folder / "flows.py").write_text((project.folder / "flows.py").read_text() + CLASSES)
    edit(
        project, "persistable.toml", ("[targets.broken]", '[targets.model]\nuse = "flows:Model"\nparams = { c = 1.0 }\n\n[targets.broken]')
    )
    file = lock(project)
    edit(project, "flows.py", ("class Svm", "class Machine"), ("Persistable[float, Svm]", "Persistable[float, Machine]"))
    assert (
        'the params class was Svm and is Machine; if it was renamed, `@formerly("Svm")`'
        in project("keys", "--check", "keys.lock", expect=1).out
    )
    edit(project, "flows.py", ("@dataclass\nclass Machine", '@formerly("Svm")\n@dataclass\nclass Machine'))
    project("keys", "--check", "keys.lock")
    held = json.loads(file.read_text())
    held["versions"]["numpy"] = "1.0"
    text = json.dumps(held).replace(held["targets"]["points"]["points"], "points/" + 32 * "0")
    file.write_text(text)
    assert "numpy 1.0 -> " in project("keys", "--check", "keys.lock", "points", expect=1).out


CLASSES = """
import numpy
from dataclasses import dataclass
from persistable import Persistable, formerly


@dataclass
class Svm:
    c: float = 1.0


class Model(Persistable[float, Svm]):
    def _generate_payload(self) -> float:
        return self.params.c
"""


def test_what_makes_no_sense_is_said(project: Shell) -> None:
    assert "writes it" in project("keys", "--check", "none.lock", expect=2).err
    (project.folder / "odd").write_text("{}")
    assert "no file that" in project("keys", "--check", "odd", expect=2).err
    (project.folder / "later").write_text('{"format": 9}')
    assert "format 9" in project("keys", "--check", "later", expect=2).err
    project("keys", "--lock", "a", "--check", "b", expect=2)
    lock(project)
    assert "no nothing" in project("keys", "--check", "keys.lock", "nothing", expect=2).err
