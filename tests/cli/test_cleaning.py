"""`gc`, `restore`, `pin` and `verify`."""

from __future__ import annotations

import os

import pytest
from tests.cli.conftest import Shell
from tests.cli.test_running import in_terminal

from persistable import open_store


def filled(project: Shell) -> Shell:
    project("run", "report", "grid", "cross")
    return project


def stored(project: Shell) -> set[str]:
    return {row["key"] for row in project("ls", "--json").json}


def test_gc_is_dry_until_it_is_told_and_restore_brings_all_back(project: Shell) -> None:
    filled(project)
    before = stored(project)
    shown = project("gc", "--keep", "report")
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[0] == ["NAME", "ITEMS", "SIZE"] and lines[1][:2] == ["square", "5"]
    assert "not needed by kept payloads" in shown.out and "would go to the trash" in lines_of(shown.out)[-1]
    assert "--apply" in shown.err and stored(project) == before
    told = project("gc", "--keep", "report", "--json").json
    assert len(told["would_remove"]) == 5 == told["names"]["square"]["number"] and told["removed"] == [] and not told["stays_in_place"]
    assert told["size"] == sum(row["size"] for row in told["would_remove"])
    done = project("gc", "--keep", "report", "--apply", "--json").json
    assert {row["key"] for row in done["removed"]} == before - stored(project) == {row["key"] for row in told["would_remove"]}
    assert project("gc", "--keep", "report").out == "0 items (0 B) would go to the trash\n"
    listed = project("restore", "--list", "--json").json
    assert {row["key"] for row in listed} == {row["key"] for row in done["removed"]} and {row["stamp"] for row in listed} == set(
        done["stamps"]
    )
    assert "5 in the trash" in project("restore", "--list").out
    (first, *_) = sorted(row["key"] for row in listed)
    assert project("restore", first[:-20]).out == "restored 1\n"
    assert project("restore").out == "restored 4\n" and stored(project) == before
    assert project("restore", "nothing", expect=2).err.count("restore --list") == 1


def lines_of(text: str) -> list[str]:
    return text.splitlines()


def test_emptying_the_trash_frees_the_space(project: Shell) -> None:
    filled(project)
    project("gc", "--name", "square", "--apply")
    assert project("gc", "--empty-trash", "--older-than", "1d").out.startswith("removed 0")
    assert project("gc", "--empty-trash").out.startswith("removed 5 from the trash")
    assert not list((project.folder / "data" / ".persistable").rglob("*.pickle"))
    assert project("restore").out == "restored 0\n"
    assert "no other option" in project("gc", "--empty-trash", "--failed", expect=2).err


def test_what_is_kept_is_named_as_everywhere(project: Shell) -> None:
    filled(project)
    (key,) = project.keys("total")

    def kept(*words: str) -> set[str]:
        return stored(project) - {row["key"] for row in project("gc", *words, "--json").json["would_remove"]}

    whole = {key, *project.keys("points")}
    assert kept("--keep", "total") == kept("--keep", key) == kept("--keep", key.rpartition("/")[2][:12]) == whole
    assert kept("--keep", "finish") == whole | set(project.keys("report"))
    assert kept("--keep", "square") == set(project.keys("square"))
    assert kept("--keep", "grid[1]", "--keep", "points") == set(project.keys("points")) | kept("--keep", "grid[1]")
    assert kept("--keep-targets") == stored(project)
    assert "did you mean total?" in project("gc", "--keep", "totals", expect=2).err
    assert "30d" in project("gc", "--older-than", "soon", expect=2).err
    assert "max_size" in project("gc", "--max-size", "much", expect=2).err


def test_failures_age_and_size(project: Shell) -> None:
    filled(project)
    project("run", "broken", expect=1)
    assert [row["name"] for row in project("gc", "--failed", "--json").json["would_remove"]] == ["broken"]
    assert len(project("gc", "--older-than", "0s", "--json").json["would_remove"]) == 9
    assert project("gc", "--older-than", "30d", "--json").json["would_remove"] == []
    assert len(project("gc", "--max-size", "0", "--json").json["would_remove"]) == 8


def test_pins_stay(project: Shell) -> None:
    filled(project)
    (key,) = project.keys("total")
    assert project("pin", "total", "figure 3 of the paper").out == f"pinned {key}: figure 3 of the paper\n"
    (pin,) = project("pin", "--json").json
    assert (pin["key"], pin["reason"]) == (key, "figure 3 of the paper")
    assert "figure 3 of the paper" in project("pin").out
    project("gc", "--older-than", "0s", "--apply")
    assert stored(project) == {key, *project.keys("points")}
    assert project("pin", key, "--remove").out == f"{key} is not pinned any more\n"
    assert "nothing is pinned" in project("pin").err
    assert "reason" in project("pin", key, expect=2).err
    assert "only what is stored" in project("pin", "report", "why", expect=2).err
    assert "takes the payload" in project("pin", "--remove", expect=2).err


def test_verify_tells_what_is_wrong_and_its_status_does(project: Shell) -> None:
    filled(project)
    assert project("verify").out.startswith("8 sound, 0 corrupt, 0 missing (")
    (file,) = (project.folder / "data" / "total").glob("*.pickle")
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (gone,) = (project.folder / "data" / "points").glob("*.pickle")
    gone.unlink()
    extra = project.folder / "data" / "points" / f"{'a' * 32}.01234567.pickle"
    extra.write_bytes(b"x")
    os.utime(extra, (0, 0))
    done = project("verify", expect=1)
    assert "6 sound, 1 corrupt, 1 missing" in done.out and "points(n=4)" in done.out and "corrupt" in done.out
    assert "no record names: 1" in done.err and "gc" in done.err
    told = project("verify", "--json", expect=1).json
    assert {fault["state"] for fault in told["faults"]} == {"corrupt", "missing"} and told["orphans"] == [f"points/{extra.name}"]
    assert "recompute" in project("verify", "--recompute", "2", expect=2).err


def test_what_verify_makes_again_is_found_in_the_folder_of_the_project(project: Shell) -> None:
    project("run", "total")
    done = project("verify", "--recompute", "1")
    assert "2 sound" in done.out and "2 made again" in done.out and "not made again" not in done.err
    (project.folder / "flows.py").unlink()
    done = project("verify", "--recompute", "1")
    assert "0 made again" in done.out and done.err.count("not made again") == 2


def test_each_takes_a_store_and_needs_no_project(project: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    filled(project)
    store = str(project.folder / "data")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (key,) = project.keys("total")
    assert project("verify", "--store", store, folder=elsewhere).out.startswith("8 sound")
    assert len(project("gc", "--keep", key, "--store", store, "--json", folder=elsewhere).json["would_remove"]) == 6
    project("pin", key, "for the paper", "--store", store, folder=elsewhere)
    project("gc", "--older-than", "0s", "--apply", "--store", store, folder=elsewhere)
    assert project("restore", "--store", store, folder=elsewhere).out == "restored 6\n"
    assert "persistable.toml" in project("gc", "--keep-targets", "--store", store, folder=elsewhere, expect=2).err


def test_long_work_tells_in_a_terminal_how_far_it_has_come(project: Shell) -> None:
    filled(project)
    status, shown = in_terminal(project, "verify")
    assert status == 0 and "verified 8 of 8" in shown and "8 sound" in shown
    assert "\r" not in project("verify").err
    assert len(list(open_store(project.folder / "data").list())) == 16
