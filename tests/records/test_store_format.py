"""The format of a store: said once, refused where it is too new, and no hindrance where it says more than is known."""

import json
import pickle
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

import persistable
from persistable import Catalog, Persistable, step
from persistable.errors import PayloadCorrupted, StoreReadOnly, StoreTooNew
from persistable.fileio import JsonFileIO
from persistable.params.trees import from_tree
from persistable.records import store_format
from persistable.records.copy import copy
from persistable.records.failure import Failure
from persistable.records.items import Entry, checked_line, entry_in, parsed_index
from persistable.records.items_in_progress import Unsealed
from persistable.records.listing import entries
from persistable.records.record import FORMAT, SUFFIX, Record
from persistable.records.store_format import PATH, Format
from persistable.stores import LayeredStore, LocalStore, MemoryStore, ObjectStore, SQLiteStore, open_store


@step(io=JsonFileIO())
def square(n: int) -> int:
    return n * n


@step(io=JsonFileIO())
def plus(a: int, b: int = 1) -> int:
    return a + b


@step(io=JsonFileIO())
def items(n: int) -> Iterator[tuple[int, int]]:
    for i in range(n):
        yield i, i


@step
def fails() -> int:
    raise ValueError("no")


STORES: dict[str, Callable[[Path], Any]] = {
    "local": lambda path: LocalStore(path / "data"),
    "sqlite": lambda path: SQLiteStore(path / "items.db"),
    "memory": lambda path: MemoryStore(str(path)),
    "object": lambda path: ObjectStore(f"file://{path}/bucket"),
    "layered": lambda path: LayeredStore(LocalStore(path / "fast"), LocalStore(path / "slow")),
}


