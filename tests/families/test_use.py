"""Families in use: run, counted, tabled, drawn, and gone on with after a kill."""

import math
import os
import subprocess
import sys
import textwrap
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import psutil
import pytest
from tests.families import flows
from tests.families.flows import Outliers, Points, add, made_of, number, scaled

from persistable import Family, Source, Status, open_store, plan, run, step
from persistable.errors import PayloadNotFound, RunFailed, StoreUnavailable, UnknownParam
from persistable.records.claims import acquire
from persistable.stores import SQLiteStore, Store


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Store]:
    """The store of nodes that name none: a folder."""
    with open_store(tmp_path / "store") as store:
        yield store


def kept(store: Store) -> list[Path]:
    """The files of the store."""
    place = store.local_path("x")
    assert place is not None
    return [path for path in place.parent.rglob("*") if path.is_file()]


def sweep() -> Family[float]:
    return Outliers.over(k=[1.0, -1.0, 3.0], points=Points.over(n=[10, 100]))


def test_run_plan_and_payloads() -> None:
    family = add.over(a=number.over(n=[1, 2]), b=[10, 20])
    assert plan(family).counts == family.plan().counts == {"generate": 6}
    result = run(family)
    assert result.counts["done"] == 6
    assert {key: node.payload for key, node in family.items()} == {(1, 10): 11, (1, 20): 21, (2, 10): 12, (2, 20): 22}
    assert result[family[1, 20]].payload == 21
    assert family.run().counts == {**result.counts, "done": 0, "reused": 4}
    assert run({"x": [family.sel(b=[20]), family[1, 10]]}, executor="threads").counts["reused"] == 3


def test_on_processes() -> None:
    cloudpickle.register_pickle_by_value(flows)
    try:
        family = add.over(a=number.over(n=[1, 2]), b=[10, 20])
        family.run(executor="processes", max_workers=2)
        assert [node.load().payload for node in family.values()] == [11, 21, 12, 22]
    finally:
        cloudpickle.unregister_pickle_by_value(flows)


def test_failures_stay_values_and_the_rest_is_done() -> None:
    family = sweep()
    with pytest.raises(RunFailed) as caught:
        run(family)
    assert len(caught.value.result.failures) == 2
    assert family.status() == {Status.DONE: 4, Status.FAILED: 2}
    frame = family.to_frame()
    assert list(frame) == ["key", "k", "n", "status", "error", "payload"]
    assert frame["key"].tolist() == [str(node.key) for node in family.values()]
    assert frame["status"].tolist() == ["done", "done", "failed", "failed", "done", "done"]
    assert frame["error"].tolist() == [None, None, "ValueError: k is -1.0", "ValueError: k is -1.0", None, None]
    assert frame["payload"].tolist()[:2] == [10.0, 100.0] and frame["payload"].isna().tolist() == [False, False, True, True, False, False]
    assert frame["k"].dtype == float and frame["n"].dtype == int and frame["payload"].dtype == float
    assert run(family, failed="skip", errors="return").counts["done"] == 0


def test_status_tells_what_each_member_tells(store: Store) -> None:
    fails = number.over(n=[1, 2, 3, 4, 5], fail_at=2)
    family = add.over(a=fails, b=[0, 1])
    run(family.sel(n=[1, 2, 3]), errors="return")
    next(file for file in kept(store) if file.name.startswith(family[1, 0].key.digest) and file.suffix == ".pickle").unlink()
    next(file for file in kept(store) if file.name == f"{family[3, 0].key.digest}.record.json").write_bytes(b"no record")
    claim = acquire(store, family[4, 0].key.path, lambda: False)
    assert claim is not None
    try:
        told = {key: node.status for key, node in family.items()}
        assert set(told.values()) == {Status.DONE, Status.BLOCKED, Status.CORRUPT, Status.RUNNING, Status.ABSENT}
        assert [Status(word) for word in family.to_frame(payload=False)["status"]] == list(told.values())
        assert family.status() == {status: list(told.values()).count(status) for status in told.values()}
        assert fails.status() == {Status.DONE: 2, Status.FAILED: 1, Status.ABSENT: 2}
    finally:
        claim.release()


