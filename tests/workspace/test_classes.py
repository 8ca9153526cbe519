"""Workflow and workspace classes: nodes on the class, subclasses, and what is refused when a class is made."""

from __future__ import annotations

import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pytest
from tests.workspace.flows import Files, Scaling, Times, calls, first_cell, multiply, plus, total

from persistable import Persistable, Status, open_store, plan, run, step
from persistable.errors import InputMissing, LineageCycle, MistypedParam, NotGeneratable, PersistableError, UnknownParam, WorkflowError
from persistable.families.workspaces import Workflow, Workspace, seed, stored
from persistable.fileio import CsvFileIO, JsonFileIO


def test_on_the_class_a_name_is_a_node_and_has_no_value() -> None:
    assert isinstance(Scaling.scaled, Persistable)
    assert Scaling.scaled.upstream["frame"] is Scaling.raw
    assert repr(Scaling.raw) == "<seed raw: DataFrame>"
    with pytest.raises(NotGeneratable, match="raw is a seed"):
        _ = Scaling.raw.payload
    with pytest.raises(NotGeneratable, match="is a seed"):
        _ = Scaling.scaled.payload


@pytest.mark.parametrize("act", [run, plan, lambda node: node.run(), lambda node: run(first_cell.step(3), [node], errors="return")])
def test_what_is_asked_of_a_node_of_the_class_is_refused_before_anything_begins(act: Any, tmp_path: Path) -> None:
    with open_store(tmp_path):
        for node in (Scaling.scaled, Scaling.top, Scaling.raw, first_cell.step(Scaling.scaled)):
            with pytest.raises(NotGeneratable, match=r"raw is a seed: .*workspace\[id\]\.node\(\.\.\.\), .*workspace\.run\(\.\.\.\)"):
                act(node)
        assert list(tmp_path.rglob("*")) == []
        assert Scaling.top.status is Status.ABSENT
        assert "seed raw" in Scaling.raw._repr_html_()
        assert "multiply" in Scaling.top.lineage(status=True).html()
    assert calls() == []


def test_from_values_it_is_computed_in_memory(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [2]})
    with open_store(tmp_path):
        scaling = Scaling(raw=frame, factor=3)
        assert (scaling.top, scaling.factor) == (6, 3)
        pd.testing.assert_frame_equal(scaling.scaled, frame * 3)
        assert scaling.raw is not frame
        assert scaling.workflow_id is None
        assert repr(scaling) == "<Scaling raw, factor: raw, factor, scaled, top>"
        assert scaling.run("top").counts["done"] == 2
    assert list(tmp_path.iterdir()) == []
    assert calls() == ["first_cell", "first_cell", "multiply", "multiply"]
    for wrong in ("3", 3.0, None, True):
        with pytest.raises(MistypedParam, match=r"^Scaling\.factor is .*, and takes int"):
            Scaling(raw=frame, factor=wrong)
    given = Scaling(raw=multiply.step(frame, 10), factor=3)  # a node is a seed as well
    with open_store(tmp_path):
        assert given.top == 60
    with pytest.raises(InputMissing, match=r"without the seed factor; give it: Scaling\(factor=\.\.\.\)"):
        _ = Scaling(raw=frame).top
    with pytest.raises(UnknownParam, match="did you mean 'factor'"):
        Scaling(facto=3)


def test_nodes_of_equal_values_have_equal_keys() -> None:
    frame = pd.DataFrame({"x": [2]})
    assert Scaling(raw=frame, factor=3).node("top").key == Scaling(factor=3, raw=frame.copy()).node("top").key
    assert Scaling(raw=frame, factor=4).node("top").key != Scaling(raw=frame, factor=3).node("top").key


