"""Items as nodes: families over them, before and after they are sealed; and items followed while they come."""

import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from store_kinds import each_url
from tests.collected.flows import length, letters, made

from persistable import Item, Resources, RunResult, Status, committed, events, open_store, plan, run, step
from persistable.errors import NotEnforceable, PayloadNotFound, RunFailed, TimedOut, UpstreamFailed, WorkerDied
from persistable.nodes.binding import bound_to
from persistable.records import items_in_progress
from persistable.runs.progress import Bar

BOUND = 60.0


url = each_url("folder", "sqlite")


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_run_makes_the_items_first_and_then_one_node_of_each(url: str, executor: str) -> None:
    with open_store(url):
        node = letters.step("abcd")
        lengths = length.over(node.members, times=[1, 10])
        assert len(lengths) == 0 and plan(lengths).jobs == [node.key]
        result = run(lengths, executor=executor, max_workers=None if executor == "inline" else 2)
        assert len(lengths) == 8 and result.counts["done"] == 9 and result[node].payload["3-d"] == ["d"] * 3
        assert lengths["2-c", 10].payload == 20 and lengths.sel(letters="1-b", times=1).payload == 1
        assert run(lengths).counts["done"] == 0, "all is there"
        assert set(lengths.status()) == {Status.DONE} and len(lengths.to_frame()) == 8


def test_a_family_that_is_bound_looks_for_the_items_in_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(letters.step("abc"), store="there")
    bound = length.over(letters.step("abc").members).bind("there")
    assert len(bound) == 3
    assert run(bound).counts["done"] == 3, "the items are there, and only what is made of them is not"
    assert sorted(payload for _, payload in bound.payloads()) == [0, 1, 2]
    elsewhere = length.over(letters.step("abc").members).bind("elsewhere")
    assert len(elsewhere) == 0 and run(elsewhere).counts["done"] == 4
    assert not (tmp_path / "persistable-data").exists(), "nothing is looked for or made in the default store"


def test_two_stores_of_one_family_each_show_their_own_items(tmp_path: Path) -> None:
    family = length.over(letters.step("abc").members)
    full, empty = family.bind(tmp_path / "full"), family.bind(tmp_path / "empty")
    run(full)
    assert len(empty.refresh()) == 0 and len(full.refresh()) == 3


def test_members_are_nodes_of_their_own(tmp_path: Path) -> None:
    with open_store(tmp_path / "data") as store:
        node = letters.step("abc")
        early = Item.of(node, "2-c")
        assert early.status is Status.ABSENT and not early.exists()
        with pytest.raises(PayloadNotFound, match="no item '2-c'"):
            early.payload
        node.generate()
        members = node.members
        assert list(members) == ["0-a", "1-b", "2-c"] and members["2-c"].payload == ["c", "c"] and members["2-c"].key == early.key
        assert early.payload == ["c", "c"] and early.status is Status.DONE
        assert members["2-c"].key != letters.step("abd").members.get("2-c", members["0-a"]).key
        assert members["1-b"].replace(item="2-c").key == early.key
        assert [upstream.key for upstream in members["1-b"].upstream.values()] == [node.key]
        before = set(store.list())
        one = length.step(members["1-b"])
        assert one.payload == 1 and one.record is not None
        assert node.key.path in str(one.record.lineage), "what it is made from is known"
        assert not any(path.startswith("letters/") and path not in before for path in store.list()), "an item is not stored twice"
        node.generate()
        assert members["2-c"].payload == ["c", "c"], "what was listed before finds the item where it lies now"