class CountingStore(SQLiteStore):
    calls = 0

    def __getattribute__(self, name: str) -> Any:
        if name in ("get", "get_many", "get_with_neighbours", "exists", "stat", "stat_many", "list", "read"):
            type(self).calls += 1
        return super().__getattribute__(name)


def test_status_asks_the_store_for_many_at_once(tmp_path: Path) -> None:
    store = CountingStore(tmp_path / "families.db")
    family = number.over(n=range(2500)).bind(store)
    CountingStore.calls = 0
    assert family.status() == {Status.ABSENT: 2500}
    assert CountingStore.calls == 1 + 3 * 3  # its format; what is there of all; records, failures and claims of each thousand that is not


def test_changed_code_is_stale(tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    told: list[str] = []
    for body in ("n + 1", "n + 2"):
        script.write_text(
            "from persistable import run, step\n\n@step\ndef vary(n):\n    return " + body + "\n\n"
            "family = vary.over([1, 2])\n"
            "print(dict(family.status()), [node.status.value for node in family.values()])\nrun(family.sel(n=[1]))\n"
        )
        done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        told.append(done.stdout.strip())
    assert told == [
        "{<Status.ABSENT: 'absent'>: 2} ['absent', 'absent']",
        "{<Status.STALE: 'stale'>: 1, <Status.ABSENT: 'absent'>: 1} ['stale', 'absent']",
    ]


# tables


def test_dicts_have_a_column_for_each_entry() -> None:
    family = scaled.over(Points.over(n=[3, 4]), factor=[1, 2])
    run(family.sel(n=4))
    frame = family.to_frame()
    assert list(frame) == ["key", "n", "factor", "status", "error", "total", "payload.factor"]
    assert frame["total"].tolist()[2:] == [6.0, 12.0] and frame["total"].isna().tolist() == [True, True, False, False]
    assert "total" not in family.to_frame(payload=False)
    assert family.to_frame(payload=True)["payload"].tolist()[2:] == [{"total": 6.0, "factor": 1}, {"total": 12.0, "factor": 2}]


def test_other_payloads_are_left_out_unless_asked_for() -> None:
    family = made_of.over("x", size=[1, 2])
    run(family)
    assert list(family.to_frame()) == ["key", "size", "status", "error"]
    assert family.to_frame(payload=True)["payload"].tolist() == [("x", 1), ("x", 2)]


@step
def scalar(kind: str) -> Any:
    return {"numpy": np.float32(2.5), "text": "t", "none": None, "truth": True}[kind]


def test_numpy_scalars_text_and_none_are_scalars() -> None:
    family = scalar.over(["numpy", "text", "none", "truth"])
    run(family)
    assert family.to_frame()["payload"].tolist() == [2.5, "t", None, True]


@step
def status_of(status: int, key: str = "a") -> int:
    return status


def test_axes_of_taken_names_are_told_apart() -> None:
    assert list(status_of.over([1], ["a"]).to_frame()) == ["key", "axis.status", "axis.key", "status", "error"]


def test_a_damaged_payload_is_a_value_too(store: Store) -> None:
    family = number.over(n=[1, 2])
    run(family)
    path = next(file for file in kept(store) if file.suffix == ".pickle")
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    assert sorted(family.to_frame()["status"]) == ["corrupt", "done"]


# the best


def test_best_is_the_member_of_the_largest_or_smallest_payload() -> None:
    family = Outliers.over(k=[1.0, 3.0, 2.0], points=Points.over(n=[10, 100]))
    with pytest.raises(PayloadNotFound, match=r"6 of 6 members of outliers have no stored payload \(6 absent\)"):
        family.best()
    run(family)
    assert family.best().key == family[3.0, 100].key
    assert family.best(max=False).key == family[1.0, 10].key
    assert family.best(by=lambda payload: -abs(payload - 20)).key == family[2.0, 10].key
    dicts = scaled.over(Points.over(n=[3, 4]), factor=[1, 2])
    run(dicts)
    assert dicts.best(by="total").key == dicts[4, 2].key
    with pytest.raises(TypeError, match="by='name'"):
        dicts.best()
    with pytest.raises(PayloadNotFound, match="no members"):
        number.over(n=[]).best()


@step
def value(x: float) -> float:
    return x


def test_nan_is_never_best_and_the_first_of_equals_is() -> None:
    family = Family.of({name: value.step(x) for name, x in {"nan": float("nan"), "a": 1.0, "b": 1.0 + 0.0}.items()})
    run(family)
    assert family.best() is family["a"] and family.best(max=False) is family["a"]
    with pytest.raises(ValueError, match="every member of value is NaN"):
        family.sel(name=["nan"]).best()


# pictures


def picture(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def test_a_matrix_of_any_two_axes() -> None:
    family = add.over(a=[1, 2, 3], b=[10, 20], c=[0, 5])
    run(family.sel(a=[1, 2], b=10))
    matrix = family.matrix("a", "b")
    assert (list(matrix.columns), list(matrix.rows)) == ([1, 2, 3], [10, 20])
    assert matrix.cells[0] == [{Status.DONE: 2}, {Status.DONE: 2}, {Status.ABSENT: 2}] and matrix.values is None
    svg = picture(matrix.svg())
    tips = [title.text for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert "a=2, b=10: 2 done" in tips and "a=3, b=20: 2 absent" in tips and len(tips) == 7
    assert family.matrix().x == "c" and family.matrix().y == "b" and family.matrix(y="c").x == "b"
    assert family.matrix("a", "b", by=True).values == [[13.5, 14.5, None], [None, None, None]]
    by_value = picture(family.matrix("a", "b", by=True).svg())
    texts = [text.text for text in by_value.iter("{http://www.w3.org/2000/svg}text") if text.text]
    assert texts.count("13.5") == texts.count("14.5") == 2  # in its cell, and at its end of the scale
    with pytest.raises(UnknownParam, match="no axis 'q'"):
        family.matrix("q")
    with pytest.raises(ValueError, match="two axes"):
        family.matrix("a", "a")


def test_large_axes_are_cut_and_what_is_said_is_escaped() -> None:
    family = made_of.over([f"<b>{place}&" for place in range(80)], size=range(1000))
    matrix = family.matrix()
    assert len(matrix.columns) == len(matrix.rows) == 50 and "950 more size" in matrix.svg() and "<b>" not in matrix.svg()
    picture(matrix.svg())
    assert "80\N{NARROW NO-BREAK SPACE}000 members" in family._repr_html_()


def test_a_matrix_of_numbers_without_a_sum() -> None:
    @step
    def extreme(number: int, fold: int, side: int) -> float:
        return [math.inf, -math.inf, 1e308, 1e308][number]

    family = extreme.over(number=[0, 1, 2, 3], fold=[0], side=[0])
    run(family)
    for numbers, mean in (([0, 1], "nan"), ([2, 3], "1e+308"), ([0, 2], "inf")):
        matrix = family.sel(number=numbers).matrix("fold", "side", by=True)
        assert repr(matrix.values) == f"[[{mean}]]"
        picture(matrix.svg())


def test_inputs_and_items_are_read_where_they_are(tmp_path: Path) -> None:
    @step
    def parts(n: int) -> Any:
        yield from ((f"k{i}", i) for i in range(n))

    collecting = parts.step(3)
    run(collecting)
    for name in "abc":
        (tmp_path / f"{name}.json").write_text(str("abc".index(name)))
    for family in (collecting.members, Source(str(tmp_path / "{file}.json")), Source({"a": 0, "b": 1, "c": 2})):
        assert [payload for _, payload in family.payloads()] == [0, 1, 2] and family.best().payload == 2
        assert family.matrix(by=True).values == [[0.0, 1.0, 2.0]]
        frame = family.to_frame(payload=True)
        assert frame["status"].tolist() == ["done"] * 3 and frame["payload"].tolist() == [0, 1, 2]
        assert "payload" not in family.to_frame() and family.to_frame()["status"].tolist() == ["done"] * 3  # it may be large
    source = Source(str(tmp_path / "{file}.json"))
    list(source.nodes)
    (tmp_path / "b.json").write_text("[")
    frame = source.to_frame(payload=True)
    assert frame["status"].tolist() == ["done", "corrupt", "done"] and "b.json" in frame["error"][1]


def test_an_entry_that_no_payload_has_is_named() -> None:
    @step
    def scores(n: int) -> dict[str, float]:
        return {"accuracy": n / 2, "loss": 1.0}

    family = scores.over(n=[1, 2])
    run(family)
    for ask in (family.best, family.matrix, lambda by: family.plot(y=by)):
        with pytest.raises(UnknownParam, match="no entry 'acc'; it has accuracy, loss"):
            ask(by="acc")


def test_in_a_notebook_it_shows_axes_counts_and_the_matrix() -> None:
    family = sweep()
    run(family, errors="return")
    html = family._repr_html_()
    assert "outliers" in html and "6 members; 4 done, 2 failed" in html and "n=10, k=-1: failed" in html
    assert "one member" in repr(scaled.over(1)) and "1 member" in scaled.over(1)._repr_html_()
    assert "n=1: absent" in number.over(n=[1])._repr_html_()


class DownStore(SQLiteStore):
    def get_many(self, paths: Any) -> Any:
        raise StoreUnavailable("nobody answers", url=self.url, path="")


def test_a_store_that_is_down_leaves_the_axes(tmp_path: Path) -> None:
    family = number.over(n=[1, 2]).bind(DownStore(tmp_path / "down.db"))
    assert "2 members<" in family._repr_html_()
    with pytest.raises(StoreUnavailable):
        family.status()


def test_its_lineage_puts_like_members_into_one_box() -> None:
    assert number.over(n=range(100)).lineage().text().split() == ["number", "\N{MULTIPLICATION SIGN}", "100"]


# killed, and gone on with

SCRIPT = """
    import os, sys, time
    from persistable import open_store, run, step

    def mark(text):
        fd = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, f"{text}\\n".encode())
        os.close(fd)

    @step
    def source(n):
        mark(f"source {n}")
        return n

    @step
    def product(n, factor):
        if (n, factor) == (3, 20) and os.environ.get("WAIT"):
            mark("waits")
            time.sleep(600)
        mark(f"product {n} {factor}")
        return n * factor

    with open_store(sys.argv[1]):
        family = product.over(source.over(n=range(6)), factor=[10, 20])
        before = family.status()
        run(family, executor=sys.argv[2], max_workers=2)
        print([node.payload for node in family.values()])
"""


def _performed(log: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in log.read_text().splitlines() if line != "waits")


def _committed(folder: Path, url: str) -> Counter[str]:
    with open_store(f"sqlite:///{folder}/store.db" if url.startswith("sqlite") else folder / url) as store:
        return Counter(path.partition("/")[0] for path in store.list() if path.endswith(".record.json"))


def gone(mark: str, timeout: float = 60) -> None:
    """Wait until the worker processes are dead too: they die with their parent, but a moment later, and go on until then."""
    until = time.monotonic() + timeout
    for process in psutil.process_iter():
        try:
            if process.environ().get("KILLED") != mark:
                continue
        except (psutil.Error, OSError):  # it is gone, or somebody else's
            continue
        process.wait(max(0.1, until - time.monotonic()))


@pytest.mark.parametrize(("url", "executor"), [("store", "inline"), ("sqlite:///store.db", "inline"), ("store", "processes")])
def test_a_killed_run_is_gone_on_with_and_nothing_is_done_twice(tmp_path: Path, url: str, executor: str) -> None:
    script, log = tmp_path / "flow.py", tmp_path / "log"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(script), url, executor]
    killed = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "WAIT": "1", "KILLED": str(tmp_path)}, start_new_session=True)
    try:
        until = time.monotonic() + 90
        while time.monotonic() < until and killed.poll() is None and not (log.exists() and "waits" in log.read_text().splitlines()):
            time.sleep(0.02)
        assert killed.poll() is None and "waits" in log.read_text()
        if executor == "inline":  # what is finished is committed in a moment, although the next one takes long
            while time.monotonic() < until and _committed(tmp_path, url) != _performed(log):
                time.sleep(0.02)
    finally:
        os.killpg(killed.pid, 9)
        killed.wait()
        gone(str(tmp_path))
    before = _performed(log)
    stored = _committed(tmp_path, url)
    assert stored["source"] > 0

    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "WAIT": ""}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([n * factor for n in range(6) for factor in (10, 20)])
    after = _performed(log)
    assert after["source"] - before["source"] == 6 - stored["source"]
    assert after["product"] - before["product"] == 12 - stored["product"]
    assert executor != "inline" or (after["source"], after["product"]) == (6, 12)
