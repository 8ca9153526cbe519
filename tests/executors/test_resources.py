"""`Retry` and `Resources`: plain values that refuse what makes no sense."""

import copy
import math
import pickle
import re
from typing import Any

import pytest

from persistable.executors.resources import Resources, Retry


def test_values_are_compared_and_shown_by_content() -> None:
    assert Resources(cpus=2, db=1) == Resources(db=1, cpus=2) != Resources(cpus=2)
    assert hash(Resources(gpus=1)) == hash(Resources(gpus=1))
    assert repr(Resources(time=3.0, db=1)) == "Resources(cpus=1, gpus=0, time=3.0, db=1)"
    assert hash(Resources(cpus=2, db=1)) == hash(Resources(db=1, cpus=2)) and Resources(db=1) in {Resources(db=1)}
    assert Retry(3) == Retry(attempts=3) and Retry(2).backoff == 2.0


def test_they_cannot_be_changed_and_travel() -> None:
    asked = Resources(cpus=2, db=1)
    for change in (lambda: setattr(asked, "cpus", 3), lambda: setattr(Retry(2), "attempts", 3)):
        with pytest.raises(AttributeError):
            change()
    asked.counters["db"] = 9
    assert asked.counters == {"db": 1} and pickle.loads(pickle.dumps(asked)) == asked == copy.deepcopy(asked)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"delay": -1.0}, {"backoff": 0.0}, {"jitter": 1.5}, {"delay": math.nan}])
def test_impossible_retries_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"Retry|give 1 or more"):
        Retry(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("attempts", "3", "a whole number"),
        ("attempts", 2.5, "a whole number"),
        ("delay", "1s", "a number"),
        ("on", "OSError", "exception types, or a function that is given the error"),
        ("on", ("OSError",), "exception types, or a function that is given the error"),
        ("on", (OSError, print), "exception types, or a function that is given the error"),
        ("on", dict, "exception types, or a function that is given the error"),
    ],
)
def test_a_retry_of_the_wrong_type_is_refused_by_name(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(f'Retry.{name} is {value!r}; give {wanted}')}$"):
        Retry(**{name: value})


@pytest.mark.parametrize(("name", "unit"), [("memory", "a number of bytes"), ("time", "a number of seconds"), ("db", "a number")])
def test_amounts_are_numbers(name: str, unit: str) -> None:
    with pytest.raises(TypeError, match=rf"^Resources\.{name} is '4GB'; give {unit}$"):
        Resources(**{name: "4GB"})  # type: ignore[arg-type]


def test_negative_resources_are_refused_by_name() -> None:
    for amount in (-1, math.nan):
        with pytest.raises(ValueError, match=rf"Resources\.db is {amount}; give zero or more"):
            Resources(db=amount)


def test_a_retry_without_a_delay_may_have_any_number_of_attempts() -> None:
    assert Retry(10_000).delay_after(9_999) == 0.0
    assert Retry(3, delay=1.0, jitter=0.0).delay_after(2) == 2.0
