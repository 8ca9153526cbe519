"""What a format of three lines gets from its base, and where files may lie."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import strategies as st
from upath import UPath

from persistable.errors import FormatError, MalformedFile, MissingExtra, PayloadNotRepresentable
from persistable.fileio import CompressedFileIO, CsvFileIO, FileIO, JsonFileIO, Parts, PartsFileIO, TextFileIO
from persistable.fileio.registry import fileio_from_spec
from persistable.testing.fileio import FileIOContract


class Lines(FileIO[list[str]]):
    """The least a format is."""

    suffix = ".lines"

    def dump(self, payload: list[str], file: BinaryIO) -> None:
        file.write("\n".join(payload).encode())

    def load(self, file: Any) -> list[str]:
        return file.read().decode().split("\n")


class Joined(Lines):
    """With options, and calling its parent's load."""

    def __init__(self, joiner: str = "\n", *, strict: bool = True, inner: FileIO[Any] | None = None) -> None:
        self.joiner = joiner
        self.strict = strict
        self.inner = inner

    def check(self, payload: Any) -> None:
        if not isinstance(payload, list) or not payload:
            self._refuse("it is not a list of lines")

    def load(self, file: Any) -> list[str]:
        return super().load(file)


class Pages(PartsFileIO[dict[str, str]]):
    suffix = ".pages"

    def dump_parts(self, payload: dict[str, str], create: Callable[[str], AbstractContextManager[BinaryIO]]) -> None:
        for name, text in payload.items():
            with create(f"{name}.txt") as file:
                file.write(text.encode())

    def load_parts(self, parts: Parts) -> dict[str, str]:
        pages: dict[str, str] = {}
        for name in parts.names():
            with parts.open(name) as file:
                pages[name.removesuffix(".txt")] = file.read().decode()
        return pages


_line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))


class TestMinimal(FileIOContract):
    def io(self) -> FileIO[Any]:
        return Lines()

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.lists(_line, min_size=1)


class TestWithOptions(TestMinimal):
    def io(self) -> FileIO[Any]:
        return Joined("-", strict=False, inner=CompressedFileIO(JsonFileIO(indent=2), "gzip"))

    def refused(self) -> list[Any]:
        return [[], None]


class TestMinimalParts(FileIOContract):
    def io(self) -> FileIO[Any]:
        return Pages()

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.dictionaries(st.text("abc", min_size=1), _line, min_size=1).map(
            lambda pages: dict(sorted(pages.items(), key=lambda it: it[0] + ".txt"))
        )


def test_spec_names_what_differs_from_the_defaults() -> None:
    assert CsvFileIO().spec() == {"io": "CsvFileIO", "options": {}}
    assert CsvFileIO(index=False).spec() == {"io": "CsvFileIO", "options": {"index": False}}
    spec = CompressedFileIO(JsonFileIO(indent=2), "gzip").spec()
    assert spec == {"io": "CompressedFileIO", "options": {"inner": {"io": "JsonFileIO", "options": {"indent": 2}}, "codec": "gzip"}}
    assert Lines().spec()["io"].endswith(":Lines")
    made = Joined("-", inner=Lines())
    assert fileio_from_spec(made.spec()) == made
    assert repr(CsvFileIO(index=False)) == "CsvFileIO(index=False)"


def test_equality_is_type_and_options() -> None:
    assert JsonFileIO() == JsonFileIO(indent=None) != JsonFileIO(indent=1)
    assert JsonFileIO() != TextFileIO()
    assert len({JsonFileIO(), JsonFileIO(), JsonFileIO(indent=1)}) == 2
    assert pickle.loads(pickle.dumps(Joined("x"))) == Joined("x")


def test_an_option_that_is_not_kept_or_not_json_is_said() -> None:
    class Forgetful(Lines):
        def __init__(self, width: int = 3) -> None:
            pass

    class Odd(Lines):
        def __init__(self, call: Any = None) -> None:
            self.call = call

    with pytest.raises(FormatError, match=r"self\.width"):
        Forgetful().spec()
    with pytest.raises(FormatError, match=r"Odd\.call"):
        Odd(print).spec()


@pytest.mark.parametrize("make", [str, Path, UPath, lambda path: f"file://{path}", lambda path: UPath(f"file://{path}")])
def test_every_way_to_say_a_local_path(tmp_path: Path, make: Callable[[str], Any]) -> None:
    target = make(str(tmp_path / "new" / "a b%20.lines"))
    Lines().save(["x"], target)
    assert (tmp_path / "new" / "a b%20.lines").read_bytes() == b"x"
    assert Lines().load(target) == ["x"]


def test_remote_paths(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4()}/deep/a.lines"
    Lines().save(["x", "y"], UPath(url))
    assert Lines().load(url) == ["x", "y"]
    assert Lines().load(UPath(url)) == ["x", "y"]
    with pytest.raises(FileNotFoundError):
        Lines().load(url + "x")
    with pytest.raises(TypeError, match="path"):
        Lines().load(3)


