"""A node as Python text: executed, it gives the node of the same key."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import functools
import re
import subprocess
import sys
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
from edits import edited
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline

from catalog import flow
from catalog.test_rebuild import TESTS, every_kind
from persistable import Persistable, Source, open_store
from persistable.catalog.reproduce.script import code_of
from persistable.errors import NotRebuildable
from persistable.fileio import CsvFileIO
from persistable.records import record_access
from persistable.records.record import Record
from persistable.stores import MemoryStore
from persistable.stores.base import Store
from persistable.testing.strategies import values


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "data")


class Colour(enum.Enum):
    RED = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


Point = collections.namedtuple("Point", "x y")


def text_of(record: Record | None, store: Store) -> str:
    assert record is not None
    return code_of(record, store, lambda key: record_access.find_record(store, key))


def executed(text: str) -> Persistable[Any, Any]:
    names: dict[str, Any] = {"__name__": "executed"}
    exec(text, names)
    node: Persistable[Any, Any] = names["node"]
    return node


@pytest.mark.parametrize("number", range(27))
def test_every_kind_of_node(number: int, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSISTABLE_TEST_TOKEN", "open-sesame-4711")
    node = list(every_kind(store))[number].generate()
    again = executed(text_of(node.record, store))
    assert type(again) is type(node)
    assert again.key == node.key
    assert str(again.bind(store).load().payload) == str(node.payload)


@given(values)
def test_whatever_its_params_are(value: Any) -> None:
    store = MemoryStore()
    with store:
        node = flow.total.step(value).generate()
        other = flow.ByAttrs(k=1, values=[value, flow.Optimizer(lr=0.5), {"nested": (value,)}]).generate()
    assert executed(text_of(node.record, store)).key == node.key
    assert executed(text_of(other.record, store)).key == other.key


VALUES: list[Any] = [
    *(Colour.RED, Access.READ | Access.WRITE, Point(1, (2,)), 10**5000, "\ud800", bytearray(b"a"), complex(-0.0, 2), ..., NotImplemented),
    *(
        functools.partial(int, base=2),
        int,
        len,
        str.upper,
        Path,
        np.sin,
        np.float64,
        Colour,
        list[int],
        int | None,
        flow.Points,
        flow.around,
    ),
    dt.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    *(dt.datetime(2020, 1, 1, fold=1), dt.timezone(dt.timedelta(hours=1)), decimal.Decimal("1.50"), Path("a/b")),  # noqa: DTZ001
    *(collections.OrderedDict(b=1), collections.defaultdict(list, {"a": [1]}), re),
    *(np.array([1.5, np.nan, -0.0]), np.zeros((0, 2), "f4"), np.array(3), np.array(["a", "bc"]), np.array([1, "a", None], dtype=object)),
    *(np.float32(0.1), np.datetime64("2020-01-01"), np.array(["2020", "NaT"], dtype="M8[D]"), np.array([1], ">i4"), np.array([1 + 2j])),
    *(pd.Timestamp("2020-01-01", tz="Europe/Berlin"), pd.Timedelta(3, "s"), Ridge(alpha=2.0), Pipeline([("a", Ridge(tol=0.1))])),
    *(pydantic.AnyUrl("https://a.b/c"), flow.MoreParams(3, extra="y"), flow.ModelParams(kay=1, url=None, other=2)),  # type: ignore[call-arg]
]


@pytest.mark.parametrize("value", VALUES, ids=[f"{type(value).__name__} {i}" for i, value in enumerate(VALUES)])
def test_values_of_many_types(value: Any) -> None:
    store = MemoryStore()
    with store:
        node = flow.total.step([value]) if value is not flow.around else flow.total.step(value)
        record = Record.compose(node.key, *facts_of(node))
    text = code_of(record, store, lambda _: None)
    assert executed(text).key == node.key


def facts_of(node: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two parts of a record of what was never generated."""
    from persistable.nodes import provenance
    from persistable.nodes.own_code import code_of_node

    details = {"made": "put", "started": 1.0, "seconds": 0.1, "attempts": 1, "versions": {}, "git_commit": None, "host": "h"}
    return provenance.head_of(node, node.payload_io, code_of_node(node), "00000000", []), {**details, **provenance.facts_of(node)}


