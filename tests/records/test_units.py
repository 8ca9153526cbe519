"""Sizes, durations and ages as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from persistable.errors import InvalidName
from persistable.records.template import Template
from persistable.records.units import duration_in_words, moment_before, size_in_words


def test_an_age_is_in_units_that_cannot_be_taken_for_others() -> None:
    assert [moment_before(age, 1e9) for age in ("90s", "90 S", "1m", "1min", "1MIN", "1D", 5)] == [
        1e9 - 90, 1e9 - 90, 1e9 - 60, 1e9 - 60, 1e9 - 60, 1e9 - 86400, 1e9 - 5,
    ]  # fmt: skip


@pytest.mark.parametrize("age", ["1M", "1mo", "-3d", "", True, -1, float("nan")])
def test_what_is_no_age_is_refused(age: Any) -> None:
    """A month taken for a minute would take nearly everything."""
    with pytest.raises(ValueError, match="older_than"):
        moment_before(age, 1e9)


def test_what_is_rounded_up_is_told_in_the_next_unit() -> None:
    assert [size_in_words(size) for size in (0, 999, 999.6, 99_960, 999_600)] == ["0 B", "999 B", "1.0 kB", "100.0 kB", "1.0 MB"]
    told = [duration_in_words(seconds) for seconds in (0, 0.0009996, 0.5, 0.9996, 59.96, 3599.99, 86399.9)]
    assert told == ["0 µs", "1 ms", "500 ms", "1.0 s", "1.0 min", "1.0 h", "1.0 d"]


@pytest.mark.parametrize("name", [".persistable", ".Persistable"])
def test_no_template_leads_into_the_folder_of_records(name: str) -> None:
    with pytest.raises(InvalidName, match="kept for records"):
        Template("{x}/a").format(x=name)
