"""Nodes of every kind and format: those that have golden keys, and those that the golden stores hold.

Files and folders lie below the working folder. Who changes a function here makes what the stores hold of it stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import persistable
from persistable import Command, HttpGet, Item, Secret, Source, Upload, Workflow, Workspace, any_of, append, optional, seed, step, stored
from persistable.fileio import (
    ArrowFileIO,
    BundleFileIO,
    BytesFileIO,
    CompressedFileIO,
    CsvFileIO,
    FigureFileIO,
    FileIO,
    FolderFileIO,
    JsonFileIO,
    NumpyFileIO,
    ParquetFileIO,
    PickleFileIO,
    SafetensorsFileIO,
    TextFileIO,
    YamlFileIO,
    ZarrFileIO,
)


class Lines(FileIO[list[str]]):
    """A format of a user's own."""

    suffix = ".lines"

    def __init__(self, end: str = "\n") -> None:
        self.end = end

    def dump(self, payload: list[str], file: Any) -> None:
        file.write(self.end.join(payload).encode())

    def load(self, file: Any) -> list[str]:
        return bytes(file.read()).decode().split(self.end)


FRAME = pd.DataFrame({"n": pd.array([1, 2], dtype="int16"), "who": ["a", "b"], "x": [0.5, -0.0]}, index=pd.Index([10, 20], name="id"))
ARRAY = np.arange(6, dtype="int32").reshape(2, 3)
FORMATS: dict[str, tuple[Any, Any]] = {
    "pickle": (PickleFileIO(), {"a": ARRAY, "b": (1, "x", None)}),
    "pickle_zstd": (PickleFileIO(compress="zstd"), [ARRAY, ARRAY]),
    "npy": (NumpyFileIO(), ARRAY),
    "npz": (NumpyFileIO(), np.array(["a", "bc"])),
    "parquet": (ParquetFileIO(), FRAME),
    "arrow": (ArrowFileIO(), FRAME),
    "csv": (CsvFileIO(), FRAME),
    "csv_zst": (CompressedFileIO(CsvFileIO(index=True)), FRAME),
    "json": (JsonFileIO(), {"a": [1, 2.5, None, True, "x"]}),
    "json_gz": (CompressedFileIO(JsonFileIO(indent=2), "gzip"), [1, 2]),
    "yaml": (YamlFileIO(), {"a": [1, "x"]}),
    "text": (TextFileIO(), "text\n"),
    "lines": (Lines(";"), ["a", "b"]),
    "bytes": (BytesFileIO(), b"\0\1\2"),
    "safetensors": (SafetensorsFileIO(), {"w": ARRAY.astype("float32")}),
    "zarr": (ZarrFileIO(), ARRAY),
    "bundle": (
        BundleFileIO({"table": CsvFileIO(), "facts": JsonFileIO(), "array": ZarrFileIO()}),
        {"table": FRAME, "facts": {"n": 1}, "array": ARRAY},
    ),
}


def payload_of(name: str) -> Any:
    """What the node of that format has as its payload."""
    return FORMATS[name][1]


def stored_nodes() -> dict[str, Any]:
    """One node for each format."""
    nodes: dict[str, Any] = {name: step(io=io, name=f"as_{name}")(payload_of).step(name) for name, (io, _) in FORMATS.items()}
    nodes["figure"] = step(io=FigureFileIO("svg"), name="as_figure")(figure).step()
    nodes["folder"] = step(io=FolderFileIO(), name="as_folder")(folder).step()
    return nodes


def figure() -> Any:
    """A line."""
    from matplotlib.figure import Figure

    made = Figure()
    made.add_subplot().plot([1, 2])
    return made


def folder() -> Path:
    """Two files."""
    Path("made/inner").mkdir(parents=True, exist_ok=True)
    Path("made/a.txt").write_text("a")
    Path("made/inner/b.txt").write_text("b")
    return Path("made")


@step(io=JsonFileIO())
def squares(n: int) -> Iterator[tuple[Any, int]]:
    """Items."""
    for i in range(n):
        yield i, i * i
    yield ("a", 1), -1


