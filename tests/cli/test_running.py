"""`run` and `plan`."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Shell


def test_what_is_missing_is_generated_and_only_that(project: Shell) -> None:
    assert "3 done, in " in project("run", "report").out
    again = project("run", "report", "--json").json
    assert again["counts"]["done"] == 0 and again["counts"]["reused"] == 1 and again["failures"] == []


def test_a_plan_says_what_and_why_and_touches_nothing(project: Shell) -> None:
    rows = project("plan", "total", "--json").json
    assert [(row["name"], row["action"], row["reason"]) for row in rows] == [
        ("points", "generate", "nothing is stored"),
        ("total", "generate", "nothing is stored"),
    ]
    assert rows[1]["after"] == [rows[0]["key"]]
    assert not (project.folder / "data").exists()
    assert "2 to generate" in project("plan", "total").out


def test_stages_members_and_objects_of_modules_are_run(project: Shell) -> None:
    assert "1 done" in project("run", "prepare").out
    assert "2 done, 1 reused" in project("run", "finish").out
    assert "1 done" in project("run", "grid[2]").out
    assert project("run", "cross[1,b,c]", "--json").json["counts"]["done"] == 1
    assert "1 done" in project("run", "flows:lone").out
    assert "2 done, 1 reused" in project("run", "flows:many[17]", "grid[3]", "grid[2]").out


def test_a_failure_is_named_with_its_params_and_is_the_exit_status(project: Shell) -> None:
    done = project("run", "after", "--set", "broken.why=bad luck", expect=1)
    assert "failed: broken(" in done.err and "why=" in done.err and "RuntimeError: bad luck" in done.err
    assert "1 failed, 1 skipped" in done.out
    facts = project("run", "flows:sour", "--json", expect=1).json
    assert facts["counts"]["done"] == 1 and facts["counts"]["failed"] == 1
    (failure,) = facts["failures"]
    assert failure["error"] == "ValueError" and failure["message"] == "-1 is below zero" and failure["params"]["x"] == -1
    left = project("run", "flows:sour", "--failed", "skip", "--json", expect=None).json
    assert left["counts"]["failed"] == 0


def test_params_are_set_and_wrong_ones_are_refused(project: Shell) -> None:
    project("run", "total", "--set", "points.n=3", "--set", "total.scale=-2")
    assert project("cat", "total", "--set", "x", expect=2).err  # only run and plan take it
    rows = {row["name"]: row for row in project("ls", "--json").json}
    assert rows["points"]["params"] == {"n": 3} and rows["total"]["params"]["scale"] == -2.0
    assert "points.n" in project("run", "total", "--set", "points.n=many", expect=2).err
    assert "--set points.m: m is unknown" in project("run", "total", "--set", "points.m=3", expect=2).err
    assert "did you mean total?" in project("run", "totl", expect=2).err


def test_what_users_code_prints_does_not_spoil_json(project: Shell) -> None:
    done = project("run", "grid", "--json", "--executor", "processes", "--workers", "2")
    assert done.json["counts"]["done"] == 3
    assert "flows is imported" in done.err


def test_there_is_no_project(shell: Shell) -> None:
    assert "persistable init" in shell("run", expect=2).err
    assert "persistable init" in shell("run", "x", expect=2).err
    assert "there is no module" in shell("run", "nowhere:thing", expect=2).err
    assert "--workers" in shell("run", "x", "--workers", "0", expect=2).err


def test_a_bar_is_drawn_in_a_terminal_and_nothing_else_changes(project: Shell) -> None:
    pytest.importorskip("rich")
    status, shown = in_terminal(project, "run", "grid")
    assert status == 0 and "3 done" in shown and "3/3" in shown
    status, shown = in_terminal(project, "run", "grid", "--no-progress")
    assert status == 0 and "3 reused" in shown and "3/3" not in shown


def in_terminal(
    shell: Shell, *words: str, columns: int = 100, answer: bytes = b"", asked: Callable[[], None] | None = None, **environment: str
) -> tuple[int, str]:
    """Exit status, and what a terminal of so many columns shows. `answer` is given at once, or when `asked` has been called."""
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "persistable", *words],
        cwd=shell.folder,
        env={**shell.environment, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    if answer and asked is None:
        os.write(mine, answer)
    shown = b""
    try:
        while piece := _read(mine):
            shown += piece
            if asked is not None and b"[y/N]" in shown:
                asked()
                asked = None
                os.write(mine, answer)
        return process.wait(timeout=100), shown.decode(errors="replace").replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(mine)


def _read(terminal: int) -> bytes:
    import select

    ready, _, _ = select.select([terminal], [], [], 150)
    assert ready, "the command says nothing and does not end"
    try:
        return os.read(terminal, 65536)
    except OSError:  # its other end is closed
        return b""


SLOW = """
import os, time
from pathlib import Path
from persistable import step


@step
def slow(n: int) -> int:
    Path(f"running-{os.getpid()}").touch()
    time.sleep(300)
    return n


both = slow.over(n=[1, 2])
"""


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_an_interrupted_run_ends_at_once_and_leaves_nobody_behind(shell: Shell, executor: str) -> None:
    (shell.folder / "slow.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, "-m", "persistable", "run", "slow:both", "--executor", executor, "--workers", "2"],
        cwd=shell.folder,
        env=shell.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        workers = _wait_for(shell.folder, 1 if executor == "inline" else 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert b"interrupted" in err and b"Traceback" not in err
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker is left behind"
        time.sleep(0.05)


def _wait_for(folder: Path, number: int) -> list[int]:
    deadline = time.monotonic() + 150
    while len(found := list(folder.glob("running-*"))) < number:
        assert time.monotonic() < deadline, "nothing has begun"
        time.sleep(0.05)
    return [int(file.name.partition("-")[2]) for file in found]
