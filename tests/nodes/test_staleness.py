"""What is stale: because of its own code, of code upstream, and of bytes upstream that were replaced; said alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from store_kinds import each_store
from tests.edits import edited, warned

from persistable import Status, open_store, plan, run
from persistable.errors import PayloadForeign
from persistable.records.record_access import find_record

FLOW = """
from persistable import step

def clean(x):
    return x + {clean}

@step
def points(n: int) -> int:
    return clean(n)

@step({middle})
def half(p: int) -> int:
    return p // 10 + {half}

@step
def total(h: int) -> int:
    return h * 10
"""


store = each_store("folder", "sqlite", "memory", "layers")


def chain(clean: int = 1, half: int = 0, middle: str = "") -> list[Any]:
    module = edited(FLOW.format(clean=clean, half=half, middle=middle))
    points = module.points.step(3)
    middle_node = module.half.step(points)
    return [points, middle_node, module.total.step(middle_node)]


def states(nodes: list[Any]) -> list[str]:
    return [node.status.value for node in nodes]


def test_code_upstream_makes_stale_whatever_follows(store: Any) -> None:
    assert chain()[2].payload == 0
    nodes = chain(clean=2)
    assert states(nodes) == ["stale"] * 3
    said = nodes[2].explain()
    assert f"upstream {nodes[0].key}" in said and "changed: clean" in said
    (told,) = warned(lambda: nodes[2].payload)
    assert "changed: clean" in told and f"points/{nodes[0].key.digest[:8]}" in told
    assert states(chain()) == ["done"] * 3


def test_bytes_decide_once_upstream_is_made_anew(store: Any) -> None:
    chain()[2].payload
    points, half, total = nodes = chain(clean=2)
    points.generate()
    assert states(nodes) == ["done", "stale", "stale"]
    assert f"{points.key.name}/{points.key.digest[:8]} was stored anew with other bytes" in half.explain()
    half.generate()  # 5 // 10 is 4 // 10
    assert states(nodes) == ["done"] * 3, total.explain()


def test_put_over_upstream(store: Any) -> None:
    chain()[2].payload
    points, _, _ = nodes = chain()
    points.put(4)  # as it was
    assert states(nodes) == ["done"] * 3
    points.put(40)
    assert states(nodes) == ["done", "stale", "stale"]


def test_upstream_that_is_gone_is_not_replaced(store: Any) -> None:
    chain()[2].payload
    points, half, _ = nodes = chain()
    half.delete()
    assert states(nodes) == ["done", "absent", "done"]
    points.delete()
    assert states(nodes) == ["absent", "absent", "done"]
    assert states(chain(half=1)) == ["absent", "absent", "stale"]
    chain()[0].put(77)
    assert states(chain()) == ["done", "absent", "stale"]


def test_code_of_what_is_not_persisted(store: Any) -> None:
    nodes = chain(middle="persist=False")
    nodes[2].payload
    changed = chain(middle="persist=False", half=1)
    assert states(changed[::2]) == ["done", "stale"]
    assert "changed: half" in changed[2].explain()
    changed[2].accept_code("it is all the same")
    assert states(changed[::2]) == ["done", "done"]
    changed[0].put(11)
    assert states(changed[::2]) == ["done", "stale"]


def test_put_in_by_hand_it_is_not_stale_but_told_of(store: Any) -> None:
    points, half, total = nodes = chain()
    total.payload
    half.put(3)
    assert "by hand" not in half.explain() and states(nodes) == ["done", "done", "stale"]
    total.generate()
    points.put(50)
    assert states(nodes) == ["done"] * 3
    assert "put in by hand" in half.explain() and f"points/{points.key.digest[:8]} was stored anew" in half.explain()
    assert "by hand" not in total.explain()
    assert plan(total, store=store, stale="generate").counts == {"reuse": 1}
    assert "put in by hand" in str(plan(half, store=store))
    assert run(half, stale="generate").counts["reused"] == 1 and half.payload == 3
    assert "changed: clean" not in half.explain()
    nodes = chain(clean=2)
    nodes[0].delete()
    assert states(nodes) == ["absent", "done", "done"] and "changed: clean" in nodes[1].explain()
    half.accept_code("as it should be")
    assert "by hand" not in half.explain()


def test_accepting_is_seen_by_what_follows(store: Any) -> None:
    chain()[2].payload
    points, half, total = nodes = chain(clean=2)
    total.accept_code("no matter")
    assert states(nodes) == ["stale", "stale", "done"]
    assert states(chain(clean=3)) == ["stale"] * 3
    points, half, total = nodes = chain(clean=2)
    points.accept_code("a new name")
    assert states(nodes) == ["done"] * 3
    points.put(50)
    assert states(nodes) == ["done", "stale", "stale"]
    half.accept_code("close enough")
    assert states(nodes) == ["done"] * 3


def test_what_is_made_from_something_stale_is_stale(store: Any) -> None:
    points, half, total = chain()
    half.payload
    points, half, total = chain(clean=9)
    assert warned(lambda: total.payload)
    assert states([points, half, total]) == ["stale"] * 3
    points.delete()
    half.delete()
    assert total.status is Status.STALE and "clean" in total.explain()


def test_records_without_such_facts_cannot_be_told(store: Any) -> None:
    chain()[2].payload
    for node in chain():
        record = find_record(store, node.place)
        assert record is not None
        head = {name: fact for name, fact in record.head.items() if name != "made_from"}
        rest = {name: fact for name, fact in record.to_dict().items() if name not in record.head and not name.startswith("upstream_c")}
        rest.pop("checksum")
        store.put(f"{node.key.path}.record.json", type(record).compose(node.key, head, rest).to_bytes())
    nodes = chain(clean=2)
    assert states(nodes) == ["stale", "done", "done"]
    assert "cannot be told" in nodes[2].explain()
    assert not warned(lambda: nodes[2].payload)


def test_another_python_is_not_compared(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chain()[2].payload
    for node in chain():
        record = find_record(store, node.place)
        assert record is not None
        text = record.unsealed().replace(b'"cpython-3', b'"cpython-4').replace(b'"quick":"', b'"quick":"00')
        from persistable.records.record import sealed

        store.put(f"{node.key.path}.record.json", sealed(text))
    nodes = chain(clean=2)
    assert states(nodes) == ["done"] * 3
    assert "code not compared: 4." in nodes[2].explain() and not warned(lambda: nodes[2].payload)


def test_moved_and_edited_is_foreign_everywhere_until_accepted(store: Any) -> None:
    chain()[0].payload
    module = edited(FLOW.format(clean=5, half=0, middle=""), name="another_flow")
    node = module.points.step(3)
    assert node.status is Status.FOREIGN
    assert "edited_flow:points" in node.explain() and "accept_code" in node.explain()
    with pytest.raises(PayloadForeign, match="accept_code"):
        node.payload
    node.accept_code("moved")
    assert node.status is Status.DONE and node.payload == 4


def test_accepted_for_many_at_once(store: Any) -> None:
    from persistable import Pipeline, accept_code, run

    def flow(clean: int) -> tuple[list[Any], Any]:
        nodes = chain(clean)
        return nodes, edited_total(nodes[1])

    def edited_total(half: Any) -> Any:
        return half._node_step.__wrapped__.__globals__["total"].over([half, half.replace(p=chainless(half))])

    def chainless(half: Any) -> Any:
        return half.upstream["p"].replace(n=50)

    nodes, family = flow(1)
    run(nodes, family)
    nodes, family = flow(2)
    assert set(family.status()) == {Status.STALE}
    assert family.accept_code("only the members") == 2
    assert set(family.status()) == {Status.DONE} and states(nodes) == ["stale", "stale", "done"]
    nodes, family = flow(3)
    assert Pipeline(it=nodes[2], all=family).accept_code("all of it") == 2  # both points; the rest followed
    assert states(nodes) == ["done"] * 3 and set(family.status()) == {Status.DONE}
    nodes, family = flow(4)
    assert accept_code([nodes[0]], reason="one") == 1
    assert states(nodes) == ["done"] * 3


def test_explain_is_text_with_more(store: Any) -> None:
    nodes = chain()
    absent = nodes[0].explain()
    assert issubclass(type(absent), str) and absent.status is Status.ABSENT and absent.nearest is None
    nodes[0].payload
    told = nodes[0].replace(n=4).explain()
    assert told.nearest is not None and told.nearest.key == nodes[0].key and told.differences == {"n": (4, 3)}
    nodes[2].payload
    stale = chain(clean=2)[2].explain()
    assert stale.status is Status.STALE and any("clean" in reason for reason in stale.reasons)
    assert "clean" in chain(clean=2)[2]._repr_html_()


def test_what_was_found_out_about_one_object_of_a_node_is_not_said_of_one_with_upstream_elsewhere(store: Any, tmp_path: Path) -> None:
    """Objects of one key share what was found fresh, where all of them read the same stores."""
    other = open_store(tmp_path / "other")
    here = chain()
    run(here[2])
    assert [each.status.value for each in (here[2], chain()[2], here[2].bind(store))] == ["done"] * 3
    elsewhere = edited(FLOW.format(clean=1, half=0, middle=""))
    points = elsewhere.points.step(3)
    half = elsewhere.half.step(points.bind(other)).bind(other)
    half.put(70)
    assert elsewhere.total.step(half).status.value == "stale"
    assert [each.status.value for each in (here[2], chain()[2])] == ["done"] * 2
    half.bind(store).put(80)
    assert [each.status.value for each in (here[2], chain()[2], elsewhere.total.step(half))] == ["stale"] * 3
