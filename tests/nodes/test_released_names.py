"""Names of the released versions 1.1 to 1.3, as they were used there."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from persistable import Persistable, PersistableParams, open_store
from persistable.errors import InvalidName, ReservedName
from persistable.fileio import JsonFileIO


class Colour(enum.Enum):
    RED = 1


@dataclass
class Inner(PersistableParams):
    depth: int = 2


@dataclass
class Params(PersistableParams):
    n: int
    at: Path = Path("a/b")
    colour: Colour = Colour.RED
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ("x",)


class Base(Persistable[int, Params]):
    def _generate_payload(self, **_: Any) -> int:
        return self.params.n


class Sums(Persistable[int, Params]):
    """As one was written then."""

    def __init__(self, data_dir: Path, params: Params, base: Base, verbose: bool = False) -> None:
        super().__init__(data_dir, params, tracked_persistable_dependencies=[base], payload_file_suffix=".persistable", verbose=verbose)
        self.base = base

    def _generate_payload(self, **_: Any) -> int:
        return self.base.payload + self.params.n


def test_params_as_a_dict() -> None:
    assert Params(3).to_dict() == {"n": 3, "at": "a/b", "colour": "RED", "inner": {"depth": 2}, "names": ("x",)}
    assert PersistableParams().to_dict() == {}


def test_the_folder(tmp_path: Path) -> None:
    base = Base(tmp_path, Params(3))
    assert base.data_dir == tmp_path and isinstance(base.data_dir, Path)
    assert Base(data_dir=tmp_path, params=Params(3)).data_dir == tmp_path
    assert Base("memory://somewhere", Params(3)).data_dir == "memory://somewhere"
    with open_store(tmp_path):
        assert Base(params=Params(3)).data_dir == tmp_path


def test_the_suffix(tmp_path: Path) -> None:
    base, node = Base(tmp_path, Params(3)), Sums(tmp_path, Params(4), Base(tmp_path, Params(3)))
    assert (base.payload_file_suffix, node.payload_file_suffix) == (".pickle", ".persistable")
    assert node.generate().payload == 7
    assert [path.name.startswith(node.persist_hash) for path in tmp_path.rglob("*.persistable") if path.is_file()] == [True]
    again = Sums(tmp_path, Params(4), base)
    assert again.load().payload == 7 and node.tracked_persistable_dependencies[0].key == base.key
    assert Base(tmp_path, Params(3), payload_file_suffix=".x").key == base.key
    assert base.replace(n=5).payload_file_suffix == ".pickle" and node.replace(n=5).payload_file_suffix == ".persistable"


def test_a_class_may_say_it(tmp_path: Path) -> None:
    class Kept(Persistable[dict[str, int], None]):
        io = JsonFileIO()
        payload_file_suffix = "geojson"

        def _generate_payload(self, **_: Any) -> dict[str, int]:
            return {"a": 1}

    assert Kept(tmp_path).payload == {"a": 1} == Kept(tmp_path).payload
    assert [path.suffix for path in (tmp_path / "kept").iterdir() if "record" not in path.name] == [".geojson"]


def test_a_suffix_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidName):
        Base(tmp_path, Params(3), payload_file_suffix="/../../x")
    assert not list(tmp_path.parent.glob("x*"))


def test_the_format_as_a_class_attribute(tmp_path: Path) -> None:
    """`payload_io` in a class is `io`: what is shown is what is stored by, in subclasses too."""

    class Written(Base):
        payload_io = JsonFileIO()

    class Further(Written):
        pass

    class Otherwise(Written):
        io = None

    for kind in (Written, Further):
        node = kind(tmp_path, Params(3)).generate()
        assert isinstance(node.io, JsonFileIO) and isinstance(node.payload_io, JsonFileIO)
        assert node.record is not None and node.record.fileio["io"] == "JsonFileIO"
    assert type(Otherwise(tmp_path, Params(3)).payload_io).__name__ == "PickleFileIO"
    with pytest.raises(ReservedName, match="leave one out"):

        class Twice(Base):
            io = JsonFileIO()
            payload_io = JsonFileIO()
