"""Classes and steps of scripts that keep their source in the record, and come back without the script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from persistable import Catalog, open_store, step
from persistable.catalog.reproduce.rebuild import node_of
from persistable.catalog.reproduce.reproduce import reproduce
from persistable.catalog.reproduce.script import code_of
from persistable.errors import NotRebuildable
from persistable.nodes.status import Status
from persistable.records import record_access
from persistable.records.key import Key
from persistable.records.record import Record
from persistable.stores import new_signing_key
from persistable.stores.base import Store

SCRIPT = '''
from __future__ import annotations
import sys
import math as m
import os.path
import numpy as np
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any, TypeVar
from persistable import Persistable, open_store, run, step

SCALE = 3.5
NAMES = {"a": [1, 2]}
Point = namedtuple("Point", "x y")
T = TypeVar("T")
UNUSED = open("no such file") if False else object()


def activation(x):
    """A docstring."""
    return m.sqrt(x) * SCALE  # a comment


def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)


def helper(n):
    assert even(4)
    return np.arange(n) + NAMES["a"][0]


@dataclass
class Optimizer:
    lr: float = 0.1


@dataclass
class PointsParams:
    n: int
    optimizer: Optimizer = field(default_factory=Optimizer)


class Points(Persistable[Any, PointsParams]):
    source = True

    def _generate_payload(self, **_: Any) -> Any:
        return helper(self.params.n)


class Total(Persistable[float, None]):
    source = True
    points: Points

    def _generate_payload(self, **_: Any) -> float:
        return float(self.points.payload.sum())


@step(source=True)
def fit(total: float, act: Any = None) -> float:
    return total + Point(1, 2).x + len(os.path.sep) + (act(4.0) if act else 0.0)


NAMES["a"][0] = 5
if __name__ == "__main__":
    with open_store(sys.argv[1]):
        node = fit.step(Total(points=Points(n=4, optimizer=Optimizer(0.5))), **({"act": activation} if sys.argv[3] == "act" else {}))
        run(node, executor=sys.argv[2])
    print(node.key)
'''


def made(tmp_path: Path, script: str = SCRIPT, executor: str = "inline", act: str = "act") -> tuple[Store, Record]:
    """The store and record of what a script has made, which is gone by then."""
    folder = tmp_path / f"project-{executor}-{act}"
    folder.mkdir()
    file = folder / "train.py"
    file.write_text(script)
    done = subprocess.run([sys.executable, str(file), str(tmp_path / "data"), executor, act], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    file.unlink()
    store = open_store(tmp_path / "data")
    record = record_access.find_record(store, Key.parse(done.stdout.split()[-1]))
    assert record is not None
    return store, record


def back(store: Store, record: Record, **options: Any) -> Any:
    return node_of(record, store, lambda key: record_access.find_record(store, key), **options)


def test_it_comes_back_without_the_script_where_it_is_trusted(tmp_path: Path) -> None:
    store, record = made(tmp_path)
    with pytest.raises(NotRebuildable, match=r"the record keeps the source; that is executed only if its author is trusted") as caught:
        back(store, record)
    assert caught.value.reason == "script"
    node = back(store, record, trusted=True)
    assert (node.status, node.upstream["total"].status) == (Status.DONE, Status.DONE)
    assert node.load().payload == 26 + 1 + 1 + 7.0
    points = node.upstream["total"].upstream["points"]
    assert list(points.generate(persist=False).payload) == [5, 6, 7, 8]  # constants as they were then
    assert type(points.params).__name__ == "PointsParams"
    assert "UNUSED" not in record.source and "T" not in record.source
    assert "train" not in sys.modules


def test_it_can_be_made_again_in_other_processes(tmp_path: Path) -> None:
    store, record = made(tmp_path)
    found = reproduce(back(store, record, trusted=True), recursive=True)
    assert (found.outcome, len(found.nodes)) == ("identical", 3)


def test_what_it_makes_anew_keeps_the_source_too(tmp_path: Path) -> None:
    """Made again from its record, without the script, it comes back once more; so does what is new."""
    store, record = made(tmp_path)
    node = back(store, record, trusted=True)
    again, new = node.generate().record, node.replace(act=None).generate().record
    assert again.source == record.source and "fit" in new.source and "activation" not in new.source
    for each in (again, new):
        assert back(store, each, trusted=True).status is Status.DONE


def test_a_definition_whose_source_was_not_kept_is_told_from_one_that_is_gone(tmp_path: Path) -> None:
    """What it was made from keeps its own; the script may well have it."""
    script = SCRIPT.replace("@step(source=True)\ndef fit", "@step\ndef fit")
    store, record = made(tmp_path, script, act="none")
    with pytest.raises(
        NotRebuildable, match=r"the source of other definitions of train.py, and not of this one: mark it source=True"
    ) as caught:
        back(store, record, trusted=True)
    assert caught.value.reason == "script"


def test_the_source_goes_with_the_work_to_other_processes(tmp_path: Path) -> None:
    store, record = made(tmp_path, executor="processes", act="none")
    assert back(store, record, trusted=True).status is Status.DONE
    here = made(tmp_path, act="none")[1]
    assert here.source == record.source
    assert next(iter(record.source)) == "__future__"


def test_as_text_it_needs_nothing_else(tmp_path: Path) -> None:
    store, record = made(tmp_path)
    text = code_of(record, store, lambda key: record_access.find_record(store, key), trusted=True)
    assert "defined in a notebook or script" not in text
    file = tmp_path / "again.py"
    file.write_text(text + "print(node.key)\n")
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True)
    assert done.stdout.strip() == str(record.key), done.stderr


def test_records_of_two_versions_of_a_script_keep_apart(tmp_path: Path) -> None:
    store, record = made(tmp_path, act="none")
    changed = (
        SCRIPT.replace("n == 0 or", "n < 1 or")
        .replace("Points(n=4", "Points(n=5")
        .replace("def fit(total: float,", "def fit(total: float, b: int = 1,")
    )
    _, other = made(tmp_path, changed, act="act")
    first, second = back(store, record, trusted=True), back(store, other, trusted=True)
    assert first.key == record.key and second.key == other.key
    assert "b" not in first.step.maker.parameters and "b" in second.step.maker.parameters


def test_what_cannot_be_kept_is_said_and_kept_out(tmp_path: Path) -> None:
    script = SCRIPT.replace("SCALE = 3.5", "SCALE = 3.5\nfor SCALE in (1.0, 3.5):\n    pass")
    folder = tmp_path / "warned"  # where the loop is no assignment, and so no source
    folder.mkdir()
    (folder / "train.py").write_text(script)
    command = [sys.executable, str(folder / "train.py"), str(tmp_path / "data"), "inline", "act"]
    done = subprocess.run(command, capture_output=True, text=True)
    record = record_access.find_record(open_store(tmp_path / "data"), Key.parse(done.stdout.split()[-1]))
    assert record is not None
    assert record.source["SCALE"] == "SCALE = 3.5"  # which is what it was in the end
    broken = SCRIPT.replace("NAMES = {", "import io\nNAMES = io.StringIO() or {").replace('+ NAMES["a"][0]', "+ len(str(NAMES))")
    broken = broken.replace('NAMES["a"][0] = 5', "NAMES = open(__file__)\n")
    (folder / "train.py").write_text(broken)
    done = subprocess.run([*command[:2], str(tmp_path / "other"), "inline", "none"], capture_output=True, text=True)
    assert "the source of Points is not kept in its records, as source=True asks: it uses NAMES" in done.stderr


def test_only_who_asks_for_it_keeps_it_and_only_of_a_script(tmp_path: Path) -> None:
    @step(source=True)
    def local(n: int) -> int:
        return n

    record = local.step(1).bind(tmp_path / "data").generate().record
    assert record is not None and record.source == {}
    _, other = made(tmp_path, SCRIPT.replace("@step(source=True)", "@step").replace("source = True", "pass"))
    assert other.source == {}


def test_a_role_may_still_be_called_source(tmp_path: Path) -> None:
    from persistable import Persistable

    class Reads(Persistable[int, None]):
        source: Persistable[int, Any]

        def _generate_payload(self, **_: Any) -> int:
            return self.source.payload

    @step
    def one(source: int = 1) -> int:
        return source

    assert Reads(tmp_path, source=one.step()).payload == 1


def test_source_that_does_not_run_is_told(tmp_path: Path) -> None:
    store, record = made(tmp_path)
    broken = record.revise({}, {"source": {"fit": "raise RuntimeError('no')"}})
    with pytest.raises(NotRebuildable, match="executing the source that its record keeps raised"):
        node_of(broken, store, lambda _: None, trusted=True)


def test_the_catalog_executes_it_where_records_are_signed_or_by_request(tmp_path: Path) -> None:
    store, record = made(tmp_path, act="none")
    catalog = Catalog(store, index=None)
    with pytest.raises(NotRebuildable, match=r"Catalog\.node\(key, trusted=True\)"):
        catalog.node(record.key)
    assert catalog.node(record.key, trusted=True).load().payload == 28.0
    assert "class Points" in catalog.code(record.key, trusted=True)
    private, public = new_signing_key()
    signed = Catalog(open_store(tmp_path / "signed", sign=private, trust=[public]), index=None)
    signed.import_(store, sign=True)
    assert signed.node(record.key).load().payload == 28.0
