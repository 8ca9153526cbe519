"""What generating code prints and logs: kept with its record or its failure, and gone with it."""

from __future__ import annotations

import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from persistable import Catalog, Command, Persistable, PersistableParams, Secret, Workflow, Workspace, progress, run, seed, step, stored
from persistable.errors import WorkerDied
from persistable.events import Progressed
from persistable.project import Project
from persistable.records.record import Record
from persistable.stores import LayeredStore, MemoryStore, open_store

LIMIT = 1 << 16


@pytest.fixture(autouse=True)
def store() -> None:
    """Nodes are of no store here: each test names its own."""


@step
def talk(n: int = 1) -> int:
    print("hello", n)
    print("mistake", n, file=sys.stderr)
    sys.stdout.flush()
    sys.stdout.buffer.write("bytes \N{EURO SIGN}\n".encode())
    sys.stdout.buffer.flush()
    logging.getLogger("mine.train").warning("loss is %d", n)
    return n


@step
def quiet(n: int = 1) -> int:
    return n


@step
def fails(n: int) -> int:
    print("before", n)
    raise ValueError("no samples")


SAID = "hello 1\nmistake 1\nbytes \N{EURO SIGN}\nWARNING mine.train: loss is 1\n"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.output.txt"))


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_the_record_has_it(executor: str, tmp_path: Path) -> None:
    result = run([talk.step(1), quiet.step(1)], executor=executor, store=tmp_path)
    assert result.records[talk.step(1)].output == SAID
    assert result.records[quiet.step(1)].output == ""
    record = talk.step(1).bind(open_store(tmp_path)).record
    assert record is not None and record.output == SAID
    assert pickle.loads(pickle.dumps(record)).output == SAID
    assert Catalog(tmp_path).find("talk")[0].record.output == SAID
    assert len(files(tmp_path)) == 1
    assert not isinstance(sys.stdout, type(None)) and type(sys.stdout).__name__ != "Tee"


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_the_failure_has_it(executor: str, tmp_path: Path) -> None:
    result = run(fails.step(3), executor=executor, store=tmp_path, errors="return")
    (failure,) = result.failures
    assert failure.output == "before 3\n"
    assert "before 3" in failure._repr_html_()  # pyright: ignore[reportPrivateUsage]
    entry = Catalog(tmp_path).find("fails", status="failed")[0]
    assert entry.failure is not None and entry.failure.output == "before 3\n"


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_none_is_kept_where_none_is_wanted(executor: str, tmp_path: Path) -> None:
    result = run([talk.step(1), fails.step(1)], executor=executor, store=tmp_path, errors="return", output=False)
    assert result.records[talk.step(1)].output == "" and result.failures[0].output == ""
    assert not files(tmp_path)
    talk.step(2).run(store=tmp_path, output=False)
    assert not files(tmp_path)


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_members_of_a_family_in_one_file_have_their_own(executor: str, tmp_path: Path) -> None:
    family = talk.over(n=list(range(20)))
    result = run(family, executor=executor, store=f"sqlite:///{tmp_path}/x.db")
    outputs = {record.params["n"]: record.output for record in result.records.values()}
    assert outputs == {n: SAID.replace("1", str(n)) for n in range(20)}


def test_text_still_gets_where_it_goes(tmp_path: Path) -> None:
    there = io.StringIO()

    @step
    def printed() -> int:
        print("seen")
        return 1

    with redirect_stdout(there):
        printed.step().bind(open_store(tmp_path)).generate()
        assert sys.stdout is there
    assert there.getvalue() == "seen\n"


together = threading.Barrier(3)


@step
def in_turns(n: int) -> int:
    for turn in range(5):
        together.wait(20)
        print(n, turn)
    return n


def test_threads_have_their_own(tmp_path: Path) -> None:
    def other() -> None:
        for _ in range(5):
            together.wait(20)
            print("somebody else")

    thread = threading.Thread(target=other)
    thread.start()
    result = run([in_turns.step(1), in_turns.step(2)], executor="threads", max_workers=2, store=tmp_path)
    thread.join()
    outputs = {record.params["n"]: record.output for record in result.records.values()}
    assert outputs == {n: "".join(f"{n} {turn}\n" for turn in range(5)) for n in (1, 2)}


