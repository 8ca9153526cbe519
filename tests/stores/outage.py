"""A step whose payloads are made while the slow layer goes down, and a look at what is there afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persistable import step
from persistable.fileio import NumpyFileIO
from persistable.stores import Store
from persistable.stores.layered import primary

NOW: dict[str, Callable[[], Any]] = {}
made: list[int] = []
RECORD = ".record.json"


@step(io=NumpyFileIO())
def numbers(n: int) -> NDArray[np.int64]:
    made.append(n)
    NOW.get("in the middle", lambda: None)()
    return np.arange(n)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(primary, "FIRST_LOOK", 0.1)
    made.clear()
    yield
    NOW.clear()


def assert_sound(store: Store, *nodes: Any) -> None:
    for node in nodes:
        assert node.bind(store).load().payload.tolist() == list(range(node.params.n))
