"""What was computed is not lost where it cannot be written, and what can be known is known before the work is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persistable import run, step
from persistable.errors import PayloadNotRepresentable
from persistable.fileio import BundleFileIO, CompressedFileIO, JsonFileIO, NumpyFileIO, PickleFileIO
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
