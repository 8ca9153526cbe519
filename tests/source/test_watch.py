"""``run(..., watch=seconds)``: what comes is worked on as it comes, until Ctrl-C."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.source.flows import delayed, length, shouted
from tests.source.seeing import done, write

from persistable import RunResult, Source, events, open_store, run
from persistable.errors import PersistableWarning
from persistable.stores import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    with open_store(tmp_path / "store") as store:
        yield store


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.05)


def test_rounds_do_what_is_new_until_somebody_says_enough(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="one", b="two")
    shouts = shouted.over(Source("texts/{book}.txt"))
    rounds: list[list[Any]] = []

    def enough(result: RunResult) -> bool:
        rounds.append(done(result, shouts))
        number = len(rounds)
        if number == 1:
            (tmp_path / "texts" / "c.txt").write_text("three")
        elif number == 2:
            (tmp_path / "texts" / "a.txt").write_text("changed")
        elif number == 3:
            (tmp_path / "texts" / "b.txt").unlink()
            shouts["c"].delete()
        return number == 5

    result = run(shouts, watch=0.01, until=enough)
    assert rounds == [["a", "b"], ["c"], ["a"], ["c"], []]
    assert done(result, shouts) == [] and list(shouts) == ["a", "c"] and result.counts["reused"] >= 2


def test_failures_do_not_end_it_and_are_not_tried_again(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="fail", b="two")
    shouts = shouted.over(Source("texts/{book}.txt"))
    tried: list[Any] = []
    rounds: list[Any] = []

    def hear(event: events.Event) -> None:
        if isinstance(event, events.Failed):
            tried.append(event.key)

    def enough(result: RunResult) -> bool:
        rounds.append(done(result, shouts))
        if len(rounds) == 2:
            (tmp_path / "texts" / "c.txt").write_text("fail too")
        return len(rounds) == 4

    result = run(shouts, watch=0.01, until=enough, hooks=[hear])
    assert tried == [shouts["a"].key, shouts["c"].key] and rounds == [["b"], [], [], []]
    assert [failure.key for failure in result.failures] == tried, "those of all rounds"
    (tmp_path / "texts" / "a.txt").write_text("mended")
    assert done(run(shouts, watch=0.01, until=lambda _: True), shouts) == ["a"]


def test_a_round_that_cannot_be_planned_is_reported_and_made_again(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="one")
    texts: Source[str] = Source("texts/{book}.txt", keys=lambda: ["a", *(["gone"] if len(rounds) == 1 and not warned else [])])
    shouts = shouted.over(texts)
    rounds: list[RunResult] = []
    warned: list[str] = []

    def enough(result: RunResult) -> bool:
        rounds.append(result)
        warned.extend(str(each.message) for each in seen)
        return len(rounds) == 3

    with pytest.warns(PersistableWarning, match=r"gone.txt is not there any more.*still watching") as seen:
        run(shouts, watch=0.01, until=enough)
    assert len(warned) == 2


def test_deleted_outputs_new_inputs_and_vanished_ones_while_it_watches(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="one", b="two")
    wanted = ["a", "b"]
    shouts = shouted.over(Source("texts/{book}.txt", keys=lambda: list(wanted)))
    performed: list[Any] = []
    ended = time.monotonic() + 60

    def hear(event: events.Event) -> None:
        if isinstance(event, events.Performed):
            performed.append(event.key)

    def story() -> Iterator[Callable[[], bool]]:
        """What is to come next, each after something was done to it."""
        keys = {book: shouts[book].key for book in wanted}
        yield lambda: performed == [keys["a"], keys["b"]]
        shouts["a"].delete()
        yield lambda: performed[2:] == [keys["a"]]
        write(tmp_path / "texts", c="three")
        wanted.append("c")
        yield lambda: len(performed) == 4 and shouts["c"].exists()
        (tmp_path / "texts" / "b.txt").unlink()
        yield lambda: any(f"{tmp_path}/texts/b.txt is not there any more" in str(each.message) for each in warned)
        write(tmp_path / "texts", b="zwei")
        yield lambda: len(performed) == 5 and shouts["b"].payload == "ZWEI"

    def enough(_: RunResult) -> bool:
        assert time.monotonic() < ended, f"{len(performed)} were performed, and then nothing came of what was done"
        if not waits:
            waits.append(next(coming))
        while waits[-1]():
            following = next(coming, None)
            if following is None:
                return True
            waits.append(following)
        return False

    waits: list[Callable[[], bool]] = []
    coming = story()
    with pytest.warns(PersistableWarning, match="still watching") as warned:
        result = run(shouts, watch=0.01, until=enough, hooks=[hear])
    assert len(waits) == 5 and not result.failures


def test_what_failed_is_tried_again_after_its_failure_was_deleted(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="fail")
    shouts = shouted.over(Source("texts/{book}.txt"))
    tried: list[Any] = []
    rounds: list[int] = []

    def hear(event: events.Event) -> None:
        if isinstance(event, events.Failed):
            tried.append(event.key)

    def enough(_: RunResult) -> bool:
        rounds.append(len(tried))
        if len(rounds) == 3:
            shouts["a"].delete()
        return len(rounds) == 5

    run(shouts, watch=0.01, until=enough, hooks=[hear])
    assert rounds == [1, 1, 1, 2, 2]


def test_what_is_wrong_from_the_start_is_raised(tmp_path: Path) -> None:
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="watch is the number of seconds"):
            run(watch=wrong)
    with pytest.raises(TypeError, match="nothing to run"):
        run(3, watch=1)


def test_a_watch_from_another_thread_ends_by_its_predicate(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="one")
    lengths = length.over(Source("texts/{book}.txt"))
    end = threading.Event()
    found: list[RunResult] = []
    thread = threading.Thread(target=lambda: found.append(run(lengths, watch=0.05, until=lambda _: end.is_set())))
    thread.start()
    (tmp_path / "texts" / "b.txt").write_text("two")
    wait_for(lambda: "b" in lengths.refresh() and lengths["b"].exists())
    end.set()
    thread.join(60)
    assert len(found) == 1 and not thread.is_alive()


SCRIPT = """
    import sys
    sys.path[:0] = sys.argv[1:3]
    from pathlib import Path
    from persistable import Source, open_store, run
    from tests.source.flows import delayed, shouted

    if __name__ == "__main__":
        with open_store("store"):
            texts = Source("texts/{book}.txt")
            family = delayed.over(texts, seconds=float(sys.argv[4]), started=str(Path("started").absolute()))
        result = run(family, executor=sys.argv[3], max_workers=1 if sys.argv[3] == "processes" else None, watch=0.2)
        print("ended", dict(result.counts), sorted(family), flush=True)
