"""Payloads at custom paths: never a wrong hit, whoever writes there."""

import os
import signal
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from placed import stored_at

from persistable import Persistable, Status, run, step
from persistable.errors import PayloadCorrupted
from persistable.fileio import JsonFileIO
from persistable.nodes.binding import bound_to
from persistable.records import heartbeat
from persistable.records.record import Record
from persistable.stores import Store, open_store

COUNTED: list[str] = []


@step(io=JsonFileIO())
def doubled(x: int) -> int:
    COUNTED.append(f"doubled {x}")
    return 2 * x


@step(io=JsonFileIO())
def plus(value: int, more: int = 1) -> int:
    COUNTED.append(f"plus {value}")
    return value + more


@pytest.fixture(params=["local", "memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    COUNTED.clear()
    url = {"local": str(tmp_path / "data"), "memory": f"memory://{tmp_path}", "sqlite": f"sqlite:///{tmp_path}/data.db"}
    return open_store(url[request.param])


def at(node: Any, path: str, store: Store) -> Any:
    return bound_to(stored_at(node, path), store)


def test_the_payload_lies_where_it_was_put(store: Store) -> None:
    node = at(doubled.step(3), "computed/three.json", store)
    assert node.status is Status.ABSENT
    assert node.payload == 6
    assert store.get("computed/three.json").strip() == b"6"
    assert sorted(store.list()) == ["computed/three.json"]
    assert sorted(store.list(".persistable/placed")) == [".persistable/placed/computed/three.json.record.json"]
    again = at(doubled.step(3), "computed/three.json", store)
    assert (again.status, again.exists(), again.load().payload) == (Status.DONE, True, 6)
    assert again.record is not None
    assert again.record.files[0].path == "computed/three.json"
    assert COUNTED == ["doubled 3"]


def test_another_payload_at_the_same_path_is_no_hit(store: Store) -> None:
    three, four = (at(doubled.step(x), "computed/it.json", store) for x in (3, 4))
    assert three.payload == 6
    assert four.status is Status.ABSENT
    assert not four.exists()
    assert four.payload == 8
    three.reset_payload()
    assert three.status is Status.ABSENT
    assert three.payload == 6
    assert COUNTED == ["doubled 3", "doubled 4", "doubled 3"]


def test_a_file_that_nobody_recorded_is_no_hit_and_is_not_deleted(store: Store) -> None:
    store.put("computed/it.json", b"1000")
    node = at(doubled.step(3), "computed/it.json", store)
    assert node.status is Status.ABSENT
    assert node.delete() is False
    assert store.get("computed/it.json") == b"1000"
    assert node.payload == 6


def test_a_file_changed_by_hand_is_not_the_one_wanted(store: Store) -> None:
    node = at(doubled.step(3), "computed/it.json", store)
    node.payload
    store.put("computed/it.json", b"1000")
    assert node.status is Status.ABSENT
    node.reset_payload()
    assert node.payload == 6
    store.put("computed/it.json", b"7\n" if store.get("computed/it.json").endswith(b"\n") else b"7")
    with pytest.raises(PayloadCorrupted):
        node.load()
    with pytest.warns(UserWarning, match="doing so now"):
        assert node.load_generate().payload == 6


def test_two_places_of_one_key_are_filled_in_one_run(store: Store) -> None:
    a, b = (at(doubled.step(3), f"computed/{name}.json", store) for name in "ab")
    result = run(a, b, store=store)
    assert sorted(store.list()) == ["computed/a.json", "computed/b.json"]
    assert result[a].payload == result[b].payload == 6
    COUNTED.clear()
    run(a, b, store=store)
    assert COUNTED == []


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_run_fills_places_on_every_executor(executor: str, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first = at(doubled.step(5), "one/first.json", store)
    last = at(plus.step(first), "two/last.json", store)
    result = run(last, store=store, executor=executor)
    assert result[last].payload == 11
    assert sorted(store.list()) == ["one/first.json", "two/last.json"]
    assert {record.key.name for record in result.records.values()} == {"doubled", "plus"}


def test_a_failure_is_that_of_its_own_key(store: Store) -> None:
    @step(io=JsonFileIO())
    def inverse(x: int) -> float:
        return 1 / x

    bad, good = (at(inverse.step(x), "computed/it.json", store) for x in (0, 1))
    with pytest.raises(ZeroDivisionError):
        bad.payload
    assert (bad.status, good.status) == (Status.FAILED, Status.ABSENT)
    assert good.payload == 1.0
    assert good.status is Status.DONE


def test_what_is_put_in_by_hand_is_marked(store: Store) -> None:
    node = at(doubled.step(3), "computed/it.json", store).put(7)
    assert node.record.made == "put"
    again = at(doubled.step(3), "computed/it.json", store)
    assert again.payload == 7
    assert COUNTED == []


PLACE = "computed/it.json"


@step(io=JsonFileIO())
def overtaken(where: str) -> int:
    """While it runs, another process takes over and commits its payload there."""
    store, others = open_store(where), open_store("memory://overtaking")
    if store.url != others.url:
        store.put(f".persistable/placed/{PLACE}.claim", b"{}")
        at(overtaken.step(where), PLACE, others).put(2)
        for path in (PLACE, f".persistable/placed/{PLACE}.record.json"):
            store.put(path, others.get(path))
    return 1


def test_who_has_lost_the_claim_leaves_the_file_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "TTL", 1e-6)
    store = open_store(tmp_path)
    assert at(overtaken.step(str(tmp_path)), PLACE, store).generate().payload == 2
    assert store.get(PLACE) == open_store("memory://overtaking").get(PLACE)


@dataclass
class Nothing:
    path: str


class Outside(Persistable[str, Nothing]):
    """An input that lies in a file of its own."""

    is_external = True
    is_persisted = False

    def _generate_payload(self, **_: Any) -> str:
        return Path(self.params.path).read_text()

    def _node_look(self) -> str:
        return "" if Path(self.params.path).exists() else f"{self.params.path} is gone"


@step
def loud(text: str) -> str:
    return text.upper()


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_an_input_is_read_by_who_needs_it(executor: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("hello")
    source = Outside(path=str(tmp_path / "in.txt"))
    node = loud.step(source)
    result = run(node, store=tmp_path / "data", executor=executor)
    assert result[node].payload == "HELLO"
    assert result.counts == {"done": 1, "reused": 0, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert source.status is Status.DONE
    (tmp_path / "in.txt").unlink()
    assert source.status is Status.ABSENT
    assert "is gone" in source.explain()
    assert run(node, store=tmp_path / "data", executor=executor).counts["reused"] == 1  # nobody needs the input
    result = run(loud.step(source), store=tmp_path / "other", executor=executor, errors="return")
    assert [type(failure.error).__name__ for failure in result.failures] == ["FileNotFoundError"]


KILLED = """
import sys
from persistable import step
from persistable.fileio import JsonFileIO
from persistable.stores import open_store

@step(io=JsonFileIO())
def many(n: int, seed: int) -> list[int]:
    return [seed] * n

store = open_store(sys.argv[1])
print("ready", flush=True)
seed = 0
while True:
    seed += 1
    bound_to(stored_at(many.step(20000, seed), "computed/it.json"), store).payload
"""


@pytest.mark.parametrize("url", ["{}/data", "sqlite:///{}/data.db"])
def test_kill_9_leaves_the_old_the_new_or_nothing(url: str, tmp_path: Path) -> None:
    where = url.format(tmp_path)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    store = open_store(where)
    for number in range(5):
        with subprocess.Popen([sys.executable, str(script), where], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(0.05 + 0.03 * number)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
        paths = [path for path in store.list(".persistable/placed") if path.endswith(".record.json")]
        if paths:
            record = Record.parse(store.get(paths[0]))
            found = record.params
            node = bound_to(stored_at(many.step(20000, found["seed"]), "computed/it.json"), store)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it may have been killed between payload and record
                assert node.payload == [found["seed"]] * 20000


@step(io=JsonFileIO())
def many(n: int, seed: int) -> list[int]:
    return [seed] * n
