"""Two stored payloads compared: params to the leaf, code by function, versions, facts and payloads."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persistable import Catalog, Persistable, PersistableParams, run, step
from persistable.errors import UnknownKey
from persistable.params.trees import absent

PACKAGE = Path(__file__).resolve().parents[2] / "persistable_pkg"


@dataclass(frozen=True)
class PointsParams(PersistableParams):
    n: int = 1000
    seed: int = 1


class Points(Persistable[np.ndarray, PointsParams]):
    def _generate_payload(self, **_: Any) -> np.ndarray:
        return np.arange(self.params.n) * float(self.params.seed)


@step
def scaled(points: Any, k: float = 1.0) -> Any:
    return points * k


@step
def shifted(points: Any, k: float = 1.0) -> Any:
    return points + k


def test_params_facts_and_payloads(tmp_path: Path) -> None:
    one, other = scaled.step(Points(n=4)), scaled.step(Points(n=4, seed=2), k=3.0)
    run(one, other, store=tmp_path)
    found = Catalog(tmp_path, index=None).diff(one.key, str(other.key))
    assert found.params == {"k": (1.0, 3.0), "points.seed": (1, 2)}
    assert found.code == [] and found.versions == {}
    assert "created" in found.facts and "class" not in found.facts
    assert found.payloads is not None and found.payloads.outcome == "different"
    text = str(found)
    assert "points.seed  1    2" in text and "code: no difference" in text
    assert "<table" in found._repr_html_() and "points.seed" in found._repr_html_()


def test_tolerance_and_no_payloads(tmp_path: Path) -> None:
    one, other = scaled.step(Points(n=4)), scaled.step(Points(n=4), k=1.0 + 1e-9)
    run(one, other, store=tmp_path)
    catalog = Catalog(tmp_path, index=None)
    assert catalog.diff(one, other).payloads.outcome == "different"  # type: ignore[union-attr]
    assert catalog.diff(one, other, rtol=1e-6).payloads.outcome == "equal"  # type: ignore[union-attr]
    assert catalog.diff(one, other, payloads=False).payloads is None


def test_code_by_function(tmp_path: Path) -> None:
    one, other = scaled.step(Points(n=4)), shifted.step(Points(n=4))
    run(one, other, store=tmp_path)
    found = Catalog(tmp_path, index=None).diff(one, other)
    assert {(change.of, change.function, change.change) for change in found.code} == {
        ("scaled", "scaled", "removed"),
        ("shifted", "shifted", "added"),
    }
    assert found.facts["class"][0].endswith(":scaled")
    assert found.params == {}


def test_only_one_has_a_param_or_an_upstream(tmp_path: Path) -> None:
    @step(name="any")
    def first(a: int) -> int:
        return a

    @step(name="any")
    def second(points: Any, b: int) -> int:
        return b

    one, other = first.step(a=1), second.step(Points(n=2), b=1)
    run(one, other, store=tmp_path)
    found = Catalog(tmp_path, index=None).diff(one, other)
    assert found.params == {"a": (1, absent), "b": (absent, 1), "points": (absent, str(Points(n=2).key))}
    assert found.to_dict()["params"]["a"] == [1, None]


def test_what_is_not_there(tmp_path: Path) -> None:
    one = Points(n=3)
    run(one, store=tmp_path)
    with pytest.raises(UnknownKey):
        Catalog(tmp_path, index=None).diff(one, Points(n=4))


BEFORE = """
from persistable import step

def helper(k):
    return k + 1

@step(source=True)
def fitted(k: int = 1) -> int:
    return helper(k)
"""


def test_sources_of_both_versions(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(BEFORE + "\nfitted.step(k=1).bind('one').generate()\n")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, check=True, env=environment, timeout=100)
    (tmp_path / "script.py").write_text(BEFORE.replace("k + 1", "k + 2") + "\nfitted.step(k=2).bind('one').generate()\n")
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, check=True, env=environment, timeout=100)
    catalog = Catalog(tmp_path / "one", index=None)
    new, old = catalog.find("fitted")
    found = catalog.diff(old, new)
    (change,) = found.code
    assert (change.function, change.change) == ("helper", "changed")
    assert "k + 1" in (change.sources[0] or "") and "k + 2" in (change.sources[1] or "")
    text = str(found)
    assert "-    return k + 1" in text and "+    return k + 2" in text
    assert "k + 2" in found._repr_html_() and found.to_dict()["code"][0]["function"] == "helper"


def test_the_source_of_what_is_imported_and_unchanged(tmp_path: Path) -> None:
    one, other = scaled.step(Points(n=4)), shifted.step(Points(n=4))
    run(one, other, store=tmp_path)
    sources = {change.function: change.sources for change in Catalog(tmp_path, index=None).diff(one, other).code}
    assert "points * k" in (sources["scaled"][0] or "") and sources["scaled"][1] is None
    assert sources["shifted"][0] is None and "points + k" in (sources["shifted"][1] or "")
