"""`export`, `import` and `view`."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from tests.cli.conftest import Shell
from tests.cli.test_running import in_terminal

from persistable import run, step
from persistable.fileio import JsonFileIO


@step(io=JsonFileIO())
def of_length(n: int) -> list[float]:
    return [1.0] * n


@step(io=JsonFileIO())
def of_all(values: list[float]) -> float:
    return sum(values)


@pytest.fixture
def filled(project: Shell) -> Shell:
    project("run", "total", "grid")
    return project


def test_a_bundle_goes_out_and_comes_in(filled: Shell) -> None:
    done = filled("export", "paper.zip", "total", "--license", "https://creativecommons.org/licenses/by/4.0/", "--name", "Sums")
    assert "exported 2 records" in done.out
    listed = filled("ls", "--store", "paper.zip", "--json").json
    assert sorted(row["name"] for row in listed) == ["points", "total"]
    assert filled("cat", filled.keys("total")[0], "--store", "paper.zip").out.strip() == "6.0"
    assert "imported 2, 0 there already" in filled("import", "paper.zip", "--store", "other").out
    again = filled("import", "paper.zip", "--store", "other", "--json").json
    assert (again["imported"], len(again["kept"]), again["conflicts"]) == ([], 2, [])
    with zipfile.ZipFile(filled.folder / "paper.zip") as archive:
        assert b'"name":"Sums"' in archive.read("ro-crate-metadata.json")


def test_a_bundle_needs_no_project(filled: Shell, tmp_path: Path) -> None:
    key = filled.keys("total")[0]
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Shell(tmp_path / "elsewhere")
    told = elsewhere("export", "a.zip", key[: -32 + 10], "--store", str(filled.folder / "data"), "--json").json
    assert (told["records"], told["missing"]) == (2, [])
    assert elsewhere("export", "all.zip", "--store", str(filled.folder / "data"), "--json").json["records"] == 5
    elsewhere("import", "a.zip", "--store", "mine")
    assert elsewhere("show", key, "--store", "mine", "--json").json["key"] == key


def test_records_alone_and_anonymous(filled: Shell) -> None:
    told = filled("export", "a.zip", "total", "--include", "none", "--anonymous", "--json").json
    assert told["records"] == 2
    shown = filled("show", filled.keys("total")[0], "--store", "a.zip", "--json").json
    assert shown["host"] == ""
    done = filled("import", "a.zip", "--store", "other")
    assert "imported 2" in done.out and done.err.count("its record alone") == 2
    missing = filled("export", "b.zip", "--store", "other", expect=1)
    assert "2 without their payloads" in missing.out


def test_other_bytes_are_reported(filled: Shell) -> None:
    filled("export", "a.zip", "points")
    (filled.folder / "mine.json").write_text("[1]")
    filled("put", "points", "mine.json", "--store", "other")
    done = filled("import", "a.zip", "--store", "other", expect=1)
    assert "there with other bytes" in done.err and "imported 0, 0 there already" in done.out
    assert "imported 1" in filled("import", "a.zip", "--store", "other", "--replace").out


def test_what_makes_no_sense(filled: Shell) -> None:
    assert "did you mean total" in filled("export", "a.zip", "totl", expect=2).err
    assert "no project has" not in filled("export", "a.zip", "points/0000", expect=2).err
    (filled.folder / "bad.zip").write_bytes(b"nothing")
    assert "refused" in filled("import", "bad.zip", expect=1).err
    assert "there is no file" in filled("import", "none.zip", expect=1).err
    assert "holds files that no export" in filled("export", "data", expect=1).err
    assert not (filled.folder / "a.zip").exists()
    assert "no archive that an export has made" in filled("export", "bad.zip", "points", expect=1).err
    assert (filled.folder / "bad.zip").read_bytes() == b"nothing"
    with zipfile.ZipFile(filled.folder / "bad.zip", "w") as archive:
        archive.writestr("thesis.txt", "mine")
    assert "no archive that an export has made" in filled("export", "bad.zip", "points", expect=1).err
    (filled.folder / "empty.zip").touch()
    for _ in range(2):  # an earlier export may be replaced
        filled("export", "empty.zip", "points")


def test_a_view(filled: Shell) -> None:
    done = filled("view", "by-x", "square", "--by", "{word}/{x}")
    assert "made 3 links" in done.out
    assert sorted(os.listdir(filled.folder / "by-x" / "a")) == ["1.pickle", "2.pickle", "3.pickle"]
    told = filled("view", "by-x", "square", "--by", "{x}", "--where", "x > 1", "--json").json
    assert (told["made"], told["removed"], sorted(told["links"])) == (2, 3, ["2.pickle", "3.pickle"])
    assert "would make 1 link in" in filled("view", "by-n", "points", "--by", "{n}", "--dry-run").out
    assert not (filled.folder / "by-n").exists()
    assert "did you mean 'x'" in filled("view", "by-y", "square", "--by", "{xx}", expect=2).err
    assert "nothing called nobody" in filled("view", "by-y", "nobody", "--by", "{x}").err


def test_a_terminal_is_told_how_far_it_is(filled: Shell) -> None:
    status, out = in_terminal(filled, "export", "paper.zip")
    assert status == 0
    assert "exported" in out and " of " in out


def test_what_is_in_a_bundle_is_named_without_a_project(shell: Shell) -> None:
    made = [of_length.step(n=n) for n in (2, 3)]
    run(made, of_all.step(made[0]), store=shell.folder / "s")
    shell("export", "paper.zip", "--store", "s")
    shown = shell("show", "of_all", "--store", "paper.zip").out
    assert "of_length(n=2)" in shown and str(made[0].key) in shown and "$node" not in shown
    said = shell("show", "of_length", "--store", "paper.zip", expect=2).err
    assert "2 payloads are called of_length" in said and "persistable ls of_length" in said
    assert "did you mean of_all?" in shell("show", "of_al", "--store", "paper.zip", expect=2).err
    assert shell("cat", made[0].key.digest[:12], "--store", "paper.zip").out.strip() == "[1.0, 1.0]"
    listed = shell("ls", "--store", "paper.zip").out
    assert "values=of_length(n=2)" in listed
