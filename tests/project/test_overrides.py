"""Params from the file, the environment and ``set``, in that order, typed by their fields."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.project.conftest import BASIC
from tests.project.flows import Mode, Optimizer, Points, PointsParams

from persistable import Project
from persistable.errors import ConfigError

Load = Callable[..., Project]


def params(project: Project) -> PointsParams:
    found: PointsParams = project["points"].params
    return found


def test_each_replaces_what_came_before_it(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    assert params(load(BASIC)).n == 4
    environ = {"PERSISTABLE_PARAMS__points__n": "5", "PERSISTABLE_PARAMS__points__centred": "no"}
    assert (params(load(BASIC, environ=environ)).n, params(load(BASIC, environ=environ)).centred) == (5, False)
    both = params(load(BASIC, environ=environ, set=["points.n=6"]))
    assert (both.n, both.centred) == (6, False)
    assert params(load(BASIC, set=["points.n=6", "points.n=7"])).n == 7
    monkeypatch.setenv("PERSISTABLE_PARAMS__points__n", "8")
    assert params(load(BASIC)).n == 8
    assert params(load(BASIC, environ={})).n == 4


@pytest.mark.parametrize("word", ["False", "false", "FALSE", "no", "off", "0"])
def test_false_is_false(load: Load, word: str) -> None:
    assert params(load(BASIC, set=[f"points.centred={word}"])).centred is False
    assert params(load(BASIC, environ={"PERSISTABLE_PARAMS__points__centred": word})).centred is False
    assert params(load(BASIC.replace("n = 4", f'n = 4, centred = "{word}"'))).centred is False
    quiet = load(BASIC, set=[f"sweep.loud={word}"])["sweep"][1.0]
    assert quiet.params.loud is False


def test_every_kind_of_field_is_read_by_its_type(load: Load) -> None:
    written = {
        "n": "5",
        "since": "2024-01-31",
        "pause": "0:00:30",
        "mode": "SLOW",
        "folder": "a/b",
        "scale": "2",
        "kind": "3",
        "names": '["a", "b"]',
        "sizes": "{a = 1}",
        "optimizer.lr": "1",
        "anything": "[1, 2]",
        "unknown": "1.50",
        "jobs": "4",
    }
    found = params(load(BASIC, set=[f"points.{name}={value}" for name, value in written.items()]))
    expected = PointsParams(
        n=5,
        since=date(2024, 1, 31),
        pause=timedelta(seconds=30),
        mode=Mode.SLOW,
        folder=Path("a/b"),
        scale=np.float32(2),
        kind=3,
        names=["a", "b"],
        sizes={"a": 1},
        optimizer=Optimizer(lr=1.0, steps=9),
        anything=[1, 2],
        jobs=4,
    )
    expected.unknown = 1.5  # type: ignore[assignment]
    assert found == expected and type(found.scale) is np.float32
    variables = {f"PERSISTABLE_PARAMS__points__{name.replace('.', '__')}": value for name, value in written.items()}
    assert params(load(BASIC, environ=variables)) == expected
    assert load(BASIC, environ=variables)["points"].key == Points(params=expected).key


def test_the_same_key_whether_a_value_comes_from_the_file_or_from_text(load: Load) -> None:
    from_file = load(BASIC.replace("alpha = 1", "alpha = 2"))["model"].key
    assert load(BASIC, set=["model.alpha=2"])["model"].key == load(BASIC, set=["model.alpha=2.0"])["model"].key == from_file
    assert load(BASIC, environ={"PERSISTABLE_PARAMS__MODEL__alpha": "2"})["model"].key == from_file
    assert load(BASIC)["model"].key != from_file


def test_nested_params_keep_what_is_not_named(load: Load) -> None:
    text = BASIC.replace("n = 4", "n = 4, optimizer = { steps = 7 }")
    assert params(load(text)).optimizer == Optimizer(lr=1.0, steps=7)
    assert params(load(text, set=["points.optimizer.betas=[0, 1]"])).optimizer == Optimizer(lr=1.0, betas=(0.0, 1.0), steps=7)
    assert params(load(text, set=["points.optimizer={lr = 5}", "points.optimizer.steps=2"])).optimizer == Optimizer(lr=5.0, steps=2)
    assert params(load(text, set=["points.sizes.a=1", "points.sizes.b=2"])).sizes == {"a": 1, "b": 2}


def test_a_mapping_of_values_may_be_nested_or_dotted(load: Load) -> None:
    for given in ({"points.n": 6}, {"points": {"n": 6}}, {"points.n": "6"}, {"points": {"n": "6"}}):
        assert params(load(BASIC, set=given)).n == 6
    assert params(load(BASIC, set={"points.folder": Path("x"), "points": {"optimizer": {"lr": 2}}})).optimizer == Optimizer(lr=2.0, steps=9)
    with pytest.raises(ConfigError, match=r"set points.n is 6.5|targets.points.params.n is 6.5"):
        load(BASIC, set={"points.n": 6.5})["points"]


def test_an_axis_is_replaced_by_a_list(load: Load) -> None:
    assert list(load(BASIC, set=["sweep.factor=[3, 4, 5]"])["sweep"]) == [3.0, 4.0, 5.0]
    with pytest.raises(ConfigError, match=r"--set sweep.factor is '3'; give a list, since factor is an axis"):
        load(BASIC, set=["sweep.factor=3"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"set": ["pionts.n=5"]}, r"--set pionts.n: pionts is unknown; did you mean 'points'"),
        ({"set": ["points=5"]}, r"--set points names no field; write points.field"),
        ({"set": ["points.=5"]}, r"--set points. names no field"),
        ({"set": ["points.n"]}, r"--set points.n gives no value; write target.field=value"),
        ({"set": ["=5"]}, r"--set =5 names no target"),
        ({"environ": {"PERSISTABLE_PARAMS__pionts__n": "5"}}, "PERSISTABLE_PARAMS__pionts__n: pionts is unknown; did you mean 'points'"),
        ({"environ": {"PERSISTABLE_PARAMS__points": "5"}}, "PERSISTABLE_PARAMS__points names no field; write"),
        ({"set": {"pionts": {"n": 5}}}, r"set pionts.n: pionts is unknown; did you mean 'points'"),
    ],
)
def test_settings_of_what_is_no_target_are_errors_when_it_is_loaded(load: Load, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(BASIC, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"set": ["points.nn=5"]}, r"--set points.nn: nn is unknown; did you mean 'n'"),
        ({"set": {"points.nn": "5"}}, "set points.nn: nn is unknown"),
        ({"environ": {"PERSISTABLE_PARAMS__points__nn": "5"}}, "PERSISTABLE_PARAMS__points__nn: nn is unknown"),
        ({"set": ["points.n=many"]}, r"--set points.n is 'many'; give a whole number"),
        ({"environ": {"PERSISTABLE_PARAMS__points__n": "many"}}, "PERSISTABLE_PARAMS__points__n is 'many'; give a whole number"),
        ({"set": ["points.optimizer.lrr=1"]}, r"--set points.optimizer.lrr: lrr is unknown; did you mean 'lr'"),
        ({"set": ["points.optimiser.lr=1"]}, r"--set points.optimiser.lr: optimiser is unknown; did you mean 'optimizer'"),
        ({"set": ["points.mode=QUICK"]}, r"--set points.mode is 'QUICK'; give one of FAST, SLOW"),
        ({"set": ["model.points=5"]}, "--set model.points is no param but an upstream node"),
        ({"set": ["sweep.points=5"]}, "--set sweep.points is given as a target too, by upstream = { points = ... }; give it once"),
    ],
)
def test_settings_that_do_not_fit_are_errors_that_name_where_they_were_written(load: Load, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        load(BASIC, **options).check()


def test_targets_with_dashes_are_found_in_the_environment(load: Load) -> None:
    text = '[targets.my-points]\nuse = "FLOWS:Points"\n'
    assert load(text, environ={"PERSISTABLE_PARAMS__MY_POINTS__n": "9"})["my-points"].params.n == 9


def test_what_was_given_ready_made_cannot_be_set() -> None:
    with pytest.raises(ConfigError, match=r"--set points.n: points was given ready made"):
        Project({"points": Points(n=1)}, set=["points.n=5"])
    assert Project({"points": {"use": Points}}, set=["points.n=5"])["points"].params.n == 5
    with pytest.raises(TypeError, match="give a list"):
        Project({"points": {"use": Points}}, set="points.n=5")
