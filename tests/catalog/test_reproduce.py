"""Stored payloads made again and compared; nothing is stored meanwhile."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edits import edited

from catalog import flow
from persistable import Persistable, Source, open_store, step
from persistable.catalog.reproduce.rebuild import node_of
from persistable.catalog.reproduce.reproduce import Reproduction, impossible, other_versions, reproduce
from persistable.errors import NotRebuildable
from persistable.fileio import NumpyFileIO, PickleFileIO
from persistable.records import record_access
from persistable.stores import LocalStore, MemoryStore
from persistable.stores.base import Store


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    found = open_store(tmp_path / "data")
    assert isinstance(found, LocalStore)
    return found


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests at work at the same time leave their folders elsewhere."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def content(store: LocalStore) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path(store.root).rglob("*")) if path.is_file()}


def again(node: Any, *, executor: str = "inline", **options: Any) -> Reproduction:
    """From its record alone, with a store that stays as it was and a clean temporary folder; here, for a process takes a second."""
    before = content(node.store) if isinstance(node.store, LocalStore) else None
    store = node.store
    found = reproduce(node_of(node.record, store, lambda key: record_access.find_record(store, key)), executor=executor, **options)
    if before is not None:
        assert content(node.store) == before
    assert not [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("persistable-again-")]
    return found


@step(io=NumpyFileIO())
def noise(n: int, seeded: bool = True) -> np.ndarray:
    return np.random.default_rng(0 if seeded else None).random(n)


@step
def scaled(values: Any, by: float = 2.0) -> Any:
    return values * by


@step(persist=False)
def shifted(values: Any) -> Any:
    return values + 1


@step
def told_process() -> tuple[int, dict[str, float]]:
    return os.getpid() and 1, {"b": 1.0, "a": 2.0}


@step
def outside(path: str) -> Any:
    return json.loads(Path(path).read_text())


@step
def pid() -> int:
    return os.getpid()


@step
def items(n: int, offset: int = 0) -> Any:
    for number in range(n):
        yield number, np.full(3, number + offset)


def test_identical_alone_and_from_the_sources_on(store: LocalStore) -> None:
    with store:
        node = scaled.step(shifted.step(noise.step(10)))
        node.run()
        found = again(node)
        assert (found.outcome, found.first, len(found.nodes)) == ("identical", None, 1)
        assert found.why.endswith(": the same bytes")
        whole = again(node, recursive=True, executor="processes")
        assert (whole.outcome, whole.first) == ("identical", None)
        assert [each.key.name for each in whole.nodes] == ["noise", "scaled"]
        assert "(2 nodes made again)" in whole.why
        assert str(whole).startswith("identical: made again in ")


def test_it_is_made_in_another_process(store: LocalStore) -> None:
    with store:
        node = pid.step().generate()
    found = again(node, executor="processes")
    assert found.outcome == "different"
    assert found.why.startswith(f"{os.getpid()}, ")


def test_unseeded_randomness_is_named_and_so_is_the_first_node_that_diverges(store: LocalStore) -> None:
    with store:
        source = noise.step(10, seeded=False)
        node = scaled.step(shifted.step(source))
        node.run()
        assert again(node).outcome == "identical"  # from what is stored
        found = again(node, recursive=True)
    assert (found.outcome, found.first) == ("different", source.key)
    assert [each.outcome for each in found.nodes] == ["different", "different"]
    assert found.why.startswith(f"noise(n=10, seeded=False) [{source.key}] is different: 10 of 10 values differ, by up to ")
    assert "Two new generations differ from each other as well: it is made with unseeded randomness" in found.why
    assert "Two new" not in found.nodes[1].why


def test_equal_within_a_tolerance(store: LocalStore, tmp_path: Path) -> None:
    file = tmp_path / "value.json"
    file.write_text("[1.0, 2.0]")
    with store:
        node = outside.step(str(file)).generate()
    file.write_text("[1.0, 2.0000001]")
    found = again(node, rtol=1e-6)
    assert (found.outcome, found.first) == ("equal", None)
    assert found.why.startswith("within rtol=1e-06, atol=0: [1]: 2.0, 2.0000001")
    other = again(node)
    assert (other.outcome, other.first) == ("different", node.key)
    assert "Its code and all versions are the same, and two new generations agree" in other.why
    with pytest.raises(ValueError, match="0 or more"):
        again(node, atol=-1)


def test_other_bytes_of_the_same_value_are_identical(store: LocalStore) -> None:
    with store:
        node = told_process.step().generate()
    record = node.record
    assert record is not None
    path = Path(store.root) / record.files[0].path
    io = PickleFileIO(compress="zstd")
    path.write_bytes(io.dumps(node.payload))
    fact = record.files[0]
    data = path.read_bytes()
    from blake3 import blake3

    files = [[fact.part, fact.path, len(data), blake3(data).hexdigest()]]
    store.put(f"{node.key}.record.json", record.revise({"files": files, "io": io.spec()}, {}).to_bytes())
    found = again(node)
    assert (found.outcome, found.why.endswith(": the same value, dtype and type")) == ("identical", True)


CODE = """
from persistable import step
@step
def made(n: int) -> int: return n
@step
def used(made: int) -> int: return made
"""


def test_changed_code_is_named(store: LocalStore) -> None:
    module = edited(CODE)
    with store:
        node = module.used.step(module.made.step(3))
        node.run()
    module = edited(CODE.replace("return n", "return n + 1"))
    found = again(node.upstream["made"])
    assert (found.outcome, found.first) == ("different", node.upstream["made"].key)
    assert found.why == "3, 4. The code has changed since: changed: made"
    whole = again(node, recursive=True)
    assert whole.first == node.upstream["made"].key
    edited(CODE.replace("return n", "return n + 0"))
    found = again(node.upstream["made"])
    assert found.outcome == "identical"
    assert found.why.endswith("the same bytes, though its code has changed since: changed: made")


def test_other_versions_are_named(store: LocalStore, tmp_path: Path) -> None:
    file = tmp_path / "value.json"
    file.write_text("1")
    with store:
        node = outside.step(str(file)).generate()
    file.write_text("2")
    record = node.record
    assert record is not None
    versions = {**record.versions, "numpy": "0.1", "no-such-package": "3"}
    store.put(f"{node.key}.record.json", record.revise({}, {"versions": versions}).to_bytes())
    found = again(node)
    assert f"Versions are others: numpy 0.1 then, {np.__version__} now, no-such-package 3 then, not installed now" in found.why
    assert other_versions({"python": sys.version.split()[0]}) == {}


def test_what_cannot_be_made_again(store: LocalStore, tmp_path: Path) -> None:
    file = tmp_path / "value.json"
    file.write_text("1")
    with store:
        node = outside.step(str(file))
        then = scaled.step(node)
        then.run()
        file.unlink()
        assert again(then).outcome == "identical"
        found = again(then, recursive=True)
    assert (found.outcome, found.first) == ("impossible", node.key)
    assert "it cannot be generated now: FileNotFoundError" in found.why
    assert [each.outcome for each in found.nodes] == ["impossible", "impossible"]
    assert found.nodes[1].why == "what it needs could not be generated"
    with store:
        by_hand = noise.step(3).put(np.zeros(3))
        missing = reproduce(noise.step(99), executor="inline")
        of_hand = again(scaled.step(by_hand).generate(), recursive=True)
    assert again(by_hand).why == "it was put in by hand, so nothing says how it is made"
    assert (missing.outcome, missing.why) == ("impossible", "there is no record of it to compare with")
    assert (of_hand.outcome, len(of_hand.nodes)) == ("identical", 1)  # what was put in is an input
    error = NotRebuildable("no module flows", key=node.key, reason="module", reference="flows:made", path="", found=None)
    assert str(impossible(node.key, error)) == "impossible: no module flows"


def test_missing_inputs_are_named(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with store:
        node = flow.length.over(Source(f"{tmp_path}/{{book}}.txt"))["a"].generate()
    assert reproduce(node, executor="inline").outcome == "identical"  # this node knows where its input lies
    found = again(node)  # the record does not
    assert found.outcome == "impossible"
    assert found.why.startswith("an input is not there as it was: InputVanished: the input book a is known from a record")
    (tmp_path / "a.txt").write_text("other")
    assert "InputChanged" in reproduce(node, executor="inline").why


def test_what_is_not_stored_any_more_is_made_as_well(store: LocalStore) -> None:
    with store:
        source = noise.step(10)
        node = scaled.step(source)
        node.run()
    source.delete()
    found = again(node)
    assert (found.outcome, len(found.nodes)) == ("identical", 1)
    assert not source.exists()


def test_where_only_the_record_is_left_digests_decide(store: LocalStore, tmp_path: Path) -> None:
    file = tmp_path / "value.json"
    file.write_text("1")
    with store:
        node = outside.step(str(file)).generate()
    record = node.record
    assert record is not None
    (Path(store.root) / record.files[0].path).unlink()
    assert again(node).outcome == "identical"
    file.write_text("2")
    found = again(node)
    assert (found.outcome, found.first) == ("impossible", node.key)
    assert "the payload is not stored any more" in found.why


def test_a_damaged_payload_and_a_damaged_record(store: LocalStore) -> None:
    with store:
        node = told_process.step().generate()
        other = noise.step(3, seeded=False).generate()
    record = other.record
    assert record is not None
    path = Path(store.root) / record.files[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    found = again(other)
    assert (found.outcome, "the stored payload cannot be read" in found.why) == ("impossible", True)
    store.put(f"{node.key}.record.json", b"{}")
    assert "damaged" in reproduce(node, executor="inline").why


def test_collected_items(store: LocalStore) -> None:
    with store:
        node = items.step(3).generate()
        member = scaled.over(node.members)[1].generate()
    assert again(node).outcome == "identical"
    found = again(member, recursive=True)
    assert (found.outcome, [each.key.name for each in found.nodes]) == ("identical", ["items", "scaled"])


def test_a_store_in_memory(tmp_path: Path) -> None:
    with MemoryStore():
        node = scaled.step(noise.step(3))
        node.run()
        found = again(node, recursive=True, executor="processes")
    assert found.outcome == "identical"
    assert found.why.endswith("made in this process, which alone knows the store")


def test_it_shows_in_a_notebook(store: LocalStore) -> None:
    with store:
        node = scaled.step(noise.step(3, seeded=False))
        node.run()
        found = again(node, recursive=True)
    page = found._repr_html_()
    assert "noise(n=3, seeded=False)" in page and "different" in page and str(node.key) in page
    assert repr(found).startswith(f"<Reproduction of {node.key}: different; ")


class Fails(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        if "persistable-again-" in str(self.store.url):
            os._exit(3)
        return 1


def test_a_process_that_dies_is_told(store: Store) -> None:
    node = Fails(store).generate()
    found = again(node, executor="processes")
    assert found.outcome == "impossible"
    assert "WorkerDied" in found.why
