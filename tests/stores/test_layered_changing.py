"""What may change at its path, through layers: nobody is served what is not there any more, as long as the layer that decides answers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from placed import stored_at
from store_kinds import opened

from persistable import Status, run, step
from persistable.errors import CorruptPayloadWarning, LayersDisagreeWarning, LayerSkippedWarning
from persistable.fileio import JsonFileIO
from persistable.nodes.binding import bound_to
from persistable.stores import Layer, LayeredStore, LocalStore, MemoryStore, SQLiteStore, Store

made: list[Any] = []
PATH = "computed/x.json"


@step(io=JsonFileIO())
def value(x: str) -> str:
    made.append(x)
    return x


@step(io=JsonFileIO())
def long(x: str, size: int = 2_000_000) -> str:
    made.append(x)
    return x * size


@step
def doubled(text: str) -> str:
    made.append(f"doubled {text[:3]}")
    return text + text


def at(node: Any, store: Store, path: str = PATH) -> Any:
    return bound_to(stored_at(node, path), store)


@pytest.fixture(params=["folder", "sqlite", "s3"])
def team(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made.clear()
    store = opened(request.param, tmp_path, request)
    yield store
    store.close()


@pytest.fixture
def users(team: Store, tmp_path: Path) -> tuple[LayeredStore, LayeredStore]:
    return LayeredStore(tmp_path / "ann", team), LayeredStore(MemoryStore(), tmp_path / "bob", team)


@pytest.mark.parametrize("fn", [value, long])
def test_when_one_changes_what_is_at_a_path_the_other_gets_the_new(users: tuple[LayeredStore, LayeredStore], fn: Any) -> None:
    """Of the same size, so that sizes tell nothing."""
    ann, bob = users
    for text in ("one", "two", "one", "six"):
        assert at(fn.step(x=text), ann).payload[:3] == text
        made.clear()
        for _ in range(2):
            for old in {"one", "two", "six"} - {text}:
                assert at(fn.step(x=old), bob).status is Status.ABSENT
            node = at(fn.step(x=text), bob)
            assert (node.status, node.load().payload[:3]) == (Status.DONE, text)
            assert node.record == at(fn.step(x=text), ann).record
        assert made == []


class Counted(LocalStore):
    """Counts how often bytes are read from it."""

    reads = 0

    def get(self, path: str) -> bytes:
        Counted.reads += 1
        return super().get(path)

    def read(self, path: str) -> Any:
        Counted.reads += 1
        return super().read(path)


def everything(store: Store, path: str) -> list[bytes]:
    """What is at `path`, read in every way."""
    with store.read(path) as file:
        streamed = file.read()
    place = store.local_path(path)
    found = store.stat(path)
    assert place is not None and found is not None and store.exists(path)
    assert found.size == len(streamed)
    return [store.get(path), streamed, place.read_bytes(), *store.get_many([path]).values()]


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_copy_is_served_as_long_as_it_is_one_of_what_is_there(tmp_path: Path, size: int) -> None:
    home = Counted(tmp_path / "home")
    store = LayeredStore(MemoryStore(), tmp_path / "fast", home)
    for text in (b"a", b"b", b"a"):
        home.put("x", text * size)
        assert store.get("x") == text * size
        Counted.reads = 0
        with store.read("x") as file:
            assert file.read() == store.get("x") == text * size
        place = store.local_path("x")
        assert place == tmp_path / "fast" / "x" and place.read_bytes() == text * size
        assert Counted.reads == 0
        assert LayeredStore(tmp_path / "fast", home).get("x") == text * size  # another process
        assert Counted.reads == 0
        assert set(everything(store, "x")) == {text * size}


def test_what_somebody_else_has_written_or_deleted_shows_at_once(users: tuple[LayeredStore, LayeredStore]) -> None:
    ann, bob = users
    for number in range(3):
        data = b"%d" % number * 100
        ann.put("a/x", data)
        ann.put_many({"a/y": data, "a/z": data})
        with ann.write("a/w") as file:
            file.write(data)
        for path in ("a/x", "a/y", "a/z", "a/w"):
            assert set(everything(bob, path)) == {data}
    assert sorted(bob.list("a")) == ["a/w", "a/x", "a/y", "a/z"]
    ann.delete("a/x")
    assert not bob.exists("a/x") and bob.stat("a/x") is None and bob.get_many(["a/x"]) == {}
    assert sorted(bob.list("a")) == ["a/w", "a/y", "a/z"]
    for ask in (bob.get, bob.read):
        with pytest.raises(FileNotFoundError):
            ask("a/x")
    assert bob.create("a/x", b"new") and ann.get("a/x") == b"new"


def test_what_one_has_written_is_not_what_somebody_else_wrote_after(users: tuple[LayeredStore, LayeredStore]) -> None:
    ann, bob = users
    ann.put("x", b"ann")
    bob.put("x", b"bob")
    assert ann.get("x") == bob.get("x") == b"bob"


def test_a_file_put_into_a_fast_layer_by_hand_is_kept_and_counts_where_there_is_no_other(tmp_path: Path) -> None:
    fast, home = LocalStore(tmp_path / "fast"), LocalStore(tmp_path / "home")
    store = LayeredStore(fast, home)
    fast.put("raw/x", b"by hand")
    assert set(everything(store, "raw/x")) == {b"by hand"} and list(store.list("raw")) == ["raw/x"]
    home.put("raw/x", b"of home")
    with pytest.warns(LayersDisagreeWarning, match="put there directly"):
        assert store.get("raw/x") == b"of home"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is told once
        assert store.get("raw/x") == store.get_many(["raw/x"])["raw/x"] == b"of home"
    assert fast.get("raw/x") == b"by hand"
    fast.put("raw/x", b"of home")  # no difference, so that it may serve
    assert store.local_path("raw/x") == tmp_path / "fast" / "raw" / "x"
    fast.put("raw/x", b"changed")  # a copy that somebody edits is none any more
    with pytest.warns(LayersDisagreeWarning):
        assert store.get("raw/x") == b"of home"
    assert fast.get("raw/x") == b"changed"
    store.put("raw/x", b"through")
    assert set(everything(store, "raw/x")) == {b"through"}
    assert fast.get("raw/x") == home.get("raw/x") == b"through"


def test_with_the_home_down_copies_are_served(tmp_path: Path) -> None:
    place = tmp_path / "home.db"
    fast, home = LocalStore(tmp_path / "fast"), SQLiteStore(place)
    store = LayeredStore(fast, home)
    at(value.step(x="one"), store).generate()
    assert at(value.step(x="one"), store).load().payload == "one"
    home.close()
    place.rename(tmp_path / "aside.db")
    place.write_bytes(b"no database" * 1000)
    down = LayeredStore(fast, SQLiteStore(place))
    with pytest.warns(LayerSkippedWarning, match=r"home\.db could not be used"):
        assert at(value.step(x="one"), down).load().payload == "one"
    assert not at(value.step(x="one"), down, "computed/y.json").exists()
    place.unlink()
    (tmp_path / "aside.db").rename(place)
    home.put(PATH, b'"two"')
    assert store.get(PATH) == b'"two"'


def test_a_layer_that_is_only_read_serves_placed_payloads_and_is_overruled_by_the_home(tmp_path: Path, team: Store) -> None:
    at(value.step(x="one"), team).generate()
    fast, mine = LocalStore(tmp_path / "fast"), LocalStore(tmp_path / "mine")
    store = LayeredStore(fast, mine, Layer(team, readonly=True))
    made.clear()
    assert at(value.step(x="one"), store).payload == "one"
    assert at(value.step(x="one"), store).status is Status.DONE and made == []
    assert list(mine.list()) == [] and fast.get(PATH) == team.get(PATH)  # what the home has is its own
    before = team.stat(PATH)
    assert at(value.step(x="two"), store).payload == "two"
    assert mine.exists(PATH) and team.stat(PATH) == before
    made.clear()
    assert at(value.step(x="two"), store).load().payload == "two"
    at(value.step(x="one"), team).generate()
    assert at(value.step(x="two"), store).load().payload == "two"
    mine.delete(PATH)
    with pytest.warns(CorruptPayloadWarning):  # what lies below is of the same size, and not it
        assert at(value.step(x="two"), store).payload == "two"


def test_a_run_on_processes_generates_what_changed_and_only_that(tmp_path: Path) -> None:
    home = tmp_path / "home"
    users = [LayeredStore(tmp_path / name, home) for name in ("ann", "bob")]

    def nodes(store: Store, texts: str) -> list[Any]:
        placed = [at(value.step(x=text), store, f"computed/{number}.json") for number, text in enumerate(texts)]
        return [bound_to(doubled.step(text=node), store) for node in placed]

    def generated(store: Store, texts: str) -> int:
        count: list[Any] = []
        targets = nodes(store, texts)
        result = run(targets, executor="processes", max_workers=2, progress=False, hooks=[count.append])
        assert [result[node].payload for node in targets] == [2 * text for text in texts]
        return sum(type(event).__name__ == "Persisted" for event in count)

    assert generated(users[0], "abcd") == 8
    assert generated(users[1], "abcd") == 0
    assert generated(users[1], "abXd") == 2
    assert at(value.step(x="c"), users[0], "computed/2.json").status is Status.ABSENT
    assert generated(users[0], "abXd") == 0


def test_notes_about_copies_are_shown_to_nobody(users: tuple[LayeredStore, LayeredStore]) -> None:
    ann, bob = users
    ann.put("x", b"1")
    assert bob.get("x") == b"1"
    for store in users:
        assert list(store.list()) == ["x"] and list(store.list(".persistable")) == []
    assert bob.delete("x")
    assert [path for layer in bob.layers for path in layer.store.list(".persistable")] == []


class Fleeting(LocalStore):
    """Somebody removes a copy after it was looked at and before it is read."""

    def get(self, path: str) -> bytes:
        if not path.startswith(".persistable"):
            self.delete(path)
        return super().get(path)


def test_a_copy_that_goes_before_it_is_read_is_read_below(tmp_path: Path) -> None:
    store = LayeredStore(Fleeting(tmp_path / "fast"), LocalStore(tmp_path / "home"))
    store.put("x", b"here")
    for _ in range(3):
        assert store.get("x") == b"here"
    assert store.delete("x")
    with pytest.raises(FileNotFoundError):
        store.get("x")