@step(io=JsonFileIO())
def plus(a: Any, b: Any = 1) -> Any:
    """Depends on anything."""
    return f"{a!r:.40}+{b}"


@step(io=JsonFileIO())
def total(values: list[Any]) -> int:
    """Depends on many."""
    return len(values)


@step(io=ParquetFileIO())
def appended(n: int) -> Any:
    """Rows, block by block."""
    for i in range(n):
        append(pd.DataFrame({"n": [i, i + 10], "who": ["a", "b"]}))
    return persistable.appended()


@step(io=JsonFileIO())
def given(n: int) -> Any:
    """What is put in by hand."""
    raise AssertionError("it was put in")


@step
def fails(n: int) -> int:
    """A failure."""
    raise ValueError(f"no {n}")


@step
def multiply(frame: pd.DataFrame, factor: int) -> pd.DataFrame:
    """Depends on a seed that is a table and one that is a number."""
    return frame * factor


@step
def first_cell(frame: pd.DataFrame) -> int:
    """A number."""
    return int(frame.iloc[0, 0])


@step
def shout(word: str, flag: bool, table: pd.DataFrame) -> str:
    """Text."""
    return f"{word.upper()} {flag} {len(table)}"


class Scaling(Workflow):
    raw = seed(pd.DataFrame)
    factor = seed(int)
    word = seed(str)
    flag = seed(bool)
    scaled = multiply.step(raw, factor=factor)
    top = first_cell.step(scaled)
    loud = shout.step(word, flag, raw)


class Files(Workspace[Scaling]):
    raw = stored("raw/data-{workflow_id}.csv")
    factor = stored("params/factor")
    word = stored("params/word-{workflow_id}.txt")
    flag = stored("params/flag.json")
    scaled = stored("computed/scaled-{workflow_id}.csv", io=CsvFileIO(index=False))
    top = stored("computed/top-{workflow_id}.txt")
    loud = stored("computed/loud-{workflow_id}.txt")


def write_seeds(root: Path) -> None:
    """The seeds of one id."""
    for path, text in {
        "raw/data-1.csv": "a,b\n1,2\n",
        "params/factor": "3\n",
        "params/word-1.txt": "hey\n",
        "params/flag.json": "true",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def keyed_nodes() -> dict[str, Any]:
    """Nodes whose keys are golden; nothing of them is stored. The working folder is new."""
    write_seeds(Path("workspace"))
    Path("books").mkdir(exist_ok=True)
    Path("books/moby.txt").write_text("whale")
    Path("books/emma.txt").write_text("highbury")
    one = Files("workspace")["1"]
    get = HttpGet("https://example.org/table.csv", "2024-05-01", io=CsvFileIO(index=False))
    plain = HttpGet("https://example.org/x", headers={"Accept": "text/plain"})
    command = Command(
        "wc -l {{ table }} > {{ output.counts }}; echo {{ n }} > {{ output.log }}",
        table=get,
        n=3,
        outputs={"counts": "counts.csv", "log": None},
    )
    nodes = {
        "workspace.scaled": one.node("scaled"),
        "workspace.top": one.node("top"),
        "workspace.loud": one.node("loud"),
        "get": get,
        "get.plain": plain,
        "get.below": plus.step(get),
        "upload": Upload("https://example.org/up.csv", io=CsvFileIO(), source=get),
        "upload.plain": Upload("out/up.bin", source=plain),
        "command": command,
        "command.plain": Command("echo {{ n }} > {{ output }}", n=3),
        "command.below": plus.step(command),
        "collected": squares.step(3),
        "collected.item": plus.step(Item.of(squares.step(3), ("a", 1))),
        "family": plus.over(a=[1, 2], b=["x", "y"]).nodes[2],
        "family.total": total.step(list(plus.over(a=[1, 2, 3]).nodes)),
        "source": plus.over(Source("books/{book}.txt"))["moby"],
        "source.read": plus.over(Source("books/{book}.txt", io=TextFileIO()))["emma"],
        "secret": plus.step(Secret("TOKEN"), 2),
        "optional": plus.step(optional(get)),
        "any_of": plus.step(any_of(get, plain)),
    }
    return {**nodes, **{f"format.{name}": node for name, node in stored_nodes().items()}}
