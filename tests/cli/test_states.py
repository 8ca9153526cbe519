"""`status` and `explain`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.cli.conftest import Shell


def test_payloads_are_counted_by_name_and_state(project: Shell) -> None:
    project("run", "total", "grid[1]")
    project("run", "after", expect=1)
    rows = {(row["target"], row["name"]): row for row in project("status", "--json").json}
    assert rows["report", "points"]["done"] == 1 and rows["report", "report"]["absent"] == 1
    assert rows["grid", "square"]["done"] == 1 and rows["grid", "square"]["absent"] == 2 and rows["grid", "square"]["total"] == 3
    assert rows["after", "broken"]["failed"] == 1 and rows["after", "after"]["blocked"] == 1
    lines = project("status", "after", "finish").out.splitlines()
    assert lines[0].split() == ["TARGET", "NAME", "TOTAL", "DONE", "FAILED", "BLOCKED", "ABSENT"]
    assert ["after", "broken", "1", "0", "1", "0", "0"] in [line.split() for line in lines]


def test_changed_code_and_damage_are_states_too(project: Shell) -> None:
    project("run", "total")
    (file,) = (project.folder / "data/points").glob("*.pickle")
    file.write_bytes(b"")
    flows = project.folder / "flows.py"
    flows.write_text(flows.read_text().replace("sum(points) * scale", "1 * scale * sum(points)"))
    rows = {row["name"]: row for row in project("status", "total", "--json").json}
    assert rows["points"]["corrupt"] == 1 and rows["total"]["stale"] == 1
    assert "damaged" in project("explain", "total").out
    done = project("cat", "total")
    assert done.out == "6.0\n"


def test_a_key_is_counted_by_nobody(project: Shell) -> None:
    project("run", "points")
    (key,) = project.keys("points")
    assert f"`persistable explain {key}` tells" in project("status", key, expect=2).err


def test_explain_traces_what_is_upstream(project: Shell) -> None:
    answer = project("explain", "report", "--json").json
    assert answer["status"] == "absent" and [row["status"] for row in answer["upstream"]] == ["absent", "absent"]
    assert [row["key"].partition("/")[0] for row in answer["upstream"]] == ["total", "points"]
    project("run", "points")
    text = project("explain", "report").out
    assert "upstream: 1 of 2 there" in text and "total/" in text.partition("STATUS")[2] and "points/" not in text.partition("STATUS")[2]
    project("run", "report")
    assert "is done" in project("explain", "report").out


def test_explain_names_the_failure(project: Shell) -> None:
    project("run", "after", "--set", "broken.why=bad luck", expect=1)
    assert "bad luck" not in project("explain", "after").out  # other params, another key
    project("run", "after", expect=1)
    text = project("explain", "after").out
    assert "blocked" in text and "RuntimeError: no reason" in text
    assert "raised" in project("explain", "broken").out
    key = project("explain", "broken", "--json").json["key"]
    assert "RuntimeError: no reason" in project("explain", key).out
    store = str(project.folder / "data")
    outside = project.folder / "elsewhere"
    outside.mkdir()
    alone = project("explain", key[:15], "--store", store, folder=outside.parent.parent)
    assert "RuntimeError: no reason" in alone.out


def test_a_key_of_the_project_that_is_not_stored_is_explained(project: Shell) -> None:
    key = project("explain", "total", "--json").json["key"]
    assert project("explain", key, "--json").json["status"] == "absent"
    assert project("explain", key[:-4] + "0000", expect=2).err


def test_a_record_alone_is_enough(project: Shell) -> None:
    project("run", "total")
    keys = {name: project.keys(name)[0] for name in ("points", "total")}
    project("rm", "points", "--yes")
    (project.folder / "persistable.toml").unlink()
    (project.folder / "flows.py").unlink()
    answer = project("explain", keys["total"], "--store", "data", "--json").json
    assert answer["status"] == "done" and answer["upstream"] == [
        {"key": keys["points"], "status": "absent", "why": "points is not stored any more"}
    ]


def test_what_runs_now_is_shown_with_its_process(project: Shell) -> None:
    (project.folder / "slow.py").write_text(
        "import pathlib, time\nfrom persistable import step\n\n@step\ndef slow(n: int) -> int:\n"
        "    pathlib.Path('begun').touch()\n    time.sleep(300)\n    return n\n\nnode = slow.step(n=1)\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "persistable", "run", "slow:node"],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 150
        while not (project.folder / "begun").exists():
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.05)
        assert project("status", "slow:node", "--json").json[0]["running"] == 1
        answer = project("explain", "slow:node", "--json").json
        assert answer["status"] == "running"
        kept = project("rm", "slow:node", "--yes", "--json").json
        assert kept["removed"] == []
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    assert project("status", "slow:node", "--json").json[0]["running"] == 0


def test_there_is_no_project(shell: Shell) -> None:
    assert "persistable init" in shell("status", expect=2).err


def test_a_key_is_explained_without_making_other_targets(project: Shell) -> None:
    project("run", "total")
    with (project.folder / "persistable.toml").open("a") as toml:
        toml.write('\n[targets.unwell]\nuse = "no_such_module:x"\n')
    text = (project.folder / "persistable.toml").read_text()
    (project.folder / "persistable.toml").write_text(
        text.replace("[targets.points]", '[targets.other]\nuse = "no_such_module:y"\n\n[targets.points]')
    )
    assert "is done" in project("explain", project.keys("total")[0]).out
    assert "no_such_module" in project("explain", "other", expect=2).err
