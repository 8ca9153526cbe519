"""Stale payloads on the command line: said by status, explain, plan and run, accepted, made anew."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import Shell


def edit(project: Shell, old: str, new: str) -> None:
    flows = project.folder / "flows.py"
    text = flows.read_text()
    assert old in text
    flows.write_text(text.replace(old, new))


def states(project: Shell, target: str = "report") -> dict[str, str]:
    rows: list[Any] = project("status", target, "--json").json
    return {row["name"]: next(state for state in ("done", "stale", "foreign", "absent") if row[state]) for row in rows}


def test_said_accepted_and_made_anew(project: Shell) -> None:
    project("run", "report")
    edit(project, "list(range(n))", "list(range(0, n))")
    assert states(project) == {"points": "stale", "total": "stale", "report": "stale"}
    explained = project("explain", "report")
    assert "changed: points" in explained.out and "upstream: 2 of 2 there" in explained.out
    planned = project("plan", "report").out
    assert "reuse" in planned and "points" in planned and "stale" in planned
    done = project("run", "report", "--no-progress")
    assert "1 reused" in done.out and "1 stale" in done.out
    assert "\npersistable: warning: 1 payload reused" in done.err and done.err.count("points of points/") == 1
    assert ".py" not in done.err  # no line of our own code
    assert project("run", "report", "--json").json["counts"]["stale"] == 1
    assert "nothing was begun" in project("run", "report", "--stale", "raise", expect=1).err
    assert project("plan", "report", "--stale", "generate", "--json").json[0]["action"] == "generate"
    assert project("accept", "report", "--reason", "the same numbers").out == "1 accepted\n"
    assert states(project) == {"points": "done", "total": "done", "report": "done"}


def test_generate_stops_where_bytes_are_the_same(project: Shell) -> None:
    project("run", "report")
    edit(project, "list(range(n))", "list(range(0, n))")
    counts = project("run", "report", "--stale", "generate", "--json").json["counts"]
    assert (counts["done"], counts["reused"], counts["stale"]) == (1, 2, 0)
    assert set(states(project).values()) == {"done"}


def test_accept_of_a_key(project: Shell) -> None:
    project("run", "report")
    edit(project, "list(range(n))", "list(range(0, n))")
    (row,) = [row for row in project("explain", "report", "--json").json["upstream"] if row["key"].startswith("points/")]
    assert project("accept", row["key"], "--reason", "same", "--json").json == {"accepted": 1}
    assert set(states(project).values()) == {"done"}
    assert project("accept", "report", "--reason", "same").out == "nothing was stale\n"
