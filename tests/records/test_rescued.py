"""What was computed is not lost where it cannot be written, and what can be known is known before the work is done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persistable import Persistable, plan, run, step
from persistable.errors import PayloadNotRepresentable
from persistable.fileio import (
    BundleFileIO,
    CompressedFileIO,
    CsvFileIO,
    FileIO,
    FolderFileIO,
    JsonFileIO,
    NumpyFileIO,
    ParquetFileIO,
    PickleFileIO,
)
from persistable.records.files import ExistingFile
from persistable.stores import open_store


@step(io=JsonFileIO())
def odd(n: int) -> Any:
    return {n: {1, 2}}


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
@pytest.mark.parametrize("url", ["data", "sqlite:///s.db"])
def test_what_a_format_refuses_is_kept_as_a_pickle(executor: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node = odd.step(1)
    result = run(node, odd.over(n=[2, 3]), store=url, executor=executor, errors="return")
    assert len(result.failures) == 3
    for failure in result.failures:
        path = f".persistable/rescued/{failure.node.key.path}.pickle"
        assert path in str(failure.error)
        (number,) = failure.node.params_tree.values()
        assert PickleFileIO().loads(open_store(url).get(path)) == {number: {1, 2}}
    assert not node.bind(url).exists()


def test_it_can_be_put_in_afterwards(tmp_path: Path) -> None:
    node = odd.step(1).bind(tmp_path)
    with pytest.raises(PayloadNotRepresentable, match="kept as a pickle at") as raised:
        node.generate()
    kept = PickleFileIO().load(raised.value.rescued)  # type: ignore[attr-defined]
    assert kept == {1: {1, 2}}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_where_the_store_takes_nothing_it_is_kept_here(tmp_path: Path) -> None:
    node = odd.step(1).bind(tmp_path)
    (tmp_path / ".persistable").mkdir(exist_ok=True)
    (tmp_path / ".persistable").chmod(0o555)
    with pytest.raises(PayloadNotRepresentable, match="kept as a pickle at"):
        node.generate()


def test_large_arrays_too(tmp_path: Path) -> None:
    @step(io=JsonFileIO())
    def large() -> Any:
        return np.arange(1 << 18)

    with pytest.raises(PayloadNotRepresentable) as raised:
        large.step().bind(tmp_path).generate()
    assert PickleFileIO().load(raised.value.rescued)[-1] == (1 << 18) - 1  # type: ignore[attr-defined]


MISSING = """
import sys
for name in ("pandas", "pyarrow", "yaml", "safetensors", "zarr", "matplotlib", "zstandard"):
    sys.modules[name] = None
from persistable import step
from persistable.errors import MissingExtra
from persistable.fileio import *

worked = []
for io in (CsvFileIO(), ParquetFileIO(), ArrowFileIO(), YamlFileIO(), ZarrFileIO(), FigureFileIO(),
           PickleFileIO(compress="zstd"),
           CompressedFileIO(JsonFileIO()), CompressedFileIO(CsvFileIO(), "gzip"), BundleFileIO({"a": JsonFileIO(), "b": CsvFileIO()})):
    @step(io=io)
    def work() -> object:
        worked.append(1)
        return 1
    try:
        work.step().bind("data").generate()
    except MissingExtra as error:
        assert "pip install 'persistable[" in str(error), error
    else:
        raise AssertionError(io)
