"""A store that cannot be used says so by one error, before any work, and without its password."""

from typing import Any

import pytest

from persistable import step
from persistable.errors import StoreError

PASSWORD = "hunter2 /@:?%"
made: list[int] = []


@step
def noted(n: int) -> int:
    made.append(n)
    return n


def assert_hidden(*texts: object) -> None:
    for text in texts:
        assert "hunter2" not in f"{text} {text!r}"


def assert_one_error(store: Any, kind: type[StoreError], *words: str) -> None:
    """It is raised, and nothing was generated before."""
    made.clear()
    with pytest.raises(StoreError) as caught:
        noted.step(n=1).bind(store).generate()
    error = caught.value
    assert type(error) is kind
    assert all(word in str(error) for word in words), str(error)
    assert "\n" not in str(error)
    assert_hidden(error, error.url, error.__cause__ or "")
    assert made == []
