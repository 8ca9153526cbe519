"""Code that is kept in a payload, under another Python than that which reads it: a named error, and it is generated again."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persistable import step
from persistable.errors import CodeOfOtherPython, CorruptPayloadWarning, FormatError, PayloadCorrupted, PayloadOfOtherPython
from persistable.fileio import BundleFileIO, CompressedFileIO, JsonFileIO, PickleFileIO, pickle_scripts
from persistable.stores import LocalStore, MemoryStore, SQLiteStore


def counting() -> Callable[[int], int]:
    k = 3
    return lambda x: x + k


def local_class() -> Any:
    class Model:
        def predict(self) -> int:
            return 5

    return Model()


@step
def closure() -> Callable[[int], int]:
    return counting()


@step
def model() -> Any:
    return local_class()


@step
def several() -> Any:
    return [1, {"deep": (counting(), local_class())}]


@step(io=PickleFileIO(compress="zstd"))
def compressed() -> Any:
    return counting()


@step(io=CompressedFileIO(PickleFileIO(), "gzip"))
def packed() -> Any:
    return counting()


@step(io=BundleFileIO({"code": PickleFileIO(), "facts": JsonFileIO()}))
def bundle() -> Any:
    return {"code": counting(), "facts": [1]}


@step
def items() -> Any:
    yield "a", counting()


OTHER = "cpython-399"
NODES = [closure, model, several, compressed, packed, bundle]


@pytest.fixture
def as_other(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """Does something as another Python would."""

    def act(what: Callable[[], Any]) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(sys.implementation, "cache_tag", OTHER)
            return what()

    return act


@pytest.mark.parametrize("make", [LocalStore, lambda path: SQLiteStore(path / "x.db"), lambda path: MemoryStore(str(path))])
@pytest.mark.parametrize("fn", NODES, ids=lambda fn: fn.__name__)
def test_it_is_a_named_error_of_load_and_generated_again(tmp_path: Path, fn: Any, make: Any, as_other: Any) -> None:
    store = make(tmp_path)
    as_other(fn.step().bind(store).load_generate)
    with pytest.raises(PayloadOfOtherPython, match="generate it again") as raised:
        fn.step().bind(store).load()
    assert isinstance(raised.value, PayloadCorrupted)
    assert (raised.value.found, raised.value.expected) == (OTHER, sys.implementation.cache_tag)
    assert pickle.loads(pickle.dumps(raised.value)).found == OTHER
    with pytest.warns(CorruptPayloadWarning, match=OTHER):
        made = fn.step().bind(store).payload
    assert fn is not closure or made(1) == 4
    assert fn is not model or made.predict() == 5
    fn.step().bind(store).load()


def test_items_say_it_when_they_are_asked_for(tmp_path: Path, as_other: Any) -> None:
    as_other(items.step().bind(tmp_path).load_generate)
    loaded: Any = items.step().bind(tmp_path).load().payload
    with pytest.raises(PayloadOfOtherPython):
        loaded["a"](1)


def test_one_put_in_by_hand_is_never_replaced(tmp_path: Path, as_other: Any) -> None:
    as_other(lambda: closure.step().bind(tmp_path).put(counting()))
    with pytest.raises(PayloadOfOtherPython) as raised:
        closure.step().bind(tmp_path).load_generate()
    assert "put in by hand" in "".join(raised.value.__notes__)


def test_a_file_of_the_format_alone_says_it_too(tmp_path: Path, as_other: Any) -> None:
    as_other(lambda: PickleFileIO().save(counting(), tmp_path / "x.pickle"))
    with pytest.raises(CodeOfOtherPython, match="counting") as raised:
        PickleFileIO().load(tmp_path / "x.pickle")
    assert isinstance(raised.value, FormatError)


@dataclasses.dataclass
class Named:
    a: int


def test_what_is_kept_by_name_is_read_under_any_python(tmp_path: Path, as_other: Any) -> None:
    @step
    def named() -> Any:
        return {"object": Named(1), "function": counting, "class": Named}

    as_other(named.step().bind(tmp_path).load_generate)
    loaded = named.step().bind(tmp_path).load().payload
    assert loaded == {"object": Named(1), "function": counting, "class": Named}


SCRIPT = """
import sys
from persistable import step
if "other" in sys.argv:
    sys.implementation.cache_tag = "cpython-399"
if "gone" not in sys.argv:
    class Model:
        def __init__(self, a):
            self.a = a
        def predict(self):
            return self.a + BY
BY = 10 if "mended" in sys.argv else 1
@step
def fit() -> object:
    print("fit", end=" ")
    return Model(1)
@step
def gone() -> object:
    return fit.step().payload
node = fit.step().bind(sys.argv[1])
if "gone" in sys.argv:
    try:
        node.load()
    except Exception as error:
        print(type(error).__name__)
else:
    print(node.payload.predict())
"""


def test_the_class_of_todays_script_needs_no_code_of_another_python(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    said = []
    for arguments in (["other"], [], ["mended"], ["gone"]):
        command = [sys.executable, "-W", "ignore", "script.py", "data", *arguments]
        said.append(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip())
    assert said == ["fit 2", "2", "11", "PayloadOfOtherPython"]


def test_what_is_stored_by_value_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_scripts, "_logged", set())
    with caplog.at_level(logging.INFO, "persistable"):
        for _ in range(2):
            PickleFileIO().dumps([counting(), local_class()])
            PickleFileIO().dumps([Named(1), counting])
    said = [record.getMessage() for record in caplog.records if "by value" in record.getMessage()]
    assert len(said) == 2
    assert any("counting.<locals>.<lambda>" in text for text in said)
    assert any("local_class.<locals>.Model" in text for text in said)