assert not worked
print("fine")
"""


def test_a_missing_package_is_noticed_before_the_work(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MISSING], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "fine", done.stderr


def test_what_is_there_is_not_asked_for() -> None:
    for io in (NumpyFileIO(), JsonFileIO(), PickleFileIO(), CompressedFileIO(JsonFileIO(), "gzip"), BundleFileIO({"a": JsonFileIO()})):
        io.require()


EXECUTORS = ["inline", "threads", "processes", "loky"]


def executor_of(name: str) -> Any:
    return pytest.importorskip("loky").get_reusable_executor(max_workers=1) if name == "loky" else name


@step(io=ParquetFileIO())
def wrong_file(n: int, folder: str) -> Any:
    path = Path(folder) / f"{n}.parquet"
    path.write_bytes(b"no parquet at all" * n)
    return ExistingFile(path)


@step(io=FolderFileIO())
def empty_folder(folder: str) -> Any:
    made = Path(folder) / "made"
    (made / "inner").mkdir(parents=True)
    (made / "inner" / "a.txt").write_text("a")
    (made / "link").symlink_to("inner")
    return ExistingFile(made)


@step(io=JsonFileIO())
def items(n: int) -> Iterator[tuple[str, Any]]:
    yield "sound", [n]
    yield "odd", {n: 1}


class Rows(Persistable[Any, None]):
    io = NumpyFileIO()

    def _generate_payload(self, **_: Any) -> Any:
        if not self.appended:
            self.append(np.arange(3.0))
        self.append(np.array(["a", "b"]))
        return self.appended


def error_of(node: Any, url: str, executor: str) -> Any:
    (failure,) = run(node, store=url, executor=executor_of(executor), errors="return").failures
    return failure.error


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("url", ["data", "sqlite:///s.db"])
def test_a_payload_in_a_file_is_kept_as_that_file(executor: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for n in (1, 200_000):  # kept in memory, and not
        node = wrong_file.step(n, str(tmp_path))
        error = error_of(node, url, executor)
        path = f".persistable/rescued/{node.key.path}.parquet"
        assert path in str(error)
        assert open_store(url).get(path) == b"no parquet at all" * n
        assert not node.bind(url).exists()
        assert [each for each in open_store(url).list(node.key.name) if each.endswith(".parquet")] == []


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_folder_is_kept_file_by_file(executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node = empty_folder.step(str(tmp_path))
    error = error_of(node, "data", executor)
    path = f".persistable/rescued/{node.key.path}"
    assert path in str(error)
    assert (tmp_path / "data" / path / "inner" / "a.txt").read_text() == "a"


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("url", ["data", "sqlite:///s.db"])
def test_an_item_that_its_format_refuses(executor: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node = items.step(5)
    error = error_of(node, url, executor)
    (path,) = open_store(url).list(f".persistable/rescued/{node.key.path}")
    assert path in str(error)
    assert PickleFileIO().loads(open_store(url).get(path)) == {5: 1}
    assert list(node.bind(url).committed) == ["sound"]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("url", ["data", "sqlite:///s.db"])
def test_a_block_that_cannot_be_appended(executor: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node = Rows()
    for _ in range(2):  # what was appended before is gone on with
        error = error_of(node, url, executor)
        (path,) = open_store(url).list(f".persistable/rescued/{node.key.path}")
        assert path in str(error)
        assert path.endswith("rows-3.pickle")
        assert PickleFileIO().loads(open_store(url).get(path)).tolist() == ["a", "b"]
        assert any("3 rows" in note for note in error.__notes__)


class Broken(FileIO[Any]):
    suffix = ".broken"

    def dump(self, payload: Any, file: Any) -> None:
        raise ZeroDivisionError("somebody's format")

    def load(self, file: Any) -> Any:
        raise NotImplementedError


@step(io=Broken())
def broken(n: int) -> Any:
    return [n]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_format_that_raises_what_it_likes(executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node = broken.step(3)
    error = error_of(node, "data", executor)
    path = f".persistable/rescued/{node.key.path}.pickle"
    assert path in str(error)
    assert PickleFileIO().load(tmp_path / "data" / path) == [3]


# what can be known before


def noted(folder: str) -> None:
    with (Path(folder) / "worked").open("a") as file:
        file.write("x")


@step
def hours(folder: str) -> int:
    noted(folder)
    return 1


@step(io=JsonFileIO())
def pair(n: int, folder: str) -> tuple[int, int]:
    noted(folder)
    return n, n


@step(io=NumpyFileIO())
def listed(n: int, folder: str) -> Iterator[tuple[str, list[int]]]:
    noted(folder)
    yield "a", [n]


class Frame(Persistable["dict[str, float]", None]):
    io = CompressedFileIO(CsvFileIO())
    n: Any
    folder: Any

    def _generate_payload(self, **_: Any) -> Any:
        return {}


@step
def after(x: Any, folder: str) -> int:
    noted(folder)
    return 1


@pytest.mark.parametrize("kind", ["step", "items", "class"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_a_format_cannot_take_is_known_before_the_work(kind: str, executor: str, tmp_path: Path) -> None:
    folder = str(tmp_path)
    upstream = hours.step(folder)
    node = {
        "step": lambda: pair.step(upstream, folder),
        "items": lambda: listed.step(upstream, folder),
        "class": lambda: Frame(n=upstream),
    }[kind]()
    below = after.step(node, folder)
    for target in (node, below):
        assert "cannot give back" in str(plan(target, store=tmp_path / "data"))
        result = run(target, store=tmp_path / "data", executor=executor_of(executor), errors="return")
        assert [type(failure.error) for failure in result.failures] == [PayloadNotRepresentable]
        with pytest.raises(PayloadNotRepresentable, match="nothing was computed"):
            _ = target.bind(tmp_path / "data").payload
    assert not (tmp_path / "worked").exists()
    other = hours.step(folder)
    assert run(other, below, store=tmp_path / "data", errors="return")[other].payload == 1  # the rest goes on


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_members_of_a_family_too(executor: str, tmp_path: Path) -> None:
    family = pair.over(n=range(20), folder=[str(tmp_path)])
    result = run(family, store=tmp_path / "data", executor=executor, errors="return")
    assert len(result.failures) == 20
    assert not (tmp_path / "worked").exists()


def test_a_format_given_to_the_node_counts(tmp_path: Path) -> None:
    class Pair(Persistable[tuple[int, int], None]):
        io = JsonFileIO()

        def _generate_payload(self, **_: Any) -> tuple[int, int]:
            return 1, 2

    assert Pair(tmp_path, payload_io=PickleFileIO()).payload == (1, 2)
    with pytest.raises(PayloadNotRepresentable):
        _ = Pair(tmp_path / "other").payload
    assert Pair(tmp_path, payload_io=PickleFileIO()).load().payload == (1, 2)


BEFORE = """
import sys
sys.modules["pyarrow"] = None
from persistable import plan, run, step
from persistable.errors import MissingExtra
from persistable.fileio import ParquetFileIO

@step
def hours() -> int:
    print("worked")
    return 1

@step(io=ParquetFileIO())
def frame(n: int) -> object:
    print("worked")

if __name__ == "__main__":
    node = frame.step(hours.step())
    try:
        node.bind("data").payload
    except MissingExtra:
        pass
    assert "pip install" in str(plan(node, store="data"))
    for executor in ("inline", "threads", "processes"):
        result = run(node, store="data", executor=executor, errors="return")
        assert [type(failure.error) for failure in result.failures] == [MissingExtra], result.failures
    print("fine")
"""


def test_a_missing_package_is_noticed_before_what_is_upstream(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(BEFORE)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "fine", (done.stdout, done.stderr)