def test_before_the_seal_the_committed_ones_are_members(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with open_store(tmp_path / "data"):
        node = letters.step("abcd", log=str(log), fail_at="c")
        lengths = length.over(node.members)
        with pytest.raises(RunFailed) as raised:
            run(lengths)
        result: Any = raised.value.result
        assert [failure.key for failure in result.failures] == [node.key]
        assert list(lengths) == ["0-a", "1-b"] and lengths["1-b"].payload == 1, "what can be done is done"
        Path(f"{log}.mended").touch()
        assert run(lengths).counts["done"] == 3 and len(lengths) == 4
        assert made(log) == ["0-a", "1-b", "2-c", "3-d"]


def test_a_family_in_a_store_named_at_the_run(tmp_path: Path) -> None:
    lengths = length.over(letters.step("abc").members)
    result = run(lengths, store=tmp_path / "data")
    assert result.counts["done"] == 4 and result[lengths["2-c"]].payload == 2


PRODUCER = """
import os, sys, time
from persistable import step, open_store
@step
def slow(count):
    for number in range(count):
        yield number, number * number
        deadline = time.monotonic() + 60
        while not os.path.exists(f"{sys.argv[2]}/go{number}") and time.monotonic() < deadline: time.sleep(0.005)
    if os.path.exists(f"{sys.argv[2]}/fail"): raise ValueError("no more")
"""
GENERATE = PRODUCER + "with open_store(sys.argv[1]): slow.step(3).generate()\n"


class Producer:
    """Another process that makes three items, each next one when it is told to."""

    def __init__(self, tmp_path: Path, url: str) -> None:
        self.folder = tmp_path
        self.process = subprocess.Popen(
            [sys.executable, "-c", GENERATE, url, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def go_on(self, number: int) -> None:
        (self.folder / f"go{number}").touch()

    def __enter__(self) -> "Producer":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=BOUND)


def node_of(url: str) -> Any:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(PRODUCER, space)
    return space["slow"].step(3).bind(url)


def test_items_are_followed_from_another_process_as_they_come(tmp_path: Path, url: str) -> None:
    with Producer(tmp_path, url) as producer:
        seen = []
        node = node_of(url)
        for key, payload in node.follow(timeout=BOUND):
            seen.append((key, payload))
            assert not node.exists(), "it comes before all are there"
            producer.go_on(key)
            if key == 2:
                break
        assert seen == [(0, 0), (1, 1), (2, 4)]
        assert producer.process.wait(BOUND) == 0
        assert list(node.follow(timeout=BOUND)) == seen, "sealed, it gives all and ends"


def test_following_ends_with_the_seal(tmp_path: Path, url: str) -> None:
    node = node_of(url)
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.extend(node.follow(timeout=BOUND)))
    thread.start()  # before anybody makes any
    with Producer(tmp_path, url) as producer:
        for number in range(3):
            producer.go_on(number)
        thread.join(BOUND)
    assert not thread.is_alive() and seen == [(0, 0), (1, 1), (2, 4)]


def test_following_raises_when_the_generation_fails(tmp_path: Path, url: str) -> None:
    (tmp_path / "fail").touch()
    with Producer(tmp_path, url) as producer:
        coming = node_of(url).follow(timeout=BOUND)
        for number in range(3):
            assert next(coming) == (number, number * number)
            producer.go_on(number)
        with pytest.raises(UpstreamFailed, match="no more"):
            next(coming)


def test_following_raises_when_its_process_is_gone(tmp_path: Path, url: str) -> None:
    with Producer(tmp_path, url) as producer:
        coming = node_of(url).follow(timeout=BOUND)
        assert next(coming) == (0, 0)
        producer.process.kill()
        producer.process.wait(BOUND)
        with pytest.raises(WorkerDied, match="1 items, which are kept"):
            next(coming)


def test_following_gives_up_after_the_time_it_is_given(tmp_path: Path, url: str) -> None:
    start = time.monotonic()
    with pytest.raises(TimedOut, match="nobody generates them"):
        list(node_of(url).follow(timeout=0.05))
    assert time.monotonic() - start >= 0.05


def test_an_attempt_after_a_failed_one_is_followed(tmp_path: Path, url: str) -> None:
    (tmp_path / "fail").touch()
    for number in range(3):
        (tmp_path / f"go{number}").touch()
    with Producer(tmp_path, url) as failing:
        failing.process.wait(BOUND)
    (tmp_path / "fail").unlink()
    node = node_of(url)
    assert node.status is Status.FAILED and len(node.committed) == 3
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.extend(node.follow(timeout=BOUND)))
    thread.start()
    with Producer(tmp_path, url):
        thread.join(BOUND)
    assert [key for key, _ in seen] == [0, 1, 2]


def test_one_payload_cannot_be_followed(tmp_path: Path) -> None:
    with open_store(tmp_path / "data"):
        node = length.step(["a"])
        node.generate()
        with pytest.raises(TypeError, match="one payload"):
            list(node.follow())


# one run in two stages


def told(*targets: Any, **options: Any) -> tuple[RunResult, list[events.Event]]:
    """What a run came to, and what it said of itself."""
    heard: list[events.Event] = []
    result = run(*targets, errors="return", hooks=[heard.append], **options)
    return result, [event for event in heard if isinstance(event, events.RunStarted | events.RunGrew | events.RunFinished)]


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_items_and_what_is_made_of_them_are_announced_as_one_run(tmp_path: Path, executor: str) -> None:
    with open_store(tmp_path / "data"):
        lengths = length.over(letters.step("abc").members)
        result, (started, grew, finished) = told(lengths, executor=executor)
        assert isinstance(started, events.RunStarted) and started.jobs == {"letters": 1}
        assert isinstance(grew, events.RunGrew) and grew.jobs == {"length": 3}
        assert isinstance(finished, events.RunFinished)
        assert finished.counts == result.counts and finished.counts["done"] == 4 and finished.seconds == result.seconds
        result, heard = told(lengths, executor=executor)
        assert [type(event).__name__ for event in heard] == ["RunStarted", "RunFinished"] and result.counts["reused"] == 3


