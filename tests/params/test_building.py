"""Params by keyword: what is wrong is said with the names that are right."""

from dataclasses import InitVar, dataclass
from typing import Annotated, Any

import attrs
import pydantic
import pytest

from persistable.errors import MissingParam, ParamsError, UnknownParam
from persistable.params.building import accepts, build, replaced
from persistable.params.fields import formerly


@dataclass
class Data:
    alpha: float
    n_jobs: int = 1
    size: Annotated[int, formerly("rows")] = 3


@attrs.define
class Attrs:
    alpha: float
    _n_jobs: int = 1


class Model(pydantic.BaseModel):
    alpha: float
    n_jobs: int = 1


class Aliased(pydantic.BaseModel, populate_by_name=True):
    alpha: float = pydantic.Field(alias="a")


class Open(pydantic.BaseModel, extra="allow"):
    alpha: float


@pytest.mark.parametrize("cls", [Data, Attrs, Model])
class TestEveryKind:
    def test_keywords_become_fields(self, cls: Any) -> None:
        assert build(cls, {"alpha": 0.5, "n_jobs": 2}) == cls(alpha=0.5, n_jobs=2)

    def test_an_unknown_name_is_an_error_with_the_near_match_and_all_names(self, cls: Any) -> None:
        with pytest.raises(UnknownParam, match=r"Points takes no 'alhpa'; did you mean 'alpha'\? \(it takes alpha, n_jobs") as raised:
            build(cls, {"alhpa": 1.0}, "Points")
        assert raised.value.name == "alhpa"
        assert raised.value.accepted[:2] == ["alpha", "n_jobs"]

    def test_missing_names_are_listed(self, cls: Any) -> None:
        with pytest.raises(MissingParam, match="needs alpha") as raised:
            build(cls, {"n_jobs": 2})
        assert raised.value.names == ["alpha"]
        assert isinstance(raised.value, TypeError)

    def test_a_copy_may_have_some_fields_changed(self, cls: Any) -> None:
        before = build(cls, {"alpha": 0.5, "n_jobs": 2})
        assert replaced(before, {"alpha": 1.0}) == build(cls, {"alpha": 1.0, "n_jobs": 2})
        assert before == build(cls, {"alpha": 0.5, "n_jobs": 2})
        with pytest.raises(UnknownParam):
            replaced(before, {"alhpa": 1.0})


def test_the_old_name_of_a_field_is_answered_with_the_new_one() -> None:
    with pytest.raises(UnknownParam, match="it is called 'size' now"):
        build(Data, {"alpha": 1.0, "rows": 2})


def test_pydantic_aliases_and_extras() -> None:
    assert build(Aliased, {"a": 1}) == build(Aliased, {"alpha": 1}) == Aliased(a=1)
    assert replaced(Aliased(a=1), {"alpha": 2}) == Aliased(a=2)
    assert build(Open, {"alpha": 1, "more": 2}) == Open(alpha=1, more=2)
    assert replaced(Open(alpha=1, more=2), {"alpha": 3}) == Open(alpha=3, more=2)


def test_what_a_validator_says_passes_through() -> None:
    with pytest.raises(pydantic.ValidationError):
        build(Model, {"alpha": "x"})


def test_init_only_arguments_are_accepted() -> None:
    @dataclass
    class P:
        a: int
        scale: InitVar[int] = 1

        def __post_init__(self, scale: int) -> None:
            self.a *= scale

    assert accepts(P) == ["a", "scale"]
    assert build(P, {"a": 2, "scale": 3}).a == 6


def test_a_class_without_fields_is_an_error() -> None:
    with pytest.raises(ParamsError, match="no fields"):
        build(int, {"a": 1})
