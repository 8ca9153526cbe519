"""What a role takes, and params types however they are written."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pydantic
import pytest

from persistable import HttpGet, Persistable, any_of, open_store, optional, step
from persistable.errors import InputMissing, InvalidName, MissingUpstream, ParamsMutated, UnknownParam, UntrackableParam, WrongUpstream
from persistable.params.trees import from_tree, tree

T = TypeVar("T")


@dataclass
class PointsParams:
    n: int


class Points(Persistable[list[int], PointsParams]):
    def _generate_payload(self) -> list[int]:
        return list(range(self.params.n))


class More(Points):
    pass


class Other(Persistable[list[int], PointsParams]):
    pass


class Down(Persistable[int, None]):
    pts: Points
    many: list[Points] = []  # noqa: RUF012
    extra: Points | None = None

    def _generate_payload(self) -> int:
        return len(self.pts.payload)


@step
def right(n: int) -> list[int]:
    return [n]


@step
def wrong(n: int) -> str:
    return str(n)


@step
def untyped(n):  # type: ignore[no-untyped-def]
    return [n]


def test_what_a_role_takes() -> None:
    good = [Points(n=1), More(n=1), optional(Points(n=1)), any_of(More(n=1), right.step(1)), right.step(1), untyped.step(1)]
    for node in good:
        assert Down(pts=node).upstream["pts"] is node  # type: ignore[arg-type]
        assert Down(pts=Points(n=1), many=[node]).upstream["many.0"] is node  # type: ignore[arg-type]
        assert (node >> Down()).upstream["pts"] is node
    for bad in (Other(n=1), optional(Other(n=1)), any_of(Points(n=1), wrong.step(1)), wrong.step(1)):
        for make in (
            lambda: Down(pts=bad),  # noqa: B023
            lambda: Down(pts=Points(n=1), extra=bad),  # noqa: B023
            lambda: Down(pts=Points(n=1), many=[Points(n=1), bad]),  # noqa: B023
            lambda: Down(pts=Points(n=1)).replace(pts=bad),  # noqa: B023
            lambda: bad >> Down(),  # noqa: B023
        ):
            with pytest.raises(WrongUpstream) as caught:
                make()
            assert isinstance(caught.value, TypeError) and "Points" in caught.value.wanted and "Down" in str(caught.value)


def test_what_is_no_node() -> None:
    for value, words in (
        (np.zeros(3), "leave out `.payload`"),
        ([1, 2], "leave out `.payload`"),
        ({1}, "give a list"),
        (iter([1]), "give a list"),
        ("x", "not a str"),
        (Points, r"make one, Points\(...\)"),
        (right, r"right.step\(...\)"),
    ):
        with pytest.raises(MissingUpstream, match=words):
            Down(pts=value)
    with pytest.raises(InputMissing, match="still open"):
        Down(pts=right.step())
    with pytest.raises(UnknownParam, match="did you mean 'pts'"):
        Down(ptz=Points(n=1))


def test_an_earlier_definition_of_a_class_is_taken() -> None:
    source = """
from dataclasses import dataclass
@dataclass
class Cell:
    n: int
