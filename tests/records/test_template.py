"""Templates: filled in and read back without loss, and never outside their folder."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistable.errors import InvalidName
from persistable.records.template import Template

LITERALS = st.text("ab-./_", max_size=4)
VALUES = st.text("ab-._", min_size=1, max_size=4)


@st.composite
def templates(draw: st.DrawFn) -> Template | None:
    fields = draw(st.lists(st.sampled_from(["{x}", "{y}"]), min_size=1, max_size=3))
    text = "".join(itertools.chain.from_iterable((draw(LITERALS), field) for field in fields)) + draw(LITERALS)
    try:
        return Template(text)
    except InvalidName:
        return None


@given(templates(), VALUES, VALUES)
def test_what_is_filled_in_is_read_back(template: Template | None, x: str, y: str) -> None:
    if template is None:
        return
    values = {name: value for name, value in (("x", x), ("y", y)) if name in template.fields}
    try:
        path = template.format(**values)
    except InvalidName:
        return
    assert template.match(path) == values
    assert ".." not in path.split("/") and not path.startswith("/")


@given(templates(), templates(), VALUES, VALUES, VALUES, VALUES)
def test_templates_that_do_not_overlap_never_share_a_path(a: Template | None, b: Template | None, p: str, q: str, r: str, s: str) -> None:
    if a is None or b is None:
        return
    paths: list[str] = []
    for template, values in ((a, {"x": p, "y": q}), (b, {"x": r, "y": s})):
        try:
            paths.append(template.format(**{name: values[name] for name in template.fields}))
        except InvalidName:
            return
    assert a.overlaps(b) or paths[0] != paths[1]
    assert a.overlaps(a)


@pytest.mark.parametrize(
    ("a", "b", "overlap"),
    [
        ("x/{a}.csv", "x/{b}-s.csv", True),
        ("x/{a}.csv", "y/{a}.csv", False),
        ("x/A", "x/a", True),
        ("x/{a}/y", "x/{b}", False),
        ("x/{a}b", "x/{a}c", False),
        ("x/{a}b", "x/c{b}", True),
    ],
)
def test_overlap_is_told_exactly(a: str, b: str, overlap: bool) -> None:
    assert Template(a).overlaps(Template(b)) is overlap
    assert Template(b).overlaps(Template(a)) is overlap


@pytest.mark.parametrize("text", ["", "{a}{b}", "../{a}", "{a", "{a!r}", "{a:03}", "/x/{a}", "{0}", "a/../{b}", "a//{b}", "con/{a}"])
def test_what_can_be_no_template_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        Template(text)


@pytest.mark.parametrize("value", ["", "..", ".", "a/b", "a\\b", "x\0", "x.", True, 1.5, None, "a" * 300])
def test_a_value_never_leaves_its_folder(value: object) -> None:
    with pytest.raises(InvalidName):
        Template("reports/{job}").format(job=value)


def test_a_path_in_the_hidden_folder_is_refused() -> None:
    with pytest.raises(InvalidName, match="kept for records"):
        Template("{a}/x").format(a=".persistable")


def test_two_readings_of_one_path_are_refused() -> None:
    with pytest.raises(InvalidName, match="would also be the path of a='x', b='y-z'"):
        Template("{a}-{b}").format(a="x-y", b="z")


def test_fields_are_named_when_they_are_wrong() -> None:
    with pytest.raises(TypeError, match="takes id; it was given job"):
        Template("{id}.txt").format(job="1")


def test_folders_prefixes_and_repeated_fields() -> None:
    scans = Template("raw/scans/{subject}/")
    assert (scans.is_folder, scans.prefix, scans.format(subject=7)) == (True, "raw/scans", "raw/scans/7")
    assert scans.match("raw/scans/7") == {"subject": "7"}
    twice = Template("{s}/{s}.csv")
    assert twice.match("a/a.csv") == {"s": "a"}
    assert twice.match("a/b.csv") is None
