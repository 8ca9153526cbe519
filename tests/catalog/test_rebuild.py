"""A node back from its record alone, with the same key; where that cannot be, an error that says why not."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edits import edited
from hypothesis import given
from hypothesis import strategies as st

from catalog import flow
from persistable import Catalog, Command, HttpGet, Persistable, Secret, Source, any_of, open_store, optional
from persistable.catalog.reproduce.rebuild import node_of
from persistable.errors import InputVanished, NotRebuildable, PayloadUntrusted
from persistable.fileio import CsvFileIO, PickleFileIO
from persistable.nodes.own_code import code_of_node
from persistable.nodes.provenance import facts_of
from persistable.params.encoding import encode
from persistable.records import record_access
from persistable.records.key import Key
from persistable.records.listing import entries
from persistable.records.record import Record
from persistable.stores import MemoryStore
from persistable.stores.base import Store
from persistable.testing.strategies import values

TESTS = Path(__file__).parent.parent


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "data")


def back(record: Record | None, store: Store, **options: Any) -> Persistable[Any, Any]:
    assert record is not None
    return node_of(record, store, lambda key: record_access.find_record(store, key), **options)


def every_kind(store: Store) -> Iterator[Persistable[Any, Any]]:
    points = flow.Points(store, n=3, optimizer=flow.Optimizer(0.2, jobs=7), threads=5)
    other = flow.Points(store, n=4, noise=0.5, size=11)
    yield points
    yield other
    yield flow.Points(store, n=4, payload_name="named")
    yield flow.Points(store, params=flow.MoreParams(3, extra="y"))
    yield flow.ByAttrs(store, k=1, values={"a": (1, {2, 3}), ("x",): np.arange(3)})
    yield flow.ByPydantic(store, params=flow.ModelParams(kay=2, url="https://example.org/x", more=[1]))  # type: ignore[arg-type, call-arg]
    yield flow.ByDict(store, {"a": 1, ("x",): 2}, points=points, many=[points, other], maybe=None)
    yield flow.ByDict(store, {}, points=points, many=[], maybe=other)
    yield flow.ByDict(store, {"params": 1}, points=points, many=[], tracked_persistable_dependencies=[flow.Points(n=9, payload_name="x")])
    yield flow.Named(store, best={"0": points, "b": other})
    yield flow.Anything(store, flow.Optimizer(0.3))
    yield flow.Anything(store, [1, flow.Optimizer()])
    yield flow.Anything(store)
    yield flow.Own(store, 3, points, scale=5)
    yield flow.Own(store.url, 3, dep=points)
    yield flow.TakesParams(flow.PointsParams(2, threads=9), store)
    with store:
        yield flow.fit.step(points, 3, other, 4, scale=2.0, extra=[other], foo=1)
        yield flow.total.step([points, other, flow.aside.step(points)], jobs=4)
        yield flow.total.step({"a": points, "b": [other, 1]})
        yield flow.total.step(optional(points, default=3))
        yield flow.total.step([any_of(points, other), Command("echo {{ n }} > {{ output }}", n=3)])
        yield flow.versioned.step()
        yield flow.versioned.step(b=3)
        yield Command("cat {{ a }} {{ b }} > /dev/null; echo 1,2 > {{ output }}", outputs="t.csv", io=CsvFileIO(), a=points, b=[other])
        yield Command("echo {{ n }} > {{ output }}", n=[1, 2], env={"A": "b", "TOKEN": Secret("PERSISTABLE_TEST_TOKEN"), "C": None})
        yield Command("echo 1 > {{ output.a }}; echo 2 > {{ output.b }}", outputs={"a": "a.json", "b": None}, payload_name="two")
        yield flow.total.step(np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("number", range(27))
def test_every_kind_of_node_comes_back(number: int, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSISTABLE_TEST_TOKEN", "open-sesame-4711")
    nodes = list(every_kind(store))
    assert len(nodes) == 27
    node = nodes[number].generate()
    found = back(node.record, store)
    assert type(found) is type(node)
    assert found.key == node.key
    assert {role: each.key for role, each in found.upstream.items()} == {role: each.key for role, each in node.upstream.items()}
    assert encode(found.params, nodes=[]) == encode(node.params, nodes=[])
    assert found.store is store
    assert all(each.store is store for each in found.upstream.values())
    found.load()
    made = found.bind(MemoryStore()).load_generate()  # upstream lies in the other store
    assert str(made.payload) == str(node.payload)


def test_roles_come_back_as_what_they_were(store: Store) -> None:
    points = flow.Points(store, n=3)
    found: Any = back(flow.ByDict(store, {}, points=points, many=[points]).generate().record, store)
    assert found.many == [points]
    assert found.maybe is None
    assert found.many[0] is found.points  # one node for one key, however often it is met
    found = back(flow.Named(store, best={"0": points}).generate().record, store)
    assert found.best == {"0": points}


def test_untracked_values_come_back_where_the_record_shows_them(store: Store) -> None:
    node = flow.Points(store, n=3, optimizer=flow.Optimizer(jobs=7), threads=5, log=object()).generate()
    found: Any = back(node.record, store)
    assert (found.params.threads, found.params.optimizer.jobs, found.params.log) == (5, 7, None)
    with store:
        again: Any = back(flow.total.step([1], jobs=6).generate().record, store)
    assert again.params.jobs == 6
    http = HttpGet("https://example.org/x", headers={"Authorization": Secret("A_TOKEN")}, timeout=3.0)
    assert http.params.headers
    taken = back(flow.TakesParams(flow.PointsParams(2, threads=9), store).generate().record, store)
    assert taken.payload == 9


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), values, max_size=4))
def test_whatever_its_params_are(params: dict[str, Any]) -> None:
    store = MemoryStore()
    node = flow.ByAttrs(store, k=1, values=params).generate()
    assert back(node.record, store).key == node.key
    with store:
        again = flow.total.step(params).generate()
        assert back(again.record, store).key == again.key


def test_a_chain_of_ten_thousand(store: Store) -> None:
    chain: Any = None
    with MemoryStore() as memory:
        for _ in range(10_000):
            chain = flow.versioned.step(chain)
        records: dict[Key, Record] = {}
        walked = chain
        from persistable.nodes import code
        from persistable.nodes.provenance import head_of
        from persistable.records.record import Record as Written

        while walked is not None:  # generating each would take a minute
            own = code_of_node(walked)
            facts = facts_of(walked)
            facts["lineage"] = {}
            details: dict[str, Any] = {
                "made": "put",
                "started": 1.0,
                "seconds": 0.1,
                "attempts": 1,
                "versions": {},
                "git_commit": None,
                "host": "h",
            }
            head = head_of(walked, walked._node_format(), own, "00000000", [])
            records[walked.key] = Written.compose(walked.key, head, {**details, **facts})
            walked = walked.upstream.get("a")
        assert code.main_name()
        found = node_of(records[chain.key], memory, records.get)
    assert found.key == chain.key


def test_what_has_no_record_any_more_is_taken_from_those_downstream(store: Store) -> None:
    points = flow.Points(store, n=3).generate()
    own = flow.Own(store, 3, points).generate()
    with store:
        node = flow.total.step(flow.aside.step(own) if False else [own, points]).generate()
    record = node.record
    points.delete()
    own.delete()
    assert back(record, store).key == node.key
    node.delete()
    assert node_of(record, store, lambda _: None).generate().payload == node.payload  # type: ignore[arg-type]


def test_what_no_record_tells_is_named(store: Store) -> None:
    chain = flow.Points(store, n=1).generate()
    with store:
        node: Any = chain
        for _ in range(70):
            node = flow.versioned.step(node)
        node.generate()
    record = node.record
    for entry in list(entries(store)):
        record_access.delete(store, entry.place) if entry.key != node.key else None
    with pytest.raises(NotRebuildable, match=r"is gone.*persistable cp") as caught:
        back(record, store)
    assert caught.value.reason == "upstream"
    assert Key.parse(caught.value.path)


def test_a_damaged_record_upstream_is_named(store: Store) -> None:
    with store:
        node: Any = flow.Points(n=1)
        for _ in range(2):
            node = flow.versioned.step(node)
        node.generate()
    record = node.record
    middle = node.upstream["a"].key
    data = record.data.replace(str(middle).encode(), b"x" * 10)  # no longer in the table
    assert data != record.data
    store.put(f"{middle}.record.json", b"{}")
    assert back(record, store).key == node.key  # the table of the record tells it


def test_sources_and_items(store: Store, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name * 3)
    books = Source(f"{tmp_path}/{{book}}.txt")
    with store:
        each = flow.length.over(books)
        node = each["a"].generate()
        found = back(node.record, store)
        assert found.load().payload == 3
        with pytest.raises(InputVanished, match="take the node from its source"):
            found.generate()
        assert found.status == node.status
        gathered = flow.total.step(each).generate()
        assert back(gathered.record, store).load().payload == [3, 3]
        collected = flow.yields.step(3).generate()
        assert dict(back(collected.record, store).load().payload) == {"0": "", "1": "x", "2": "xx"}
        of_item = flow.length.over(collected.members)["2"].generate()
        assert back(of_item.record, store).generate().payload == 2


def test_nodes_of_a_workspace_come_back_at_their_paths(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "1.txt").write_text("hello")
    workspace = flow.Texts(tmp_path)
    assert workspace["1"].summed == [5, 3]
    node = workspace["1"].node("summed")
    again = Catalog(node.store, index=None).node(node.key)
    assert again == node
    assert again.persist_filepath == node.persist_filepath
    assert again.load().payload == [5, 3]
    assert {role: type(each).__name__ for role, each in again.upstream.items()} == {"values.0": "length", "values.1": "GivenSeed"}


def test_in_a_fresh_process(store: Store) -> None:
    node = flow.Own(store, 3, flow.Points(store, n=2)).generate()
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from persistable import Key, open_store\nfrom persistable.catalog.reproduce.rebuild import node_of\n"
        "from persistable.records.record_access import find_record\n"
        "store = open_store(sys.argv[2])\nkey = Key.parse(sys.argv[3])\n"
        "print(node_of(find_record(store, key), store, lambda key: find_record(store, key)).load().payload)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(TESTS), str(store.url), str(node.key)], capture_output=True, text=True)
    assert done.stdout.strip() == "6", done.stderr


# what cannot be rebuilt

CLASS = """
from persistable import Persistable, step
from dataclasses import dataclass
from typing import Any
@dataclass
class P:
    n: int = 1
