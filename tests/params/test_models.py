"""Estimators, settings and paths of other packages as params."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from upath import UPath

from persistable.errors import UntrackableParam
from persistable.params.encoding import encode
from persistable.params.trees import from_tree, tree


class Own(BaseEstimator):  # type: ignore[misc]
    def __init__(self, k: int = 1) -> None:
        self.k = k


def test_an_unfitted_estimator_is_its_class_and_parameters() -> None:
    assert encode(Ridge(alpha=2.0)) == encode(Ridge(alpha=2.0)) == encode(clone(Ridge(alpha=2.0)))
    values = [Ridge(), Ridge(alpha=2.0), LogisticRegression(), Own(), Own(2), Ridge, {"alpha": 1.0}]
    assert len({encode(value) for value in values}) == len(values)


def test_a_parameter_at_its_default_and_one_that_changes_no_result_are_not_identity() -> None:
    assert encode(Ridge(alpha=1.0, solver="auto")) == encode(Ridge())
    assert encode(RandomForestClassifier(n_jobs=4, verbose=2)) == encode(RandomForestClassifier())
    assert encode(RandomForestClassifier(random_state=0)) != encode(RandomForestClassifier())
    assert encode(Ridge(alpha=1)) != encode(Ridge(alpha=1.0))
    assert encode(KFold()) == encode(KFold(5, shuffle=False)) != encode(KFold(shuffle=True))
    assert encode(GridSearchCV(Ridge(), {"alpha": [1]}, n_jobs=2, pre_dispatch=4)) == encode(GridSearchCV(Ridge(), {"alpha": [1]}))
    assert encode(make_pipeline(Ridge(), memory="somewhere")) == encode(make_pipeline(Ridge()))
    assert encode(from_tree(tree(Ridge(alpha=2.0)))) == encode(Ridge(alpha=2.0))


def test_what_another_package_calls_memory_is_identity() -> None:
    class Recurrent(BaseEstimator):  # type: ignore[misc]
        def __init__(self, memory: int = 1, n_jobs: int = 1) -> None:
            self.memory, self.n_jobs = memory, n_jobs

    assert describe(Recurrent(2)) != describe(Recurrent())
    assert describe(Recurrent(n_jobs=2)) == describe(Recurrent())


def describe(estimator: Any) -> Any:
    """The parameters that are identity; the class is defined in a function and has none."""
    from persistable.params.other_libraries import reducer

    reduce = reducer(type(estimator))
    assert reduce is not None
    return reduce(estimator).content["params"]


def test_estimators_inside_estimators() -> None:
    def make(c: float) -> Any:
        return make_pipeline(StandardScaler(), FunctionTransformer(np.log1p), LogisticRegression(C=c))

    assert encode(make(1.0)) == encode(make(1.0)) != encode(make(2.0))


def test_a_fitted_estimator_is_refused_and_told_by_the_attribute() -> None:
    x, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    fitted = Ridge().fit(x, y)
    with pytest.raises(UntrackableParam, match=r"Ridge is fitted \(it has .*_\).*clone"):
        encode({"model": fitted})
    with pytest.raises(UntrackableParam, match="fitted"):
        encode(make_pipeline(StandardScaler().fit(x), Ridge()))
    assert encode(clone(fitted)) == encode(Ridge())


def test_omegaconf_is_the_plain_settings_it_resolves_to() -> None:
    config = OmegaConf.create({"a": 1, "b": {"c": "${a}"}, "d": [1, "${b.c}"]})
    assert encode(config) == encode({"a": 1, "b": {"c": 1}, "d": [1, 1]})
    assert tree(config) == {"a": 1, "b": {"c": 1}, "d": [1, 1]}
    assert encode(config.d) == encode([1, 1])


@pytest.mark.parametrize("settings", [{"a": "???"}, {"a": "${nowhere}"}])
def test_omegaconf_that_does_not_resolve_is_refused(settings: Any) -> None:
    with pytest.raises(UntrackableParam, match=r"P\['x'\] .*OmegaConf"):
        encode({"x": OmegaConf.create(settings)}, place="P")


def test_universal_paths_are_their_place_without_credentials() -> None:
    one, other = UPath("memory://bucket/a", token="secret"), UPath("memory://bucket/b")
    assert encode(one) == encode(UPath("memory://bucket/a")) != encode(other)
    assert b"secret" not in encode(one)
    assert encode(UPath("a/b")) == encode(Path("a/b"))


def test_importing_params_loads_nothing_heavy() -> None:
    names = "numpy", "pandas", "dataclasses", "decimal", "uuid", "json"
    code = f"import sys, persistable.params; print([m for m in {names} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(_package())}, capture_output=True, text=True, check=True
    )
    loaded = set(eval(done.stdout))
    bare = subprocess.run(
        [sys.executable, "-S", "-c", "import sys, typing; print(list(sys.modules))"], capture_output=True, text=True, check=True
    )
    assert loaded <= set(eval(bare.stdout))


def _package() -> Path:
    import persistable

    found: ModuleType = persistable
    assert found.__file__ is not None
    return Path(found.__file__).parents[1]
