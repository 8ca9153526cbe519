"""Tables for fields that may hold one of several classes: by the declared union, from the file, the environment and ``--set``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, Flag, IntFlag, auto
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Optional, TypedDict

import attrs
import pydantic
import pytest

from persistable import Persistable, Project, step
from persistable.errors import ConfigError
from persistable.project.coerce import read, read_field
from persistable.project.scalars import UntypedText

Load = Callable[..., Project]
HERE = __name__


@dataclass(frozen=True)
class Adam:
    kind: Literal["adam"] = "adam"
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class Sgd:
    kind: Literal["sgd", "momentum"] = "sgd"
    lr: float = 0.2
    nesterov: bool = False


@attrs.frozen
class AttrsAdam:
    kind: Literal["adam"] = "adam"
    lr: float = 0.1


@attrs.frozen
class AttrsSgd:
    kind: Literal["sgd"] = "sgd"
    lr: float = 0.2


class ModelAdam(pydantic.BaseModel):
    kind: Literal["adam"] = "adam"
    lr: float = 0.1


class ModelSgd(pydantic.BaseModel):
    kind: Literal["sgd"] = "sgd"
    lr: float = 0.2


class Kind(Enum):
    ADAM = "adam"
    SGD = "sgd"


@dataclass(frozen=True)
class EnumAdam:
    kind: Literal[Kind.ADAM] = Kind.ADAM
    lr: float = 0.1


@dataclass(frozen=True)
class EnumSgd:
    kind: Literal[Kind.SGD] = Kind.SGD
    lr: float = 0.2


@dataclass(frozen=True)
class FixedAdam:
    kind: Literal["adam"] = field(default="adam", init=False)
    lr: float = 0.1


@dataclass(frozen=True)
class FixedSgd:
    kind: Literal["sgd"] = field(default="sgd", init=False)
    lr: float = 0.2


@dataclass(frozen=True)
class VarAdam:
    kind: ClassVar[str] = "adam"
    lr: float = 0.1


@dataclass(frozen=True)
class VarSgd:
    kind: ClassVar[str] = "sgd"
    lr: float = 0.2


class AliasAdam(pydantic.BaseModel):
    of: Literal["adam"] = pydantic.Field("adam", alias="kind")
    lr: float = 0.1


class AliasSgd(pydantic.BaseModel):
    of: Literal["sgd"] = pydantic.Field("sgd", alias="kind")
    lr: float = 0.2


class TypedAdam(TypedDict):
    kind: Literal["adam"]
    lr: float


class TypedSgd(TypedDict):
    kind: Literal["sgd"]
    lr: float


class TupleAdam(NamedTuple):
    kind: Literal["adam"]
    lr: float = 0.1


class TupleSgd(NamedTuple):
    kind: Literal["sgd"]
    lr: float = 0.2


class Circle(pydantic.BaseModel):
    size: float = 1.0


class Square(pydantic.BaseModel):
    size: float = 1.0
    corners: int = 4


def shape_tag(value: Any) -> str:
    return "square" if "corners" in value else "circle"


Told = Annotated[Annotated[Circle, pydantic.Tag("circle")] | Annotated[Square, pydantic.Tag("square")], pydantic.Discriminator(shape_tag)]


class Root(pydantic.RootModel[Annotated[ModelAdam | ModelSgd, pydantic.Field(discriminator="kind")]]):
    pass


PAIRS: list[tuple[Any, Any, Any]] = [
    (Adam | Sgd, Adam(), Sgd(lr=0.5)),
    (AttrsAdam | AttrsSgd, AttrsAdam(), AttrsSgd(lr=0.5)),
    (ModelAdam | ModelSgd, ModelAdam(), ModelSgd(lr=0.5)),
    (Annotated[ModelAdam | ModelSgd, pydantic.Field(discriminator="kind")], ModelAdam(), ModelSgd(lr=0.5)),
    (Optional[Annotated[Adam | Sgd, "told apart"]], None, Sgd(lr=0.5)),  # noqa: UP045
    (Adam | Sgd | dict[str, Any], Adam(), Sgd(lr=0.5)),
    (EnumAdam | EnumSgd, EnumAdam(), EnumSgd(lr=0.5)),
    (FixedAdam | FixedSgd, FixedAdam(), FixedSgd(lr=0.5)),
    (VarAdam | VarSgd, VarAdam(), VarSgd(lr=0.5)),
    (AliasAdam | AliasSgd, AliasAdam(kind="adam"), AliasSgd(kind="sgd", lr=0.5)),
    (TypedAdam | TypedSgd, None, {"kind": "sgd", "lr": 0.5}),
    (TupleAdam | TupleSgd, TupleAdam("adam"), TupleSgd("sgd", 0.5)),
    (Root, None, Root(ModelSgd(lr=0.5))),
    (Adam | ModelSgd, Adam(), ModelSgd(lr=0.5)),
]


@pytest.mark.parametrize(("kind", "default", "value"), PAIRS, ids=lambda each: str(each)[:60])
@pytest.mark.parametrize(
    "given",
    [
        {"kind": "sgd", "lr": 0.5},
        UntypedText('{kind = "sgd", lr = 0.5}', "--set it"),
        {"kind": UntypedText("sgd", "x"), "lr": UntypedText("0.5", "x")},
    ],
)
def test_the_tag_says_which_class_is_meant(kind: Any, default: Any, value: Any, given: Any) -> None:
    found = read_field(kind, given, "opt", default)
    assert found == value and type(found) is type(value)


def test_what_is_left_out_is_that_of_the_default_where_tags_tell_the_classes_apart() -> None:
    started = Adam(lr=9.0, betas=(0.0, 0.0))
    assert read_field(Adam | Sgd, {"lr": 0.5}, "opt", started) == Adam(lr=0.5, betas=(0.0, 0.0))
    assert read_field(Adam | Sgd, {"kind": "adam", "lr": 0.5}, "opt", started) == Adam(lr=0.5, betas=(0.0, 0.0))
    assert read_field(Adam | Sgd, {"nesterov": True}, "opt", started) == Sgd(nesterov=True)
    assert read_field(Adam | Sgd, {"kind": "momentum"}, "opt", started) == Sgd(kind="momentum")
    assert read_field(FixedAdam | FixedSgd, {"lr": 0.5}, "opt", FixedSgd()) == FixedSgd(0.5)


def test_lists_and_dicts_of_a_union() -> None:
    given = [{"kind": "sgd"}, {"kind": "adam", "lr": 2}]
    assert read(list[Adam | Sgd], given, "opt") == [Sgd(), Adam(lr=2.0)]
    assert read(dict[str, Adam | Sgd | None], {"a": given[0], "b": None}, "opt") == {"a": Sgd(), "b": None}


def test_a_function_that_tells_pydantic_the_tag_is_asked() -> None:
    assert read(Told, {"size": 2}, "shape") == Circle(size=2.0)
    assert read(Told, {"size": 2, "corners": 5}, "shape") == Square(size=2.0, corners=5)


@dataclass(frozen=True)
class Ring:
    size: float = 1.0
    hole: float = 0.5


@dataclass(frozen=True)
class Star:
    size: float = 1.0
    rays: int = 5


@dataclass(frozen=True)
class Nova(Star):
    bright: bool = True


@pytest.mark.parametrize("default", [None, Ring()])
def test_a_table_that_fits_two_classes_is_refused_and_one_is_named(default: Any) -> None:
    with pytest.raises(ConfigError, match=r'shape is .* which fits Ring and Star alike; name the one that is meant: use = "Ring"'):
        read_field(Ring | Star, {"size": 2}, "shape", default)
    assert read_field(Ring | Star, {"size": 2, "use": "Star"}, "shape", default) == Star(2.0)
    assert read_field(Ring | Star, {"size": 2, "use": UntypedText(f"{HERE}:Nova", "x")}, "shape", default) == Nova(2.0)
    assert read_field(Ring | Star, {"size": 2, "rays": 3}, "shape", default) == Star(2.0, 3)
    assert read(list[Ring | Star], [{"use": "Ring"}], "shape") == [Ring()]
    with pytest.raises(ConfigError, match=r"shape.use is 'Stra'; give one of Ring, Star; did you mean 'Star'"):
        read_field(Ring | Star, {"use": "Stra"}, "shape", default)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Adam | Sgd, {"kind": "sdg"}, "opt.kind is 'sdg'; give one of 'adam', 'sgd', 'momentum'"),
        (EnumAdam | EnumSgd, {"kind": "sdg"}, "opt.kind is 'sdg'; give one of 'ADAM', 'SGD'"),
        (Adam | Sgd, {"kind": "sgd", "lr": "x"}, "opt.lr is 'x'; give a number"),
        (Adam | Sgd, {"kind": "sgd", "betas": [1, 2]}, "opt.betas is unknown"),
        (Adam | Sgd, {"nesterov": "x"}, "opt.nesterov is 'x'; give true or false"),
        (Adam | Sgd, {"lrr": 1}, r"opt is .*; give a table of Adam \(kind, lr, betas\) or Sgd \(kind, lr, nesterov\)"),
    ],
)
def test_what_fits_none_is_refused_with_what_would(kind: Any, given: Any, message: str) -> None:
    for default in (None, read_field(kind, {"kind": "adam"}, "opt")):
        with pytest.raises(ConfigError, match=message):
            read_field(kind, given, "opt", default)


class Rights(Flag):
    READ = auto()
    WRITE = auto()
    RUN = auto()


class Bits(IntFlag):
    A = 1
    B = 2


@pytest.mark.parametrize(
    "given",
    [
        "READ|RUN",
        "READ | RUN",
        ["READ", "RUN"],
        ["RUN", 1],
        5,
        "5",
        UntypedText('["READ", "RUN"]', "x"),
        UntypedText("Rights.READ|RUN", "x"),
    ],
)
def test_flags_together(given: Any) -> None:
    assert read(Rights, given, "rights") == Rights.READ | Rights.RUN
    assert read(Rights | None, given, "rights") == Rights.READ | Rights.RUN


def test_no_flag_and_wrong_ones() -> None:
    assert read(Rights, [], "rights") == Rights(0) and read(Bits, "A|B", "bits") == Bits.A | Bits.B
    assert read(Rights, str(Rights.READ | Rights.WRITE), "rights") == Rights.READ | Rights.WRITE
    for given in ("READ|RUM", ["READ", "RUM"], 64, True, 1.0):
        with pytest.raises(ConfigError, match="READ, WRITE, RUN"):
            read(Rights, given, "rights")


# ------------------------------------------------------------------ through a project


@dataclass
class TrainParams:
    opt: Adam | Sgd = field(default_factory=Adam)
    shape: Ring | Star = field(default_factory=Ring)
    rights: Rights = Rights.READ


class Train(Persistable[str, TrainParams]):
    def _generate_payload(self) -> str:
        return f"{self.params.opt} {self.params.rights}"


class ModelParams(pydantic.BaseModel):
    opt: ModelAdam | ModelSgd = pydantic.Field(ModelAdam(), discriminator="kind")


class PydanticTrain(Persistable[str, ModelParams]):
    def _generate_payload(self) -> str:
        return repr(self.params.opt)


@step
def trained(opt: Adam | Sgd = Adam()) -> str:
    return repr(opt)


TARGETS = f"""
[targets.train]
use = "{HERE}:Train"
[targets.model]
use = "{HERE}:PydanticTrain"
[targets.step]
use = "{HERE}:trained"
"""


@pytest.mark.parametrize(("name", "value"), [("train", Sgd(lr=0.5)), ("model", ModelSgd(lr=0.5)), ("step", Sgd(lr=0.5))])
def test_another_member_is_chosen_in_the_file_the_environment_and_by_set(load: Load, name: str, value: Any) -> None:
    in_file = TARGETS.replace(f"[targets.{name}]", f'[targets.{name}]\nparams = {{ opt = {{ kind = "sgd", lr = 0.5 }} }}')
    variables = {f"PERSISTABLE_PARAMS__{name}__opt__kind": "sgd", f"PERSISTABLE_PARAMS__{name}__opt__lr": "0.5"}
    projects = [
        load(in_file),
        load(TARGETS, environ=variables),
        load(TARGETS, set=[f"{name}.opt.kind=sgd", f"{name}.opt.lr=0.5"]),
        load(TARGETS, set=[f'{name}.opt={{kind = "sgd", lr = 0.5}}']),
        load(TARGETS, set={f"{name}.opt": {"kind": "sgd", "lr": 0.5}}),
    ]
    found = [each[name] for each in projects]
    assert {each.key for each in found} == {found[0].key}
    held: Any = found[0].params
    assert (held["opt"] if isinstance(held, dict) else held.opt) == value


def test_flags_and_classes_by_name_in_a_project(load: Load) -> None:
    found = load(TARGETS, set=["train.rights=READ|WRITE", "train.shape.use=Star", "train.shape.size=3"])["train"].params
    assert (found.rights, found.shape) == (Rights.READ | Rights.WRITE, Star(3.0))
    with pytest.raises(ConfigError, match=r"targets.train.params.shape is .* fits Ring and Star alike"):
        load(TARGETS, set=["train.shape.size=3"])["train"]


SCRIPT = """
from dataclasses import dataclass, field
from typing import Literal
from persistable import Persistable

@dataclass
class Adam:
    kind: Literal["adam"] = "adam"

@dataclass
class Sgd:
    kind: Literal["sgd"] = "sgd"

@dataclass
class Params:
    opt: Adam | Sgd = field(default_factory=Adam)

class Train(Persistable[str, Params]):
    def _generate_payload(self) -> str:
        return self.params.opt.kind
"""


def test_the_command_line_switches_too(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(SCRIPT)
    (tmp_path / "persistable.toml").write_text('[targets.train]\nuse = "flow:Train"\n')
    call = [sys.executable, "-m", "persistable", "run", "train", "--set", "train.opt.kind=sgd", "--json"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shown = subprocess.run([sys.executable, "-m", "persistable", "ls", "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert '"sgd"' in json.dumps(json.loads(shown.stdout)) or "sgd" in shown.stdout
