"""Layers after processes were killed and bytes were damaged: what is whole is found, and nothing is made again that is whole somewhere."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persistable import Persistable, Status, plan, run
from persistable.errors import CorruptPayloadWarning, LayersDisagreeWarning, PayloadCorrupted
from persistable.fileio import BundleFileIO, NumpyFileIO
from persistable.stores import Layer, LayeredStore, LocalStore

KILL = Path(__file__).parent / "kill_layers.py"
RECORD = ".record.json"
SMALL, LARGE = 10, 200_000
made: list[int] = []


@dataclass
class NumbersParams:
    n: int


class Numbers(Persistable[NDArray[np.int64], NumbersParams]):
    io = NumpyFileIO()

    def _generate_payload(self, **_: Any) -> NDArray[np.int64]:
        made.append(self.params.n)
        return np.arange(self.params.n)


class Parts(Persistable[dict[str, NDArray[np.int64]], NumbersParams]):
    io = BundleFileIO({"a": NumpyFileIO(), "b": NumpyFileIO()})

    def _generate_payload(self, **_: Any) -> dict[str, NDArray[np.int64]]:
        made.append(self.params.n)
        return {name: np.arange(self.params.n) for name in "ab"}


class Above(Persistable[int, NumbersParams]):
    numbers: Numbers

    def _generate_payload(self, **_: Any) -> int:
        return int(self.numbers.payload.sum()) + self.params.n


class Layers:
    """A fast and a slow folder, and the store of both."""

    def __init__(self, root: Path) -> None:
        self.fast, self.slow = LocalStore(root / "fast"), LocalStore(root / "slow")

    @property
    def both(self) -> LayeredStore:
        """Made anew, as in another process."""
        return LayeredStore(self.fast, self.slow)


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    made.clear()
    return Layers(tmp_path)


def flip(store: LocalStore, path: str) -> None:
    place = store.local_path(path)
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    rewrite(place, bytes(data))


def truncate(store: LocalStore, path: str) -> None:
    place = store.local_path(path)
    rewrite(place, place.read_bytes()[:-3])


def rewrite(place: Path, data: bytes) -> None:
    place.chmod(0o644)
    place.write_bytes(data)


@pytest.mark.timeout(600)
def test_killed_at_any_point_leaves_whole_payloads_in_every_layer_and_the_next_read_heals(tmp_path: Path) -> None:
    seed = 1 if os.environ.get("CI") else random.randrange(1_000_000)
    command = [sys.executable, "-W", "ignore", str(KILL), str(tmp_path), "48", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    for act in ("keyed write", "keyed fill", "placed write", "placed fill"):
        assert f"{act} killed" in done.stdout, done.stdout  # else this would show nothing


# --- damaged copies


def by_payload(node: Any) -> Any:
    return node.payload


def by_load(node: Any) -> Any:
    return node.load().payload


def by_load_generate(node: Any) -> Any:
    return node.load_generate().payload


def by_run(node: Any) -> Any:
    assert not plan(node).jobs
    return run(node, progress=False)[node].payload


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("kind", [Numbers, Parts])
@pytest.mark.parametrize("n", [SMALL, LARGE])
@pytest.mark.parametrize("ask", [by_payload, by_load, by_load_generate, by_run])
def test_a_damaged_copy_is_fetched_again(
    layers: Layers, damage: Callable[[LocalStore, str], None], kind: Any, n: int, ask: Callable[[Any], Any]
) -> None:
    record = kind(layers.both, n=n).generate().record
    assert record is not None
    path = record.files[-1].path
    damage(layers.fast, path)
    made.clear()
    with pytest.warns(LayersDisagreeWarning, match=r"fast is damaged, and sound in file:.*slow") as caught:
        payload = ask(kind(layers.both, n=n))
    assert len([each for each in caught if each.category is LayersDisagreeWarning]) == 1
    assert made == []
    for array in payload.values() if kind is Parts else [payload]:
        assert np.array_equal(array, np.arange(n))
    by_load(kind(layers.both, n=n))  # which has filled the fast layer again, with its record
    assert layers.fast.get(path) == layers.slow.get(path)
    assert layers.fast.exists(record.key.path + RECORD)
    assert list(layers.both.differences()) == []


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("ask", [by_payload, by_load, by_load_generate, by_run])
def test_a_damaged_copy_of_a_record_is_fetched_again(
    layers: Layers, damage: Callable[[LocalStore, str], None], ask: Callable[[Any], Any]
) -> None:
    node = Numbers(layers.both, n=SMALL).generate()
    path = node.key.path + RECORD
    damage(layers.fast, path)
    made.clear()
    with pytest.warns(LayersDisagreeWarning, match="is damaged"):
        assert np.array_equal(ask(Numbers(layers.both, n=SMALL)), np.arange(SMALL))
    assert made == []
    by_load(Numbers(layers.both, n=SMALL))
    assert layers.fast.get(path) == layers.slow.get(path)


def test_what_looks_at_a_damaged_copy_finds_the_sound_one(layers: Layers) -> None:
    node = Numbers(layers.both, n=SMALL).generate()
    assert node.record is not None
    for path in (node.key.path + RECORD, node.record.files[0].path):
        truncate(layers.fast, path)
        with pytest.warns(LayersDisagreeWarning):
            assert Numbers(layers.both, n=SMALL).status is Status.DONE
        by_load(Numbers(layers.both, n=SMALL))


def test_processes_of_a_run_fetch_damaged_copies_again(layers: Layers) -> None:
    records = [Numbers(layers.both, n=n).generate().record for n in (SMALL, LARGE)]
    for record in records:
        assert record is not None
        flip(layers.fast, record.files[0].path)
    store = layers.both
    nodes = [Above(store, n=1, numbers=Numbers(store, n=n)) for n in (SMALL, LARGE)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are given in the worker
        result = run(nodes, executor="processes", max_workers=2, progress=False)
    assert [result[node].payload for node in nodes] == [n * (n - 1) // 2 + 1 for n in (SMALL, LARGE)]
    assert [Numbers(layers.slow, n=n).record for n in (SMALL, LARGE)] == records  # none was made again
    for store in (layers.both, layers.fast):
        assert [Numbers(store, n=n).load().record for n in (SMALL, LARGE)] == records


@pytest.mark.parametrize("damage", [flip, truncate])
def test_what_is_damaged_in_the_slow_layer_is_generated_again(layers: Layers, damage: Callable[[LocalStore, str], None]) -> None:
    """Nothing sound is left: that is no matter of copies, and says so in another way."""
    record = Numbers(layers.slow, n=SMALL).generate().record
    assert record is not None
    damage(layers.slow, record.files[0].path)
    with pytest.raises(PayloadCorrupted):
        Numbers(layers.both, n=SMALL).load()
    assert Numbers(layers.both, n=SMALL).status is (Status.CORRUPT if damage is truncate else Status.DONE)
    made.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert np.array_equal(Numbers(layers.both, n=SMALL).payload, np.arange(SMALL))
    assert [each.category for each in caught] == [CorruptPayloadWarning]
    assert made == [SMALL]
    assert list(layers.both.differences()) == []


def test_a_sound_copy_is_served_and_the_damaged_original_is_found(layers: Layers) -> None:
    record = Numbers(layers.both, n=SMALL).generate().record
    assert record is not None
    path = record.files[0].path
    flip(layers.slow, path)
    made.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_load(Numbers(layers.both, n=SMALL))
    assert made == []
    assert list(layers.both.differences()) == []  # it is of the same size
    (difference,) = layers.both.differences(contents=True)
    assert difference.path == path and len(difference.found) == 2


def test_a_damaged_home_is_healed_from_a_layer_that_is_only_read(layers: Layers, tmp_path: Path) -> None:
    team = LocalStore(tmp_path / "team")
    store = LayeredStore(layers.fast, layers.slow, Layer(team, readonly=True))
    record = Numbers(team, n=SMALL).generate().record
    assert record is not None
    by_load(Numbers(store, n=SMALL))
    made.clear()
    for layer in (layers.fast, layers.slow):
        flip(layer, record.files[0].path)
    with pytest.warns(LayersDisagreeWarning):
        by_load(Numbers(store, n=SMALL))
    assert made == []
    assert layers.slow.get(record.files[0].path) == team.get(record.files[0].path)


def test_a_layer_that_is_only_read_is_left_damaged(layers: Layers, tmp_path: Path) -> None:
    Numbers(layers.slow, n=SMALL).generate()
    record = Numbers(layers.slow, n=SMALL).record
    assert record is not None
    flip(layers.slow, record.files[0].path)
    before = (tmp_path / "slow" / record.files[0].path).read_bytes()
    store = LayeredStore(layers.fast, Layer(layers.slow, readonly=True))
    made.clear()
    with pytest.warns(CorruptPayloadWarning):
        assert np.array_equal(Numbers(store, n=SMALL).payload, np.arange(SMALL))
    assert made == [SMALL]
    assert (tmp_path / "slow" / record.files[0].path).read_bytes() == before
    by_load(Numbers(store, n=SMALL))


@pytest.mark.parametrize("damage", [b"", b"[]", b"null", b"[" * 100_000, b'{"a":' * 50_000, b'{"files": 1, "token": []}'], ids=len)
@pytest.mark.parametrize("home", [0, 1, None], ids=["fast", "slow", "through the store"])
def test_what_is_no_record_is_as_good_as_none(tmp_path: Path, home: int | None, damage: bytes) -> None:
    """Whatever lies at the place of a record, in whichever layer: the payload can be had, made again and removed."""
    layers = [LocalStore(tmp_path / "fast"), LocalStore(tmp_path / "slow")]
    store = LayeredStore(*layers)
    node = Numbers(store, n=SMALL)
    node.generate()
    (place,) = [path for path in store.list("") if path.endswith(RECORD)]
    (store if home is None else layers[home]).put(place, damage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Numbers(LayeredStore(*layers), n=SMALL).payload.sum() == 45
        (store if home is None else layers[home]).put(place, damage)
        assert Numbers(LayeredStore(*layers), n=SMALL).generate().payload.sum() == 45
        (store if home is None else layers[home]).put(place, damage)
        Numbers(LayeredStore(*layers), n=SMALL).delete()


def test_the_last_two_files_of_a_record_may_arrive_in_two_threads(layers: Layers) -> None:
    store = layers.both
    node = Parts(store, NumbersParams(SMALL))
    node.generate()
    files = sorted(path for path in layers.slow.list(node.key.name) if not path.endswith(RECORD))
    for path in layers.fast.list(node.key.name):
        layers.fast.delete(path)
    record = node.key.path + RECORD
    store.get(record)
    seen = store._records._arriving[files[0]]

    class Interrupted(set[str]):
        """Another file arrives right after this one has been noted."""

        def discard(self, path: str) -> None:
            super().discard(path)
            if path == files[0]:
                store._records.on_file_copied(0, files[1])

    seen.absent[0] = Interrupted(seen.absent[0])
    for path in files:
        layers.fast.put(path, layers.slow.get(path))
    store._records.on_file_copied(0, files[0])
    assert layers.fast.get(record) == layers.slow.get(record) and not store._records._arriving
