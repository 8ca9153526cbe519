"""`Retry` and `Resources`: plain values that refuse what makes no sense."""

import copy
import pickle

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


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"delay": -1.0}, {"backoff": 0.0}, {"jitter": 1.5}])
def test_impossible_retries_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"Retry|give 1 or more"):
        Retry(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "unit"), [("memory", "a number of bytes"), ("time", "a number of seconds"), ("db", "a number")])
def test_amounts_are_numbers(name: str, unit: str) -> None:
    with pytest.raises(TypeError, match=rf"^Resources\.{name} is '4GB'; give {unit}$"):
        Resources(**{name: "4GB"})  # type: ignore[arg-type]


def test_negative_resources_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"Resources\.db is -1"):
        Resources(db=-1)
