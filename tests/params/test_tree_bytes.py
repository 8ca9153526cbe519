"""Canonical bytes made from a tree alone are those of the value, or it is said that the tree does not hold enough."""

from __future__ import annotations

import collections
import enum
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from persistable.errors import ParamsError
from persistable.params.encoding import encode
from persistable.params.tree_bytes import BYTES_READINGS, canonical, object_bytes
from persistable.params.trees import item_tree, tree
from persistable.testing import strategies


class Colour(enum.Enum):
    RED = 1


@dataclass
class Inner:
    rate: float = 0.1
    names: dict[str, Any] = field(default_factory=lambda: {"a": b"x"})


@given(strategies.plain)
def test_plain_values(value: Any) -> None:
    assert canonical(item_tree(value)) == encode(value)


@given(strategies.values)
def test_values_of_the_library(value: Any) -> None:
    assert canonical(item_tree(value)) == encode(value)


OTHERS: list[Any] = [
    Inner(),
    [Inner(2.0), {"x": Inner()}],
    Colour.RED,
    collections.OrderedDict(b=1, a=2),
    collections.Counter("aab"),
    {1: "x", "$odd": 2, "": 3},
    2**70,
    np.arange(3),
    np.arange(100_000),
    np.array(["a", b"x", None], dtype=object),
    np.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f8")]),
    np.float32(0.1),
    np.datetime64("2020-01-01"),
    pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])}),
    pd.Timestamp("2020-01-01", tz="Europe/Berlin"),
    len,
    int,
    bytes(4096),
]


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: type(value).__name__)
def test_others(value: Any) -> None:
    assert encode(value) in [canonical(item_tree(value), way) for way in range(BYTES_READINGS)]


def test_params_at_the_top() -> None:
    assert object_bytes("Inner", tree(Inner()).items()) == encode(Inner())


@pytest.mark.parametrize("value", [bytes(5000), np.array([str(i) for i in range(1000)], dtype=object)], ids=["bytes", "many"])
def test_what_only_a_digest_is_known_of(value: Any) -> None:
    with pytest.raises(ParamsError, match="only the digest"):
        canonical(item_tree(value))
