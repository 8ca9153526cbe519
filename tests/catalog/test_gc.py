"""What a cleaning-up takes and what it leaves, in every kind of store; what it took comes back byte for byte."""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kinds import each_store, opened

from persistable import Catalog, Pipeline, open_store, run, step
from persistable.catalog.cleanup import plan as collecting
from persistable.catalog.cleanup import trash_files
from persistable.catalog.index.change_detection import stores_of
from persistable.errors import PayloadNotFound, StoreReadOnly, UnknownKey
from persistable.records import claims
from persistable.stores import LayeredStore, Store
from persistable.stores.custom_path import PLACED


@step
def number(n: int) -> int:
    return n


@step
def added(values: list[int]) -> int:
    return sum(values)


@step
def broken(n: int) -> int:
    raise ValueError(f"{n} is refused")


KINDS = ["folder", "sqlite", "memory", "two folders", "cached"]
store = each_store(*KINDS)


def contents(store: Store) -> dict[str, bytes]:
    """Everything that a reader can come across: payloads and records."""
    return {path: store.get(path) for prefix in ("", PLACED) for path in store.list(prefix)}


def keys(catalog: Catalog) -> set[str]:
    return {str(entry.key) for entry in catalog.find()}


def names(nodes: Any) -> set[str]:
    return {str(node.key) for node in nodes}


def catalog_of(store: Store) -> Catalog:
    return Catalog(store, index=None)


# ------------------------------------------------------------------ reasons


def test_what_is_not_needed_by_what_is_kept_goes_and_comes_back(store: Store) -> None:
    numbers = [number.step(n) for n in range(6)]
    total = added.step(numbers[:2])
    other = added.step(numbers[2:4])
    run(total, other, *numbers, store=store)
    before = contents(store)
    catalog = catalog_of(store)
    planned = catalog.gc(keep=total)
    assert {item.key for item in planned} == names([other, *numbers[2:]])
    assert planned.size == sum(catalog[each.key].size or 0 for each in [other, *numbers[2:]])
    assert sum(size for _, size in planned.sizes.values()) == planned.size and list(planned.sizes) == ["number", "added"]
    assert contents(store) == before  # nothing is touched by itself
    taken = planned.apply()
    assert (taken.size, taken.left) == (planned.size, [])
    assert keys(catalog) == names([total, *numbers[:2]])
    assert total.bind(store).load().payload == 1
    with pytest.raises(PayloadNotFound):
        other.bind(store).load()
    assert len(catalog.trash()) == 5 and len(catalog.gc()) == 0  # what the trash may bring back is no garbage
    restored = catalog.restore()
    assert {str(key) for key in restored.keys} == names([other, *numbers[2:]]) and restored.left == []
    assert contents(store) == before
    assert list(store.list(trash_files.FOLDER)) == [] and len(catalog.trash()) == 0


def test_keep_takes_nodes_pipelines_families_keys_names_and_digests(store: Store) -> None:
    family = number.over(n=[10, 11])
    alone = number.step(1)
    total = added.step([number.step(2), number.step(3)])
    run(family, alone, total, store=store)
    catalog = catalog_of(store)

    def stays(keep: Any) -> set[str]:
        return keys(catalog) - {item.key for item in catalog.gc(keep=keep)}

    whole = names([total, number.step(2), number.step(3)])
    assert stays(total) == stays(total.key) == stays(str(total.key)) == stays("added") == stays(added) == whole
    assert stays(total.key.digest[:10]) == stays([catalog[total]]) == stays(Pipeline(total=total)) == stays({"a": [total]}) == whole
    assert stays(family) == names(family.nodes)
    assert stays([family, alone]) == names([*family.nodes, alone])
    assert stays("number") == keys(catalog) - names([total])
    assert stays([]) == set()
    with pytest.raises(UnknownKey):
        catalog.gc(keep="numbers")
    with pytest.raises(TypeError):
        catalog.gc(keep=3)


