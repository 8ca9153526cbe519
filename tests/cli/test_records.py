"""`ls --where`, `show --python`, `show FILE`, `run KEY`, `lineage`, `diff`, `reproduce` and `rebuild`, with a project and without."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cli.conftest import PACKAGE, Shell
from persistable.cli.main import VERBS, main


@pytest.fixture
def stored(project: Shell) -> Shell:
    """A store without a project, of which the modules are in the working folder."""
    project("run", "total")
    project("run", "total", "--set", "points.n=7")
    (project.folder / "persistable.toml").unlink()
    return project


def keys(shell: Shell, name: str) -> list[str]:
    return [row["key"] for row in shell("ls", name, "--store", "data", "--json").json]


def test_ls_by_an_expression(stored: Shell) -> None:
    rows = stored("ls", "--store", "data", "--where", "n > 4", "--json").json
    assert [(row["name"], row["params"]) for row in rows] == [("points", {"n": 7})]
    rows = stored("ls", "total", "--store", "data", "--where", "upstream.points.n = 4", "--json").json
    assert [row["name"] for row in rows] == ["total"]
    assert (
        "there are class, created, host, key, made, n, name" in stored("ls", "points", "--store", "data", "--where", "m > 4", expect=2).err
    )
    assert "that is such" in stored("ls", "--store", "data", "--where", "n > 40").err
    assert stored("ls", "--store", "data", "--status", "failed", "--json").json == []


def test_show_a_file_and_python(stored: Shell) -> None:
    key = keys(stored, "total")[0]
    file = stored("show", key, "--store", "data", "--json").json["files"][0]["path"]
    assert stored("show", f"data/{file}", "--store", "data", "--json").json["key"] == key
    assert stored("show", f"data/{file}", "--json").json["key"] == key, "a file tells its store"
    (stored.folder / "other.txt").write_text("x")
    assert "no file of a payload" in stored("show", "other.txt", expect=2).err
    text = stored("show", key, "--store", "data", "--python").out
    program = f"{text}\nprint(node.key)"
    environment = {**stored.environment, "PYTHONPATH": f"{PACKAGE}:."}
    done = subprocess.run([sys.executable, "-c", program], cwd=stored.folder, env=environment, capture_output=True, text=True, timeout=100)
    assert done.stdout.split()[-1] == key, done.stderr


def test_lineage_both_ways(stored: Shell) -> None:
    total, points = keys(stored, "total")[0], keys(stored, "points")
    (row,) = stored("lineage", total, "--store", "data", "--json").json
    assert row["key"] in points and row["status"] == "done"
    (back,) = stored("lineage", row["key"], "--store", "data", "--downstream", "--json").json
    assert back["key"] == total
    assert "points(n=" in stored("lineage", total, "--store", "data").out
    assert "nothing is upstream" in stored("lineage", row["key"], "--store", "data").err


def test_lineage_masks_credentials_among_params(project: Shell) -> None:
    project("run", "report", "--set", "report.title=ghp_abcdefghijklmnopqrstuvwxyz0123456789")
    (row,) = project("lineage", "total", "--downstream", "--json").json
    assert row["name"] == "report" and "ghp_" not in json.dumps(row)


def test_diff(stored: Shell) -> None:
    one, other = keys(stored, "total")
    found = stored("diff", one, other, "--store", "data", "--json").json
    assert sorted(found["params"]["points.n"]) == [4, 7] and found["payloads"]["outcome"] == "different"
    assert "points.n" in stored("diff", one, other, "--store", "data", "--no-payloads").out


def test_reproduce(stored: Shell) -> None:
    total = keys(stored, "total")[0]
    found = stored("reproduce", total, "--store", "data", "--recursive", "--json").json
    assert (found["outcome"], found["first"]) == ("identical", None)
    (stored.folder / "flows.py").write_text("x = 1")
    assert stored("reproduce", total, "--store", "data", "--json", expect=1).json["outcome"] == "impossible"


def test_run_a_key(stored: Shell) -> None:
    key = keys(stored, "total")[0]
    for file in (stored.folder / "data" / "points").glob("*.pickle"):
        file.unlink()
    for file in (stored.folder / "data" / key.partition("/")[0]).glob("*.pickle"):
        file.unlink()
    assert stored("run", key, "--store", "data", "--json").json["counts"]["done"] == 2
    assert stored("cat", key, "--store", "data").out.strip() in ("6.0", "21.0")


def test_rebuild(stored: Shell) -> None:
    assert stored("rebuild", "--store", "data", "--json").json["records"] == 4


def test_unknown_keys_name_the_nearest(stored: Shell) -> None:
    key = keys(stored, "total")[0]
    assert "did you mean 'total'?" in stored("show", "totals/" + key.partition("/")[2], "--store", "data", expect=2).err
    assert "no key in" in stored("lineage", "total/" + "0" * 32, "--store", "data", expect=2).err


def test_the_index_lies_in_the_cache_folder_of_the_user(stored: Shell) -> None:
    assert not list((stored.folder / "data").rglob("*.db"))
    assert json.loads(stored("ls", "--store", "data", "--json").out)


def test_keys_do_for_whatever_takes_targets(stored: Shell) -> None:
    total = keys(stored, "total")[0]
    shown = stored("graph", total, "--store", "data", "--json").json
    assert {node["name"] for node in shown["nodes"]} == {"points", "total"} and len(shown["edges"]) == 1
    assert stored("plan", total, "--store", "data", "--json").json[-1]["action"] == "reuse"
    flows = (stored.folder / "flows.py").read_text()
    (stored.folder / "flows.py").write_text(flows.replace("return sum(points)", "return 0 + sum(points)"))
    assert flows != (stored.folder / "flows.py").read_text()
    assert "the code has changed" in stored("explain", total, "--store", "data").out
    assert stored("accept", total, "--reason", "as before", "--store", "data", "--json").json == {"accepted": 1}
    assert "is done" in stored("explain", total, "--store", "data").out


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS if verb.name not in ("demo", "init", "completion")])
def test_every_verb_takes_a_store_and_answers_in_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    if verb == "keys":  # of a project, not of a store
        return
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--store" in shown and "--json" in shown
    page = (PACKAGE.parent / "docs" / "howto" / "command-line.md").read_text()
    assert f"persistable {verb}" in page or f"`{verb}" in page
