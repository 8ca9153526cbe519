"""`ls`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from placed import stored_at
from tests.cli.conftest import PACKAGE, Shell
from tests.cli.test_running import in_terminal

from persistable import open_store, run, step
from persistable.errors import PersistableError
from persistable.nodes.binding import bound_to


@step
def word(text: str, size: int = 1) -> str:
    return text * size


def test_what_is_stored_is_listed_with_its_params(project: Shell) -> None:
    project("run", "total")
    rows = project("ls", "--json").json
    assert [row["name"] for row in rows] == ["points", "total"]
    assert rows[0]["params"] == {"n": 4} and rows[0]["made"] == "generated" and rows[0]["at"] is None
    assert rows[0]["size"] > 0 and rows[0]["stored"] > 1e9 and rows[0]["key"].startswith("points/")
    text = project("ls", "total").out
    assert text.splitlines()[0].split() == ["NAME", "KEY", "SIZE", "AGE", "PARAMS"]
    assert rows[1]["key"] in text and "scale=1.0" in text and rows[0]["key"] not in text and "\x1b" not in text
    assert project("ls", "grid").out.count("\n") == 1  # a target of which nothing is stored yet


def test_names_that_nothing_has_are_refused_with_the_nearest(project: Shell) -> None:
    project("run", "points")
    assert "did you mean points?" in project("ls", "pionts", expect=2).err
    assert "did you mean" in project("ls", "--sort", "agee", expect=2).err or "age" in project("ls", "--sort", "agee", expect=2).err
    assert "--limit" in project("ls", "--limit", "-3", expect=2).err
    assert "--limit" in project("ls", "--limt", "3", expect=2).err


def test_nothing_is_evaluated_or_leaves_the_store(project: Shell) -> None:
    evil = ["__import__('os').system('touch pwned')", "[x for x in ().__class__]", "../points"]
    for odd in (*evil, "", "\n", "a\x1b[2Jb"):
        for verb in ("ls", "show", "rm", "status", "run"):
            assert project(verb, *(["--yes"] * (verb == "rm")), "--", odd, expect=2).err
    assert sorted(file.name for file in project.folder.iterdir() if file.name != "__pycache__") == ["flows.py", "persistable.toml"]


def test_sorted_and_limited(shell: Shell) -> None:
    run(word.over(text=["b", "a"], size=[1, 5000, 3000]), store=shell.folder / "s")
    by_size = shell("ls", "--store", "s", "--sort", "size", "--json").json
    assert [row["params"]["size"] for row in by_size] == [5000, 5000, 3000, 3000, 1, 1]
    ages = [row["stored"] for row in shell("ls", "--store", "s", "--sort", "age", "--json").json]
    assert ages == sorted(ages, reverse=True)
    limited = shell("ls", "--store", "s", "--limit", "2")
    assert len(limited.out.splitlines()) == 3 and "and 4 more" in limited.err
    assert shell("ls", "--store", "s", "--limit", "0", "--json").json == []


def test_an_empty_store_and_one_in_a_single_file(shell: Shell) -> None:
    assert "nothing is stored" in shell("ls").err
    assert shell("ls", "--json").json == []
    assert not (shell.folder / "persistable-data").exists()
    run(word.step(text="x"), store=f"sqlite:///{shell.folder}/s.db")
    assert [row["params"]["text"] for row in shell("ls", "--store", "sqlite:///s.db", "--json").json] == ["x"]
    assert shell("ls", "--json", PERSISTABLE_STORE="sqlite:///s.db").json[0]["name"] == "word"


def test_odd_params_neither_steer_the_terminal_nor_break_the_lines(shell: Shell) -> None:
    odd = "\x1b[31mred\n日本\u202e"
    run(word.step(text=odd), store=shell.folder / "s")
    assert shell("ls", "--store", "s", "--json").json[0]["params"]["text"] == odd
    out = shell("ls", "--store", "s").out
    assert "\x1b" not in out and "\u202e" not in out and "日本" in out and len(out.splitlines()) == 2
    assert "日本" not in shell("ls", "--store", "s", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii").out


def test_payloads_at_paths_of_their_own_are_listed(shell: Shell) -> None:
    store = open_store(shell.folder / "s")
    node = stored_at(bound_to(word.step(text="placed"), store), "texts/one.pickle")
    run(node, store=store)
    (row,) = shell("ls", "--store", "s", "--json").json
    assert row["at"] == "texts/one.pickle" and row["key"] == str(node.key)
    assert "texts/one.pickle" in shell("ls", "word", "--store", "s").out
    assert shell("cat", row["key"], "--store", "s", "--trust").out == "placed\n"  # no project here, whose step would say how to read it
    assert shell("rm", row["key"][:12], "--store", "s", "--yes", "--json").json["removed"][0]["at"] == "texts/one.pickle"
    assert not (shell.folder / "s/texts/one.pickle").exists()


def test_a_damaged_record_is_listed_as_such_and_can_be_removed(shell: Shell) -> None:
    run(word.over(text=["a", "b"]), store=shell.folder / "s")
    record = next((shell.folder / "s").rglob("*.record.json"))
    record.write_bytes(record.read_bytes()[:-40])
    (shell.folder / "s/word/notes.record.json").write_text("{}")  # a file that only looks like one
    rows = shell("ls", "--store", "s", "--json").json
    assert sorted(row["made"] for row in rows) == ["damaged", "generated"]
    (damaged,) = [row["key"] for row in rows if row["made"] == "damaged"]
    assert "its record is damaged" in shell("ls", "--store", "s").out
    assert "damaged" in shell("show", damaged, "--store", "s", expect=1).err
    assert "corrupt" in shell("explain", damaged, "--store", "s").out
    shell("rm", damaged, "--store", "s", "--yes")
    assert len(shell("ls", "--store", "s", "--json").json) == 1


def test_a_reader_that_goes_away_is_not_an_error(shell: Shell) -> None:
    run(word.over(text=["a", "b", "c"], size=list(range(300))), store=f"sqlite:///{shell.folder}/s.db")
    for words in (["ls"], ["ls", "--json"]):
        first = subprocess.Popen(
            [sys.executable, "-m", "persistable", *words, "--store", "sqlite:///s.db"],
            cwd=shell.folder,
            env=shell.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert first.stdout is not None and first.stderr is not None
        first.stdout.read(10)
        first.stdout.close()
        said = first.stderr.read()
        first.stderr.close()
        assert first.wait(timeout=100) == 0 and said == b""


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_gets_a_table_as_wide_as_itself(shell: Shell, columns: int) -> None:
    run(word.over(text=["a" * 50, "b" * 50], size=[1, 2]), store=shell.folder / "s")
    status, shown = in_terminal(shell, "ls", "--store", "s", columns=columns)
    import re

    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert status == 0 and len(lines) == 5 and max(map(len, lines)) <= columns
    assert ("size=2" in shown) == (columns == 200)
    assert "\x1b[2mtext=" in shown
    assert "\x1b" not in in_terminal(shell, "ls", "--store", "s", columns=columns, NO_COLOR="1")[1]


def test_listing_imports_nothing_heavy(shell: Shell) -> None:
    run(word.step(text="x"), store=shell.folder / "s")
    program = "import sys; from persistable.cli.main import main; main(['ls', '--store', 's']); print(sorted(sys.modules), file=sys.stderr)"
    environment = {**shell.environment, "PYTHONPATH": str(PACKAGE)}
    done = subprocess.run([sys.executable, "-c", program], cwd=shell.folder, env=environment, capture_output=True, text=True, timeout=100)
    loaded = done.stderr
    heavy = ("numpy", "rich", "fsspec", "subprocess", "sqlglot", "argparse", "persistable.project", "persistable.runs.run")
    heavy += (
        "persistable.nodes.node",
        "persistable.graph",
        "persistable.records.record_access",
        "persistable.params.coercion",
        "persistable.cli.show",
    )
    assert [name for name in heavy if f"'{name}'" in loaded] == []


def test_names_of_stores_are_as_everywhere(shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(PersistableError):
        open_store("nosuch://x").exists("a")
    assert "nosuch" in shell("ls", "--store", "nosuch://user:hunter2@x", expect=1).err
    assert "hunter2" not in shell("ls", "--store", "nosuch://user:hunter2@x", expect=1).err
    assert "hunter2" not in shell("ls", "--store", "nosuch://user:hunter2@x", "--json", expect=1).err


def test_listing_leaves_the_garbage_collector_of_its_caller_as_it_was(tmp_path: Path) -> None:
    for first, expected in (("", True), ("gc.disable();", False)):
        program = f"import gc;{first} from persistable.cli.main import main; main(['ls', '--store', 's']); raise SystemExit(gc.isenabled())"
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, timeout=60)
        assert done.returncode == expected