"""
    names: dict[str, Any] = {"__name__": __name__}
    exec(source, names)
    Cell: Any = names["Cell"]  # noqa: N806

    class Node(Persistable[int, Cell]):
        pass

    exec(source, names)
    old, new = names["Cell"](3), Cell(3)
    assert type(old) is not Cell and Node(params=old).key == Node(params=new).key and type(Node(params=old).params) is Cell
    exec(source.replace("n: int", "m: int"), names)
    with pytest.raises(UnknownParam):
        Node(params=names["Cell"](3))


@dataclass
class Box(Generic[T]):
    value: T


class Later(Persistable["np.ndarray", "Cfg"]):
    io = "auto"


class Maybe(Persistable[str, "Cfg | None"]):
    pass


class Boxed(Persistable[str, Box[int]]):
    pass


@dataclass
class Cfg:
    n: float = 1.0


def test_params_types_however_they_are_written() -> None:
    @dataclass
    class Local:
        n: int

    class Inside(Persistable[str, "Local"]):
        pass

    assert Later(n=2).params == Maybe(n=2.0).params == Cfg(2.0) and type(Later(n=2).payload_io).__name__ == "NumpyFileIO"
    assert Maybe().params == Cfg() and Inside(n=1).params == Local(1) and Boxed(value=1).params == Box(1)
    with pytest.raises(TypeError, match=r"Box\.value"):
        Boxed(value=1.5)


def test_pydantic_params_come_under_any_of_their_names() -> None:
    class Train(pydantic.BaseModel):
        rate: float = pydantic.Field(0.1, validation_alias=pydantic.AliasChoices("lr", "learning_rate"))
        first: float = pydantic.Field(0.9, validation_alias=pydantic.AliasPath("betas", 0))
        second: float = pydantic.Field(0.99, validation_alias=pydantic.AliasPath("betas", 1))
        depth: int = pydantic.Field(3, alias="maxDepth")

    class ByName(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(validate_by_alias=False, validate_by_name=True)
        rate: float = pydantic.Field(0.1, alias="lr")

    class A(Persistable[str, Train]):
        pass

    class B(Persistable[str, ByName]):
        pass

    key = A(rate=0.5).key
    assert key == A(lr=0.5).key == A(learning_rate=0.5).key == A().replace(rate=0.5).key == A().replace(lr=0.5).key != A().key
    assert A(second=0.5).params.second == 0.5 and A(second=0.5).params.first == 0.9 and A(betas=[0.1, 0.2]).params.second == 0.2
    assert A(second=0.5).replace(rate=0.2).params.second == 0.5 and A(depth=4).key == A(maxDepth=4).key != A().key
    assert B(rate=0.5).key == B(lr=0.5).key == B().replace(lr=0.5).key != B().key
    assert len({node.key for node in A.over(rate=[0.1, 0.2, 0.3]).nodes}) == 3
    with pytest.raises(UnknownParam, match="twice"):
        A(rate=0.5, lr=0.6)
    with pytest.raises(UnknownParam):
        A(rte=0.5)


SCRIPT = """
    from __future__ import annotations
    from dataclasses import dataclass
    from typing import Annotated
    import numpy as np
    from persistable import Persistable, formerly, omit_when, open_store, run, step, untracked

    @dataclass
    class Cfg:
        size: Annotated[int, formerly("n")]
        jobs: Annotated[int, untracked] = 1
        noise: Annotated[float, omit_when(0.0)] = 0.0

    class Node(Persistable[np.ndarray, Cfg]):
        io = "auto"
        def _generate_payload(self) -> np.ndarray:
            return np.zeros(self.params.size)

    @step(io="auto")
    def of_cfg(cfg: Cfg, points: np.ndarray, jobs: Annotated[int, untracked] = 1, k: Annotated[float, omit_when(1.0)] = 1.0) -> np.ndarray:
        return points[: cfg.size] * k

    if __name__ == "__main__":
        with open_store("data"):
            node = of_cfg.step(Cfg(2, jobs=5), Node(size=3, jobs=4), jobs=2, k=2)
            result = run(node, executor="processes", max_workers=1)
            print(node.key.digest, result.records[node].params, node.payload.tolist(), result.records[node].format)
