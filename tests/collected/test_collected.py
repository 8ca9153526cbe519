"""Payloads of many items: committed one by one, sealed, gone on with, loaded one by one."""

import pickle
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kinds import each_store
from tests.collected.flows import Words, letters, made

from persistable import Collected, Status, by_content, committed, open_store, plan, run, step
from persistable.errors import (
    DuplicateItem,
    InvalidName,
    PayloadCorrupted,
    PayloadNotFound,
    PayloadNotRepresentable,
    StaleCodeWarning,
    UnknownMember,
)
from persistable.fileio import CsvFileIO, FolderFileIO, JsonFileIO, NumpyFileIO
from persistable.nodes import item_writer
from persistable.nodes.binding import bound_to
from persistable.nodes.status import states_in
from persistable.records import heartbeat
from persistable.records.items import checked, stem
from persistable.stores import Store

store = each_store("folder", "sqlite", "memory", "layers", "s3", "gcs")


def contents(payload: Any) -> dict[Any, Any]:
    return {key: payload[key] for key in payload}


def test_what_is_yielded_is_a_mapping_in_that_order_at_first_and_later(store: Store) -> None:
    node = letters.step("cab")
    first = node.payload
    assert list(first) == ["0-c", "1-a", "2-b"] and contents(first) == {"0-c": [], "1-a": ["a"], "2-b": ["b", "b"]}
    later = letters.step("cab").load().payload
    assert isinstance(first, Collected) and type(later) is type(first)
    assert later == first and list(later.items()) == list(first.items()) and len(later) == 3
    assert node.status is Status.DONE and later == {"0-c": [], "1-a": ["a"], "2-b": ["b", "b"]}
    assert later != {"0-c": [], "1-a": ["a"]} and later != letters.step("cat").payload
    assert node.record is not None and node.record.size > sum(later.sizes.values()) > 0


def test_a_class_yields_as_well(store: Store) -> None:
    words = Words(text="to be or")
    assert dict(words.payload) == {0: "to", 1: "be", 2: "or"}
    assert list(words.committed) == [0, 1, 2]


