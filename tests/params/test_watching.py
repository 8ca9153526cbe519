"""Params changed after their key was made are found out, at no cost where they cannot change."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
import pytest

from persistable.errors import UntrackableParam
from persistable.params.encoding import encode
from persistable.params.fields import omit_when, untracked
from persistable.params.snapshots import capture, first_change, snapshot


@dataclass
class Inner:
    lr: float = 0.1


@dataclass
class P:
    n: int = 1
    inner: Inner = field(default_factory=Inner)
    items: list[Any] = field(default_factory=lambda: [1, {"a": 2}])
    array: Any = field(default_factory=lambda: np.arange(1000))
    frame: Any = field(default_factory=lambda: pd.DataFrame({"a": [1, 2]}))
    pair: tuple[Any, ...] = (1, [2])
    noise: Annotated[float, omit_when(0.0)] = 0.0
    jobs: Annotated[int, untracked] = 1


def _inner(p: P) -> None:
    p.inner.lr = 0.2


def _items(p: P) -> None:
    p.items[1]["a"] = 3


def _array(p: P) -> None:
    p.array[500] = -1


def _frame(p: P) -> None:
    p.frame.loc[0, "a"] = 5


def _pair(p: P) -> None:
    p.pair[1].append(1)


CHANGES: dict[str, Any] = {"inner": _inner, "items": _items, "array": _array, "frame": _frame, "pair": _pair}
CHANGES["n"] = lambda p: setattr(p, "n", 2)
CHANGES["noise"] = lambda p: setattr(p, "noise", 0.5)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_anywhere_is_found_and_named(name: str) -> None:
    params = P(pair=(1, [2]))
    before = snapshot(params)
    assert first_change(params, before) is None
    CHANGES[name](params)
    assert first_change(params, before) == name


def test_a_type_counts_as_a_change_and_an_equal_value_does_not() -> None:
    params = P()
    before = snapshot(params)
    params.array, params.inner, params.items = np.arange(1000), Inner(), [1, {"a": 2}]
    assert first_change(params, before) is None
    params.n = True
    assert first_change(params, before) == "n"


def test_untracked_fields_may_change() -> None:
    params = P()
    before = snapshot(params)
    params.jobs = 5
    assert first_change(params, before) is None


def test_a_field_that_is_deleted_or_became_untrackable_is_changed() -> None:
    for change in (lambda p: delattr(p, "items"), lambda p: p.items.append(object()), lambda p: p.items.append(p.items)):
        params = P()
        before = snapshot(params)
        change(params)
        assert first_change(params, before) == "items"


def test_capture_gives_the_bytes_of_encode() -> None:
    class Extras(pydantic.BaseModel, extra="allow"):
        a: int = 1

    for params in (P(), P(noise=0.5), Extras(b=[1]), {"a": [1]}, None, 3):
        raw, before = capture(params)
        assert raw == encode(params)
        assert first_change(params, before) is None


def test_params_that_are_a_container_are_watched_as_one() -> None:
    params = {"a": [1]}
    before = snapshot(params)
    params["a"].append(2)
    assert first_change(params, before) == "dict"


def test_what_cannot_be_encoded_is_refused_by_capture_too() -> None:
    with pytest.raises(UntrackableParam, match=r"P\.items\[0\]"):
        capture(P(items=[object()]))
