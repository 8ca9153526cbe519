"""Random graphs, edited, put over, deleted and made anew at random: what is stale is what a simple model says."""

from __future__ import annotations

import warnings
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.edits import edited

from persistable import open_store, run
from persistable.nodes.status import states_of

SIZE = 5
_NUMBERS = count()


class Rec(NamedTuple):
    """What a payload was made from: the version of its code, and of each upstream its value and what that was made from."""

    version: int
    value: int
    put: bool
    upstream: dict[int, Rec]


class Model:
    def __init__(self, edges: list[list[int]], persisted: list[bool]) -> None:
        self.edges = edges
        self.persisted = persisted
        self.versions = [0] * SIZE
        self.stored: dict[int, Rec] = {}

    def value(self, node: int, given: list[int]) -> int:
        return (sum(given) + (self.versions[node] + 1) // 2 * 2 + node) // 3

    def make(self, node: int) -> Rec:
        """What `generate` does: absent upstream first."""
        upstream = {each: self.had(each) for each in self.edges[node]}
        made = Rec(self.versions[node], self.value(node, [rec.value for rec in upstream.values()]), False, upstream)
        if self.persisted[node]:
            self.stored[node] = made
        return made

    def had(self, node: int) -> Rec:
        return self.stored[node] if node in self.stored else self.make(node)

    def put(self, node: int, value: int) -> None:
        self.stored[node] = Rec(self.versions[node], value, True, {})

    def stale(self, node: int) -> bool:
        return self._stale(node, self.stored[node])

    def _stale(self, node: int, rec: Rec) -> bool:
        if rec.put:
            return False
        if rec.version != self.versions[node]:
            return True
        for each, before in rec.upstream.items():
            now = self.stored.get(each)
            if (now is not None and now.value != before.value) or self._stale(each, now if now is not None else before):
                return True
        return False


def source(model: Model) -> str:
    lines = ["from persistable import step"]
    for node in range(SIZE):
        lines += [
            f"@step(persist={model.persisted[node]})",
            f"def n{node}(*given: int) -> int:",
            f"    version = {model.versions[node]}",
            f"    return (sum(given) + (version + 1) // 2 * 2 + {node}) // 3",
        ]
    return "\n".join(lines) + "\n"


def nodes_of(model: Model, name: str) -> list[Any]:
    module = edited(source(model), name)
    made: list[Any] = []
    for node in range(SIZE):
        made.append(getattr(module, f"n{node}").step(*[made[each] for each in model.edges[node]]))
    return made


EDGES = st.tuples(*[st.lists(st.integers(0, node - 1), max_size=3, unique=True) if node else st.just([]) for node in range(SIZE)])
ACTS = st.lists(st.tuples(st.sampled_from(["edit", "edit", "generate", "put", "delete", "run"]), st.integers(0, SIZE - 1)), max_size=10)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(edges=EDGES, persisted=st.lists(st.booleans(), min_size=SIZE, max_size=SIZE), acts=ACTS)
@pytest.mark.filterwarnings("ignore")
def test_what_is_stale_is_what_a_simple_model_says(edges: Any, persisted: list[bool], acts: list[tuple[str, int]]) -> None:
    model = Model([list(each) for each in edges], [*persisted[:-1], True])
    name = "model_flow"
    with open_store(f"memory://model-{next(_NUMBERS)}") as store, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = nodes_of(model, name)
        kept = [node for node in range(SIZE) if model.persisted[node]]
        run([nodes[node] for node in kept])
        for node in kept:
            model.had(node)
        put = False
        for act, node in acts:
            if act == "edit":
                model.versions[node] += 1
                nodes = nodes_of(model, name)
            elif not model.persisted[node]:
                continue
            elif act == "generate":
                model.make(node)
                nodes[node].generate()
            elif act == "put":
                put = True
                model.put(node, node + 7)
                nodes[node].put(node + 7)
            elif act == "delete" and not put:  # what is made from something put by hand that is gone is another story
                model.stored.pop(node, None)
                nodes[node].delete()
            elif act == "run":
                result = run([nodes[each] for each in kept], stale="generate")
                for each in kept:
                    if each not in model.stored or model.stale(each):
                        model.make(each)
                assert result.counts["stale"] == result.counts["failed"] == 0
            said = {each: seen.status.value for each, seen in zip(kept, states_of([nodes[each] for each in kept], store), strict=True)}
            wanted = {each: "absent" if each not in model.stored else "stale" if model.stale(each) else "done" for each in kept}
            assert said == wanted, (act, node)
            assert {each: nodes[each].status.value for each in kept} == wanted
            assert {each: nodes[each].load().payload for each in kept if each in model.stored} == {
                each: rec.value for each, rec in model.stored.items()
            }
            for made in nodes:
                made.reset_payload()
