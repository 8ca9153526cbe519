"""`show`, `cat` and `put`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Shell

from persistable import Secret, run, step
from persistable.fileio import BytesFileIO, FolderFileIO, JsonFileIO


@step(io=BytesFileIO())
def raw(n: int) -> bytes:
    return bytes(range(256)) * n


@step
def anything(kind: str) -> Any:
    import numpy as np
    import pandas as pd

    return {"array": np.arange(3), "frame": pd.DataFrame({"a": [1, 2]}), "set": {2, 1}, "none": None, "text": "é\n"}[kind]


@step(io=FolderFileIO())
def folder(n: int) -> Path:
    from persistable import scratch

    made = Path(str(scratch())) / "out"
    made.mkdir(parents=True, exist_ok=True)
    (made / "a.txt").write_text("A" * n)
    (made / "b.txt").write_text("B" * n)
    return made


@step(io=JsonFileIO())
def called(token: Secret) -> dict[str, str]:
    return {"used": str(len(token.reveal()))}


def test_show_tells_all_that_is_known(project: Shell) -> None:
    project("run", "report")
    text = project("show", "total").out
    assert "scale  1.0" in text and "points  points/" in text and "flows:total" in text and "PickleFileIO" in text
    facts = project("show", "total", "--json").json
    assert facts["params"] == {"scale": 1.0} and facts["made"] == "generated" and facts["upstream"]["points"].startswith("points/")
    assert [file["size"] for file in facts["files"]] == [facts["size"]] and facts["versions"]["python"]
    key = facts["key"]
    for text in (key, key[:14], key.partition("/")[2], key.partition("/")[2][:6]):
        assert project("show", text, "--json").json["key"] == key
    project("rm", "points", "--yes")
    assert "(not stored)" in project("show", "total").out


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_what_nodes_print_is_shown_kept_and_no_part_of_the_json(shell: Shell, executor: str) -> None:
    (shell.folder / "talks.py").write_text(
        """
from persistable import step

@step
def talk(n: int) -> int:
    for i in range(n):
        print("line", i)
    return n