TALKING = """
import os, sys, threading
from persistable import step

@step
def same(n: int) -> int:
    return n

def talk() -> None:
    while not over.is_set():
        print("somebody else", "x" * 1000, flush=True)

sys.stdout = open(os.devnull, "w")
sys.setswitchinterval(1e-6)
over = threading.Event()
threads = [threading.Thread(target=talk) for _ in range(3)]
for thread in threads:
    thread.start()
for n in range(1500):
    same.step(n).run(store="data")
over.set()
for thread in threads:
    thread.join()
"""


def test_a_thread_that_prints_all_the_time_harms_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TALKING], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_thread_of_the_code_belongs_to_it(tmp_path: Path) -> None:
    @step
    def threaded() -> int:
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
        return 1

    node = threaded.step().bind(open_store(tmp_path)).generate()
    assert node.record is not None and node.record.output == "from a thread\n"


def test_upstream_has_its_own(tmp_path: Path) -> None:
    @step
    def above() -> int:
        print("above")
        return 1

    @step
    def below(x: int) -> int:
        print("below")
        return x

    node = below.step(above.step()).bind(open_store(tmp_path)).generate()
    assert node.record is not None and node.record.output == "below\n"
    upstream = above.step().bind(open_store(tmp_path)).record
    assert upstream is not None and upstream.output == "above\n"


def test_the_end_of_much_is_kept(tmp_path: Path) -> None:
    @step
    def much() -> int:
        for number in range(60_000):
            print("line", number, "\N{SNOWMAN}")
        return 1

    node = much.step().bind(open_store(tmp_path))
    with redirect_stdout(io.StringIO()):
        node.generate()
    assert node.record is not None
    output = node.record.output
    assert LIMIT - 100 < len(output.encode()) <= LIMIT
    assert output.startswith("[...]\nline ") and output.endswith("line 59999 \N{SNOWMAN}\n")


def test_what_was_drawn_over_is_not_kept(tmp_path: Path) -> None:
    @step
    def bar() -> int:
        for number in range(100):
            print(f"\r\x1b[32m{number}%\x1b[0m", end="")
        print("\r100%\r\nend")
        return 1

    node = bar.step().bind(open_store(tmp_path)).generate()
    assert node.record is not None and node.record.output == "100%\nend\n"


def test_a_line_without_an_end_is_kept_at_once(tmp_path: Path) -> None:
    """The time it takes grows with its length, not with the square of that, which would be minutes."""

    @step
    def dots() -> int:
        for _ in range(1000):
            print("." * 200, end="")
        return 1

    node = dots.step().bind(open_store(tmp_path)).generate()
    assert node.record is not None and node.record.output.endswith("." * 1000)


def test_secrets_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "hidden-value-17")
    secret = Secret("A_TOKEN")

    @step
    def leaks() -> int:
        print("token", secret.reveal())
        return 1

    @step
    def leaks_and_fails() -> int:
        print("token", secret.reveal())
        raise ValueError

    with redirect_stdout(io.StringIO()):
        result = run([leaks.step(), leaks_and_fails.step()], store=tmp_path, errors="return")
    outputs = [result.records[leaks.step()].output, result.failures[0].output]
    assert all(output.startswith("token ") and "hidden-value-17" not in output for output in outputs)
    assert not any(b"hidden-value-17" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@dataclass
class NoParams(PersistableParams):
    pass


def test_a_handler_to_standard_error_says_nothing_twice(tmp_path: Path) -> None:
    program = """
import sys
from dataclasses import dataclass
from persistable import step, Persistable, PersistableParams
from persistable.stores import open_store

@step
def first() -> int:
    import logging
    logging.basicConfig(format="%(message)s")
    logging.getLogger("a").warning("once")
    return 1

@dataclass
class NoParams(PersistableParams):
    pass

class Loud(Persistable[int, NoParams]):
    def _generate_payload(self, **_):
        self.logger.warning("once")
        return 1

for node in (first.step(), Loud(sys.argv[1], NoParams())):
    node = node.bind(open_store(sys.argv[1])).generate()
    print(repr(node.record.output))
"""
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, "program.py", "data"], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, loud = done.stdout.splitlines()
    assert first.count("once") == 1 and loud == repr("WARNING persistable.loud: once\n")