@pytest.mark.parametrize("fail_fast", [False, True])
def test_a_failure_in_the_first_stage_is_told_once(tmp_path: Path, fail_fast: bool) -> None:
    with open_store(tmp_path / "data"):
        node = letters.step("abcd", log=str(tmp_path / "log"), fail_at="c")
        result, heard = told(length.over(node.members), fail_fast=fail_fast)
        (finished,) = [event for event in heard if isinstance(event, events.RunFinished)]
        assert [key for key, _ in finished.failures] == [node.key] and len(result.failures) == 1
        assert finished.counts == result.counts and result.counts["done"] == (0 if fail_fast else 2)
        assert [type(event).__name__ for event in heard][:1] == ["RunStarted"]


def test_an_interruption_of_the_second_stage_tells_of_both(tmp_path: Path) -> None:
    @step
    def interrupted(letters: list[str]) -> int:
        if letters:
            raise KeyboardInterrupt
        return 0

    heard: list[events.Event] = []
    with open_store(tmp_path / "data"):
        family = interrupted.over(letters.step("ab").members)
        with pytest.raises(KeyboardInterrupt):
            run(family, hooks=[heard.append])
        (finished,) = [event for event in heard if isinstance(event, events.RunFinished)]
        assert finished.counts["done"] == 2 and finished.counts["cancelled"] == 1
        heard.clear()
        result = run(family, hooks=[heard.append], watch=60)
    assert result.counts["cancelled"] == 1 and len([event for event in heard if isinstance(event, events.RunFinished)]) == 1


def test_a_second_stage_that_cannot_begin_leaves_no_run_without_an_end(tmp_path: Path) -> None:
    @step(resources=Resources(time=5))
    def limited(letters: list[str]) -> int:
        return len(letters)

    heard: list[events.Event] = []
    with open_store(tmp_path / "data"):
        with pytest.raises(NotEnforceable):
            run(limited.over(letters.step("ab").members), hooks=[heard.append])
        assert [type(event).__name__ for event in heard if "Run" in type(event).__name__] == ["RunStarted", "RunFinished"]
        heard.clear()
        with pytest.raises(NotEnforceable):
            run(limited.over(letters.step("ab").members), hooks=[heard.append])
        assert not [event for event in heard if "Run" in type(event).__name__], "what has not begun does not end"


def test_the_bar_of_a_run_in_two_stages_counts_what_comes_to_be_known(tmp_path: Path) -> None:
    terminal = io.StringIO()
    bar = Bar(Console(file=terminal, force_terminal=True, width=120, color_system=None))
    with open_store(tmp_path / "data"):
        run(length.over(letters.step("abcd").members), hooks=[bar])
    assert "0/1" in terminal.getvalue() and "5/5" in terminal.getvalue()


GOING_ON = threading.Event()
ENOUGH = threading.Event()


@step
def broken_off(n: int) -> Iterator[tuple[str, int]]:
    for number in range(n):
        if f"item {number}" in committed():
            continue
        if number == 5 and not GOING_ON.is_set():
            raise ValueError("as if killed")
        if number == n - 1:
            assert ENOUGH.wait(30)
        yield f"item {number}", number


@pytest.mark.parametrize("kind", ["local", "sqlite"])
def test_an_item_that_a_kill_has_left_without_its_number_holds_nobody_up(kind: str, tmp_path: Path) -> None:
    store = open_store(tmp_path / "data" if kind == "local" else f"sqlite:///{tmp_path / 'x.db'}")
    node = broken_off.step(9).bind(store)
    GOING_ON.clear()
    ENOUGH.clear()
    with pytest.raises(ValueError, match="as if killed"):
        node.generate()
    begun = items_in_progress.find_partial(store, node.place)
    assert begun is not None and store.delete(begun.path_of(2))
    GOING_ON.set()
    thread = threading.Thread(target=bound_to(node, store).generate)
    thread.start()
    try:
        came: list[str] = []
        for key, _ in node.follow(timeout=20):
            came.append(key)
            if len(came) >= 8:  # all but the last, for which the generation waits until these are there
                ENOUGH.set()
        assert sorted(came) == [f"item {number}" for number in range(9)] and came[:2] == ["item 0", "item 1"]
    finally:
        ENOUGH.set()
        thread.join(60)
