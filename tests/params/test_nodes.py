"""Persistables among params: they stand for what they hold, and tell the roles they are met under."""

from dataclasses import dataclass
from typing import Any

import pytest

from persistable import Persistable
from persistable.errors import UntrackableParam
from persistable.params.encoding import encode
from persistable.params.snapshots import first_change, snapshot
from persistable.params.trees import tree


@dataclass
class NumberParams:
    n: int


class Number(Persistable[int, NumberParams]):
    def _generate_payload(self, **_: Any) -> int:
        return self.params.n


@dataclass
class Ensemble:
    models: list[Any]
    best: Any = None


def test_nodes_are_found_under_dotted_roles_in_the_order_they_are_met(tmp_path: Any) -> None:
    a, b, c = (Number(tmp_path, n=i) for i in range(3))
    nodes: list[tuple[str, Any]] = []
    encode(Ensemble([a, {"deep": (b,)}], best=c), nodes=nodes)
    assert sorted(nodes, key=lambda found: found[0]) == [("best", c), ("models.0", a), ("models.1.deep.0", b)]


def test_a_node_is_its_digest_wherever_it_is_kept(tmp_path: Any) -> None:
    here, there, other = Number(tmp_path / "a", n=1), Number(tmp_path / "b", n=1), Number(tmp_path, n=2)
    assert encode([here], nodes=[]) == encode([there], nodes=[]) != encode([other], nodes=[])
    assert tree([here]) == [{"$node": str(here.key)}]


def test_where_no_node_may_stand_it_is_refused_with_its_place(tmp_path: Any) -> None:
    with pytest.raises(UntrackableParam, match=r"Ensemble\.models\[0\] .*persistable"):
        encode(Ensemble([Number(tmp_path, n=1)]))


def test_params_with_nodes_are_watched_too(tmp_path: Any) -> None:
    params = Ensemble([Number(tmp_path, n=1)])
    before = snapshot(params)
    assert first_change(params, before) is None
    params.models.append(Number(tmp_path, n=2))
    assert first_change(params, before) == "models"