def test_an_interrupted_attempt_is_gone_on_with(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    node = letters.step("abcde", log=str(log), fail_at="d")
    with pytest.raises(ValueError, match="no d") as raised:
        node.payload
    assert any("3 items are committed" in note for note in raised.value.__notes__)
    assert node.status is Status.FAILED and list(node.committed) == ["0-a", "1-b", "2-c"]
    assert not node.exists() and made(log) == ["0-a", "1-b", "2-c"]
    Path(f"{log}.mended").touch()
    assert list(node.payload) == ["0-a", "1-b", "2-c", "3-d", "4-e"]
    assert made(log) == ["0-a", "1-b", "2-c", "3-d", "4-e"], "what was committed is not made again"
    assert node.payload["1-b"] == ["b"] and node.status is Status.DONE
    assert list(store.list(".persistable")) == [".persistable/store.json"], "the notes are gone with the seal"


def test_items_yielded_again_are_not_written_again(tmp_path: Path) -> None:
    fail = tmp_path / "fail"
    fail.touch()

    @step(io=JsonFileIO())
    def numbers() -> Iterator[tuple[int, int]]:
        yield 1, 10
        yield 2, 20
        if fail.exists():
            raise ValueError("enough")
        yield 3, 30

    with open_store(tmp_path / "data") as store:
        node = numbers.step()
        with pytest.raises(ValueError, match="enough"):
            node.generate()
        before = {path: store.stat(path) for path in store.list() if ".items/" in path}
        fail.unlink()
        assert dict(node.payload) == {1: 10, 2: 20, 3: 30}
        assert len(before) == 2 and all(store.stat(path) == stat for path, stat in before.items())


def test_delete_takes_the_items_sealed_or_not(store: Store, tmp_path: Path) -> None:
    node = letters.step("abc")
    node.generate()
    assert node.delete() and not node.delete()
    partial = letters.step("abc", log=str(tmp_path / "log"), fail_at="c")
    with pytest.raises(ValueError, match="no c"):
        partial.generate()
    assert len(partial.committed) == 2 and partial.delete() and len(partial.committed) == 0
    assert not list(store.list()) and list(store.list(".persistable")) == [".persistable/store.json"]
    with pytest.raises(PayloadNotFound):
        node.load()


def test_generated_again_it_is_replaced_as_a_whole(store: Store) -> None:
    node = letters.step("abc")
    held = node.payload
    files = {path for path in store.list() if ".items" in path}
    node.generate()
    assert files.isdisjoint(store.list()) and list(node.payload) == list(held)
    assert node.payload["2-c"] == ["c", "c"]
    with pytest.raises(PayloadNotFound, match="load it again"):
        held["2-c"]


def test_a_regeneration_that_fails_leaves_the_old_items(tmp_path: Path) -> None:
    switch = tmp_path / "switch"

    @step
    def numbers() -> Iterator[tuple[str, str]]:
        yield "a", switch.read_text()
        if switch.read_text() == "bad":
            raise ValueError("bad")
        yield "b", switch.read_text()

    with open_store(tmp_path / "data"):
        node = numbers.step()
        switch.write_text("old")
        node.generate()
        switch.write_text("bad")
        with pytest.raises(ValueError, match="bad"):
            node.generate()
        assert dict(numbers.step().payload) == {"a": "old", "b": "old"}
        node.delete()
        switch.write_text("new")
        assert dict(node.generate().payload) == {"a": "new", "b": "new"}


def test_two_items_of_one_key_are_an_error_that_names_it(tmp_path: Path) -> None:
    @step
    def twice() -> Iterator[tuple[str, int]]:
        yield "same", 1
        yield "same", 2

    with open_store(tmp_path / "data"):
        with pytest.raises(DuplicateItem, match="'same'") as raised:
            twice.step().generate()
        assert raised.value.item == "same"
        with pytest.raises(DuplicateItem, match="'same'"):
            twice.step().generate(persist=False)


@pytest.mark.parametrize(("wrong", "error"), [(5, TypeError), ((1.5, 0), InvalidName), ((True, 0), InvalidName), ((None, 0), InvalidName)])
def test_what_is_no_item_is_refused(tmp_path: Path, wrong: Any, error: type[Exception]) -> None:
    @step
    def strange(number: int) -> Iterator[Any]:
        yield wrong

    with open_store(tmp_path / "data"), pytest.raises(error):
        strange.step(1).generate()


def test_an_item_its_format_cannot_hold_is_named(tmp_path: Path) -> None:
    @step(io=NumpyFileIO())
    def arrays() -> Iterator[tuple[str, Any]]:
        yield "good", np.arange(3)
        yield "bad", "text"

    with open_store(tmp_path / "data"), pytest.raises(PayloadNotRepresentable) as raised:
        arrays.step().generate()
    assert any("'bad'" in note for note in raised.value.__notes__)


def test_items_keyed_by_content_are_kept_once(store: Store) -> None:
    @step(io=JsonFileIO())
    def drawn(numbers: list[int]) -> Iterator[Any]:
        for number in numbers:
            yield by_content({"number": number})

    payload = drawn.step([3, 1, 3]).payload
    assert sorted(item["number"] for item in payload.values()) == [1, 3]
    assert set(payload) == set(drawn.step([1, 3]).payload), "the same content has the same key wherever it comes from"
    assert all(len(key) == 32 for key in payload)


def test_any_format_serves_items(store: Store) -> None:
    import pandas as pd

    @step(io=CsvFileIO(index=False))
    def frames() -> Iterator[tuple[str, Any]]:
        yield "int", pd.DataFrame({"a": [1, 2]})
        yield "text", pd.DataFrame({"a": ["1", "2"]})

    @step(io=NumpyFileIO())
    def arrays() -> Iterator[tuple[int, Any]]:
        yield 0, np.zeros(3)
        yield 1, np.arange(400_000.0)

    found = frames.step().load_generate().payload
    assert found["int"]["a"].tolist() == [1, 2] and found["text"]["a"].tolist() == ["1", "2"]
    large = arrays.step().load_generate().payload
    assert large[1].sum() == np.arange(400_000.0).sum() and large[0].flags.writeable and large[1].flags.writeable


def test_an_item_may_be_a_folder(tmp_path: Path) -> None:
    @step(io=FolderFileIO())
    def folders() -> Iterator[tuple[str, Path]]:
        from persistable import scratch

        for name in ("a", "b"):
            folder = scratch / name
            (folder / "inner").mkdir(parents=True, exist_ok=True)
            (folder / "inner" / "file.txt").write_text(name)
            yield name, folder

    with open_store(tmp_path / "data"):
        assert (folders.step().payload["b"] / "inner" / "file.txt").read_text() == "b"


def test_without_persisting_items_are_in_memory(tmp_path: Path) -> None:
    @step(persist=False)
    def effects() -> Iterator[tuple[str, int]]:
        yield "a", 1
        yield "b", len(committed())

    with open_store(tmp_path / "data") as store:
        assert dict(effects.step().payload) == {"a": 1, "b": 1}
        node = letters.step("ab")
        held = node.generate(persist=False).payload
        assert dict(held) == {"0-a": [], "1-b": ["b"]} and not list(store.list())
        node.persist()
        assert letters.step("ab").load().payload == held
        assert list(letters("ab")) == [("0-a", []), ("1-b", ["b"])], "the plain function stays a plain function"


def test_a_consumer_has_the_mapping_in_other_processes_too(tmp_path: Path) -> None:
    from tests.collected.consumers import joined

    with open_store(tmp_path / "data"):
        node = joined.step(letters.step("abc"))
        assert run(node, executor="processes", max_workers=2).counts["done"] == 2
        assert node.payload == "0-a 1-b 2-c bcc"


def test_it_pickles_and_says_what_it_is(tmp_path: Path) -> None:
    with open_store(tmp_path / "data"):
        payload = letters.step("abc").payload
        again = pickle.loads(pickle.dumps(payload))
        assert again == payload and again["2-c"] == ["c", "c"]
        assert "3 items" in repr(payload)
        with pytest.raises(UnknownMember, match=r"did you mean '2-c'\?"):
            payload["2_c"]
        assert "2_c" not in payload and [] not in payload and payload.get("x") is None


def test_a_damaged_item_is_noticed_when_it_is_loaded(tmp_path: Path) -> None:
    with open_store(tmp_path / "data"):
        node = letters.step("abc")
        node.generate()
        file = next(Path(tmp_path / "data").rglob("2-c*.json"), None) or next(Path(tmp_path / "data").rglob("*2-c=*.json"))
        file.write_bytes(file.read_bytes().replace(b"c", b"d"))
        payload = node.load().payload
        assert payload["1-b"] == ["b"]
        with pytest.raises(PayloadCorrupted) as raised:
            payload["2-c"]
        assert any("'2-c'" in note for note in raised.value.__notes__)
        assert node.generate().payload["2-c"] == ["c", "c"]


class Counting:
    """A store that notes which of its methods this thread calls, by name; `looks` is how many of them are about a claim alone."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()
        self.looks = 0
        self._thread = threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            mine = threading.get_ident() == self._thread  # not those of the heart that beats meanwhile
            self.calls[name] += mine
            self.looks += mine and isinstance(args[0] if args else None, str) and ".claim" in args[0]
            return found(*args, **kwargs)

        return counted


def test_an_item_that_is_gone_or_cut_is_seen_in_the_status(store: Store) -> None:
    node = letters.step("abcdefghij").bind(store)
    entries = node.payload.entries
    assert node.status is Status.DONE and plan(node, store=store).jobs == []
    (gone,) = entries["9-j"].files
    store.delete(gone.path)
    counting: Any = Counting(store)
    assert [state.status for state in states_in([(node, counting)])] == [Status.CORRUPT]
    assert sum(counting.calls.values()) <= 8, "however many items there are"
    assert "'9-j'" in str(plan(node, store=store)) or plan(node, store=store).jobs == [node.key]
    assert run(node, store=store).counts["done"] == 1
    assert node.status is Status.DONE and len(node.load().payload["9-j"]) == 9
    (cut,) = node.payload.entries["8-i"].files
    store.put(cut.path, b"[")
    if not store.url.startswith(("s3:", "gs:", "memory:")):  # where each size would be a request, the loading tells
        assert node.status is Status.CORRUPT and run(node, store=store).counts["done"] == 1
    store.delete(node.record.files[0].path)
    assert node.status is Status.CORRUPT


def test_an_item_is_one_call_of_the_store_also_when_it_takes_long(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if not store.url.startswith(("s3:", "gs:")):
        monkeypatch.setattr(heartbeat, "TTL", 0.2)  # an old claim is looked at, whether it is ours still

    @step(io=JsonFileIO())
    def many(number: int) -> Iterator[tuple[int, int]]:
        for place in range(number):
            if not place:
                time.sleep(0.1)
            yield place, place

    def calls(number: int) -> tuple[int, int, float]:
        counting: Any = Counting(store)
        start = time.monotonic()
        bound_to(many.step(number), counting).generate()
        return sum(counting.calls.values()) - counting.looks, counting.looks, time.monotonic() - start

    (more, looks, seconds), (fewer, *_) = calls(60), calls(20)
    needed = 1 if getattr(store, "batches", False) else 2  # an item with its note, and where it must be the note's removal
    assert (more - fewer) / 40 < needed + 0.5  # a slow bucket has some looks at the claim more
    assert looks <= 12 + 2 * seconds / item_writer._CONFIRM_EVERY, "at the claim once in a while, however many items there are"


def test_changed_code_is_told_when_an_attempt_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "changing.py").write_text(MODULE.format(value=1, end="raise ValueError('no')"))
    outcomes = [in_a_process(tmp_path, "fails")]
    (tmp_path / "changing.py").write_text(MODULE.format(value=2, end="yield 'c', 2"))
    outcomes.append(in_a_process(tmp_path, "works"))
    assert "ValueError" in outcomes[0]
    assert "StaleCodeWarning" in outcomes[1] and "2 items" in outcomes[1] and "{'a': 1, 'b': 1, 'c': 2}" in outcomes[1]


MODULE = """
from persistable import step
@step
def made():
    yield "a", {value}
    yield "b", {value}
    {end}
"""


def in_a_process(folder: Path, name: str) -> str:
    import subprocess
    import sys

    code = "import changing, persistable\nwith persistable.open_store('data'): print(dict(changing.made.step().payload))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_a_resumed_attempt_with_the_same_code_warns_of_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path / "data"), warnings.catch_warnings():
        warnings.simplefilter("error", StaleCodeWarning)
        node = letters.step("ab", log=str(tmp_path / "log"), fail_at="b")
        for _ in range(2):
            with pytest.raises(ValueError, match="no b"):
                node.generate()


keys = st.recursive(st.text() | st.integers(), lambda inner: st.tuples(inner, inner), max_leaves=4)


@settings(max_examples=300)
@given(st.lists(keys, min_size=2, max_size=8, unique_by=repr))
def test_no_two_keys_share_a_file_on_any_file_system(some: list[Any]) -> None:
    import unicodedata

    from persistable.stores.base import check_path

    stems = [stem(checked(key)) for key in some]
    folded = {unicodedata.normalize("NFC", check_path(f"{name}.x")).casefold() for name in stems}
    assert len(folded) == len(some)


def test_odd_keys_are_kept_apart_and_come_back(store: Store) -> None:
    odd: list[Any] = [
        "A",
        "a",
        "../up",
        "a/b",
        "",
        ".",
        "con",
        "é",
        "e\u0301",
        1,
        "1",
        -1,
        ("a", 1),
        ("a", "1"),
        "x" * 500,
        "\ud800",
        "p\n",
        np.int64(7),
    ]

    @step(io=JsonFileIO())
    def strange() -> Iterator[tuple[Any, int]]:
        for number, key in enumerate(odd):
            yield key, number

    payload = strange.step().payload
    assert [payload[key] for key in odd] == list(range(len(odd)))
    assert list(strange.step().load().payload) == odd and type(list(payload)[-1]) is int


def test_explain_tells_how_many_are_there(tmp_path: Path) -> None:
    with open_store(tmp_path / "data"):
        node = letters.step("abc", log=str(tmp_path / "log"), fail_at="c")
        with pytest.raises(ValueError, match="no c"):
            node.generate()
        assert "2 items are there" in node.explain()


def test_copied_to_another_store_it_takes_its_items_along(tmp_path: Path) -> None:
    from persistable.records import copy, listing

    with open_store(tmp_path / "data") as source, open_store(f"sqlite:///{tmp_path}/other.db") as target:
        node = letters.step("abc").bind(source)
        node.generate()
        (copied,) = copy.copy(listing.entries(source), source, target)
        assert copied.size > 0 and dict(node.bind(target).load().payload) == dict(node.payload)