class Made(Persistable[int, P]):
    version = 1
    def _generate_payload(self, **_: Any) -> int: return 1
@step
def computed(n: int = 1) -> int: return n
"""


@pytest.mark.parametrize(
    ("change", "reason", "path", "words"),
    [
        (("class Made", "class Mode"), "class", "", r"has no Made; did you mean Mode\? Where it was renamed, put @formerly\('Made'\)"),
        (("class Made(Persistable[int, P])", "class Made"), "no node", "", "no class of nodes or step any more"),
        (("n: int = 1\nclass", "m: int = 1\nclass"), "params", "n", r"P has no 'n' any more.*formerly"),
        (("n: int = 1\nclass", "n: int = 1\n    m: int = 2\nclass"), "key", "m", r"param m is 2 now.*omit_when\(2\)"),
        (("n: int = 1\nclass", "n: int = 1\n    m: int = None\nclass"), "key", "m", "param m is None now"),
        (("n: int = 1\nclass", "n: str = 'a'\nclass"), "params", "P.n", "n"),
        (("version = 1", "version = 2"), "key", "version", "its version is 2 now, and was 1"),
        (("version = 1", "other: Persistable[int, Any]"), "params", "other", "needs other"),
        (("    version = 1", "    def __init__(self, n): super().__init__(params=P(n))"), "call", "", "__init__ of its own"),
    ],
)
def test_a_class_that_has_changed(change: tuple[str, str], reason: str, path: str, words: str, store: Store) -> None:
    module = edited(CLASS)
    node = module.Made(store, n=3).generate()
    assert back(node.record, store) == node
    edited(CLASS.replace("version = 1", "payload_name = 'other'"))
    assert back(node.record, store).key == node.key
    edited(CLASS.replace(*change))
    with pytest.raises(NotRebuildable, match=words) as caught:
        back(node.record, store)
    error = caught.value
    assert (error.key, error.reason, error.reference) == (node.key, reason, "edited_flow:Made")
    assert error.path == path or reason != "key"


@pytest.mark.parametrize(
    ("change", "reason", "path", "words"),
    [
        (("def computed", "def compute"), "class", "", "did you mean compute"),
        (("@step", ""), "no node", "", "a function without @step"),
        (("computed(n", "computed(m"), "params", "n", r"takes no 'n' any more.*formerly\('n'\)"),
        (("n: int = 1)", "n: int = 1, *, m: int)"), "params", "m", r"needs m now.*omit_when"),
        (("n: int = 1)", "n: int = 1, m: int = 5)"), "key", "m", r"omit_when\(5\)"),
        (("@step", "@step(version=3)"), "key", "version", "version is 3 now"),
    ],
)
def test_a_step_that_has_changed(change: tuple[str, str], reason: str, path: str, words: str, store: Store) -> None:
    module = edited(CLASS)
    with store:
        node = module.computed.step(3).generate()
    assert back(node.record, store) == node
    edited(CLASS.replace(*change))
    with pytest.raises(NotRebuildable, match=words) as caught:
        back(node.record, store)
    assert (caught.value.reason, caught.value.path) == (reason, path)


def test_a_renamed_class_that_says_so_is_found(store: Store) -> None:
    node = edited(CLASS).Made(store, n=3).generate()
    renamed = CLASS.replace("class Made", "@formerly('Made')\nclass Better").replace("import Persistable", "import formerly, Persistable")
    assert type(back(node.record, store) if edited(renamed) else None).__name__ == "Better"


def test_a_moved_class_is_looked_for(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "moved_pkg"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text(CLASS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    moved_pkg: Any = import_module("moved_pkg")
    node: Any = moved_pkg.Made(store, n=3).generate()
    (package / "inner" / "__init__.py").write_text("raise RuntimeError('never imported')")
    (package / "inner" / "models.py").write_text(CLASS)
    del moved_pkg.Made
    with pytest.raises(NotRebuildable, match=r"moved_pkg\.inner\.models has a Made: import it in moved_pkg as well"):
        back(node.record, store)
    for name in [name for name in sys.modules if name.startswith("moved_pkg")]:
        monkeypatch.delitem(sys.modules, name)
    (package / "__init__.py").write_text("raise RuntimeError('broken')")
    with pytest.raises(NotRebuildable, match="importing moved_pkg raised RuntimeError: broken") as caught:
        back(node.record, store)
    assert caught.value.reason == "module"
    os.rename(package, tmp_path / "elsewhere")
    for name in [name for name in sys.modules if name.startswith("moved_pkg")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(NotRebuildable, match=r"there is no module moved_pkg on the path.*Install the package"):
        back(node.record, store)


SCRIPT = """
import sys
from persistable import open_store, step
@step
def doubled(n: int) -> int: return 2 * n
store = open_store(sys.argv[1])
with store:
    node = doubled.step(3).generate()