def test_failures_go_by_themselves(store: Store) -> None:
    good, bad = number.step(1), broken.step(1)
    run(good, bad, store=store, errors="return")
    catalog = catalog_of(store)
    assert [entry.key for entry in catalog.find(status="failed")] == [bad.key]
    before = contents(store)
    planned = catalog.gc(failed=True)
    assert [(item.key, item.reason) for item in planned] == [(str(bad.key), "its last attempt failed")]
    planned.apply()
    assert keys(catalog) == names([good]) and len(catalog.find(status="failed")) == 0
    catalog.restore()
    assert contents(store) == before


def test_age_and_name_narrow_and_are_reasons_by_themselves(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = number.step(1), added.step([])
    run(one, two, store=store)
    catalog = catalog_of(store)
    assert len(catalog.gc()) == 0
    assert {item.key for item in catalog.gc(name="number")} == names([one])
    for young in (timedelta(days=30), "30d", 3600, date(2001, 1, 1), datetime(2001, 1, 1), "2001-01-31", "1w"):  # noqa: DTZ001
        assert len(catalog.gc(older_than=young)) == 0
        assert len(catalog.gc(keep=[], older_than=young)) == 0
    tomorrow = date.today() + timedelta(days=2)  # noqa: DTZ011
    for old in (0, "0s", timedelta(0), tomorrow, tomorrow.isoformat()):
        assert {item.key for item in catalog.gc(older_than=old)} == names([one, two])
        assert {item.key for item in catalog.gc(older_than=old, name="added")} == names([two])
    assert {item.key for item in catalog.gc(keep=one, name="number")} == set()
    for wrong in ("soon", "30 parsecs"):
        with pytest.raises(ValueError, match="30d"):
            catalog.gc(older_than=wrong)


def test_old_upstream_of_what_stays_stays(store: Store) -> None:
    source = number.step(5)
    run(source, store=store)
    old = time.time()
    result = added.step([source])
    run(result, number.step(6), store=store)
    catalog = catalog_of(store)
    planned = catalog.gc(older_than=time.time() - old)
    assert len(planned) == 0 and planned.kept == {"needed by something that stays": 1}
    assert "needed by something that stays" in repr(planned)


def test_the_dearest_bytes_go_first_and_what_remains_fits(store: Store) -> None:
    @step(name="slow")
    def slow(size: int) -> bytes:
        time.sleep(0.05)
        return bytes(size)

    @step(name="quick")
    def quick(size: int) -> bytes:
        return bytes(size)

    nodes = [slow.step(10_000), quick.step(10_001), quick.step(400), slow.step(10)]
    run(*nodes, store=store)
    by_hand = quick.step(50_000).bind(store)
    by_hand.put(b"1" * 50_000)
    catalog = catalog_of(store)
    sizes = {node: catalog[node.key].size or 0 for node in [*nodes, by_hand]}
    total = sum(sizes.values())
    assert len(catalog.gc(max_size=total)) == 0
    for limit in range(0, total, 3_000):
        planned = catalog.gc(max_size=limit)
        went = [item.key for item in planned]
        assert str(by_hand.key) not in went
        assert total - planned.size <= limit or len(went) == 4
        costs = {str(node.key): sizes[node] / max(catalog[node.key].seconds or 0.0, 1e-3) for node in nodes}
        assert min([costs[key] for key in went], default=0.0) >= max([costs[key] for key in costs.keys() - set(went)], default=0.0)
    assert {item.key for item in catalog.gc(max_size=0, name="slow")} == names([nodes[0], nodes[3]])
    assert len(catalog.gc(max_size="1 MB")) == 0
    for wrong in ("much", -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="max_size"):
            catalog.gc(max_size=wrong)


def test_upstream_goes_for_size_only_after_what_was_made_from_it(store: Store) -> None:
    source, middle = number.step(7), added.step([number.step(7)])
    last = added.step([middle])
    run(last, store=store)
    catalog = catalog_of(store)
    size = sum(entry.size or 0 for entry in catalog.find())
    one = {item.key for item in catalog.gc(max_size=size - 1)}
    two = {item.key for item in catalog.gc(max_size=size - (catalog[last].size or 0) - 1)}
    assert (one, two) == (names([last]), names([last, middle]))
    assert {item.key for item in catalog.gc(max_size=0)} == names([last, middle, source])
    middle.bind(store).delete()  # what is not stored any more still leads to what is upstream of it
    assert {item.key for item in catalog.gc(max_size=1)} == names([last, source])


def test_a_newer_version_stands_for_the_older_one_and_for_what_was_made_from_it(store: Store) -> None:
    def made(version: int) -> list[Any]:
        points = step(name="points", version=version)(_points)
        total = step(name="total")(_total)
        nodes = [points.step(n) for n in (1, 2)]
        return [*nodes, total.step(nodes[0]), total.step(nodes[0], scale=2)]

    old, new = made(1), made(2)
    run(*old, store=store)
    run(*new[:3], store=store)
    catalog = catalog_of(store)
    planned = catalog.gc(superseded=True)
    assert {item.key for item in planned} == names([old[1], old[2]])  # old[0] is upstream of old[3], that no newer one stands for
    assert {item.reason for item in planned} == {"there is a newer version"}
    run(new[3], store=store)
    assert {item.key for item in catalog.gc(superseded=True)} == names(old)


def _points(n: int) -> int:
    return n


def _total(points: int, scale: int = 1) -> int:
    return points * scale


def test_later_code_of_the_same_class_stands_for_the_earlier(store: Store) -> None:
    def made(body: str) -> Any:
        space: dict[str, Any] = {"__name__": __name__}
        exec(body, space)
        return step(name="points")(space["points"])

    one, two = made("def points(n: int) -> int:\n    return n\n"), made("def points(n: int) -> int:\n    return n * 1\n")
    run(one.step(1), one.step(2), store=store)
    below = added.step([one.step(1)])
    run(below, store=store)
    run(two.step(3), store=store)
    catalog = catalog_of(store)
    codes = {entry.record.code["quick"] for entry in catalog.find("points")}  # type: ignore[index]
    assert len(codes) == 2
    planned = catalog.gc(superseded=True)
    assert {item.key for item in planned} == names([one.step(1), one.step(2), below])


# ------------------------------------------------------------------ what stays


def test_pins_stay_with_all_upstream(store: Store) -> None:
    source, result = number.step(1), added.step([number.step(1)])
    run(result, number.step(2), store=store)
    catalog = catalog_of(store)
    made = catalog.pin(result, "figure 3 of the paper")
    assert [(pin.key, pin.reason) for pin in catalog_of(store).pins()] == [(result.key, "figure 3 of the paper")] == [made[:2]]
    assert {item.key for item in catalog.gc(keep=[])} == names([number.step(2)])
    catalog.gc(keep=[]).apply()
    assert keys(catalog) == names([source, result])
    assert catalog.unpin(str(result.key)) and not catalog.unpin(result)
    assert {item.key for item in catalog.gc(keep=[])} == names([source, result])
    with pytest.raises(UnknownKey):
        catalog.pin(number.step(2), "not stored")


def test_a_damaged_pin_still_counts(tmp_path: Path) -> None:
    run(number.step(1), store=tmp_path)
    catalog = Catalog(tmp_path, index=None)
    catalog.pin(number.step(1), "for ever")
    (file,) = (tmp_path / ".persistable" / "pins").rglob("*.json")
    file.write_bytes(file.read_bytes()[:20])
    assert [pin.key for pin in catalog.pins()] == [number.step(1).key]
    assert len(catalog.gc(keep=[])) == 0


def test_what_is_being_generated_stays_with_its_upstream_and_what_is_younger(store: Store) -> None:
    result = added.step([number.step(1)])
    run(result, number.step(9), store=store)
    catalog = catalog_of(store)
    base = result.key.path
    claim = claims.Claim(store, base, claims.current_frame())
    assert claim.try_epoch(1, None)
    planned = catalog.gc(keep=[])
    assert len(planned) == 0
    assert planned.kept == {"being generated, or upstream of that": 2, "younger than a running generation": 1}
    claim.release()
    planned = catalog.gc(keep=[])
    assert len(planned) == 3
    claim = claims.Claim(store, base, claims.current_frame())
    assert claim.try_epoch(1, None)
    assert planned.apply().items == []
    claim.release()
    assert len(keys(catalog)) == 3


def test_what_was_made_anew_or_is_needed_by_now_stays(store: Store) -> None:
    nodes = [number.step(n) for n in range(3)]
    run(*nodes, store=store)
    catalog = catalog_of(store)
    planned = catalog.gc(keep=[])
    nodes[0].bind(store).generate()
    result = added.step([nodes[1]])
    run(result, store=store)
    taken = planned.apply()
    assert {item.key for item in taken.items} <= names([nodes[1], nodes[2]])
    assert names([nodes[0], result]) <= keys(catalog)
    planned = catalog.gc(older_than=0, name="number")
    assert {item.key for item in planned} == names([nodes[0]])


def test_what_is_made_anew_at_the_last_moment_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    node = number.step(1).bind(store)
    node.generate()
    planned = catalog_of(store).gc(keep=[])
    claimed = trash_files.holding_claims

    def late(*given: Any, **options: Any) -> Any:
        node.generate()
        return claimed(*given, **options)

    monkeypatch.setattr(trash_files, "holding_claims", late)
    taken = planned.apply()
    assert taken.items == [] and [kept.why for kept in taken.left] == ["it has changed since"]
    assert node.load().payload == 1


def test_a_record_that_stands_keeps_its_files_whatever_the_trash_has(store: Store) -> None:
    """As after a kill between the copy of a record into the trash and its removal."""
    node = number.step(1)
    run(node, store=store)
    catalog = catalog_of(store)
    before = contents(store)
    inner = stores_of(store)[0][0]
    record = f"{node.key.path}.record.json"
    files = tuple(file.path for file in catalog[node.key].files)
    trash_files.move_to_trash(
        inner, trash_files.new_stamp(), 0, [trash_files.Unit(node.key.path, record, files, "a reason", 1, str(node.key))]
    )
    for path, data in before.items():
        inner.put(path, data)
    assert len(catalog.gc()) == 0
    catalog.empty_trash()
    assert node.bind(store).load().payload == 1 and contents(store) == before


def test_only_layers_that_may_be_written_are_touched(tmp_path: Path) -> None:
    run(number.step(1), added.step([number.step(1)]), store=tmp_path / "shared")
    before = contents(open_store(tmp_path / "shared"))
    store = LayeredStore(tmp_path / "own", open_store(tmp_path / "shared", readonly=True))
    run(number.step(2), added.step([number.step(1), number.step(2)]), store=store)
    catalog = catalog_of(store)
    planned = catalog.gc(keep=[])
    assert {item.key for item in planned} == names([number.step(2), added.step([number.step(1), number.step(2)])])
    planned.apply()
    assert contents(open_store(tmp_path / "shared")) == before
    assert number.step(1).bind(store).load().payload == 1
    alone = Catalog(open_store(tmp_path / "shared", readonly=True), index=None)
    assert len(alone.gc(keep=[])) == 0
    assert len(alone.gc(keep=[]).apply().items) == 0


def test_copies_in_faster_layers_go_with_what_they_are_copies_of(tmp_path: Path) -> None:
    slow, fast = open_store(tmp_path / "slow"), open_store(tmp_path / "fast")
    store = LayeredStore(fast, slow)
    run(number.step(1), store=store)
    assert any(path.startswith("number/") for path in fast.list())
    catalog = catalog_of(store)
    catalog.gc(keep=[]).apply()
    assert not list(fast.list()) and not list(slow.list())
    with pytest.raises(PayloadNotFound):
        number.step(1).bind(store).load()
    catalog.restore()
    assert number.step(1).bind(store).load().payload == 1


def test_a_read_only_store_refuses(tmp_path: Path) -> None:
    run(number.step(1), store=tmp_path)
    planned = Catalog(tmp_path, index=None).gc(keep=[])
    planned._catalog.store = open_store(tmp_path, readonly=True)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(StoreReadOnly):
        planned.apply()


# ------------------------------------------------------------------ the trash


def test_restore_takes_keys_names_and_stamps_and_never_replaces_something_newer(store: Store) -> None:
    nodes = [number.step(n) for n in range(4)]
    total = added.step([])
    run(*nodes, total, store=store)
    catalog = catalog_of(store)
    first = catalog.gc(name="added").apply()
    second = catalog.gc(name="number").apply()
    assert len(catalog) == 0
    assert len(catalog.restore(nodes[0])[0]) == 1 and keys(catalog) == names(nodes[:1])
    assert len(catalog.restore(nodes[1].key.digest[:9])[0]) == 1
    nodes[2].bind(store).generate()
    made = nodes[2].bind(store).record
    back, left = catalog.restore(second.stamps[0])
    assert [each.unit.key for each in back] == [str(nodes[3].key)]
    assert [(kept.item.unit.key, kept.why) for kept in left] == [(str(nodes[2].key), "there is a newer one")]
    assert nodes[2].bind(store).record == made and nodes[2].bind(store).load().payload == 2
    assert len(catalog.restore("added")[0]) == 1 and first.stamps != second.stamps
    with pytest.raises(UnknownKey):
        catalog.restore("nothing")
    assert len(catalog.trash()) == 1
    catalog.empty_trash()
    assert nodes[2].bind(store).load().payload == 2
    assert not list(store.list(trash_files.FOLDER))


def test_of_what_went_twice_the_later_comes_back(store: Store) -> None:
    node = number.step(1).bind(store)
    catalog = catalog_of(store)
    records: list[Any] = []
    for _ in range(3):
        node.generate()
        records.append(node.record)
        catalog.gc(keep=[]).apply()
    back, left = catalog.restore()
    assert len(back) == 1 and [kept.why for kept in left] == ["there is a newer one"] * 2
    assert node.record == records[-1] and node.load().payload == 1
    assert catalog.empty_trash().number == 2
    assert node.load().payload == 1 and catalog.verify().ok and len(catalog.gc()) == 0


def test_emptying_frees_the_space_and_leaves_what_stands(store: Store) -> None:
    nodes = [number.step(n) for n in range(3)]
    run(*nodes, store=store)
    catalog = catalog_of(store)
    planned = catalog.gc(keep=nodes[0])
    size = planned.size
    assert planned.stays_in_place == (not trash_files.renames(cast("Any", store).deciding_store))
    planned.apply()
    emptied = catalog.empty_trash("1d")
    assert emptied.number == 0
    emptied = catalog.empty_trash()
    assert emptied.number == 2 and emptied.size >= size and emptied.left == []
    assert {path.partition(".")[0] for path in contents(store)} == {nodes[0].key.path}
    assert not list(store.list(trash_files.FOLDER)) and len(catalog.gc()) == 0


def test_a_plan_and_its_outcome_are_shown_in_words(store: Store) -> None:
    run(number.step(1), added.step([number.step(1)]), store=store)
    catalog = catalog_of(store)
    planned = catalog.gc(keep=[])
    assert repr(planned).startswith("<2 items (") and "number(n=1)  not needed by kept payloads" in repr(planned)
    html = planned._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert html.index("items") < html.index("number(n=1)") and "not needed by kept payloads" in html
    assert ("space is freed when the trash is emptied: this store" in repr(planned)) == planned.stays_in_place
    assert planned[0].paths[0].endswith(".record.json") and all(store.exists(path) for path in planned[0].paths)
    planned.apply()
    assert "2 in the trash" in repr(catalog.trash()) and "not needed" in catalog.trash()._repr_html_()  # pyright: ignore[reportPrivateUsage]


def test_savings_tell_what_making_took(store: Store) -> None:
    run(*[number.step(n) for n in range(3)], added.step([]), store=store)
    catalog = catalog_of(store)
    rows = {row.name: row for row in catalog.savings()}
    assert {name: row.count for name, row in rows.items()} == {"number": 3, "added": 1}
    entries = list(catalog.find("number"))
    assert rows["number"].size == sum(entry.size or 0 for entry in entries)
    assert rows["number"].seconds == pytest.approx(sum(entry.seconds or 0 for entry in entries))
    assert rows["number"].seconds_per_byte == rows["number"].seconds / rows["number"].size
    frame = catalog.savings().to_frame()
    assert list(frame.columns) == ["name", "count", "seconds", "size", "seconds_per_byte"] and len(frame) == 2
    assert "number" in repr(catalog.savings()) and "<table" in catalog.savings()._repr_html_()  # pyright: ignore[reportPrivateUsage]


# ------------------------------------------------------------------ any lineage


@st.composite
def lineages(draw: st.DrawFn) -> tuple[list[list[int]], dict[str, set[int]]]:
    """For each node those it is made from, and which are stored, pinned, kept and claimed."""
    count = draw(st.integers(1, 9))
    upstream = [draw(st.lists(st.integers(0, place - 1), max_size=3, unique=True)) if place else [] for place in range(count)]
    some = st.sets(st.integers(0, count - 1), max_size=3)
    return upstream, {name: draw(some) for name in ("gone", "pinned", "kept", "claimed")}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    made=lineages(),
    kind=st.sampled_from(["folder", "sqlite", "memory", "two folders", "cached"]),
    narrow=st.booleans(),
    young=st.booleans(),
)
def test_nothing_that_is_reached_goes_and_everything_comes_back(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[list[list[int]], dict[str, set[int]]], kind: str, narrow: bool, young: bool
) -> None:
    upstream, chosen = made
    nodes: list[Any] = []
    for place, sources in enumerate(upstream):
        nodes.append(added.step([*(nodes[source] for source in sources), place]) if sources else number.step(place))
    with opened(kind, tmp_path_factory.mktemp("any")) as store, pytest.MonkeyPatch.context() as patch:
        if not young:
            patch.setattr(collecting, "SAFETY_MARGIN", -1e12)  # what is younger than a running generation may go
        run(*nodes, store=store)
        for place in chosen["gone"]:
            nodes[place].bind(store).delete()
        stored = set(range(len(nodes))) - chosen["gone"]
        catalog = catalog_of(store)
        for place in chosen["pinned"] & stored:
            catalog.pin(nodes[place], "because")
        held = [claims.Claim(store, nodes[place].key.path, None) for place in chosen["claimed"]]
        assert all(claim.try_epoch(1, None) for claim in held)
        before = contents(store)
        planned = catalog.gc(keep=[nodes[place] for place in chosen["kept"]], name="added" if narrow else None)
        went = {item.key for item in planned.apply().items}

        known = chosen["claimed"] & _closed(upstream, stored)  # of what no record tells, nobody knows what it is made from
        reached = _closed(upstream, chosen["kept"] | (chosen["pinned"] & stored) | known) | chosen["claimed"]
        may_go = {place for place in stored - reached if not narrow or upstream[place]}
        reached |= _closed(upstream, stored - may_go)
        expected = set[int]() if chosen["claimed"] and young else may_go - reached  # all of it is younger than a running generation
        assert went == names(nodes[place] for place in expected)
        for place in stored - expected:
            assert nodes[place].bind(store).load() is not None
        for claim in held:
            claim.release()
        restored = catalog.restore()
        assert restored.left == [] and len(restored.back) == len(went)
        after = {path: data for path, data in contents(store).items() if not path.endswith((".claim", ".beat"))}
        assert after == {path: data for path, data in before.items() if not path.endswith((".claim", ".beat"))}
        assert not list(store.list(trash_files.FOLDER))


def _closed(upstream: list[list[int]], places: set[int]) -> set[int]:
    found = set(places)
    for place in reversed(range(len(upstream))):
        if place in found:
            found.update(upstream[place])
    return found