def test_a_subclass_adds_and_replaces() -> None:
    class Base(Workflow):
        a = seed(int, default=1)
        b = plus.step(a, 10)
        c = plus.step(b, 100)

    class Other(Base):
        a = seed(int, default=2)
        b = Times(number=Base.b, by=3)  # here Base.b is the one it replaces
        d = total.step([Base.b, Base.c, Base.a])

    assert (Base().b, Base().c) == (11, 111)
    other = Other()
    assert (other.a, other.b, other.c, other.d) == (2, 36, 136, 36 + 136 + 2)
    assert calls() == ["plus-1-10", "plus-1-10", "plus-11-100", "plus-2-10", "plus-36-100", "times-3", "total"]
    assert Base().c == 111
    assert list(other.nodes) == ["a", "b", "c", "d"]


def test_two_names_for_like_nodes_stay_apart() -> None:
    class Twins(Workflow):
        a = seed(int)
        one = plus.step(a)
        other = plus.step(a)
        same = one
        both = total.step([one, other])

    twins = Twins(a=1)
    assert (twins.one, twins.other, twins.same, twins.both) == (2, 2, 2, 4)


def test_nodes_joined_by_arrows_and_held_by_dicts() -> None:
    @step
    def spread(parts: dict[str, Any]) -> int:
        return parts["a"] * 100 + parts["b"][0]

    class Arrows(Workflow):
        a = seed(int)
        b = a >> plus.step(b=5)
        c = spread.step({"a": a, "b": [b]})

    assert Arrows(a=1).c == 106


def test_a_circle_cannot_be_made() -> None:
    class Base(Workflow):
        a = seed(int)
        b = plus.step(a)
        c = plus.step(b)

    with pytest.raises(LineageCycle, match=r"b is computed from c is computed from b|c is computed from b is computed from c"):

        class Circle(Base):
            b = plus.step(Base.c)


def test_a_failure_of_a_step_is_that_of_the_payload() -> None:
    class Bad(Workflow):
        a = seed(str)
        b = plus.step(a)
        c = plus.step(b)

    with pytest.raises(TypeError):
        _ = Bad(a="x").c


@dataclass
class Holder:
    node: Any


def test_workflows_that_are_refused() -> None:
    with pytest.raises(WorkflowError, match=r"Open\.b still needs a"):

        class Open(Workflow):
            b = plus.step(b=2)

    with pytest.raises(WorkflowError, match=r"Reserved\.run: every workflow"):

        class Reserved(Workflow):
            run = seed(int)

    with pytest.raises(WorkflowError, match=r"Loose\.b uses a seed that has no name"):

        class Loose(Workflow):
            b = plus.step(seed(int))

    with pytest.raises(WorkflowError, match=r"Fixed\.factor: it is a seed or node in a base class"):

        class Fixed(Scaling):
            factor = 3  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    with pytest.raises(WorkflowError, match=r"Hidden\.b .*seed"):

        class Hidden(Workflow):
            a = seed(int)
            b = plus.step(Holder(a))

    with pytest.raises(WorkflowError, match=r"Twice\.a is annotated str and is a seed of int; leave one of them out"):

        class Twice(Workflow):
            a: str = seed(int)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def test_a_seed_of_a_narrower_or_more_general_type_than_its_annotation() -> None:
    class Annotated(Workflow):
        a: Any = seed(int)
        b: float = seed(int)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
        c: int | None = seed(int)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
        d: list[int] = seed(list)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    assert repr(Annotated.a) == "<seed a: int>"


AnyScaling = TypeVar("AnyScaling", bound=Scaling)


def made(**places: Any) -> type:
    """A workspace class for `Scaling` with these places."""
    defaults = {
        "raw": stored("raw/{name}.csv"),
        "factor": stored("factor"),
        "scaled": stored("scaled/{name}.csv"),
    }
    body = {name: place for name, place in {**defaults, **places}.items() if place is not None}
    return types.new_class("Made", (Workspace[Scaling],), exec_body=lambda space: space.update(body))