def test_hooks_that_print_are_not_the_node(tmp_path: Path) -> None:
    class Steps(Persistable[int, NoParams]):
        def _generate_payload(self, **_: Any) -> int:
            self.progress(1, 2)
            print("own")
            return 1

    node = Steps(tmp_path, NoParams())
    run(node, hooks=[lambda event: print("hook", type(event).__name__)])
    assert node.record is not None and node.record.output == "own\n"


def test_of_a_script_its_output(tmp_path: Path) -> None:
    node = Command("echo said; echo wrong >&2; echo result > {{ output }}", outputs="r.txt").bind(open_store(tmp_path)).generate()
    assert node.record is not None and node.record.output == "said\nwrong\n"


# in worker processes


@step
def dies(n: int) -> int:
    print("last words", n)
    logging.getLogger("mine").error("it ends")
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
    return n


def test_the_last_words_of_a_worker_that_dies_are_kept(tmp_path: Path) -> None:
    result = run(dies.step(1), executor="processes", store=tmp_path, errors="return")
    assert isinstance(result.failures[0].error, WorkerDied)
    assert result.failures[0].output == "last words 1\nERROR mine: it ends\n"


@step
def forks(n: int) -> int:
    print("parent")
    sys.stdout.flush()
    if os.fork() == 0:
        print("child", flush=True)
        os._exit(0)
    os.wait()
    print("parent again")
    return n


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_what_the_code_forks_prints_as_before(executor: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = run(forks.step(1), executor=executor, max_workers=1, store=tmp_path)
    assert result.records[forks.step(1)].output == "parent\nparent again\n"
    printed = capfd.readouterr().out
    assert printed.count("child\n") == 1 and printed.count("parent again\n") == 1


def test_handlers_that_workers_set_up_say_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
import logging
from persistable import step

logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")

@step
def train(n: int) -> int:
    logging.getLogger("mine.train").info("loss %d", n)
    return n
"""
    )
    (tmp_path / "program.py").write_text(
        """
from mine import train
from persistable import run

run([train.step(n) for n in range(3)], executor="processes", max_workers=2, store="data")
run(train.over(n=[10, 11, 12]), executor="processes", max_workers=2, store="sqlite:///data.db")
"""
    )
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    said = sorted(line for line in done.stderr.splitlines() if "mine" in line)
    assert said == sorted(f"mine.train INFO loss {n}" for n in (0, 1, 2, 10, 11, 12)) and done.stdout == ""


def test_levels_are_those_of_the_program(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mine.loud")

    @step
    def logs(n: int) -> int:
        for name in ("mine.loud", "mine.other"):
            logging.getLogger(name).debug("of %s", name)
        return n

    result = run(logs.step(1), executor="processes", store=tmp_path)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("mine")] == ["of mine.loud"]
    assert result.records[logs.step(1)].output == "DEBUG mine.loud: of mine.loud\n"


def test_secrets_do_not_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("B_TOKEN", "hidden-value-18")

    @step
    def leaks() -> int:
        print("token", Secret("B_TOKEN").reveal())
        return 1

    run(leaks.step(), executor="processes", store=tmp_path)
    assert "token <B_TOKEN>" in capsys.readouterr().out


def test_progress_is_bounded(tmp_path: Path) -> None:
    @step
    def steps() -> int:
        for i in range(10_000):
            progress(i + 1, 10_000)
        return 1

    heard: list[Any] = []
    run(steps.step(), store=tmp_path, hooks=[heard.append])
    done = [event.done for event in heard if isinstance(event, Progressed)]
    assert done[0] == 1 and done[-1] == 10_000 and len(done) < 500


# with the record from place to place


@pytest.fixture
def kept(tmp_path: Path) -> Any:
    return talk.step(1).bind(open_store(tmp_path / "data")).generate()


def test_the_next_attempt_replaces_it(kept: Any, tmp_path: Path) -> None:
    (before,) = files(tmp_path)
    kept.generate()
    (after,) = files(tmp_path)
    assert before != after and kept.record.output == SAID


def test_it_goes_with_the_record(kept: Any, tmp_path: Path) -> None:
    assert kept.delete()
    assert not list((tmp_path / "data" / "talk").iterdir())


def test_a_record_is_sound_without(kept: Any, tmp_path: Path) -> None:
    for path in tmp_path.rglob("*.output.txt"):
        path.unlink()
    assert kept.record.output == "" and kept.exists() and kept.bind(open_store(tmp_path / "data")).load().payload == 1
    found = Catalog(tmp_path / "data").verify()
    assert found.ok and not found.orphans
    Catalog(tmp_path / "copied").import_(tmp_path / "data")
    assert Catalog(tmp_path / "copied").find("talk")[0].payload == 1


def test_it_is_no_orphan_and_is_collected_and_restored(kept: Any, tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "data")
    assert not catalog.verify().orphans and not catalog.gc()
    catalog.gc(name="talk").apply()
    assert not kept.exists() and not files(tmp_path / "data" / "talk")
    catalog.restore()
    assert kept.record.output == SAID
    catalog.gc(name="talk").apply()
    catalog.empty_trash()
    assert not files(tmp_path)


def test_what_a_crash_left_of_it_is_collected(kept: Any, tmp_path: Path) -> None:
    import os

    left = tmp_path / "data" / f"{kept.key}.01234567.output.txt"
    left.write_text("of an attempt that was killed")
    os.utime(left, (1, 1))
    catalog = Catalog(tmp_path / "data")
    assert catalog.verify().orphans == [f"{kept.key}.01234567.output.txt"]
    catalog.gc().apply()
    assert kept.record.output == SAID and len(files(tmp_path / "data" / "talk")) == 1


def test_it_is_exported_and_imported(kept: Any, tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "data")
    catalog.export(tmp_path / "all.zip", kept)
    there = Catalog(tmp_path / "all.zip")
    assert there.find("talk")[0].record.output == SAID
    new = Catalog(tmp_path / "new")
    new.import_(tmp_path / "all.zip")
    assert new.find("talk")[0].record.output == SAID
    catalog.export(tmp_path / "anonymous.zip", kept, anonymous=True)
    assert Catalog(tmp_path / "anonymous.zip").find("talk")[0].record.output == ""


def test_it_is_renamed(kept: Any, tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "data")
    catalog.rename(name=("talk", "speak")).apply()
    assert catalog.find("speak")[0].record.output == SAID
    assert files(tmp_path / "data" / "speak") and not files(tmp_path / "data" / "talk")
    assert not catalog.verify().orphans


class Talks(Workflow):
    n = seed(int)
    said = talk.step(n)


class TalkFiles(Workspace[Talks]):
    n = stored("in/{workflow_id}.json")
    said = stored("out/{workflow_id}.json")


def test_at_a_path_of_somebody_s_choice(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text("1")
    workspace = TalkFiles(tmp_path)
    assert workspace["a"].said == 1
    node = workspace["a"].node("said")
    assert node.record is not None and node.record.output == SAID
    catalog = Catalog(tmp_path)
    assert catalog.verify().ok and not catalog.verify().orphans and not catalog.gc()
    catalog.export(tmp_path / "bundle.zip", [entry for entry in catalog.find() if entry.name == "talk"])
    assert next(iter(Catalog(tmp_path / "bundle.zip").find("talk"))).record.output == SAID
    (before,) = files(tmp_path)
    node.generate()
    (after,) = files(tmp_path)
    assert before != after
    assert node.delete() and not files(tmp_path)


def test_in_memory_and_in_layers(tmp_path: Path) -> None:
    for store in (MemoryStore(), LayeredStore(tmp_path / "fast", tmp_path / "slow")):
        node = talk.step(1).bind(store).generate()
        assert node.record is not None and node.record.output == SAID


def test_a_record_that_names_another_file_reads_nothing(kept: Any, tmp_path: Path) -> None:
    record = kept.record
    (tmp_path / "data" / "private.txt").write_text("private")
    for name in ("private.txt", "../private.txt", 7):
        crafted = Record.parse(record.revise({"output": name}, {}).data, record.key, open_store(tmp_path / "data"))
        assert crafted.output == "" and kept.exists()


def test_a_project_takes_it(tmp_path: Path) -> None:
    Project({"talk": talk.step(1)}, store=tmp_path).run(output=False)
    assert not files(tmp_path)
