"""Values on an axis as columns, numbers as a scale, and a family as a plot."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from persistable import open_store, run, step, untracked
from persistable.errors import PayloadNotFound, UnknownParam
from persistable.families.colour_scale import Scale, ink
from persistable.stores import Store


@pytest.fixture(autouse=True)
def store() -> Iterator[Store]:
    """The store of nodes that name none: in memory."""
    with open_store("memory://columns") as store:
        yield store


@dataclass(frozen=True)
class Forest:
    trees: int = 50
    threads: Annotated[int, untracked] = 1


@dataclass(frozen=True)
class Svm:
    C: float
    kernel: dict[str, Any]


@step
def accuracy(model: object, fold: int) -> float:
    return 0.5 + fold / 100


def test_params_on_an_axis_are_words_and_a_column_for_each_leaf() -> None:
    family = accuracy.over(
        model=[Forest(10), Forest(20), Svm(2.0, {"name": "rbf", "degrees": [1, 2], "api_key": "k3y-that-is-secret"})], fold=[0, 1]
    )
    table = family.to_frame(payload=False)
    assert list(table.columns) == [
        "key",
        "model",
        "model.trees",
        "model.C",
        "model.kernel.name",
        "model.kernel.degrees",
        "model.kernel.api_key",
        "fold",
        "status",
        "error",
    ]
    assert table["model"][0] == "Forest(trees=10)" and table["model.trees"].tolist()[:4] == [10, 10, 20, 20]
    assert table["model.trees"].isna().tolist() == [False] * 4 + [True] * 2
    assert table["model.kernel.degrees"].tolist()[-1] == "[1, 2]" and "k3y" not in table.to_csv()
    assert table.groupby("model.trees").size().tolist() == [2, 2] and len(table.sort_values("model")) == 6


def test_plain_values_stay_as_they_are() -> None:
    table = accuracy.over(model=["a", None], fold=range(2)).to_frame()
    assert list(table.columns)[:3] == ["key", "model", "fold"] and table["fold"].tolist() == [0, 1, 0, 1]


@example([1.7976931348623157e308, -9.9792015476736e291])
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30))
def test_a_scale_has_a_colour_and_a_text_for_every_number(values: list[float]) -> None:
    scale = Scale(values)
    for value in values:
        colour = scale.colour(value)
        assert len(colour) == 7 and scale.text(value) and ink(colour) in ("#000000", "#ffffff")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.9123, 0.9567], ["0.912", "0.957"]),
        ([1, 2, 40], ["1", "2", "40"]),
        ([13.5, 14.5], ["13.5", "14.5"]),
        ([1234.5, 9876.5], ["1234", "9876"]),
        ([2e-7, 5e-7], ["2e-07", "5e-07"]),
        ([3.0], ["3"]),
    ],
)
def test_numbers_have_as_many_decimals_as_tell_them_apart(values: list[float], texts: list[str]) -> None:
    assert [Scale(values).text(value) for value in values] == texts


def test_a_plot_has_a_line_for_each_value_and_the_mean_at_each_place() -> None:
    import matplotlib as mpl

    mpl.use("agg")
    family = accuracy.over(model=[Forest(10), Forest(20)], fold=range(3))
    with pytest.raises(PayloadNotFound, match="run"):
        family.plot()
    run(family)
    ax = family.plot(x="fold", by="model")
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[fold, 0.5 + fold / 100] for fold in range(3)]] * 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Forest(trees=10)", "Forest(trees=20)"]
    means = family.plot(x="model.trees", y=lambda payload: 2 * payload)
    assert means.lines[0].get_xydata().ravel().tolist() == pytest.approx([10.0, 1.02, 20.0, 1.02]) and "mean" in means.get_ylabel()
    assert family.plot(ax=means) is means and family.plot("model").get_xlabel() == "model"
    with pytest.raises(UnknownParam, match=r"its columns are model, model.trees, fold"):
        family.plot("folds")
    mpl.pyplot.close("all")
