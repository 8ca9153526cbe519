"""Paths and tags of registries tell each other."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistable.stores.base import is_path
from persistable.stores.oci.tags import DELETES_REFUSED, is_long, path_of, tag_of
from persistable.testing.processes import GOOD_PATHS

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._\-]{0,127}")  # as the specification of OCI distribution has it
_parts = st.text(st.sampled_from("aB0._-/é%") | st.characters(codec="utf-8"), min_size=1, max_size=70)
_paths = (
    (_parts | st.sampled_from(GOOD_PATHS))
    .flatmap(lambda path: st.sampled_from([path, f"{path}.record.json", f"{path}.npy", f"{path}_."]))
    .filter(is_path)
)


@given(_paths)
def test_a_tag_is_allowed_and_tells_its_path(path: str) -> None:
    tag = tag_of(path)
    assert _TAG.fullmatch(tag)
    assert tag != DELETES_REFUSED
    assert path_of(tag) == (None if is_long(tag) else path)


@given(_paths, _paths)
def test_two_paths_have_two_tags(first: str, second: str) -> None:
    assert (tag_of(first) == tag_of(second)) == (first == second)


@given(st.from_regex(_TAG, fullmatch=True))
def test_a_tag_of_others_is_of_no_path_or_of_one_that_has_it(tag: str) -> None:
    path = path_of(tag)
    assert path is None or (is_path(path) and tag_of(path) == tag)


@pytest.mark.parametrize("tag", ["nul_.", "com1.txt", "_2e_2e__x.txt", "a____b.txt"])
def test_a_tag_of_others_that_spells_what_is_no_path_is_of_none(tag: str) -> None:
    assert path_of(tag) is None


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("points/8ce8e6233a7e50751e178e555f66c113.record.json", "points__8ce8e6233a7e50751e178e555f66c113"),
        ("points/8ce8e6233a7e50751e178e555f66c113.1a2b3c4d.npy", "points__8ce8e6233a7e50751e178e555f66c113.1a2b3c4d.npy"),
        ("points/8ce8e6233a7e50751e178e555f66c113", "points__8ce8e6233a7e50751e178e555f66c113_."),
        ("reports/v1.2.record.json", "reports__v1.2.record.json"),
        (".persistable/store.json", "_2epersistable__store.json"),
        ("two_words/é.txt", "two_5fwords___c3_a9.txt"),
        ("x/.record.json", "x__.record.json"),
        ("y" * 130, "_.363f2674b4232b0241193e93b52c9e9f328c312f7461aff85f577144580c97cb"),
    ],
)
def test_tags_are_these_for_ever(path: str, tag: str) -> None:
    assert tag_of(path) == tag