REFUSED = {
    "Made.scald: Scaling has no seed or node of that name .did you mean 'scaled'": {"scald": stored("x/{name}")},
    "Made.factor: factor is a seed of Scaling, and no path is given for it": {"factor": None},
    r"Made.scaled: 'raw/\{name\}.csv' can be the same path as": {"scaled": stored("raw/{name}.csv")},
    r"Made.scaled: 'raw/x\{name\}.csv' can be the same path as": {"scaled": stored("raw/x{name}.csv")},
    r"one could be inside the other": {"scaled": stored("raw/{name}.csv/x.csv")},
    r"one could be inside the other; part": {"top": stored("scaled/a.csv/{name}.json")},
    r"Made.scaled: 'scaled.csv' has no \{name\}, although scaled depends on the seed raw": {"scaled": stored("scaled.csv")},
    r"Made.scaled: .*has the field \{other\}": {"scaled": stored("scaled/{name}-{other}.csv")},
    r"Made.scaled: '\.\.' cannot be part": {"scaled": stored("../scaled/{name}.csv")},
    r"Made.scaled: ": {"scaled": stored("/scaled/{name}.csv")},
    r"Made.scaled: .*kept for records": {"scaled": stored(".persistable/{name}.csv")},
    r"Made: none of its seeds has a field": {"raw": stored("raw.csv"), "scaled": stored("scaled.csv")},
    r"Made.scaled: by its suffix .*gives no DataFrame": {"scaled": stored("scaled/{name}.json")},
    r"Made.raw: by its suffix .*gives no DataFrame": {"raw": stored("raw/{name}.npy")},
    r"Made.scaled: .*nothing parts": {"scaled": stored("scaled/{name}{name}.csv")},
}


@pytest.mark.parametrize("message", REFUSED)
def test_workspaces_that_are_refused(message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        made(**REFUSED[message])


def test_more_workspaces_that_are_refused() -> None:
    assert issubclass(made(), Workspace)

    class Effect(Workflow):
        a = seed(int)
        b = silent.step(a)

    with pytest.raises(WorkflowError, match="says persist=False"):

        class Effects(Workspace[Effect]):
            a = stored("{n}")
            b = stored("b/{n}")

    class Keys(Workflow):
        items = seed(int)

    with pytest.raises(WorkflowError, match="every workspace has something of that name"):

        class KeyFiles(Workspace[Keys]):
            items = stored("{n}")

    with pytest.raises(WorkflowError, match="is no Workflow class"):

        class NoFiles(Workspace[int]):  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
            pass

    class Abstract(Workspace[AnyScaling]):
        raw = stored("raw/{name}.csv")

    with pytest.raises(TypeError, match="for no workflow"):
        Abstract()
    with pytest.raises(WorkflowError, match=r"Concrete\.factor"):

        class Concrete(Abstract[Scaling]):
            pass

    with pytest.raises(TypeError, match="for no workflow"):
        Workspace()
    with pytest.raises(TypeError, match="io is a FileIO object"):
        stored("x", io=CsvFileIO)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert issubclass(WorkflowError, PersistableError)


@step(persist=False)
def silent(a: int) -> int:
    return a


def test_a_workspace_class_over_another(tmp_path: Path) -> None:
    class More(Scaling):
        bottom = first_cell.step(Scaling.raw)

    class MoreFiles(Files, Workspace[More]):
        bottom = stored("bottom/{workflow_id}.txt")
        scaled = stored("elsewhere/{workflow_id}.json", io=JsonFileIO())

    class Unstored(MoreFiles):
        scaled = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    ws = Unstored(tmp_path)
    ws.put("a", raw=pd.DataFrame({"x": [4]}))
    ws.put(factor=2)
    assert (ws["a"].bottom, ws["a"].top) == (4, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".persistable", "bottom", "params", "raw"]
    assert (tmp_path / "bottom" / "a.txt").read_text() == "4\n"
    assert MoreFiles(tmp_path).layout.templates["scaled"].text == "elsewhere/{workflow_id}.json"
    assert Files(tmp_path)["a"].top == 8
