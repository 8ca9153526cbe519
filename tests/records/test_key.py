"""Keys: what decides them, how they are written, and that they never change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistable import Key
from persistable.errors import InvalidName
from persistable.params.encoding import encode
from persistable.records.key import check_payload_name, digest_of

GOLDEN = [
    # name, version, params, upstream, digest
    ("points", 1, None, {}, "925b7f64648df0361afefbd584460ca7"),
    ("points", 1, {"n": 100, "random_state": 10}, {}, "0f64a32ccf66936f4101cfb364e1049b"),
    ("points", 2, {"n": 100, "random_state": 10}, {}, "1862b03036d5bfa587db4fc74fecb873"),
    ("points", "2", {"n": 100, "random_state": 10}, {}, "a0cdb09b28c53777bb516bd8d82d8385"),
    ("größe", 1, {"k": 0.5}, {"points": "00112233445566778899aabbccddeeff"}, "8fd9fae7e24ac6c99b93e15f227d09d6"),
    (
        "both",
        1,
        None,
        {"a": "00112233445566778899aabbccddeeff", "models.0": "ffeeddccbbaa99887766554433221100"},
        "602314496c9cb4f2926606b15cef16eb",
    ),
]


@pytest.mark.parametrize(("name", "version", "params", "upstream", "digest"), GOLDEN)
def test_digests_are_what_they_were(name: str, version: object, params: object, upstream: dict[str, str], digest: str) -> None:
    assert digest_of(name, version, encode(params), upstream) == digest


names = st.text(min_size=1, max_size=20)
digests = st.binary(min_size=16, max_size=16).map(bytes.hex)
nodes = st.tuples(
    names,
    st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.floats(allow_nan=False)),
    st.dictionaries(names, st.one_of(st.integers(), st.text(max_size=5), st.none())),
    st.dictionaries(names, digests, max_size=4),
)


@given(nodes, nodes)
def test_different_nodes_have_different_digests(
    one: tuple[str, object, object, dict[str, str]], two: tuple[str, object, object, dict[str, str]]
) -> None:
    first, second = (digest_of(name, version, encode(params), upstream) for name, version, params, upstream in (one, two))
    assert (first == second) == (repr(_typed(one)) == repr(_typed(two)))


def _typed(value: object) -> object:
    if isinstance(value, dict):
        return sorted((_typed(key), _typed(item)) for key, item in value.items()) if all(isinstance(k, str) for k in value) else value
    if isinstance(value, tuple):
        return tuple(_typed(item) for item in value)
    return (type(value).__name__, repr(value))


@given(st.dictionaries(names, digests, min_size=2, max_size=5))
def test_the_order_of_roles_never_matters(upstream: dict[str, str]) -> None:
    turned = dict(reversed(list(upstream.items())))
    assert digest_of("a", 1, b"N", upstream) == digest_of("a", 1, b"N", turned)


def test_which_role_a_node_has_matters() -> None:
    a, b = "00" * 16, "11" * 16
    assert digest_of("x", 1, b"N", {"l": a, "r": b}) != digest_of("x", 1, b"N", {"l": b, "r": a})


@given(st.from_regex(r"[a-zäö0-9 _\-+%#=@]{1,30}", fullmatch=True).filter(lambda name: name.strip() == name), digests)
def test_parse_inverts_str(name: str, digest: str) -> None:
    key = Key(name, digest)
    assert Key.parse(str(key)) == key and key.path == str(key) == f"{name}/{digest}"


@pytest.mark.parametrize(
    "text", ["", "points", "points/", "/" + "0" * 32, "points/xyz", "../" + "0" * 32, "a/b/" + "0" * 32, "points/" + "0" * 31]
)
def test_parse_refuses_what_is_no_key(text: str) -> None:
    with pytest.raises(InvalidName):
        Key.parse(text)


@given(st.text(max_size=200))
def test_an_accepted_name_stays_one_folder_inside_its_parent(name: str) -> None:
    import os

    try:
        check_payload_name(name)
    except InvalidName:
        return
    assert os.path.dirname(os.path.normpath(os.path.join("/root", name, "x"))) == os.path.join("/root", name)
    assert "/" not in name and "\\" not in name and "\0" not in name
    assert len(name.encode()) <= 150