"""


class Nowhere(Persistable[int, "Nothing"]):  # type: ignore[name-defined]  # pyright: ignore[reportUndefinedVariable]
    def _generate_payload(self) -> int:
        return 1


def test_params_of_a_name_that_leads_to_nothing_are_refused(tmp_path: Path) -> None:
    """They were none at all, silently."""
    for given in ({}, {"n": 1}):
        with pytest.raises(UnknownParam, match=r"declares its params as 'Nothing'.*import it there"):
            Nowhere(tmp_path, **given)  # pyright: ignore[reportUnknownVariableType]


def test_markers_in_text_annotations_of_a_script_on_processes(tmp_path: Path) -> None:
    told = []
    for executor in ("inline", "processes"):
        script = tmp_path / f"of_{executor}" / "script.py"
        script.parent.mkdir()
        script.write_text(
            textwrap.dedent(SCRIPT).replace('"processes", max_workers=1', f'"{executor}"').replace(", result.records[node].format", "")
        )
        done = subprocess.run([sys.executable, script.name], cwd=script.parent, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    assert told[0] == told[1] and "[0.0, 0.0]" in told[0]


def test_a_default_store_is_not_touched(tmp_path: Path) -> None:
    with open_store(tmp_path):
        assert Down(pts=Points(n=2)).payload == 2


def test_optional_and_any_of_take_families_member_by_member(tmp_path: Path) -> None:
    @step
    def even(n: int) -> int:
        if n % 2:
            raise ValueError("odd")
        return n

    @step
    def add(n: int, m: int = 0) -> int:
        return n + m

    evens = even.over(n=[1, 2, 3])
    with open_store(tmp_path):
        tolerant = add.over(n=optional(evens, default=100))  # type: ignore[arg-type]
        either = add.over(n=any_of(evens, add.over(n=[1, 2, 3], m=10)))  # type: ignore[arg-type]
        tolerant.run(errors="return")
        either.run(errors="return")
        assert [node.payload for node in tolerant.nodes] == [100, 2, 100]
        assert [node.payload for node in either.nodes] == [11, 2, 13]
        assert tolerant[2].key == add.step(optional(even.step(2), default=100)).key


@pytest.mark.parametrize("name", ["con", "aux", "NUL.txt", "COM1", "lpt9.csv", "prn", "Con.tar.gz", "com0"])
def test_names_of_devices_are_refused_where_they_are_declared(name: str) -> None:
    with pytest.raises(InvalidName, match="device"):
        Points(n=1, payload_name=name)
    with pytest.raises(InvalidName, match="device"):
        step(name=name)(lambda: 1).step()


def test_a_method_is_no_step() -> None:
    with pytest.raises(TypeError, match="is a method"):

        class Model:
            @step
            def fit(self, x: int) -> int:
                return x

    class Fine:
        @staticmethod
        @step
        def fit(x: int) -> int:
            return x

    assert Fine.fit.step(1).params.x == 1


def test_a_family_where_an_argument_takes_many_names_gather() -> None:
    @step
    def score(fold: int) -> int:
        return fold

    @step
    def mean(scores: list[float]) -> float:
        return sum(scores) / len(scores)

    class Mean(Persistable[float, None]):
        scores: list[Points]

    @step
    def rows(n: int) -> list[float]:
        return [float(n)]

    for make in (lambda: mean.over(score.over(fold=[1, 2])), lambda: Mean.over(scores=Points.over(n=[1, 2]))):
        with pytest.raises(TypeError, match="gather"):
            make()
    assert len(mean.over(rows.over(n=[1, 2]))) == 2 and mean.step(score.over(fold=[1, 2])).upstream


def test_a_nan_is_found_and_axes_have_the_names_of_arguments() -> None:
    @step
    def of(x: float, y: int = 0) -> float:
        return x

    nan = float("nan")
    assert of.over(x=[nan, 1])[np.nan].params.x != 1 and nan in of.over(x=[0.5, float("nan")])
    assert of.over(x=[nan, 1], y=[1, 2])[float("nan"), 2].params.y == 2 and of.over(x=[nan, 1]).sel(x=nan).params.x != 1
    assert [axis.name for axis in HttpGet.over(["http://a.example/x", "http://a.example/y"]).axes] == ["url"]


def test_scorers_splitters_and_kernels_are_params() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    from sklearn.linear_model import Ridge
    from sklearn.metrics import fbeta_score, make_scorer
    from sklearn.model_selection import GridSearchCV, KFold, RepeatedStratifiedKFold, ShuffleSplit, TimeSeriesSplit

    @step
    def fit(model: Any) -> None: ...

    def search(cv: Any, scoring: Any = None) -> Any:
        return GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=cv, scoring=scoring)

    values = [
        search(KFold(3)),
        search(KFold(4)),
        search(KFold(3, shuffle=True, random_state=1)),
        search(ShuffleSplit(3)),
        search(TimeSeriesSplit(3)),
        search(RepeatedStratifiedKFold(n_splits=3, n_repeats=2)),
        search(RepeatedStratifiedKFold(n_splits=3, n_repeats=3)),
        search(3, make_scorer(fbeta_score, beta=2)),
        search(3, make_scorer(fbeta_score, beta=3)),
        search(3, make_scorer(fbeta_score, beta=2, greater_is_better=False)),
        GaussianProcessRegressor(RBF(1.0) + WhiteKernel(0.1)),
        GaussianProcessRegressor(RBF(2.0) + WhiteKernel(0.1)),
    ]
    keys = [fit.step(value).key for value in values]
    assert len(set(keys)) == len(values) and fit.step(search(KFold(3))).key == keys[0]
    for value in (KFold(3), make_scorer(fbeta_score, beta=2), RBF(2.0) + WhiteKernel(0.1), RepeatedStratifiedKFold(n_repeats=2)):
        again = from_tree(tree(value))
        assert fit.step(again).key == fit.step(value).key and type(again) is type(value)


def test_an_open_node_given_to_a_step_is_named_with_the_argument() -> None:
    @step
    def cloud(n: int) -> list[int]:
        return [n]

    @step
    def drawn(points: Any, k: int = 1) -> int:
        return k

    for given in (cloud.step(), [cloud.step(1), cloud.step()], {"a": cloud.step()}):
        with pytest.raises(InputMissing, match="drawn was given cloud for points, and cloud is still open: it needs n; fill that first"):
            drawn.step(given)
    for call in (
        lambda: drawn.over([cloud.step()]),
        lambda: drawn.over([cloud.step(), cloud.step()]),
        lambda: drawn.over(points=[None, [cloud.step(1), cloud.step()]]),
        lambda: drawn.over(k=[1, 2], points=cloud.step()),
        lambda: drawn.among({"points": [cloud.step()], "k": [3]}),
    ):
        with pytest.raises(InputMissing, match=r"drawn\.over was given cloud for points, and cloud is still open: it needs n; fill that"):
            call()


class Cloud(Persistable[int, None]):
    far: Persistable[int, Any]


class Seen(Persistable[int, None]):
    cloud: Cloud


def test_an_open_node_is_named_wherever_a_class_takes_it() -> None:
    needs = "and cloud is still open: it needs far; fill that first, `node >> it` or far=node"
    for taker, call in {
        "Seen was given cloud for cloud": lambda: Seen(cloud=Cloud()),
        "Seen was given cloud for tracked_persistable_dependencies": lambda: Seen(tracked_persistable_dependencies=[Cloud()]),
        "Seen.over was given cloud for cloud": lambda: Seen.over(cloud=[Cloud()]),
        "optional was given cloud for node": lambda: optional(Cloud()),
        "any_of was given cloud for nodes": lambda: any_of(Cloud(), Cloud()),
    }.items():
        with pytest.raises(InputMissing, match=re.escape(f"{taker}, {needs}")) as caught:
            call()
        assert caught.value.inputs == ["far"]
    wrong: Any = Cloud()
    with pytest.raises(TypeError, match=r"a store is a path, a URL or a Store, not Cloud: .*; give a node by the name of its role"):
        Seen(wrong)


@step
def parts(text: str) -> Iterator[tuple[str, str]]:
    yield from ((word, word) for word in text.split())


@step
def length(text: str) -> int:
    return len(text)


@step
def anything(texts: Any) -> int:
    return len(texts)


@pytest.mark.parametrize("describe", [length.step, lambda node: length.over(node).nodes[0], lambda node: node >> length.step()])
def test_all_items_of_a_node_are_no_text(describe: Callable[[Any], Any]) -> None:
    """A step that takes one item is not given all of them."""
    node = parts.step("a bc")
    with pytest.raises(WrongUpstream, match=r"length.text takes str, not the items that parts yields: .*length.over\(text=node.members\)"):
        describe(node)
    with open_store("memory://items-for-one"):
        assert anything.step(parts.step("a bc")).payload == 2
        assert [each.run()[each].payload for each in length.over(parts.step("a bc").members).nodes] == [1, 2]


class Number(Persistable[int, Any]):
    def _generate_payload(self) -> int:
        return int(self.params["n"])


class Listed(Persistable[list[int], None]):
    numbers: list[Number]

    def _generate_payload(self) -> list[int]:
        return [number.payload for number in self.numbers]


class Doubled(Persistable[int, None]):
    number: Number

    def _generate_payload(self) -> int:
        return 2 * self.number.payload


def number(n: int) -> Number:
    return Number(params={"n": n})


CHANGES: dict[str, Callable[[list[Number]], Any]] = {
    "more": lambda numbers: numbers.append(number(3)),
    "fewer": lambda numbers: numbers.pop(),
    "none": lambda numbers: numbers.clear(),
    "another order": lambda numbers: numbers.reverse(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_list_of_nodes_that_changes_later_changes_no_payload(name: str, tmp_path: Path) -> None:
    """That of the caller is copied; that of the node no longer fits the key."""
    numbers = [number(1), number(2)]
    node = Listed(tmp_path, numbers=numbers)
    CHANGES[name](numbers)
    changed = Listed(tmp_path, numbers=[number(1), number(2)])
    CHANGES[name](changed.numbers)
    with pytest.raises(ParamsMutated, match=r"^listed\.numbers holds other nodes .* replace\(numbers=\.\.\.\)"):
        changed.generate()
    assert node.payload == [1, 2] == Listed(tmp_path, numbers=[number(1), number(2)]).load().payload


def test_a_node_set_to_a_role_later_is_refused_and_its_equal_is_not(tmp_path: Path) -> None:
    node = Doubled(tmp_path, number=number(1))
    node.number = number(2)
    with pytest.raises(ParamsMutated, match=r"^doubled\.number holds other nodes"):
        node.generate()
    node.number = number(1)
    assert node.payload == 2


def test_a_version_that_changes_later_is_refused(tmp_path: Path) -> None:
    class Versioned(Persistable[int, None]):
        def _generate_payload(self) -> int:
            return int(self.version)

    of_class, own = Versioned(tmp_path), Versioned(tmp_path)
    own.version = 3
    with pytest.raises(ParamsMutated, match=r"^the version of versioned/.* was 1 when it was made, and is 3 now"):
        own.generate()
    Versioned.version = 2
    with pytest.raises(ParamsMutated, match="is 2 now"):
        of_class.generate()
    assert Versioned(tmp_path).payload == 2


@pytest.mark.parametrize("version", [b"x", float("nan"), object(), {1}])
def test_a_version_that_no_record_holds_is_refused_before_any_work(version: Any, tmp_path: Path) -> None:
    class Versioned(Persistable[int, None]):
        def _generate_payload(self) -> int:
            return 1

    Versioned.version = version
    with pytest.raises(UntrackableParam, match=r"^the version of versioned is .*; give a number or a text"):
        Versioned(tmp_path)


def test_dependencies_are_a_list(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"is one node, .*; give a list of nodes"):
        Number(tmp_path, {"n": 1}, number(2))  # type: ignore[arg-type]