"""


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that watches the folder ``texts``."""
    script = tmp_path / "watching.py"
    script.write_text(textwrap.dedent(SCRIPT))
    begun: list[subprocess.Popen[str]] = []

    def begin(executor: str, seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), str(ROOT), str(ROOT / "persistable_pkg"), executor, str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True)
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
@pytest.mark.timeout(300)
def test_a_process_works_on_what_comes_until_it_is_interrupted(
    tmp_path: Path, watching: Callable[..., subprocess.Popen[str]], executor: str
) -> None:
    write(tmp_path / "texts", a="first")
    process = watching(executor, 0.0)
    store = open_store(tmp_path / "store")
    family = delayed.over(Source("texts/{book}.txt"), seconds=0.0, started=str(tmp_path / "started")).bind(store)
    wait_for(family["a"].exists)
    for name in ("b", "ü c"):
        (tmp_path / "half").write_text(name * 3)
        (tmp_path / "half").rename(tmp_path / "texts" / f"{name}.txt")
        wait_for(lambda name=name: family.refresh()[name].exists())  # type: ignore[misc]
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("ended {") and "['a', 'b', 'ü c']" in out and "'failed': 0" in out, err
    assert sorted((tmp_path / "started").read_text().split("\n")[:-1]) == ["bbb", "first", "ü cü cü c"], "each was worked on once"


@pytest.mark.parametrize("executor", ["inline", "processes"])
@pytest.mark.timeout(300)
def test_an_interruption_in_the_middle_of_the_work_leaves_what_is_done_and_no_failure(
    tmp_path: Path, watching: Callable[..., subprocess.Popen[str]], executor: str
) -> None:
    write(tmp_path / "texts", a="first")
    process = watching(executor, 300.0)
    wait_for((tmp_path / "started").exists)
    wait_for(lambda: (tmp_path / "started").read_text() == "first\n")
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "'failed': 0" in out and "'cancelled': 1" in out, err
    family = delayed.over(Source("texts/{book}.txt"), seconds=300.0, started=str(tmp_path / "started")).bind(tmp_path / "store")
    assert [status.value for status in family.status()] in (["absent"], ["running"])
