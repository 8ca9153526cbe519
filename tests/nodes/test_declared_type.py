"""A forgotten `return` is an error, unless None is a payload as declared."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, Protocol, TypedDict, TypeVar, Union

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from persistable import Persistable, append, run, step
from persistable.errors import NothingReturned
from persistable.fileio import NumpyFileIO
from persistable.nodes.declared_type import admits_none

T = TypeVar("T")
EITHER: Any = Union[int, str]  # noqa: UP007 - as it is often written
Bound = TypeVar("Bound", bound=int)
Weight = NewType("Weight", float)
Maybe = NewType("Maybe", int | None)  # type: ignore[valid-newtype]


class Row(TypedDict):
    a: int


class Shape(Protocol):
    def area(self) -> float: ...


@pytest.mark.parametrize(
    "kind",
    [int, str, list[int], dict[str, Any], NDArray[np.float64], pd.DataFrame, tuple[int, ...], int | str, EITHER,
     Literal["a"],      Weight, Row,
     Annotated[int, "x"], Bound, Callable[[], int], type[int], Iterator[int], Mapping[str, int], bool],
    ids=str,
)  # fmt: skip
def test_types_without_none(kind: Any) -> None:
    assert not admits_none(kind)


@pytest.mark.parametrize(
    "kind",
    [None, type(None), Any, object, T, Hashable, int | None, Optional["int"], Union[int, None, "str"],
     Literal["a", None], Maybe, Annotated[int | None, 1],
     Shape, "Unknown", int | Any],
    ids=str,
)  # fmt: skip
def test_types_with_none_and_what_says_nothing(kind: Any) -> None:
    assert admits_none(kind)


@dataclass
class P:
    n: int = 1


class Forgot(Persistable[pd.DataFrame, P]):
    def _generate_payload(self, **_: Any) -> Any:
        pd.DataFrame({"n": [self.params.n]})


class ForgotText(Persistable["pd.DataFrame", P]):
    def _generate_payload(self, **_: Any) -> Any:
        pass


class ForgotHook(Persistable):  # type: ignore[type-arg]
    def _generate_payload(self, **_: Any) -> dict[str, int]:  # type: ignore[override, return]
        {"a": 1}


class Nothing(Persistable[None, P]):
    def _generate_payload(self, **_: Any) -> None:  # type: ignore[override]
        pass


class Undeclared(Persistable):  # type: ignore[type-arg]
    def _generate_payload(self, **_: Any):  # type: ignore[no-untyped-def]
        pass


class Maybes(Persistable[pd.DataFrame | None, P]):
    def _generate_payload(self, **_: Any) -> Any:
        return None


@step
def forgot(n: int) -> int:  # type: ignore[return]
    n + 1


@step
def undeclared(n: int):  # type: ignore[no-untyped-def]
    pass


@step
def nothing(n: int) -> None:
    pass


@step
def unknown(n: int) -> Unknown:  # type: ignore[name-defined]  # noqa: F821
    pass


@step(persist=False)
def effect(n: int) -> int:  # type: ignore[return]
    pass


@step(io=NumpyFileIO())
def appended(n: int) -> NDArray[np.float64]:  # type: ignore[return]
    append(np.zeros(n))


@pytest.mark.parametrize("made", [Forgot, ForgotText, ForgotHook, lambda: forgot.step(1), lambda: effect.step(1)])
def test_a_forgotten_return_is_an_error(made: Any, tmp_path: Path) -> None:
    node = made().bind(tmp_path)
    with pytest.raises(NothingReturned, match="did you forget `return`") as raised:
        _ = node.payload
    assert raised.value.key == node.key
    assert node._node_generating_function().__qualname__ in raised.value.function
    if node.is_persisted:
        assert node.status.name == "FAILED"
        assert not list(tmp_path.rglob("*.record.json"))


@pytest.mark.parametrize(
    "made",
    [
        Nothing,
        Undeclared,
        Maybes,
        lambda: undeclared.step(1),
        lambda: nothing.step(1),
        lambda: unknown.step(1),
    ],
)
def test_none_is_a_payload_where_it_may_be(made: Any, tmp_path: Path) -> None:
    node = made().bind(tmp_path)
    assert node.payload is None
    assert made().bind(tmp_path).load().payload is None


def test_what_was_appended_is_returned_by_itself(tmp_path: Path) -> None:
    assert len(appended.step(3).bind(tmp_path).payload) == 3


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_in_families_and_workers_as_well(executor: str, tmp_path: Path) -> None:
    result = run(forgot.over(n=[1, 2, 3]), nothing.over(n=[1, 2, 3]), store=tmp_path, executor=executor, max_workers=2, errors="return")
    assert len(result.failures) == 3
    assert all("did you forget `return`" in str(failure) for failure in result.failures)
    assert len(list(tmp_path.rglob("*.record.json"))) == 3
