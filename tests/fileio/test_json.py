"""JSON-like values, exactly, as JSON and as YAML."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from persistable.errors import MalformedFile, PayloadNotRepresentable
from persistable.fileio import JsonFileIO, YamlFileIO
from persistable.testing.fileio import FileIOContract

_text = st.text(st.characters(exclude_categories=["Cs"]))
_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _text)
json_like = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(_text, inner), max_leaves=20)


class Word(str):
    __slots__ = ()


def not_json_like() -> list[Any]:
    circular: list[Any] = []
    circular.append(circular)
    return [
        (1, 2), {1: "a"}, {"a": {2}}, {"a": [b"x"]}, np.float64(1.5), [np.int64(1)], OrderedDict(a=1), Word("x"), "\ud800", {"\udfff": 1},
        circular, 10**5000, {"a": 1j}, {None: 1},
    ]  # fmt: skip


class TestJson(FileIOContract):
    extra_memory = 2 << 20  # of about 7 MB of text

    def io(self) -> JsonFileIO:
        return JsonFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return json_like

    def refused(self) -> list[Any]:
        return not_json_like()

    def large(self) -> Any:
        return {"numbers": list(range(300_000)), "texts": {str(n): "x" * 20 for n in range(100_000)}}


class TestJsonIndented(TestJson):
    def io(self) -> JsonFileIO:
        return JsonFileIO(indent=2)

    def large(self) -> Any:
        return {"numbers": list(range(200_000))}


class TestYaml(FileIOContract):
    def io(self) -> YamlFileIO:
        return YamlFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return json_like

    def refused(self) -> list[Any]:
        return not_json_like()


@pytest.mark.parametrize(
    "payload", [10**4000, -(10**4000), 2**64 + 1, 0.1 + 0.2, float("inf"), -0.0, list(range(20_000)), {str(n): n for n in range(9_000)}]
)
def test_numbers_are_exact(payload: Any) -> None:
    assert repr(JsonFileIO().loads(JsonFileIO().dumps(payload))) == repr(payload)


def test_files_are_ordinary_json() -> None:
    payload = {"a": list(range(10_000)), "b": {str(n): [n] for n in range(5_000)}, "c": "ä"}
    assert json.loads(JsonFileIO().dumps(payload)) == payload
    assert JsonFileIO(indent=1).dumps({"a": 1}) == b'{\n "a": 1\n}'


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(PayloadNotRepresentable, match=r"payload\['a'\]\[1\] is a builtins.tuple"):
        JsonFileIO().check({"a": [1, ()]})


def test_deep_nesting_is_malformed_not_a_crash() -> None:
    with pytest.raises(MalformedFile, match="deep"):
        JsonFileIO().loads(b"[" * 200_000)


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "no",
        "null",
        "~",
        "1",
        "1.5",
        "1e5",
        "0x1f",
        "2020-01-01",
        "",
        " a",
        "a: b",
        "#",
        "<<",
        "=",
        "\x85",
        "\u2028",
        "\ufeff",
        "1_000",
        "12:30:45",
        "\t",
        "- a",
        "\x00",
        "a\r\nb",
    ],
)
def test_look_alikes_stay_strings(text: str) -> None:
    payload = {text: [text]}
    assert YamlFileIO().loads(YamlFileIO().dumps(payload)) == payload


def test_objects_are_never_made() -> None:
    with pytest.raises(MalformedFile):
        YamlFileIO().loads(b"!!python/object/apply:os.getcwd []")