@given(
    st.recursive(st.integers(0, 5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=6)
)
def test_nodes_inside_collections_are_made_once(shape: Any) -> None:
    store = MemoryStore()

    def filled(value: Any) -> Any:
        if isinstance(value, int):
            return flow.Points(n=value)
        return [filled(item) for item in value] if isinstance(value, list) else {name: filled(item) for name, item in value.items()}

    with store:
        node = flow.total.step(filled(shape))
        record = Record.compose(node.key, *facts_of(node))
    text = code_of(record, store, lambda _: None)
    again = executed(text)
    assert again.key == node.key
    assert text.count("Points(n=") == len({each.key for each in node.upstream.values()})


def test_it_reads_as_a_person_would_write_it(store: Store) -> None:
    points = flow.Points(store, n=3, optimizer=flow.Optimizer(0.2))
    with store:
        node = flow.fit.step(points, 3, scale=2.0, extra=[flow.Points(n=4)]).generate()
    lines = text_of(node.record, store).splitlines()
    assert lines[0].startswith(f"# {node.key}; node.bind('file:///")
    assert lines[1:] == [
        "from catalog.flow import Optimizer, Points, fit",
        "",
        "points_1 = Points(n=3, optimizer=Optimizer(lr=0.2), size=10)",
        "points_2 = Points(n=4, optimizer=Optimizer(lr=0.1), size=10)",
        "node = fit.step(points=points_1, k=3, scale=2.0, extra=[points_2])",
    ]


def test_variables_take_no_name_that_is_used(store: Store) -> None:
    with store:
        odd = [flow.Points(n=i, payload_name=name) for i, name in enumerate(["node", "list", "class", "a b", "total", "9", "Points", "np"])]
        node = flow.total.step([*odd, flow.aside.step(odd[0]), np.arange(2)]).generate()
    again = executed(text_of(node.record, store))
    assert again.key == node.key


def test_inputs_of_sources_are_told_by_their_content(store: Store, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name)
    with store:
        books = Source(f"{tmp_path}/{{book}}.txt")
        node = flow.total.step(flow.length.over(books)).generate()
        table = flow.length.over(Source(f"{tmp_path}/{{book}}.txt", io=CsvFileIO()))["a"]
        item = flow.length.over(flow.yields.step(2).generate().members)["1"].generate()
    text = text_of(node.record, store)
    assert "book_1 = Input.recorded(\n    'book',\n    {'book': 'a'},\n" in text
    assert executed(text).key == node.key
    record = Record.compose(table.key, *facts_of(table))
    assert executed(code_of(record, store, lambda _: None)).key == table.key
    assert executed(text_of(item.record, store)).bind(store).load().payload == 1


def test_in_a_fresh_process(store: Store, tmp_path: Path) -> None:
    node = flow.Own(store, 3, flow.Points(store, n=2)).generate()
    script = tmp_path / "again.py"
    script.write_text(text_of(node.record, store) + "print(node.key)\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env={"PYTHONPATH": str(TESTS)})
    assert done.stdout.strip() == str(node.key), done.stderr


def test_what_has_no_text_is_named(store: Store) -> None:
    with store:
        node = flow.total.step({"rows": [list(range(3000))]}).generate()
    with pytest.raises(NotRebuildable, match=r"values\.rows\.0: it has 3000 items.*Catalog\.node") as caught:
        text_of(node.record, store)
    assert caught.value.path == "values.rows.0"


def test_classes_of_scripts_are_said_to_be_there(store: Store, tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(
        "import sys\nfrom persistable import open_store, step\n@step\ndef doubled(n: int) -> int: return 2 * n\n"
        "store = open_store(sys.argv[1])\nwith store:\n    made = doubled.step(3).generate()\n"
        "from persistable.catalog.reproduce.script import code_of\ntext = code_of(made.record, store, lambda key: None)\n"
        "exec(text)\nassert node == made\nprint(text)\n"
    )
    said = subprocess.run([sys.executable, str(script), str(store.url)], capture_output=True, text=True)
    assert "# defined in a notebook or script (own.py), so run this where it is: doubled" in said.stdout, said.stderr


def test_a_class_that_has_changed_is_refused(store: Store) -> None:
    module = edited("from persistable import step\n@step\ndef made(n: int = 1) -> int: return n\n")
    with store:
        node = module.made.step(3).generate()
    edited("from persistable import step\n@step\ndef made(m: int = 1) -> int: return m\n")
    with pytest.raises(NotRebuildable, match="takes no 'n' any more"):
        text_of(node.record, store)
