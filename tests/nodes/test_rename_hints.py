"""What a rename or a new param leaves behind: `formerly` above a class or step keeps it, `explain` and `plan` say so."""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, Flag
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import attrs
import pydantic
import pytest

from persistable import Persistable, formerly, plan, register_params, run, step
from persistable.params.encoding import encode
from persistable.params.trees import from_tree, tree

Load = Callable[[str], ModuleType]
_numbers = itertools.count()


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports one version after the other of a module, all under the same name."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"flow_{next(_numbers)}"
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def load(text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(HEAD + text)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    return load


HEAD = """
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated
from persistable import Persistable, formerly, omit_when, step
"""


@dataclass
class Svm:
    c: float = 1.0


@attrs.define
class Forest:
    trees: int = 1


class Ridge(pydantic.BaseModel):
    alpha: float = 1.0


class Mode(Enum):
    FAST = 1


class Rights(Flag):
    READ = 1


class Pair(NamedTuple):
    a: int = 1


class Plain:
    """A class that is registered."""


register_params(Plain, lambda _: 1)


def renamed_dataclass() -> Any:
    @formerly("Svm")
    @dataclass(slots=True)
    class Machine:
        c: float = 1.0

    return Machine()


def decorated_the_other_way_round() -> Any:
    @dataclass(frozen=True)
    @formerly("Svm")
    class Machine:
        c: float = 1.0

    return Machine()


def renamed_attrs() -> Any:
    @formerly("Forest")
    @attrs.define
    class Trees:
        trees: int = 1

    return Trees()


def renamed_attrs_inside() -> Any:
    @attrs.define
    @formerly("Forest")
    class Trees:
        trees: int = 1

    return Trees()


def renamed_model() -> Any:
    @formerly("Ridge")
    class Linear(pydantic.BaseModel):
        alpha: float = 1.0

    return Linear()


def renamed_enum() -> Any:
    @formerly("Mode")
    class Speed(Enum):
        FAST = 1

    return Speed.FAST


def renamed_flag() -> Any:
    @formerly("Rights")
    class Permissions(Flag):
        READ = 1

    return Permissions.READ


def renamed_tuple() -> Any:
    @formerly("Pair")
    class Two(NamedTuple):
        a: int = 1

    return Two()


def renamed_registered() -> Any:
    @formerly("Plain")
    class Simple(Plain):
        pass

    register_params(Simple, lambda _: 1)
    return Simple()


@pytest.mark.parametrize(
    ("old", "make"),
    [
        (Svm(), renamed_dataclass),
        (Svm(), decorated_the_other_way_round),
        (Forest(), renamed_attrs),
        (Forest(), renamed_attrs_inside),
        (Ridge(), renamed_model),
        (Mode.FAST, renamed_enum),
        (Rights.READ, renamed_flag),
        (Pair(), renamed_tuple),
        (Plain(), renamed_registered),
    ],
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)
def test_a_renamed_class_keeps_its_identity(old: Any, make: Callable[[], Any]) -> None:
    assert encode([make()]) == encode([old])


def test_subclasses_have_names_of_their_own() -> None:
    @formerly("Svm")
    @dataclass
    class Machine:
        c: float = 1.0

    @dataclass
    class Larger(Machine):
        pass

    assert encode([Machine()]) == encode([Svm()]) != encode([Larger()])


@formerly("Before")
@dataclass
class After:
    n: int = 1


def test_what_was_stored_under_the_old_name_can_be_rebuilt() -> None:
    written = tree([After(3)])
    written[0]["$class"] = f"{__name__}:Before"
    assert from_tree(written) == [After(3)]


def test_classes_of_nodes_and_steps_take_it_too() -> None:
    @formerly("Svm")
    class Machine(Persistable[int, None]):
        def _generate_payload(self) -> int:
            return 1

    class Larger(Machine):
        pass

    @formerly("svm")
    @step
    def machine(n: int) -> int:
        return n

    @step
    @formerly("svm")
    def other(n: int) -> int:
        return n

    @formerly("svm")
    @step(name="mine")
    def named(n: int) -> int:
        return n

    assert (Machine().payload_name, Larger().payload_name) == ("svm", "larger")
    assert (machine.step(1).key.name, other.step(1).key.name, named.step(1).key.name) == ("svm", "svm", "mine")


@pytest.mark.parametrize("wrong", ["not a name", ""])
def test_what_is_no_name_is_refused(wrong: str) -> None:
    with pytest.raises(TypeError, match="the old name of the field or class"):
        formerly(wrong)


def test_what_is_no_class_is_refused() -> None:
    with pytest.raises(TypeError, match="decorates classes and steps"):
        formerly("x")(3)


# ------------------------------------------------------------------ hints


def both(target: Any, node: Any) -> tuple[str, str]:
    return str(node.explain()), str(plan(target))


def test_a_renamed_step(versions: Load, tmp_path: Path) -> None:
    old = versions("@step\ndef svm(c: float, k: int = 2) -> float:\n    return c * k\n")
    run(old.svm.over(c=[1.0, 2.0, 3.0]), store=tmp_path / "s")
    new = versions("@step\ndef machine(c: float, k: int = 2) -> float:\n    return c * k\n")
    family = new.machine.over(c=[1.0, 2.0, 3.0]).bind(tmp_path / "s")
    for said in both(family, family[1.0]):
        assert "3 are stored under `svm`" in said and '`@step(name="svm")` keeps them' in said
    kept = versions('@step(name="svm")\ndef machine(c: float, k: int = 2) -> float:\n    return c * k\n')
    assert kept.machine.over(c=[1.0, 2.0, 3.0]).bind(tmp_path / "s")[1.0].exists()
    kept = versions('@formerly("svm")\n@step\ndef machine(c: float, k: int = 2) -> float:\n    return c * k\n')
    assert kept.machine.over(c=[1.0, 2.0, 3.0]).bind(tmp_path / "s")[1.0].exists()


NODE = """
@dataclass
class P:
    c: float = 1.0
class {name}(Persistable[float, P]):
    def _generate_payload(self) -> float:
        return self.params.c
"""


def test_a_renamed_class_of_nodes(versions: Load, tmp_path: Path) -> None:
    versions(NODE.format(name="Svm")).Svm(tmp_path / "s", c=2.0).generate()
    node = versions(NODE.format(name="Machine")).Machine(tmp_path / "s", c=2.0)
    for said in both(node, node):
        assert "1 is stored under `svm`" in said and '`payload_name = "svm"` in the class keeps them' in said


def test_two_that_take_the_same_are_no_rename(versions: Load, tmp_path: Path) -> None:
    flow = versions("@step\ndef mean(c: float) -> float:\n    return c\n@step\ndef median(c: float) -> float:\n    return c\n")
    run(flow.mean.step(1.0), store=tmp_path / "s")
    node = flow.median.step(1.0).bind(tmp_path / "s")
    for said in both(node, node):
        assert "stored under" not in said


NESTED = """
@dataclass
class {name}:
    c: float = 1.0
class {enum}(Enum):
    FAST = 1
@step
def fit(model: {name}, mode: {enum}, n: int) -> float:
    return model.c
"""


def test_a_renamed_params_class_and_enum(versions: Load, tmp_path: Path) -> None:
    old = versions(NESTED.format(name="Svm", enum="Mode"))
    run([old.fit.step(old.Svm(), old.Mode.FAST, n) for n in range(4)], store=tmp_path / "s")
    new = versions(NESTED.format(name="Machine", enum="Speed"))
    node = new.fit.step(new.Machine(), new.Speed.FAST, 2).bind(tmp_path / "s")
    for said in both(node, node):
        assert "4 are stored with a `Svm` as model" in said and '`@formerly("Svm")` above class Machine keeps them' in said
        assert '`@formerly("Mode")` above class Speed keeps them' in said
    text = NESTED.replace("@dataclass", '@formerly("Svm")\n@dataclass').replace("class {enum}", '@formerly("Mode")\nclass {enum}')
    new = versions(text.format(name="Machine", enum="Speed"))
    kept = new.fit.step(new.Machine(), new.Speed.FAST, 2).bind(tmp_path / "s")
    assert kept.exists() and kept.payload == 1.0


STEP = """
@step
def fit(c: float{more}) -> float:
    return c
"""
CLASS = """
@dataclass
class P:
    c: float{line}
class Fit(Persistable[float, P]):
    def _generate_payload(self) -> float:
        return self.params.c
"""
INSIDE = """
@dataclass
class P:
    c: float{line}
@step
def fit(model: P) -> float:
    return model.c
"""
ADDED: list[tuple[str, Callable[[ModuleType, float], Any]]] = [
    (STEP, lambda flow, c: flow.fit.step(c)),
    (CLASS, lambda flow, c: flow.Fit(c=c)),
    (INSIDE, lambda flow, c: flow.fit.step(flow.P(c))),
]


@pytest.mark.parametrize(("text", "make"), ADDED)
def test_a_new_param(versions: Load, tmp_path: Path, text: str, make: Callable[[ModuleType, float], Any]) -> None:
    old = versions(text.format(more="", line=""))
    run([make(old, c) for c in (1.0, 2.0, 3.0)], store=tmp_path / "s")
    new = versions(text.format(more=", whiten: bool = False", line="\n    whiten: bool = False"))
    node = make(new, 2.0).bind(tmp_path / "s")
    for said in both(node, node):
        assert "3 are stored without" in said and "whiten" in said and "`omit_when(False)` keeps them" in said
    marked = "Annotated[bool, omit_when(False)] = False"
    kept = versions(text.format(more=f", whiten: {marked}", line=f"\n    whiten: {marked}"))
    assert make(kept, 2.0).bind(tmp_path / "s").exists()


def test_a_renamed_param(versions: Load, tmp_path: Path) -> None:
    run(versions("@step\ndef fit(n_rows: int) -> int:\n    return n_rows\n").fit.step(5), store=tmp_path / "s")
    node = versions("@step\ndef fit(size: int) -> int:\n    return size\n").fit.step(5).bind(tmp_path / "s")
    for said in both(node, node):
        assert "1 is stored with `n_rows` and without `size`; if that was renamed, `formerly('n_rows')` keeps them" in said


def test_in_a_script(tmp_path: Path) -> None:
    text = "from persistable import plan, run, step\n@step\ndef {name}(k: int) -> int:\n    return k\nnodes = {name}.over(k=[1, 2])\n"
    (tmp_path / "train.py").write_text(text.format(name="svm") + "run(nodes)\n")
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, timeout=60)
    (tmp_path / "train.py").write_text(text.format(name="machine") + "print(plan(nodes))\nprint(nodes[1].explain())\n")
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("2 are stored under `svm`") == 2


def test_a_folder_with_another_name_than_its_records_is_no_hindrance(versions: Load, tmp_path: Path) -> None:
    """Somebody may have renamed it by hand, or removed what was listed a moment before."""
    old = versions("@step\ndef fit(c: float) -> float:\n    return c\n")
    run(old.fit.step(1.0), store=str(tmp_path / "data"))
    (tmp_path / "data" / "fit").rename(tmp_path / "data" / "moved")
    new = versions("@step\ndef train(c: float) -> float:\n    return c\n")
    assert "1 is stored under `moved`" in str(new.train.step(1.0).bind(str(tmp_path / "data")).explain())