def test_the_schema_goes_with_remote_files_too() -> None:
    import pandas as pd

    url = f"memory://{uuid.uuid4()}/a.csv"
    frame = pd.DataFrame({"a": pd.Series([1], dtype="int8")})
    CsvFileIO().save(frame, url)
    pd.testing.assert_frame_equal(CsvFileIO().load(url), frame)


def test_a_saved_file_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    Lines().save(["x"], tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_long_name_can_be_saved(tmp_path: Path) -> None:
    Lines().save(["x"], tmp_path / ("n" * 250))
    assert os.listdir(tmp_path) == ["n" * 250]


def test_parsers_errors_are_malformed_and_others_are_not() -> None:
    class Broken(Lines):
        def load(self, file: Any) -> list[str]:
            raise {b"v": ValueError("v"), b"k": KeyError("k"), b"o": OSError(5, "disk"), b"t": TypeError("bug")}[file.read()]

    for data in (b"v", b"k"):
        with pytest.raises(MalformedFile, match="Broken"):
            Broken().loads(data)
    with pytest.raises(OSError, match="disk"):
        Broken().loads(b"o")
    with pytest.raises(FormatError, match="Broken cannot read this file: TypeError: bug") as raised:
        Broken().loads(b"t")
    assert not isinstance(raised.value, MalformedFile)
    assert isinstance(raised.value.__cause__, TypeError)


def test_refusals_of_a_sidecar_that_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "a.csv.schema.json").write_text("[1]")
    with pytest.raises(MalformedFile, match="delete that file"):
        CsvFileIO().load(tmp_path / "a.csv")


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


_HEAVY = (
    "numpy pandas polars pyarrow fsspec zarr matplotlib yaml zstandard cloudpickle json dataclasses inspect hypothesis tempfile zipfile"
)


def test_importing_formats_loads_nothing_heavy() -> None:
    code = f"import sys; bare = set(sys.modules); import persistable.fileio; print(*(set({_HEAVY!r}.split()) & set(sys.modules) - bare))"
    assert _run(code).split() == []


def test_local_files_need_no_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys; from persistable.fileio import JsonFileIO, PickleFileIO, FolderFileIO\n"
        f"p = {str(tmp_path / 'x')!r}\n"
        "JsonFileIO().save([1], p); assert JsonFileIO().load('file://' + p) == [1]\n"
        "PickleFileIO().save([1], p); assert PickleFileIO().load(p) == [1]\n"
        "print(*({'fsspec', 'numpy', 'cloudpickle', 'tempfile'} & set(sys.modules)))"
    )
    assert _run(code).split() == []


_WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
from persistable.errors import MissingExtra
from persistable import fileio
format_ = eval({made!r}, vars(fileio) | {{name: getattr(fileio, name) for name in fileio.__all__}})
for attempt in (lambda: format_.dumps({payload}), lambda: format_.loads({data!r})):
    try:
        attempt()
    except MissingExtra as error:
        assert (error.extra, error.package) == ({extra!r}, {distribution!r}), (error.extra, error.package)
        assert "pip install 'persistable[{extra}]'" in str(error) and isinstance(error, ImportError), str(error)
    else:
        raise SystemExit("no error")
"""
_ZSTD_HEADER = b"\x93PERSIST\x01\x00\x01\x00" + bytes(36) + (64).to_bytes(8, "little") + bytes(4)


@pytest.mark.parametrize(
    ("made", "package", "distribution", "extra", "payload", "data"),
    [
        ("YamlFileIO()", "yaml", "pyyaml", "yaml", "[1]", b"a"),
        ("CsvFileIO()", "pandas", "pandas", "pandas", "[1]", b"a"),
        ("ParquetFileIO()", "pyarrow", "pyarrow", "arrow", "[1]", b"a"),
        ("ArrowFileIO()", "pyarrow", "pyarrow", "arrow", "[1]", b"a"),
        ("CompressedFileIO(TextFileIO())", "zstandard", "zstandard", "zstd", "'x'", b"a"),
        (
            "PickleFileIO(compress='zstd')",
            "zstandard",
            "zstandard",
            "zstd",
            "[1]",
            _ZSTD_HEADER + __import__("zlib").crc32(_ZSTD_HEADER).to_bytes(4, "little"),
        ),
        ("ZarrFileIO()", "zarr", "zarr", "zarr", "__import__('numpy').zeros(3)", b"PK\x05\x06" + bytes(18)),
    ],
)
def test_an_absent_package_is_named_with_its_extra(
    made: str, package: str, distribution: str, extra: str, payload: str, data: bytes
) -> None:
    _run(_WITHOUT.format(made=made, package=package, distribution=distribution, extra=extra, payload=payload, data=data))


def test_an_absent_matplotlib_is_needed_only_to_draw() -> None:
    code = _WITHOUT.format(made="FigureFileIO()", package="matplotlib", distribution="matplotlib", extra="figure", payload="1", data=b"")
    _run(code.replace(", lambda: format_.loads(b'')", ","))


def test_missing_extra_is_an_import_error_and_refusal_a_type_error() -> None:
    assert issubclass(MissingExtra, ImportError)
    assert issubclass(PayloadNotRepresentable, TypeError)