from persistable.catalog.reproduce.rebuild import node_of
assert node_of(node.record, store, lambda key: None) == node
print(node.key)
"""


def test_scripts_are_not_imported(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "doubling.py"
    script.write_text(SCRIPT)
    said = subprocess.run([sys.executable, str(script), str(store.url)], capture_output=True, text=True, check=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(NotRebuildable, match=r"defined in a script, doubling\.py, and scripts are not imported") as caught:
        back(record_access.find_record(store, Key.parse(said.stdout.strip())), store)
    assert caught.value.reason == "script"
    assert "doubling" not in sys.modules
    said = subprocess.run([sys.executable, "-c", SCRIPT, str(store.url)], capture_output=True, text=True, check=True)
    with pytest.raises(NotRebuildable, match="in a notebook or at a prompt"):
        back(record_access.find_record(store, Key.parse(said.stdout.strip())), store)


def test_what_is_defined_in_a_function_is_refused(store: Store) -> None:
    with store:
        node = flow.around(3).step().generate()
    with pytest.raises(NotRebuildable, match="defined inside a function"):
        back(node.record, store)


def test_params_of_which_only_a_digest_is_kept_are_named(store: Store) -> None:
    with store:
        node = flow.total.step({"weights": [1, np.arange(10_000)]}).generate()
    with pytest.raises(NotRebuildable, match=r"values\.weights\.1: the value was too large") as caught:
        back(node.record, store)
    assert (caught.value.reason, caught.value.path) == ("params", "values.weights.1")


def test_what_a_constructor_took_and_no_record_can_keep(store: Store) -> None:
    node: Any = flow.Own(store, 3, flow.Points(store, n=1), logger=logging.getLogger("x")).generate()
    assert back(node.record, store) == node  # logger has a default
    edited(OWN)
    node = sys.modules["edited_flow"].Made(object(), store).generate()
    with pytest.raises(NotRebuildable, match=r"made with a builtins\.object as thing, which a record cannot keep") as caught:
        back(node.record, store)
    assert (caught.value.reason, caught.value.path) == ("call", "thing")


OWN = """
from persistable import Persistable
class Made(Persistable[int, None]):
    def __init__(self, thing, store): super().__init__(store)
    def _generate_payload(self, **_): return 1
