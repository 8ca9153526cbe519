"""A number returned is the declared number, by the rule for params: ``8`` is ``8.0`` where a float is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NewType, Optional

import pytest

from persistable import Persistable, run, step
from persistable.errors import NothingReturned
from persistable.families.workspaces import Workflow, Workspace, seed, stored

Weight = NewType("Weight", float)


class Mean(Persistable[float, None]):
    def _generate_payload(self) -> float:
        return 8

    def _validate_payload(self, payload: float) -> None:
        assert type(payload) is float


@step
def mean(n: int) -> float:
    return n


@step
def passed_on(x: float) -> Annotated[Weight, "kg"]:
    assert type(x) is float
    return int(x)  # type: ignore[return-value]


@step
def perhaps(n: int) -> Optional[float]:  # noqa: UP045
    return n


@step
def wave(n: int) -> complex:
    return n


@step
def either(n: int) -> int | float:
    return n


@step
def whole(n: int) -> int:
    return n


@step
def unsaid(n: int):  # type: ignore[no-untyped-def]
    return n


@step
def truth(n: int) -> float:
    return True


@step
def too_large(n: int) -> float:
    return 2**53 + 1


NODES: list[tuple[Any, Any]] = [
    (Mean(), 8.0), (mean.step(8), 8.0), (passed_on.step(mean.step(8)), 8.0), (perhaps.step(8), 8.0), (wave.step(8), 8 + 0j),
    (either.step(8), 8), (whole.step(8), 8), (unsaid.step(8), 8), (truth.step(8), True), (too_large.step(8), 2**53 + 1),
]  # fmt: skip


@pytest.mark.parametrize(("node", "value"), NODES, ids=lambda each: getattr(each, "payload_name", str(each)))
def test_a_number_is_the_declared_one(node: Any, value: Any, tmp_path: Path) -> None:
    first = node.bind(tmp_path).payload
    later = node.bind(tmp_path).load().payload
    assert (first, type(first)) == (later, type(later)) == (value, type(value))


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_members_of_families_and_batches_too(executor: str, tmp_path: Path) -> None:
    family = mean.over(n=list(range(30)))
    run(family, store=tmp_path, executor=executor)
    assert {type(each) for _, each in family.bind(tmp_path).payloads()} == {float}


def test_what_is_not_kept(tmp_path: Path) -> None:
    assert type(mean.step(3).generate(persist=False).payload) is float


class Scaling(Workflow):
    factor: int = seed()
    scaled = mean.step(factor)


class Files(Workspace[Scaling]):
    factor = stored("factor-{workflow_id}.json")
    scaled = stored("scaled-{workflow_id}.json")


def test_in_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "factor-a.json").write_text("8")
    files: Any = Files(tmp_path)
    assert type(files["a"].scaled) is float and files["a"].scaled == 8.0
    assert (tmp_path / "scaled-a.json").read_text().strip() == "8.0"


def test_a_member_is_found_by_the_number_as_it_was_written() -> None:
    sweep = passed_on.over(x=[100, 1])
    assert sweep[100].key == sweep[100.0].key == passed_on.step(100).key
    assert list(sweep) == [100.0, 1.0]


def test_a_number_put_in_by_hand_is_the_declared_one_too(tmp_path: Path) -> None:
    node = mean.step(3).bind(tmp_path).put(8)
    assert type(node.payload) is float and type(mean.step(3).bind(tmp_path).load().payload) is float
    assert perhaps.step(1).bind(tmp_path).put(None).payload is None
    with pytest.raises(NothingReturned, match=r"^put\(None\) for mean/.*, whose payload is declared to be float"):
        mean.step(4).bind(tmp_path).put(None)  # type: ignore[arg-type]
