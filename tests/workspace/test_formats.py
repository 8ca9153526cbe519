"""Any payload type, by suffix and declared type, as a seed and as a computed node, and ids of several parts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.workspace.flows import calls, plus

from persistable import step
from persistable.errors import InvalidName, MalformedFile, PayloadNotRepresentable, UnknownMember, WorkflowError
from persistable.families.workspaces import ScalarFileIO, Workflow, Workspace, seed, stored
from persistable.stores import Store, open_store
from persistable.testing import FileIOContract


class Point:
    """A type of somebody's own."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


CASES: dict[str, tuple[Any, str, Any]] = {
    "int": (int, "{n}", 3),
    "int-text": (int, "{n}.txt", -(10**30)),
    "int-json": (int, "{n}.json", 3),
    "float": (float, "{n}", 0.1),
    "nan-free-float": (float, "{n}.txt", 1e-300),
    "bool": (bool, "{n}", True),
    "str": (str, "{n}", "two\nlines\n"),
    "str-text": (str, "{n}.txt", "ümlaut\r\n"),
    "str-json": (str, "{n}.json", "x"),
    "dict": (dict, "{n}", {"a": [1, 2.5, None]}),
    "dict-of": (dict[str, int], "{n}.json", {"a": 1}),
    "dict-yaml": (dict, "{n}.yaml", {"a": [1, 2.5, None]}),
    "list": (list[int], "{n}", [1, 2]),
    "bytes": (bytes, "{n}.edf", b"\0\xff"),
    "frame": (pd.DataFrame, "{n}", pd.DataFrame({"a": [1, 2]}, index=[5, 6])),
    "frame-csv": (pd.DataFrame, "{n}.csv", pd.DataFrame({"a": [1, 2]})),
    "frame-parquet": (pd.DataFrame, "{n}.parquet", pd.DataFrame({"a": [1, 2]}, index=[5, 6])),
    "array": (NDArray[np.float64], "{n}", np.arange(6.0).reshape(2, 3)),
    "array-npy": (np.ndarray, "{n}.npy", np.arange(6.0)),
    "custom": (Point, "{n}", Point(3)),
    "any-pickle": (Any, "{n}.pickle", {1, 2}),
    "compressed": (dict, "{n}.json.gz", {"a": 1}),
    "dotted": (int, "v1.0-{n}", 7),
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
        return True
    return type(a) is type(b) and bool(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b)


@pytest.mark.parametrize("case", CASES)
def test_any_type_as_a_seed_and_as_a_node(case: str, tmp_path: Path) -> None:
    kind, template, value = CASES[case]

    def passed(x: Any) -> Any:
        return x

    passed.__annotations__["return"] = kind
    on = step(passed)

    class One(Workflow):
        seen = seed(kind)
        out = on.step(seen)

    class OneFiles(Workspace[One]):
        seen = stored("in/" + template)
        out = stored("out/" + template)

    ws = OneFiles(tmp_path)
    ws.put("a", seen=value)
    assert same(ws["a"].seen, value)
    assert same(ws["a"].out, value)
    again = OneFiles(tmp_path)
    assert same(again["a"].out, value)
    assert again["a"].node("out").exists()
    assert list(again) == ["a"]
    assert (tmp_path / "out" / template.format(n="a")).is_file()


def test_seeds_as_people_write_them(tmp_path: Path) -> None:
    class Written(Workflow):
        whole = seed(int)
        real = seed(float)
        real_json = seed(float)
        truth = seed(bool)
        text = seed(str)

    class WrittenFiles(Workspace[Written]):
        whole = stored("{n}/whole")
        real = stored("{n}/real")
        real_json = stored("{n}/real.json")
        truth = stored("{n}/truth")
        text = stored("{n}/text")

    folder = tmp_path / "a"
    folder.mkdir()
    for name, content in {"whole": " 3 \r\n", "real": "3", "real.json": "3", "truth": "TRUE\n", "text": "one\n"}.items():
        (folder / name).write_bytes(content.encode())
    found = WrittenFiles(tmp_path)["a"]
    assert [found.whole, found.real, found.real_json, found.truth, found.text] == [3, 3.0, 3.0, True, "one"]
    assert type(found.real) is type(found.real_json) is float
    (folder / "whole").write_text("3.5")
    (folder / "truth").write_text("yes")
    (folder / "real.json").write_text('"x"')
    with pytest.raises(MalformedFile, match=rf"^the seed whole at {re.escape(str(folder / 'whole'))}: .*'3\.5' is no int"):
        _ = found.whole
    with pytest.raises(MalformedFile, match="'yes' is no bool"):
        _ = found.truth
    with pytest.raises(MalformedFile, match=r"real\.json holds 'x', a str, where the seed real_json is declared float"):
        _ = found.real_json


def test_numbers_of_another_type_are_refused() -> None:
    for kind, wrong in (("int", True), ("int", np.int64(3)), ("float", np.float64(1)), ("str", 3), ("bool", 1)):
        with pytest.raises(PayloadNotRepresentable, match=rf"{kind}\(value\)"):
            ScalarFileIO(kind).dumps(wrong)
    with pytest.raises(ValueError, match="kind is 'complex'"):
        ScalarFileIO("complex")


class TestScalarFileIO(FileIOContract):
    def io(self) -> ScalarFileIO:
        return ScalarFileIO("float")

    def payloads(self) -> st.SearchStrategy[float]:
        return st.floats(allow_nan=False)

    def refused(self) -> list[Any]:
        return ["x", None, 1]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_a_file_without_a_suffix(text: str) -> None:
    io = ScalarFileIO("str")
    assert io.loads(io.dumps(text)) == text


def test_folders_and_paths(store: Store, tmp_path: Path) -> None:
    @step
    def count(folder: Path) -> int:
        return len(list(folder.iterdir()))

    @step
    def size(path: Path) -> int:
        return path.stat().st_size

    @step
    def written(n: int) -> Path:
        folder = Path(tempdir, str(n))
        folder.mkdir()
        (folder / "n.txt").write_text("x" * n)
        return folder

    tempdir = str(tmp_path / "made")
    Path(tempdir).mkdir()

    class Folders(Workflow):
        scans = seed(Path)
        notes = seed(Path)
        number = count.step(scans)
        length = size.step(notes)
        out = written.step(length)
        again = count.step(out)

    class FolderFiles(Workspace[Folders]):
        scans = stored("scans/{n}/")
        notes = stored("notes/{n}.doc")
        number = stored("number/{n}")
        out = stored("out/{n}/")

    store.put("scans/a/1.dat", b"1")
    store.put("scans/a/2.dat", b"2")
    store.put("notes/a.doc", b"four")
    ws = FolderFiles(store)
    assert list(ws) == ["a"]
    found = ws["a"]
    assert (found.number, found.length, found.again) == (2, 4, 1)
    assert store.get("out/a/n.txt") == b"xxxx"
    assert found.notes.read_bytes() == b"four"
    store.put("scans/a/3.dat", b"3")
    assert (found.number, store.get("number/a")) == (3, b"3\n")
    Path(tempdir, "4").rename(Path(tempdir, "new"))
    ws.put("b", scans=Path(tempdir, "new"), notes=Path(tempdir, "new", "n.txt"))
    assert store.get("notes/b.doc") == b"xxxx"
    assert (ws["b"].number, ws["b"].length) == (1, 4)


def test_formats_that_cannot_be_told_are_refused() -> None:
    class Untold(Workflow):
        a = seed()
        b = seed(bytes)

    with pytest.raises(WorkflowError, match=r"Files\.a: .*neither the suffix"):

        class Files(Workspace[Untold]):
            a = stored("{n}.edf")
            b = stored("b/{n}")


# ids of several parts


class Sessions(Workflow):
    value = seed(int)
    age = seed(int)
    scale = seed(int, default=1)
    older = plus.step(age, scale)
    both = plus.step(value, age)
    constant = plus.step(1, 2)


class SessionFiles(Workspace[Sessions]):
    value = stored("raw/{subject}/ses-{session}.txt")
    age = stored("about/{subject}.txt")
    scale = stored("scale/{subject}/{session}")
    older = stored("older/{subject}/{session}.json")
    both = stored("both/{session}/{subject}.json")
    constant = stored("constant.json")


def sessions(folder: Path) -> SessionFiles:
    store = open_store(folder)
    for subject, session in (("anna", 1), ("anna", 2), ("ben", 1), ("eve", 1)):
        store.put(f"raw/{subject}/ses-{session}.txt", str(session).encode())
    for subject, age in (("anna", 30), ("ben", 40), ("zoe", 50)):
        store.put(f"about/{subject}.txt", str(age).encode())
    return SessionFiles(store)


def test_ids_of_several_parts(tmp_path: Path) -> None:
    ws = sessions(tmp_path)
    assert list(ws) == [("anna", "1"), ("anna", "2"), ("ben", "1")]
    assert list(ws.incomplete()) == [("eve", "1")]
    assert ws["anna", "2"].both == 32
    assert ws["anna", 2].both == 32
    assert ws.run().counts["done"] == 6  # of both sessions of anna, `older` is the same node at two places
    assert calls() == ["plus-1-2", "plus-1-30", "plus-1-40", "plus-2-30", "plus-30-1", "plus-30-1", "plus-40-1"]
    assert sorted(path.relative_to(tmp_path / "both").as_posix() for path in (tmp_path / "both").rglob("*.json")) == [
        "1/anna.json",
        "1/ben.json",
        "2/anna.json",
    ]
    assert ws.status().to_frame().index.names == ["subject", "session"]
    with pytest.raises(UnknownMember, match=r"a tuple \(subject, session\)"):
        ws["anna"]
    with pytest.raises(UnknownMember, match=r"nearest id is \('anna', '2'\)"):
        ws["anna", "22"]
    with pytest.raises(InvalidName):
        ws["anna", "../1"]
    ws.put(("ben", "2"), value=5, age=41)
    ws.put("ben", "2", scale=7)
    assert (ws["ben", "2"].older, ws["ben", "2"].both) == (48, 46)
    assert len(ws) == 4


def test_files_that_can_be_no_id_are_reported(tmp_path: Path) -> None:
    ws = sessions(tmp_path)
    (tmp_path / "raw" / "anna" / "ses-what?.txt").write_text("1")
    assert len(ws) == 3
    assert "cannot be part of a path" in ws.incomplete()["anna", "what?"][0]


def test_a_default_counts_where_there_is_no_file(tmp_path: Path) -> None:
    ws = sessions(tmp_path)
    session = ws["anna", "1"]
    assert (session.scale, session.older) == (1, 31)
    ws.put(("anna", "1"), scale=10)
    assert (session.scale, session.older) == (10, 40)
    (tmp_path / "scale" / "anna" / "1").unlink()
    assert (session.scale, session.older) == (1, 31)


BENT: dict[str, Any] = {
    "leading zeros": ["001", "002"],
    "words for nothing": ["NA", "x"],
    "dates": pd.date_range("2020", periods=2),
    "durations": pd.to_timedelta([1, 2], unit="s"),
    "categories": pd.Categorical(["x", "y"]),
    "small integers": np.array([1, 2], np.int8),
}


@pytest.mark.parametrize("name", BENT)
def test_a_frame_that_a_csv_of_a_seed_would_bend_is_refused(name: str, tmp_path: Path) -> None:
    """A seed has no record to keep its dtypes: it is what `pandas.read_csv` makes of the file."""

    class Of(Workflow):
        frame = seed(pd.DataFrame)

    class Kept(Workspace[Of]):
        frame = stored("{n}.csv")

    ws = Kept(tmp_path)
    ws.put("a", frame=pd.DataFrame({"a": [0.1, 1 / 3], "b": ["x", "y"]}))
    before = (tmp_path / "a.csv").read_bytes()
    with pytest.raises(PayloadNotRepresentable, match=rf"^the seed frame at {re.escape(str(tmp_path / 'a.csv'))}: .*\.parquet"):
        ws.put("a", frame=pd.DataFrame({"a": BENT[name]}))
    assert (tmp_path / "a.csv").read_bytes() == before
    assert ws["a"].frame["a"].tolist() == [0.1, 1 / 3]