@pytest.fixture(params=list(STORES))
def anew(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Opens the same store again, as another process would."""
    return lambda: STORES[request.param](tmp_path)


def said(store: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.get(PATH))
    return found


def say(store: Any, **facts: Any) -> None:
    store.put(PATH, store_format.to_bytes(Format(made_by="persistable 9.1")._replace(**facts)))


def test_the_first_claim_says_the_format(anew: Callable[[], Any]) -> None:
    store = anew()
    assert square.step(2).bind(store).payload == 4
    facts = said(anew())
    assert {name: facts[name] for name in ("format", "scheme", "min_reader", "min_writer")} == dict.fromkeys(
        ("format", "scheme", "min_reader", "min_writer"), 1
    )
    assert facts["made_by"] == f"persistable {persistable.__version__}"
    assert PATH not in set(store.list())


WAYS: dict[str, Callable[[Any], object]] = {
    "put": lambda store: square.step(3).bind(store).put(9),
    "persist": lambda store: square.step(3).bind(store).generate(),
    "run": lambda store: persistable.run(square.step(3), store=store),
    "batch": lambda store: persistable.run(square.over(n=[1, 2, 3]), store=store),
    "items": lambda store: persistable.run(items.step(2), store=store),
    "failure": lambda store: persistable.run(fails.step(), store=store, errors="return"),
}


def write(store: Any, way: str) -> None:
    WAYS[way](store)
    square.step(100).bind(store).load_generate()  # a failure of a store is returned, too


@pytest.mark.parametrize("way", list(WAYS))
def test_every_way_to_write_says_it_and_is_refused_where_it_is_too_new(anew: Callable[[], Any], way: str) -> None:
    WAYS[way](anew())
    assert said(anew())["format"] == 1
    say(anew(), format=2, min_writer=2)
    before = set(anew().list())
    store = anew()
    with pytest.raises((StoreTooNew, persistable.errors.RunFailed)) as raised:
        write(store, way)
    errors: Any = getattr(raised.value, "exceptions", [raised.value])
    assert all(isinstance(error, StoreTooNew) for error in errors)
    assert set(anew().list()) == before


def test_what_may_only_be_read_is_read(anew: Callable[[], Any]) -> None:
    square.step(2).bind(anew()).load_generate()
    say(anew(), format=2, min_writer=2)
    store = anew()
    assert square.step(2).bind(store).load().payload == 4
    assert square.step(5).bind(store).status.name == "ABSENT"
    with pytest.raises(StoreTooNew, match=r"persistable 9\.1, may only be written by versions that know format 2") as raised:
        square.step(5).bind(store).load_generate()
    assert (raised.value.found, raised.value.known, raised.value.path) == (2, 1, PATH)


@pytest.mark.parametrize("facts", [{"format": 2, "min_reader": 2, "min_writer": 2}, {"scheme": 2}])
def test_a_store_of_a_later_version_is_refused_wherever_something_is_looked_for(anew: Callable[[], Any], facts: dict[str, int]) -> None:
    square.step(2).bind(anew()).load_generate()
    say(anew(), **facts)
    node = square.step(5)
    asked: list[Callable[[Any], object]] = [
        lambda store: node.bind(store).load(),
        lambda store: node.bind(store).load_generate(),
        lambda store: node.bind(store).status,
        lambda store: persistable.plan(node, store=store),
        lambda store: list(entries(store)),
        lambda store: list(Catalog(store, index=None).find(status="failed")),
        lambda store: Catalog(store, index=None)["square/0"],
        lambda store: list(copy([], MemoryStore(), store)),
    ]
    for ask in asked:
        with pytest.raises(StoreTooNew) as raised:
            ask(anew())
        again = pickle.loads(pickle.dumps(raised.value))
        assert (again.found, again.known, again.path) == (2, 1, PATH)
        assert isinstance(again, OSError)


def test_a_later_format_that_says_who_may_read_and_write_is_no_hindrance(anew: Callable[[], Any]) -> None:
    square.step(2).bind(anew()).load_generate()
    facts = {**said(anew()), "format": 3, "more": {"of": "it"}}
    del facts["check"]
    text = json.dumps(facts, separators=(",", ":")).encode()[:-1]
    anew().put(PATH, b'%b,"check":"%08x"}\n' % (text, crc32(text)))
    assert square.step(4).bind(anew()).load_generate().payload == 16
    assert said(anew())["format"] == 3


def test_numbers_changed_by_hand_count(anew: Callable[[], Any]) -> None:
    square.step(2).bind(anew()).load_generate()
    anew().put(PATH, json.dumps({"format": 2}).encode())
    with pytest.raises(StoreTooNew):
        square.step(5).bind(anew()).load_generate()


def test_another_layout_is_an_error_in_words(anew: Callable[[], Any]) -> None:
    anew().put(PATH, b'{"layout":"v9"}')
    with pytest.raises(StoreTooNew, match="in a way that is not known"):
        square.step(5).bind(anew()).load_generate()


def test_no_flipped_bit_blocks_a_store(tmp_path: Path) -> None:
    good = store_format.to_bytes(Format(made_by="persistable 2"))
    for place in range(len(good)):
        for bit in range(8):
            flipped = bytearray(good)
            flipped[place] ^= 1 << bit
            store = MemoryStore()
            store.put(PATH, flipped)
            store_format.before_writing(store)


@pytest.mark.parametrize("damaged", [b"", b"\0" * 80, b"{", b"[1]", b"\xff\xfe", b'{"format":1,"scheme":1,"min_'])
def test_a_damaged_file_is_replaced(anew: Callable[[], Any], damaged: bytes) -> None:
    anew().put(PATH, damaged)
    assert square.step(2).bind(anew()).load_generate().payload == 4
    assert said(anew())["format"] == 1


def test_a_store_that_may_only_be_read_needs_none(tmp_path: Path) -> None:
    full = LocalStore(tmp_path / "data")
    square.step(2).bind(full).load_generate()
    full.delete(PATH)
    store = open_store(str(tmp_path / "data"), readonly=True)
    assert square.step(2).bind(store).load().payload == 4
    with pytest.raises(StoreReadOnly):
        square.step(3).bind(store).load_generate()
    assert not full.exists(PATH)


def test_each_layer_that_may_be_written_says_it(tmp_path: Path) -> None:
    square.step(2).bind(LayeredStore(LocalStore(tmp_path / "fast"), LocalStore(tmp_path / "slow"))).load_generate()
    assert (tmp_path / "fast" / PATH).exists()
    assert (tmp_path / "slow" / PATH).exists()
    say(LocalStore(tmp_path / "fast"), min_reader=2)
    with pytest.raises(StoreTooNew, match="fast"):
        square.step(3).bind(LayeredStore(LocalStore(tmp_path / "fast"), LocalStore(tmp_path / "slow"))).load_generate()


class Counting(MemoryStore):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: Counter[str] = Counter()

    def _count(self, call: str, path: str) -> None:
        self.calls[f"{call} store.json"] += path == PATH

    def get(self, path: str) -> bytes:
        self._count("get", path)
        return super().get(path)

    def create(self, path: str, data: Any) -> bool:
        self._count("create", path)
        return super().create(path, data)


def test_it_is_asked_for_once_and_never_on_a_hit() -> None:
    store = Counting("counted")
    for n in range(5):
        square.step(n).bind(store).load_generate()
    persistable.run(plus.over(a=[1, 2, 3]), store=store)
    assert store.calls == {"get store.json": 1, "create store.json": 1}
    again = Counting("counted")
    for n in range(5):
        assert square.step(n).bind(again).load().payload == n * n
    assert not +again.calls
    square.step(9).bind(again).load_generate()
    square.step(10).bind(again).load_generate()
    assert +again.calls == {"get store.json": 1}


# records


def record_of(node: Any) -> Record:
    found: Record = node.record
    return found


def sealed_as(record: Record, /, **head: Any) -> bytes:
    rest = {name: fact for name, fact in record.to_dict().items() if name not in record.head and name != "checksum"}
    return Record.compose(record.key, {**record.head, **head}, rest).to_bytes()


def test_a_record_of_a_later_format_is_neither_served_nor_replaced(anew: Callable[[], Any]) -> None:
    node = square.step(2).bind(anew()).load_generate()
    path = node.key.path + SUFFIX
    later = sealed_as(record_of(node), record=FORMAT + 1)
    anew().delete(path)  # of layers, from each
    anew().put(path, later)
    asked: list[Callable[[Any], object]] = [
        lambda store: square.step(2).bind(store).load(),
        lambda store: square.step(2).bind(store).load_generate(),
        lambda store: square.step(2).bind(store).generate(),
        lambda store: square.step(2).bind(store).put(4),
        lambda store: square.step(2).bind(store).status,
        lambda store: square.step(2).bind(store).delete(),
        lambda store: persistable.plan(square.step(2), store=store),
        lambda store: persistable.run(square.step(2), store=store),
        lambda store: persistable.plan(square.over(n=[1, 2]), store=store),
        lambda store: plus.step(square.step(2)).bind(store).load_generate(),
        lambda store: list(entries(store)),
    ]
    for ask in asked:
        with pytest.raises((StoreTooNew, persistable.errors.RunFailed)) as raised:
            ask(anew())
        errors: Any = getattr(raised.value, "exceptions", [raised.value])
        assert [type(error) for error in errors] == [StoreTooNew]
        assert "Upgrade persistable" in str(errors[0])
        assert (errors[0].found, errors[0].known) == (FORMAT + 1, FORMAT)
        assert anew().get(path) == later


def test_a_record_of_another_layout_is_told_by_its_first_and_last_member() -> None:
    body = b'{"record":7,"layout":["anything"]'
    data = b'%b,\n"checksum":"%08x"}\n' % (body, crc32(body))
    with pytest.raises(StoreTooNew) as raised:
        Record.parse(data)
    assert raised.value.found == 7


@pytest.mark.parametrize("number", [0, -1, "1", None, 1.5, [1]])
def test_a_record_of_no_format_means_nothing(tmp_path: Path, number: Any) -> None:
    node = square.step(2).bind(tmp_path).load_generate()
    with pytest.raises(PayloadCorrupted):
        Record.parse(sealed_as(record_of(node), record=number))


def test_no_flipped_bit_makes_a_record_one_of_a_later_format(tmp_path: Path) -> None:
    data = record_of(square.step(2).bind(tmp_path).load_generate()).to_bytes()
    for place in range(20):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(PayloadCorrupted):
                Record.parse(bytes(flipped))


def test_a_record_says_its_format_and_scheme(tmp_path: Path) -> None:
    alone = record_of(square.step(2).bind(tmp_path).load_generate()).to_dict()
    persistable.run(square.over(n=[3, 4]), store=tmp_path)
    with open_store(tmp_path):
        member = record_of(square.step(3).load()).to_dict()
    assert [(facts["record"], facts["scheme"]) for facts in (alone, member)] == [(1, 1), (1, 1)]


def test_what_a_record_says_more_is_ignored(anew: Callable[[], Any]) -> None:
    node = square.step(2).bind(anew()).load_generate()
    record = record_of(node)
    more = {"new": {"a": [1]}, "files": [[*fact, "more", 1] for fact in record.head["files"]], "io": {**record.head["io"]}}
    data = sealed_as(record, **more)
    data = Record.parse(data).revise({}, {"another": [1, {"b": 2}]}).to_bytes()
    store = anew()
    store.delete(node.key.path + SUFFIX)
    store.put(node.key.path + SUFFIX, data)
    for _ in range(2):
        again = square.step(2).bind(anew())
        assert again.status.name == "DONE"
        assert again.load().payload == 4
        assert record_of(again).to_dict()["another"] == [1, {"b": 2}]
    assert plus.step(square.step(2)).bind(anew()).load_generate().payload == 5
    assert persistable.plan(square.over(n=[2]), store=anew()).counts["reuse"] == 1
    assert next(iter(entries(anew()))).record is not None


def test_what_a_failure_says_more_is_ignored(tmp_path: Path) -> None:
    persistable.run(fails.step(), store=tmp_path, errors="return")
    (file,) = tmp_path.rglob("*.failed.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "retry_after": 3}))
    failure = Failure.parse(file.read_bytes(), fails.step().key)
    assert failure.error == "builtins.ValueError"
    assert fails.step().bind(tmp_path).status.name == "FAILED"


def test_what_a_claim_says_more_is_ignored(tmp_path: Path) -> None:
    from persistable.records import claim_watch

    store = LocalStore(tmp_path)
    facts = {"host": "elsewhere", "pid": 1, "start": None, "token": "x", "purpose": ["more"]}
    text = json.dumps(facts).encode()[:-1]
    store.create("square/x.claim", b'%b, "check": "%08x"}' % (text, crc32(text)))
    assert (claim_watch.holder_of(store, "square/x") or {})["host"] == "elsewhere"


def test_what_is_noted_of_items_may_say_more() -> None:
    begun = Unsealed("b", "items/1", "t", "f", "3.11", "q", {"a": "b"})
    facts = {**json.loads(begun.to_bytes()), "later": 1}
    del facts["check"]
    data = json.dumps({**facts, "check": f"{crc32(json.dumps(facts).encode()):08x}"}).encode()
    assert Unsealed.parse("b", data) == begun
    line = json.loads(checked_line(Entry(1, ()), "f").split(b"\n")[0])
    text = json.dumps([line[0], [["", "x.json", 3, "ab", "more"]], line[2], "more"]).encode()
    entry = entry_in(b"%b\n%08x\n" % (text, crc32(text)), "f")
    assert entry is not None
    assert entry.files[0] == ("", "f/x.json", 3, "ab")
    assert parsed_index(text + b"\n", "f") == {1: entry}


# SQLite


def version_of(file: Path) -> int:
    with sqlite3.connect(file) as database:
        found: int = database.execute("PRAGMA user_version").fetchone()[0]
        return found


def set_pragma(file: Path, text: str) -> None:
    with sqlite3.connect(file) as database:
        database.execute(f"PRAGMA {text}")


@pytest.mark.parametrize("way", ["load", "load_generate", "list"])
def test_an_sqlite_file_says_its_layout_and_a_later_one_is_refused(tmp_path: Path, way: str) -> None:
    file = tmp_path / "items.db"
    square.step(2).bind(SQLiteStore(file)).load_generate()
    assert version_of(file) == 1
    set_pragma(file, "user_version = 2")
    with sqlite3.connect(file) as database:
        database.execute("ALTER TABLE persistable_items ADD COLUMN more TEXT")
    with pytest.raises(StoreTooNew, match="has layout 2; this is persistable") as raised:
        list(SQLiteStore(file).list()) if way == "list" else getattr(square.step(2).bind(SQLiteStore(file)), way)()
    assert (raised.value.found, raised.value.known) == (2, 1)


def test_an_sqlite_file_of_before_is_given_its_layout(tmp_path: Path) -> None:
    file = tmp_path / "items.db"
    square.step(2).bind(SQLiteStore(file)).load_generate()
    for pragma in ("user_version = 0", "application_id = 0"):
        set_pragma(file, pragma)
    assert square.step(2).bind(SQLiteStore(file)).load().payload == 4
    assert square.step(3).bind(SQLiteStore(file)).load_generate().payload == 9
    assert version_of(file) == 1


@pytest.mark.parametrize("application", [0, 12345])
def test_a_version_that_is_of_another_program_is_let_alone(tmp_path: Path, application: int) -> None:
    file = tmp_path / "theirs.db"
    for pragma in ("user_version = 7", f"application_id = {application}"):
        set_pragma(file, pragma)
    assert square.step(3).bind(SQLiteStore(file)).load_generate().payload == 9
    assert square.step(3).bind(SQLiteStore(file)).load().payload == 9
    assert version_of(file) == 7


# numbers


@pytest.mark.parametrize("n", [(1 << 53) - 1, 1 << 53, -(1 << 53), (1 << 53) + 1, -(1 << 63), (1 << 64) + 1, 10**700])
@pytest.mark.parametrize("many", [False, True])
def test_whole_numbers_come_back_from_records_as_they_were(tmp_path: Path, n: int, many: bool) -> None:
    if many:
        persistable.run(plus.over(a=[n, n + 1]), store=tmp_path)
        record = record_of(plus.step(n).bind(tmp_path).load())
    else:
        record = record_of(plus.step(n).bind(tmp_path).load_generate())
    text = record.params["a"]
    assert (text == n) if abs(n) < 1 << 53 else isinstance(text["$int"], str)
    assert from_tree(record.params) == {"a": n, "b": 1}
    for number in json.loads(record.to_bytes(), parse_int=int, parse_float=lambda _: 0).get("params", {}).values():
        assert isinstance(number, dict) or abs(number) < 1 << 53


def test_a_class_is_refused_as_a_function_is(tmp_path: Path) -> None:
    class Cube(Persistable[int, None]):
        def _generate_payload(self) -> int:
            return 8

    say(LocalStore(tmp_path), min_writer=2)
    with pytest.raises(StoreTooNew):
        Cube().bind(tmp_path).load_generate()