node = talk.step(30)
other = talk.step(31)
"""
    )
    done = shell("run", "talks:node", "--executor", executor, "--json", "--store", "data")
    assert done.json["counts"]["done"] == 1 and "line 29" in done.err
    text = shell("show", "talks:node", "--store", "data").out
    assert "output (the last 20 lines of 30" in text and "  line 29\n" in text and "line 9\n" not in text
    assert shell("show", "talks:node", "--store", "data", "--json").json["output"].startswith("line 0\nline 1\n")
    assert "line 30" in shell("run", "talks:other", "--executor", executor, "--no-output", "--store", "other").err
    assert shell("show", "talks:other", "--store", "other", "--json").json["output"] == ""


def test_what_is_not_there_is_an_error_that_says_so(project: Shell) -> None:
    assert "explain" in project("show", "total", expect=1).err
    assert "nothing is stored" in project("cat", "grid[2]", expect=1).err
    project("run", "broken", expect=1)
    assert "no reason" in project("cat", "broken", expect=1).err
    assert "3 payloads" in project("show", "grid", expect=2).err
    assert "no key" in project("show", "abcdef01", expect=2).err
    assert "32 hexadecimal" in project("show", "points/xyz", expect=2).err
    assert "is called '9'" in project("show", "grid[9]", expect=2).err
    assert "has no members" in project("show", "points[1]", expect=2).err
    assert "without .node" in project("show", "grid[1].node", expect=2).err
    assert "no target" in project("show", "grdi[1]", expect=2).err
    assert "a label for each of x, word" in project("show", "cross[1]", expect=2).err


def test_the_beginning_of_several_keys_is_no_name(project: Shell) -> None:
    project("run", "flows:many")
    keys = [key.partition("/")[2] for key in project.keys("square")]
    shared = [key for key in keys if sum(other.startswith(key[:4]) for other in keys) > 1]
    if shared:
        assert "beginning of" in project("show", shared[0][:4], expect=2).err
    assert project("show", keys[0][:12], "--json").json["key"] == f"square/{keys[0]}"


def test_text_and_bytes_are_written_as_they_are(project: Shell) -> None:
    project("run", "report")
    assert project("cat", "report").bytes == b"sum: 6.0\n"
    assert json.loads(project("cat", "report", "--json").bytes) == "sum: 6.0\n"
    run(raw.step(n=9000), store=project.folder / "data")
    (key,) = project.keys("raw")
    assert project("cat", key).bytes == bytes(range(256)) * 9000


def test_other_payloads_are_shown_as_python_does_or_as_json(shell: Shell) -> None:
    pytest.importorskip("pandas")
    run(anything.over(kind=["array", "frame", "set", "none", "text"]), store=shell.folder / "s")
    keys = {row["params"]["kind"]: row["key"] for row in shell("ls", "--store", "s", "--json").json}

    def cat(kind: str, *words: str) -> Any:
        done = shell("cat", keys[kind], "--store", "s", "--trust", *words)
        return done.json if words else done.out

    refused = shell("cat", keys["set"], "--store", "s", expect=1).err  # its class cannot be imported there
    assert "PickleFileIO" in refused and "--trust" in refused
    assert cat("array") == "array([0, 1, 2])\n" and cat("array", "--json") == [0, 1, 2]
    assert cat("frame", "--json") == [{"a": 1}, {"a": 2}] and cat("set", "--json") == [1, 2]
    assert cat("none") == "None\n" and cat("none", "--json") is None and cat("text") == "é\n\n"


def test_parts_of_a_payload_of_several_files(shell: Shell) -> None:
    run(folder.step(n=3), store=shell.folder / "s")
    (key,) = [row["key"] for row in shell("ls", "--store", "s", "--json").json]
    assert "--part" in shell("cat", key, "--store", "s", "--raw", expect=2).err
    assert shell("cat", key, "--store", "s", "--part", "b.txt").out == "BBB"
    assert "there are a.txt, b.txt" in shell("cat", key, "--store", "s", "--part", "c.txt", expect=2).err


def test_a_payload_that_was_changed_is_not_shown(project: Shell) -> None:
    project("run", "report")
    (file,) = (project.folder / "data/report").glob("*.txt")
    file.write_bytes(b"sum: 7.0\n")
    done = project("cat", "report", expect=1)
    assert done.bytes == b"" and "not what its record names" in done.err


def test_a_file_is_put_in_by_hand_and_marked(project: Shell) -> None:
    (project.folder / "mine.json").write_text("[5, 6]")
    facts = project("put", "points", "mine.json", "--json").json
    assert facts["made"] == "put"
    assert "put in by hand" in project("ls", "points").out
    project("run", "total")
    assert project("cat", "total").out == "11.0\n"
    (project.folder / "mine.txt").write_text("by me")
    project("put", "report", "mine.txt")
    assert project("cat", "report").out == "by me"
    (project.folder / "nine.json").write_text("9")
    project("put", "grid[3]", "nine.json")
    assert project("show", "grid[3]", "--json").json["made"] == "put"


def test_files_that_cannot_be_put(project: Shell) -> None:
    (project.folder / "mine.xyz").write_text("?")
    assert "no format is known" in project("put", "points", "mine.xyz", expect=2).err
    assert "no file" in project("put", "points", "absent.json", expect=2).err
    (project.folder / "bad.json").write_text("[1,")
    assert project("put", "points", "bad.json", expect=1).err
    assert "no single target" in project("put", "grid", "bad.json", expect=2).err
    (project.folder / "one.txt").write_text("1")
    for words in (("put", "grid[3]", "one.txt"), ("adopt", "one.txt", "grid[3]")):
        assert "declared to be int, which TextFileIO cannot give back" in project(*words, expect=1).err
    assert project("ls", "--json").json == []


def test_secrets_are_never_shown(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-value")
    run(called.step(token=Secret("MY_TOKEN")), store=shell.folder / "s")
    environment = {"MY_TOKEN": "s3cr3t-value"}
    for words in (["ls"], ["ls", "--json"], ["show", "called/"], ["cat", "called/"]):
        key = shell("ls", "--store", "s", "--json").json[0]["key"]
        done = shell(*(key if word == "called/" else word for word in words), "--store", "s", **environment)
        assert "s3cr3t" not in done.out + done.err
    assert "token=Secret(" in shell("ls", "--store", "s").out and "MY_TOKEN" in shell("ls", "--store", "s").out
