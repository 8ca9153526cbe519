"""The label of a node: all that a person needs to tell it from others, on one line, without secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import SVC

from persistable import Persistable, PersistableParams, Secret, Source, formerly, omit_when, plan, run, step, untracked
from persistable.errors import ReservedName
from persistable.nodes.label import label, width
from persistable.testing.strategies import values


@dataclass
class Svm:
    C: float
    jobs: Annotated[int, untracked] = 1


@dataclass
class AccuracyParams(PersistableParams):
    fold: int
    model: Any = None
    noise: Annotated[float, omit_when(0.0)] = 0.0
    size: Annotated[int, formerly("rows")] = 10
    threads: Annotated[int, untracked] = 1
    names: list[str] = field(default_factory=list)


class Accuracy(Persistable[float, AccuracyParams]):
    def _generate_payload(self, **_: Any) -> float:
        return 1.0


class ByDict(Persistable[float, dict]):  # type: ignore[type-arg]
    def _generate_payload(self, **_: Any) -> float:
        return 1.0


@step
def accuracy(fold: int, model: Any, scores: Any = ()) -> float:
    return float(fold)


@step
def total(values: Any) -> Any:
    return values


def test_params_and_upstream_as_one_would_write_them() -> None:
    node = accuracy.step(0, Svm(C=10.0))
    assert node.label == "accuracy(fold=0, model=Svm(C=10.0), scores=())"
    assert accuracy.step(0, SVC(C=10.0), node).label.startswith(
        "accuracy(fold=0, model=SVC(C=10.0), scores=accuracy(fold=0, model=Svm(C=10.0)"
    )
    assert Accuracy(fold=1, size=3, noise=0.5, threads=9).label == "accuracy(fold=1, model=None, noise=0.5, size=3, names=[])"
    assert Accuracy(fold=1, payload_name="other").label == "other(fold=1, model=None, size=10, names=[])"
    assert ByDict(params={"a": 1, 2: "x"}).label == "by_dict(a=1, 2='x')"
    assert total.step([node, node]).label == "total(values=[2 × accuracy(fold=0, model=Svm(C=10.0), scores=())])"  # noqa: RUF001
    some = [accuracy.step(fold, Svm(C=10.0)) for fold in range(3)]
    assert total.step(some).label == "total(values=[3 × accuracy(fold=0 … 2, model=Svm(C=10.0), scores=())])"  # noqa: RUF001
    assert total.step([*some, total.step(some)]).label.endswith("… 4 nodes])")
    assert total.step({"a": some[0], "b": [some[1], {"c": some[2]}]}).label.startswith("total(values=")
    assert total.step({"k": 3, "of": [node]}).label.startswith("total(values={'k': 3, 'of': [accuracy(fold=0, ")
    assert total.step().label == "total(values=?)"  # type: ignore[attr-defined]


def test_large_values_cost_nothing_and_are_told_by_their_size() -> None:
    assert total.step(np.zeros((1000, 30))).label == "total(values=<ndarray 1000 × 30>)"  # noqa: RUF001
    assert total.step(pd.DataFrame({"a": [1]})).label == "total(values=<DataFrame 1 × 1>)"  # noqa: RUF001
    assert total.step(list(range(10_000))).label == "total(values=[0, 1, 2, 3, 4, 5, … 10,000 in all])"
    assert total.step(10**5000).label == "total(values=<int of 16,610 bits>)"
    assert total.step(Path("a/b")).label == "total(values='a/b')"
    assert total.step(np.mean).label == "total(values=mean)"
    node: Any = total.step(1)
    for _ in range(50):
        node = total.step(node)
    assert node.label == "total(values=total(values=total(values=total(…))))"


@given(st.dictionaries(st.text(max_size=5), values, max_size=6))
def test_it_is_one_line_of_bounded_length_whatever_the_params_are(params: dict[str, Any]) -> None:
    node = total.step([params, total.step(params)])
    for columns in (40, 100):
        text = label(node, columns)
        assert width(text) <= columns
        assert text.isprintable() or not any(char in text for char in "\n\r\t")
        assert text.startswith("total(")


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSISTABLE_TEST_LABEL", "swordfish-long")
    Secret("PERSISTABLE_TEST_LABEL")
    text = total.step({"a": "say swordfish-long", "password": "hunter2", "u": "https://me:hunter2@example.org"}).label
    assert "swordfish" not in text
    assert "hunter2" not in text


def test_a_value_that_cannot_show_itself() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    @dataclass
    class P:
        value: Annotated[Any, untracked] = None
        other: Any = 1

    class Holds(Persistable[int, P]):
        def _generate_payload(self, **_: Any) -> int:
            return 1

    assert Holds(value=Shy()).label == "holds(other=1)"
    node = Holds(other=2)
    node.params.other = Shy()  # which is an error where it matters, and not here
    assert node.label == "holds(other=<Shy>)"


def test_what_a_class_does_not_show_is_not_shown() -> None:
    @dataclass
    class Hides:
        user: str
        token: str = field(repr=False, default="tok")

    @dataclass(repr=False)
    class Says:
        x: int = 1

        def __repr__(self) -> str:
            return "said"

    assert total.step([Hides("me"), Says()]).label == "total(values=[Hides(user='me'), said])"
    assert total.step(Hides("me")).label == "total(values=Hides(user='me'))"


def test_inputs_are_told_by_their_key(tmp_path: Path) -> None:
    (tmp_path / "moby.txt").write_text("x")
    books = Source(f"{tmp_path}/{{book}}.txt")
    assert books["moby"].label == "book(book='moby')"
    assert total.step(books["moby"]).label == "total(values=book(book='moby'))"


def test_where_people_read(tmp_path: Path) -> None:
    @step
    def broken(n: int) -> int:
        raise ValueError("no luck")

    node = broken.step(3)
    told = plan(node, store=tmp_path)
    assert "broken(n=3)" in str(told)
    assert "broken(n=3)" in told._repr_html_()
    result = run(node, store=tmp_path, errors="return")
    assert result.failures[0].label == "broken(n=3)"
    assert "broken(n=3)" in repr(result.failures[0])
    assert any("broken(n=3)" in note for note in result.failures[0].error.__notes__)
    assert "broken(n=3)" in node.lineage().svg()


def test_a_class_cannot_call_something_else_so() -> None:
    with pytest.raises(ReservedName, match="label"):

        class Labelled(Persistable[int, None]):
            label = "mine"  # type: ignore[assignment]


def test_progress_and_logs_tell_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from io import StringIO

    from rich.console import Console

    from persistable import events
    from persistable.runs.progress import Bar

    seen: list[events.Event] = []
    with caplog.at_level("INFO", "persistable"):
        run(accuracy.step(0, Svm(C=10.0)), store=tmp_path, hooks=[seen.append])
    (started,) = [event for event in seen if isinstance(event, events.Started)]
    assert started.label == "accuracy(fold=0, model=Svm(C=10.0), scores=())"
    assert "accuracy(fold=0, model=Svm(C=10.0), scores=())" in caplog.text
    bar = Bar(Console(file=StringIO()))
    bar(events.RunStarted(jobs={"accuracy": 1}, workers=1, expected={}))
    bar(started)
    bar(events.Progressed(key=started.key, done=1.0, total=4.0))
    (node,) = bar.state().nodes
    bar.close()
    assert (node.label, node.words()) == (started.label, "25%")