"""


def test_a_record_runs_nothing_but_the_classes_it_names(store: Store, tmp_path: Path) -> None:
    with store:
        node = flow.total.step(1).generate()
    assert node.record is not None
    marker = tmp_path / "ran"
    calls = [
        {"$estimator": {"class": {"$reference": "os:system"}, "params": {"command": f"touch {marker}"}}},
        {"$estimator": {"class": {"$reference": "subprocess:Popen"}, "params": {"args": ["touch", str(marker)]}}},
        {"$object": "Popen", "$class": "subprocess:Popen", "args": ["touch", str(marker)]},
        {"$flag": {"class": "x", "value": f"touch {marker}"}, "$class": "os:system"},
    ]
    for data in calls:
        crafted = node.record.revise({}, {"params": {"values": data, "jobs": 1}})
        with pytest.raises(NotRebuildable):
            back(crafted, store)
    crafted = node.record.revise({"class": "os:system"}, {})
    with pytest.raises(NotRebuildable, match="no class of nodes or step"):
        back(crafted, store)
    assert not marker.exists()


def test_the_format_of_a_command_is_a_param_and_may_not_run_code(store: Store) -> None:
    node = Command("cp x {{ output }}", io=PickleFileIO(), persist_data_dir=store)
    with store:
        record: Any = flow.total.step([node])
        found = flow.total.step([1]).generate().record
    assert found is not None
    facts = facts_of(record)
    head = {"key": str(record.key)}
    crafted = Record.compose(
        record.key, {**found.head, **head}, {**{k: v for k, v in found.facts().items() if k not in found.head}, **facts}
    )
    with pytest.raises(PayloadUntrusted, match="PickleFileIO"):
        node_of(crafted, store, lambda _: None)
    assert node_of(crafted, store, lambda _: None, trusted=True) == record
