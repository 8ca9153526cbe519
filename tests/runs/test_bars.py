"""What a run shows while it lasts."""

import contextlib
import io
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from persistable import run, step
from persistable.events import Event, RunStarted
from persistable.records.key import Key
from persistable.runs.estimate import DurationEstimate, QueueDepth
from persistable.runs.progress import Bar, in_words


@step
def part(n: int) -> int:
    time.sleep(0.02)
    if n == 3:
        raise ValueError("three")
    return n


@step
def whole(*parts: int) -> int:
    return sum(parts)


def test_a_terminal_shows_counts_failures_and_what_runs() -> None:
    terminal = io.StringIO()
    bar = Bar(Console(file=terminal, force_terminal=True, width=120, color_system=None))
    parts = [part.step(n) for n in range(12)]
    run(whole.step(*parts), hooks=[bar], errors="return", executor="threads", max_workers=2)
    shown = terminal.getvalue()
    assert "13/13" in shown and "1 failed" in shown and "1 skipped" in shown and "part" in shown


def test_a_notebook_shows_the_same_in_place_of_what_was_there(tmp_path: Path) -> None:
    import nbclient
    import nbformat

    source = """
        from persistable import run, step

        @step
        def part(n):
            return 1 // n

        run([part.step(n) for n in range(3)], store="data", errors="return", progress=True)
        None
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(source))])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (output,) = notebook.cells[0].outputs
    assert output["data"]["text/plain"].startswith("3/3  1 failed")
    assert '<progress value="3" max="3"' in output["data"]["text/html"]


def test_a_notebook_shows_what_runs_with_its_own_progress() -> None:
    from persistable.events import Performed, Progressed, Started
    from persistable.runs.progress import _Notebook  # pyright: ignore[reportPrivateUsage]

    bar = Bar(Console(file=io.StringIO()))
    key = Key("train", "0" * 32)
    bar(RunStarted(jobs={"train": 3}, workers=1, expected={"train": 10.0}))
    bar(Started(key=key, attempt=1, label="train(lr=<0.1>)"))
    bar(Progressed(key=key, done=1, total=4))
    notebook: Any = _Notebook.__new__(_Notebook)
    notebook._state = bar.state
    shown = notebook._bundle()
    assert shown["text/plain"].splitlines() == ["0/3  about 30 s left  1 s", "  train(lr=<0.1>)  25%"]
    assert "train(lr=&lt;0.1&gt;)" in shown["text/html"] and '<progress value="0.25" max="1"' in shown["text/html"]
    bar(Performed(key=key, outcome="done", seconds=1.0))
    bar.close()
    assert notebook._bundle()["text/plain"] == "1/3  1 s"


SLOW = """
import sys, time
from persistable import progress, run, step

@step
def train(n: int) -> int:
    print("begun", n, flush=True)
    for i in range(600):
        progress(i, 600)
        time.sleep(0.05)
    return n

run([train.step(n) for n in range(2)], executor=sys.argv[1], max_workers=2, store="data", progress=True)
"""


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_ctrl_c_leaves_a_terminal_as_it_was(executor: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    terminal, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    child = subprocess.Popen(
        [sys.executable, "slow.py", executor],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=environment,
    )
    os.close(theirs)
    pieces: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 1 << 16):
                pieces.append(piece)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        deadline = time.monotonic() + 120
        while not re.search(rb"train\(n=0\).*[1-9]%", b"".join(pieces)) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        begun, count = time.monotonic(), len(pieces)
        time.sleep(2)
        drawn = (len(pieces) - count) / (time.monotonic() - begun)
        os.killpg(child.pid, signal.SIGINT)
        status = child.wait(60)
    finally:
        child.kill()
        child.wait()
        reader.join(10)
        os.close(terminal)
    shown = b"".join(pieces).decode()
    assert status in (-signal.SIGINT, 130, 1) and "KeyboardInterrupt" in shown
    assert drawn < 25  # a drawing is one piece
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is there again
    after = shown[shown.index("\x1b[?25h") :]
    assert "train(n" not in re.sub(r'File ".*', "", after.split("Traceback")[0])
    last = shown[: shown.index("\x1b[?25h")].split("\x1b[2K")[-1]
    assert "train(" not in last and "0/2" in last  # nodes that run no more are not shown
    assert "begun 0" in shown


def test_nothing_is_shown_unless_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    run(part.step(1))
    assert capfd.readouterr() == ("", "")
    run(part.step(2), progress=True)
    assert "1/1" in "".join(capfd.readouterr())


def test_what_records_say_is_expected_of_the_next() -> None:
    run([part.step(n) for n in range(3)])
    heard: list[Event] = []
    run([part.step(n) for n in range(3, 6)], hooks=[heard.append], errors="return")
    started = next(event for event in heard if isinstance(event, RunStarted))
    assert started.jobs == {"part": 3} and 0.02 <= started.expected["part"] < 20


def test_the_time_that_remains_is_guessed_from_what_is_known() -> None:
    estimate = DurationEstimate({"a": 10.0}, workers=2)
    assert estimate.remaining({"a": 4}) == 20.0
    assert estimate.remaining({"a": 1}) == 10.0  # one node uses one worker
    assert estimate.remaining({"b": 4}) is None
    assert estimate.remaining({"a": 2, "b": 1}) == 15.0  # an unknown one counts as a typical one
    assert estimate.remaining({"a": 1, "b": 5}) is None
    estimate.observe("a", 1.0)
    estimate.observe("a", 3.0)
    assert estimate.remaining({"a": 4}) == 4.0
    assert estimate.remaining({"a": 0}) is None


@pytest.mark.parametrize(("seconds", "words"), [(0.1, "1 s"), (89, "89 s"), (120, "2 min"), (7500, "2 h 5 min")])
def test_times_are_readable(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_events_before_a_run_and_after_it_are_passed_over() -> None:
    from persistable.events import Started

    bar: Any = Bar()
    bar(Started(key=Key("a", "0" * 32), attempt=1))


def test_many_calls_are_under_way_as_soon_as_one_was_short() -> None:
    depth = QueueDepth()
    assert depth.depth(2) == 3
    depth.observe(0.0001)
    assert depth.depth(2) > 100
    depth.observe(1.0)
    assert depth.depth(2) == 3
