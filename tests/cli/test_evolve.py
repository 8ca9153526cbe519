"""`rename` and `adopt`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Shell


def stored(project: Shell) -> set[str]:
    return {row["key"] for row in project("ls", "--json").json}


def test_rename_is_dry_until_it_is_told_and_can_be_undone(project: Shell) -> None:
    project("run", "report")
    before = stored(project)
    shown = project("rename", "points", "--to", "dots", "--param", "n=size")
    assert shown.out.splitlines()[-1] == "1 record would be renamed, and 2 records made from it would follow"
    assert "--apply" in shown.err and stored(project) == before
    told = project("rename", "points", "--to", "dots", "--param", "n=size", "--json").json
    assert {row["key"] for row in told["would_rename"]} == before and told["renamed"] == [] and told["left"] == []
    assert sorted(row["follows"] for row in told["would_rename"]) == [False, True, True]
    done = project("rename", "points", "--to", "dots", "--param", "n=size", "--apply", "--json").json
    assert {row["new_key"] for row in done["renamed"]} == stored(project) == {row["new_key"] for row in told["would_rename"]}
    assert project("show", next(key for key in stored(project) if key.startswith("dots/")), "--json").json["params"] == {"size": 4}
    assert "nothing" in project("rename", "--undo", "nothing", expect=2).err
    assert project("rename", "--undo", done["stamp"]).out.splitlines()[-1] == "3 records would be renamed"
    assert project("rename", "--undo", done["stamp"], "--apply").out.startswith("renamed 3")
    assert stored(project) == before


def test_rename_in_a_store_without_a_project(project: Shell, tmp_path: Path) -> None:
    project("run", "report")
    store, elsewhere = str(project.folder / "data"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = project("rename", "total", "--param", "scale=factor", "--where", "scale > 0", "--apply", "--store", store, folder=elsewhere)
    assert done.out.startswith("renamed 2; `persistable rename --undo ")


def test_what_stays_is_told(project: Shell) -> None:
    project("run", "points", "grid")
    told = project("rename", "square", "--param", "x=word")
    assert "3 stay: it has a param word already" in told.err and told.out == "0 records would be renamed; 3 stay\n"


def test_what_makes_no_sense(project: Shell) -> None:
    assert "--param" in project("rename", "--param", "n", expect=2).err
    assert "nothing is renamed" in project("rename", expect=2).err
    assert "needs the name" in project("rename", "--to", "dots", expect=2).err
    assert "no other option" in project("rename", "--undo", "x", "--param", "a=b", expect=2).err


def test_adopt(project: Shell) -> None:
    (project.folder / "mine.json").write_text("[1, 2, 3]")
    done = project("adopt", "mine.json", "points", "--json").json
    assert done["made"] == "adopted" and done["size"] == 9
    assert project("show", "points", "--json").json["made"] == "adopted"
    assert "adopted from a file" in project("show", "points").out and "adopted" in project("ls").out
    assert project("cat", "points", "--json").json == [1, 2, 3]
    assert "replace=True" in project("adopt", "mine.json", "points", expect=1).err
    assert project("adopt", "mine.json", "points", "--replace").out.startswith("adopted points/")
    assert "no file" in project("adopt", "none.json", "points", "--replace", expect=2).err
