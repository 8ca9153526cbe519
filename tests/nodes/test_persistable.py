"""`Persistable`: what the class promises to whoever declares, generates, persists and loads."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from persistable import Persistable, PersistableParams, Status, open_store, untracked
from persistable.errors import (
    FormatError,
    InputMissing,
    InvalidName,
    InvalidPayloadWarning,
    MissingUpstream,
    NotGeneratable,
    ParamsMutated,
    PayloadCorrupted,
    PayloadNotFound,
    PayloadNotHeld,
    RoleClash,
    UnknownParam,
    UntrackableParam,
)


@dataclass
class PointsParams(PersistableParams):
    n: int
    random_state: int = 100
    n_jobs: Annotated[int, untracked] = 1


class Points(Persistable[NDArray[np.float64], PointsParams]):
    def _generate_payload(self, **untracked_payload_params: Any) -> NDArray[np.float64]:
        np.random.seed(self.params.random_state)
        return np.random.random(self.params.n)


@dataclass
class OutlierParams(PersistableParams):
    k: float


class Outliers(Persistable[NDArray[np.bool_], OutlierParams]):
    points: Points

    def _generate_payload(self, **untracked_payload_params: Any) -> NDArray[np.bool_]:
        return np.abs(self.points.payload) > self.params.k


def test_the_original_example_works_unchanged(tmp_path: Path) -> None:
    persist_data_dir = tmp_path / "example-data"
    params = PointsParams(n=100, random_state=10)
    Points(persist_data_dir=persist_data_dir, params=params).generate()
    again = Points(persist_data_dir=persist_data_dir, params=params)
    again.load()
    assert round(float(again.payload[0]), 8) == 0.77132064


@pytest.mark.parametrize(
    "make",
    [
        lambda d: Points(persist_data_dir=d, params=PointsParams(n=3)),
        lambda d: Points(data_dir=d, params=PointsParams(n=3)),
        lambda d: Points(d, PointsParams(n=3)),
        lambda d: Points(d, n=3),
        lambda d: Points(str(d), n=3, random_state=100),
        lambda d: Points(d.as_uri(), n=3),
        lambda d: Points(open_store(d), n=3),
    ],
)
def test_every_way_to_make_a_node_gives_the_same_key_in_the_same_place(tmp_path: Path, make: Any) -> None:
    node = make(tmp_path)
    assert node.key == Points(tmp_path, n=3).key
    assert node.persist_filepath == tmp_path / "points" / node.persist_hash


def test_nothing_is_made_on_disk_by_a_constructor(tmp_path: Path) -> None:
    Points(tmp_path / "data", n=3)
    assert not list(tmp_path.iterdir())


def test_methods_return_the_node_so_that_calls_chain(tmp_path: Path) -> None:
    node = Points(tmp_path, n=3)
    assert node.generate() is node
    assert node.persist() is node
    assert node.load() is node
    assert node.load_generate() is node


def test_params_tree_shows_own_params_and_upstream_at_any_depth(tmp_path: Path) -> None:
    class Count(Persistable[int, None]):
        outliers: Outliers

    node = Count(tmp_path, outliers=Outliers(tmp_path, k=2.0, points=Points(tmp_path, n=7)))
    assert node.params_tree == {"outliers": {"k": 2.0, "points": {"n": 7, "random_state": 100}}}


def test_payload_name_is_the_class_name_in_snake_case_unless_given(tmp_path: Path) -> None:
    class Named(Points):
        payload_name = "other"

    assert Points(tmp_path, n=1).payload_name == "points"
    assert Named(tmp_path, n=1).payload_name == "other"
    assert Points(tmp_path, n=1, payload_name="third").payload_name == "third"


def test_names_with_dots_do_not_share_files(tmp_path: Path) -> None:
    first, second = (Points(tmp_path, n=n, payload_name="points.v1").generate() for n in (1, 2))
    assert len(Points(tmp_path, n=1, payload_name="points.v1").load().payload) == 1
    assert len(Points(tmp_path, n=2, payload_name="points.v1").load().payload) == 2
    assert first.key != second.key


@pytest.mark.parametrize(
    "name", ["", "..", ".", "a/b", "a\\b", "a\0b", "x" * 300, "a:b", ".hidden", "tail.", "tail ", "new\nline", "\ud800"]
)
def test_names_that_could_leave_the_folder_or_a_platform_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidName):
        Points(tmp_path, n=1, payload_name=name)


@pytest.mark.parametrize("name", ["größe", "点", "a b", "a+b", "a%2Fb", "#1", "POINTS", "points"])
def test_unusual_names_work(tmp_path: Path, name: str) -> None:
    Points(tmp_path, n=2, payload_name=name).generate()
    assert len(Points(tmp_path, n=2, payload_name=name).load().payload) == 2


def test_none_is_a_payload_and_is_generated_once(tmp_path: Path) -> None:
    calls = []

    class Nothing(Persistable[None, None]):
        def _generate_payload(self, **_: Any) -> None:
            calls.append(1)

    node = Nothing(tmp_path)
    assert node.payload is None and node.payload is None
    assert Nothing(tmp_path).payload is None
    assert len(calls) == 1


def test_two_upstream_nodes_of_one_name_have_roles_of_their_own(tmp_path: Path) -> None:
    class Both(Persistable[int, None]):
        left: Points
        right: Points

    a, b = Points(tmp_path, n=1), Points(tmp_path, n=2)
    assert Both(tmp_path, left=a, right=b).key != Both(tmp_path, left=b, right=a).key
    assert set(Both(tmp_path, left=a, right=b).upstream) == {"left", "right"}
    with pytest.raises(RoleClash, match="points"):
        Both(tmp_path, tracked_persistable_dependencies=[a, b])


def test_an_upstream_named_like_a_field_does_not_hide_it(tmp_path: Path) -> None:
    class Threshold(Persistable[int, OutlierParams]):
        pass

    upstream = Points(tmp_path, n=1, payload_name="k")
    one, two = (Threshold(tmp_path, OutlierParams(k=k), tracked_persistable_dependencies=[upstream]) for k in (1.0, 2.0))
    assert one.key != two.key
    assert one.params_tree["k"] == 1.0


def test_a_generator_of_dependencies_is_tracked(tmp_path: Path) -> None:
    class Late(Persistable[int, None]):
        pass

    nodes = [Points(tmp_path, n=1), Outliers(tmp_path, k=1.0, points=Points(tmp_path, n=1))]
    assert set(Late(tmp_path, tracked_persistable_dependencies=(node for node in nodes)).upstream) == {"points", "outliers"}


class OfOldStyle(Persistable[float, OutlierParams]):
    def __init__(self, data_dir: Path, params: OutlierParams, points: Points, verbose: bool = False, logger: Any = None) -> None:
        self.points = points
        super().__init__(data_dir, params, tracked_persistable_dependencies=(points,), verbose=verbose, logger=logger)

    def _generate_payload(self, **_: Any) -> float:
        return float(self.points.payload.sum()) * self.params.k


def test_an_init_of_ones_own_works_as_in_earlier_versions(tmp_path: Path) -> None:
    points = Points(tmp_path, n=4)
    node = OfOldStyle(tmp_path, OutlierParams(k=2.0), points)
    expected = float(points.payload.sum()) * 2.0
    assert node.payload == expected
    record = node.record
    assert record is not None and record.call is not None
    assert record.call["args"][2] == {"$node": str(points.key)}
    assert pickle.loads(pickle.dumps(node)).key == node.key


def test_roles_come_from_nodes_inside_containers(tmp_path: Path) -> None:
    class Ensemble(Persistable[list[int], None]):
        models: list[Points]
        named: dict[str, Points]

        def _generate_payload(self, **_: Any) -> list[int]:
            return [len(model.payload) for model in self.models] + [len(model.payload) for model in self.named.values()]

    a, b = Points(tmp_path, n=1), Points(tmp_path, n=2)
    node = Ensemble(tmp_path, models=[a, b], named={"best": b})
    assert set(node.upstream) == {"models.0", "models.1", "named.best"}
    assert node.payload == [1, 2, 2]


def test_a_declared_role_left_empty_is_an_error_that_names_it(tmp_path: Path) -> None:
    node = Outliers(tmp_path, k=1.0)
    for use in (lambda: node.key, lambda: node.payload, node.load, lambda: node.status, lambda: node.upstream["points"].key):
        with pytest.raises((MissingUpstream, KeyError), match=r"outliers still needs points, .*points=node|points") as caught:
            use()
    assert not hasattr(node, "key")
    with pytest.raises(MissingUpstream) as caught:
        node.generate()
    assert caught.value.roles == ["points"]


def test_constants_among_nodes_are_refused_since_they_would_not_be_tracked(tmp_path: Path) -> None:
    class Ensemble(Persistable[int, None]):
        models: list[Any]

    with pytest.raises(MissingUpstream, match=r"models\.1, 3: a role holds nodes only"):
        Ensemble(tmp_path, models=[Points(tmp_path, n=1), 3])


def test_an_optional_role_may_stay_empty(tmp_path: Path) -> None:
    class Maybe(Persistable[int, None]):
        points: Points | None = None

        def _generate_payload(self, **_: Any) -> int:
            return 0 if self.points is None else len(self.points.payload)

    assert Maybe(tmp_path).payload == 0
    assert Maybe(tmp_path, points=Points(tmp_path, n=3)).payload == 3


def test_an_unknown_keyword_names_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(UnknownParam, match="n_samples") as caught:
        Points(tmp_path, n=1, n_samples=3)
    assert set(caught.value.accepted) >= {"n", "random_state", "n_jobs"}


def test_params_of_the_wrong_class_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownParam, match="PointsParams"):
        Points(tmp_path, OutlierParams(k=1.0))  # type: ignore[arg-type]


def test_odd_input_gets_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"give params by name: Points\(params=...\)"):
        Points(PointsParams(n=1))  # type: ignore[arg-type]
    for wrong in (3, None, [4], object()):
        with pytest.raises(MissingUpstream, match=r"needs a node for points, not"):
            Outliers(tmp_path, k=1.0, points=wrong)
    for name in ("key", "params", "store", "payload", "load", "upstream"):
        with pytest.raises((RoleClash, TypeError), match=rf"{name}|params"):
            Link(tmp_path, **{name: Points(tmp_path, n=1)})
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(UntrackableParam, match=r"contains itself"):
        Holds(tmp_path, k=1.0, base=cyclic)


def test_a_wrong_format_is_noticed_before_the_work_is_done(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"give a FileIO object"):
        Explodes(tmp_path, payload_io="csv").generate()  # type: ignore[arg-type]


class Explodes(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        raise AssertionError("never reached")


def test_params_and_keywords_together_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownParam, match="one or the other"):
        Points(tmp_path, PointsParams(n=1), random_state=3)


def test_untracked_params_are_recorded_but_not_identity(tmp_path: Path) -> None:
    one, many = Points(tmp_path, n=1, n_jobs=1), Points(tmp_path, n=1, n_jobs=8)
    assert one.key == many.key
    many.generate()
    assert many.record is not None and many.record.untracked == {"n_jobs": 8}


def test_version_is_identity(tmp_path: Path) -> None:
    class Newer(Points):
        payload_name = "points"
        version = 2

    assert Newer(tmp_path, n=1).key != Points(tmp_path, n=1).key


def test_the_store_is_not_identity(tmp_path: Path) -> None:
    assert Points(tmp_path / "a", n=1).key == Points("memory://b", n=1).key == Points(n=1).key


def test_params_changed_after_construction_are_an_error_when_it_matters(tmp_path: Path) -> None:
    node = Points(tmp_path, n=3)
    node.params.n = 4
    for act in (node.generate, node.load, node.load_generate, lambda: node.payload):
        with pytest.raises(ParamsMutated, match=r"n of points/"):
            act()
    assert not list(tmp_path.rglob("*.*"))


def test_a_list_in_params_changed_after_construction_is_noticed(tmp_path: Path) -> None:
    @dataclass
    class Grid(PersistableParams):
        sizes: list[int] = field(default_factory=lambda: [1, 2])

    class Sizes(Persistable[int, Grid]):
        def _generate_payload(self, **_: Any) -> int:
            return sum(self.params.sizes)

    node = Sizes(tmp_path)
    node.params.sizes.append(3)
    with pytest.raises(ParamsMutated, match="sizes"):
        node.payload


def test_an_untrackable_param_is_an_error_at_construction_that_names_its_place(tmp_path: Path) -> None:
    @dataclass
    class Odd(PersistableParams):
        things: dict[str, Any]

    class Uses(Persistable[int, Odd]):
        pass

    with pytest.raises(UntrackableParam, match=r"Odd\.things\['a'\]\[1\]"):
        Uses(tmp_path, things={"a": [1, object()]})


def test_what_is_generated_is_what_is_loaded_including_writability(tmp_path: Path) -> None:
    for n in (3, 400_000):
        node = Points(tmp_path, n=n).generate()
        again = Points(tmp_path, n=n).load()
        for payload in (node.payload, again.payload):
            assert payload.flags.writeable
            payload[0] = 5.0
        assert Points(tmp_path, n=n).load().payload[0] != 5.0


def test_inside_a_generation_upstream_is_read_only_and_never_what_a_person_changed(tmp_path: Path) -> None:
    class Peek(Persistable[tuple[float, bool, bool], None]):
        points: Points

        def _generate_payload(self, **_: Any) -> tuple[float, bool, bool]:
            payload = self.points.payload
            return float(payload[0]), payload.flags.writeable, self.points.payload is payload

    points = Points(tmp_path, n=400_000).generate()
    original = float(points.payload[0])
    points.payload[0] = -1.0
    assert Peek(tmp_path, points=points).payload == (original, False, True)
    assert points.payload[0] == -1.0


def test_generating_without_persisting_leaves_nothing(tmp_path: Path) -> None:
    node = Points(tmp_path, n=3).generate(persist=False)
    assert len(node.payload) == 3
    assert not node.exists() and not list(tmp_path.iterdir())
    node.persist()
    assert Points(tmp_path, n=3).exists()


def test_persist_and_validate_need_a_payload(tmp_path: Path) -> None:
    with pytest.raises(PayloadNotHeld):
        Points(tmp_path, n=3).persist()
    with pytest.raises(PayloadNotHeld):
        Points(tmp_path, n=3).validate_payload()


def test_reset_payload_forgets_only_what_is_in_memory(tmp_path: Path) -> None:
    node = Points(tmp_path, n=3).generate()
    held = node.payload
    node.reset_payload()
    assert node.payload is not held and np.array_equal(node.payload, held)


def test_a_class_without_generation_says_so(tmp_path: Path) -> None:
    class Bare(Persistable[int, None]):
        pass

    with pytest.raises(NotGeneratable, match="define _generate_payload"):
        Bare(tmp_path).generate()


def test_hooks_get_the_untracked_keywords_they_accept(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Hooked(Persistable[int, None]):
        def _generate_payload(self, verbose: bool = False, **rest: Any) -> int:
            seen.append(("generate", verbose, rest))
            return 1

        def _post_generate(self, extra: int = 0) -> None:
            seen.append(("post_generate", extra, self.payload))

        def _post_load(self) -> None:
            seen.append(("post_load", self.payload))

    Hooked(tmp_path).generate(verbose=True, extra=3)
    Hooked(tmp_path).load(extra=3)
    Hooked(tmp_path).load_generate(verbose=False)
    assert seen == [("generate", True, {"extra": 3}), ("post_generate", 3, 1), ("post_load", 1), ("post_load", 1)]


def test_a_file_not_found_raised_by_a_hook_is_not_a_miss(tmp_path: Path) -> None:
    calls = []

    class Hooked(Persistable[int, None]):
        def _generate_payload(self, **_: Any) -> int:
            calls.append(1)
            return 1

        def _post_load(self) -> None:
            raise FileNotFoundError("a file of mine")

    Hooked(tmp_path).generate()
    with pytest.raises(FileNotFoundError, match="a file of mine"):
        Hooked(tmp_path).load_generate()
    assert len(calls) == 1


class Positive(Persistable[int, None]):
    limit = 0

    def _generate_payload(self, **_: Any) -> int:
        return 3

    def _validate_payload(self, payload: int) -> None:
        if payload <= type(self).limit:
            raise ValueError("too small")


def test_an_invalid_payload_is_never_persisted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Positive, "limit", 5)
    with pytest.raises(ValueError, match="too small"):
        Positive(tmp_path).generate()
    assert not Positive(tmp_path).exists()


def test_an_invalid_loaded_payload_raises_or_warns_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Positive(tmp_path).generate()
    monkeypatch.setattr(Positive, "limit", 5)
    with pytest.raises(ValueError, match="too small"):
        Positive(tmp_path).load()
    with pytest.warns(InvalidPayloadWarning, match="too small"):
        assert Positive(tmp_path).load(warn_if_validation_fails=True).payload == 3


def test_a_missing_payload_names_the_nearest_one_and_what_differs(tmp_path: Path) -> None:
    Points(tmp_path, n=3).generate()
    Points(tmp_path, n=9, random_state=1).generate()
    with pytest.raises(PayloadNotFound, match=r"n: 4, stored 3") as caught:
        Points(tmp_path, n=4).load()
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.differences == {"n": (4, 3)}
    with pytest.raises(PayloadNotFound, match="nor anything else of that name"):
        Points(tmp_path / "empty", n=4).load()


def stored_files(tmp_path: Path) -> list[Path]:
    return sorted((path for path in (tmp_path / "points").iterdir() if path.is_file()), key=lambda path: path.name.endswith(".record.json"))


@pytest.mark.parametrize("which", [0, 1], ids=["payload", "record"])
def test_a_wrong_byte_anywhere_is_an_error_of_load_and_heals_on_load_generate(tmp_path: Path, which: int) -> None:
    expected = Points(tmp_path, n=50).generate().payload
    file = stored_files(tmp_path)[which]
    good = file.read_bytes()
    for position in range(0, len(good), 3):
        file.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(PayloadCorrupted):
            Points(tmp_path, n=50).load()
    with pytest.warns(match="doing so now"):
        assert np.array_equal(Points(tmp_path, n=50).load_generate().payload, expected)
    assert np.array_equal(Points(tmp_path, n=50).load().payload, expected)
    assert len(stored_files(tmp_path)) == 2


@pytest.mark.parametrize("keep", [0, 1, 17])
@pytest.mark.parametrize("which", [0, 1], ids=["payload", "record"])
def test_a_truncated_file_is_corrupt_and_regenerated(tmp_path: Path, keep: int, which: int) -> None:
    Points(tmp_path, n=50).generate()
    file = stored_files(tmp_path)[which]
    file.write_bytes(file.read_bytes()[:keep])
    assert Points(tmp_path, n=50).status is Status.CORRUPT
    with pytest.raises(PayloadCorrupted):
        Points(tmp_path, n=50).load()
    with pytest.warns(match="doing so now"):
        assert len(Points(tmp_path, n=50).payload) == 50
    assert Points(tmp_path, n=50).status is Status.DONE
    assert len(stored_files(tmp_path)) == 2


def test_a_payload_file_that_is_gone_is_corrupt_not_missing(tmp_path: Path) -> None:
    node = Points(tmp_path, n=5).generate()
    assert node.record is not None
    (tmp_path / node.record.files[0].path).unlink()
    with pytest.raises(PayloadCorrupted, match="missing although its record is there"):
        Points(tmp_path, n=5).load()
    assert not Points(tmp_path, n=5).exists()


def test_threads_asking_one_node_generate_once(tmp_path: Path) -> None:
    calls = []

    class Slow(Persistable[int, None]):
        def _generate_payload(self, **_: Any) -> int:
            calls.append(1)
            threading.Event().wait(0.05)
            return 1

    node, got = Slow(tmp_path), []
    threads = [threading.Thread(target=lambda: got.append(node.payload)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [1] * 8 and len(calls) == 1


def test_a_ladder_of_sixty_diamonds_is_instant(tmp_path: Path) -> None:
    class Rung(Persistable[int, None]):
        left: Persistable[Any, Any]
        right: Persistable[Any, Any]

    node: Persistable[Any, Any] = Points(tmp_path, n=1)
    for _ in range(60):
        node = Rung(tmp_path, left=node, right=node)
    assert node.params_tree["left"]["right"]["left"]


def test_a_chain_ten_thousand_deep_generates_and_loads() -> None:
    class Link(Persistable[int, None]):
        before: Persistable[Any, Any] | None = None

        def _generate_payload(self, **_: Any) -> int:
            return 0 if self.before is None else self.before.payload + 1

    with open_store("memory://chain"):
        node = Link()
        for _ in range(10_000):
            node = Link(before=node)
        assert node.payload == 10_000
        assert node.load().payload == 10_000


def test_upstream_is_generated_only_where_it_is_not_stored(tmp_path: Path) -> None:
    calls: list[str] = []

    class Base(Persistable[int, None]):
        def _generate_payload(self, **_: Any) -> int:
            calls.append("base")
            return 1

    class Top(Persistable[int, None]):
        base: Base

        def _generate_payload(self, **_: Any) -> int:
            calls.append("top")
            return self.base.payload + 1

    assert Top(tmp_path, base=Base(tmp_path)).payload == 2
    Base(tmp_path).delete()
    assert Top(tmp_path, base=Base(tmp_path)).payload == 2
    assert calls == ["base", "top"]


def test_replace_makes_a_new_node_and_leaves_the_old_one(tmp_path: Path) -> None:
    points = Points(tmp_path, n=3)
    assert points.replace(n=4).key == Points(tmp_path, n=4).key
    assert points.params.n == 3
    outliers = Outliers(tmp_path, k=1.0, points=points)
    assert outliers.replace(points=points.replace(n=4)).key == Outliers(tmp_path, k=1.0, points=Points(tmp_path, n=4)).key
    with pytest.raises(UnknownParam):
        points.replace(m=4)


def test_replace_takes_for_a_role_what_making_the_node_takes(tmp_path: Path) -> None:
    class Total(Persistable[int, None]):
        points: list[Points]

        def _generate_payload(self, **_: Any) -> int:
            return sum(len(each.payload) for each in self.points)

    with open_store(tmp_path):
        several = Points.over(n=[2, 3])
        total = Total(points=[Points(n=1)])
        assert total.replace(points=several).key == Total(points=several).key == Total(points=list(several.values())).key
        assert total.replace(points=several).payload == 5
        outliers = Outliers(k=1.0, points=Points(n=3))
        with pytest.raises(TypeError, match=r"Outliers\.over\(points=family\)"):
            outliers.replace(points=several)
        assert [node.key for node in Outliers.over(k=1.0, points=several).nodes] == [
            outliers.replace(points=each).key for each in several.nodes
        ]
        for wrong in (5, "points", [5]):
            with pytest.raises(MissingUpstream, match="needs a node for points"):
                outliers.replace(points=wrong)
        waiting = Outliers(k=1.0)
        assert waiting.replace(points=Points(n=3)).key == outliers.key
        with pytest.raises(InputMissing):
            waiting.replace(k=2.0).key


def test_delete_removes_record_payload_and_nothing_else(tmp_path: Path) -> None:
    one, two = Points(tmp_path, n=1).generate(), Points(tmp_path, n=2).generate()
    assert one.delete() and not one.delete()
    assert one.status is Status.ABSENT and two.status is Status.DONE
    assert len(list((tmp_path / "points").iterdir())) == 2


def test_a_node_pickles_without_its_payload(tmp_path: Path) -> None:
    node = Points(tmp_path, n=100_000).generate()
    data = pickle.dumps(node)
    assert len(data) < 5_000
    twin = pickle.loads(data)
    assert twin.key == node.key and np.array_equal(twin.payload, node.payload)


class Link(Persistable[int, None]):
    before: Persistable[Any, Any] | None = None


def test_a_long_chain_pickles_and_shared_nodes_stay_shared(tmp_path: Path) -> None:
    node = Link(tmp_path)
    for _ in range(5_000):
        node = Link(tmp_path, before=node)
    assert pickle.loads(pickle.dumps(node)).key == node.key

    points = Points(tmp_path, n=1)
    pair = pickle.loads(pickle.dumps(Pair(tmp_path, left=points, right={"best": [points]})))
    assert pair.left is pair.right["best"][0] is pair.upstream["left"] is pair.upstream["right.best.0"]


class Pair(Persistable[int, None]):
    left: Points
    right: dict[str, list[Points]]


@dataclass
class Nested(PersistableParams):
    k: float
    base: Any = None


class Holds(Persistable[float, Nested]):
    def _generate_payload(self, **_: Any) -> float:
        return float(self.params.base[0].payload.sum()) * self.params.k


def test_nodes_inside_params_are_upstream(tmp_path: Path) -> None:
    points = Points(tmp_path, n=3)
    node = Holds(tmp_path, Nested(k=2.0, base=[points]))
    assert list(node.upstream.values()) == [points]
    assert node.key != Holds(tmp_path, Nested(k=2.0, base=[Points(tmp_path, n=4)])).key
    assert node.payload == float(points.payload.sum()) * 2.0


def test_a_payload_class_of_main_loads_in_a_process_that_does_not_define_it(tmp_path: Path) -> None:
    import subprocess
    import sys

    make = f"""
from persistable import Persistable
class Model:
    def predict(self): return 42
class Fit(Persistable[Model, None]):
    def _generate_payload(self, **_): return Model()
Fit({str(tmp_path)!r}).generate()
"""
    load = f"""
from persistable import Persistable
class Fit(Persistable[object, None]):
    def _generate_payload(self, **_): return Model()
print(Fit({str(tmp_path)!r}).load().payload.predict())
"""
    subprocess.run([sys.executable, "-c", make], check=True)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", load], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "42"


P = TypeVar("P")


def test_params_type_is_found_through_generic_classes_between(tmp_path: Path) -> None:
    class Base(Persistable[list[int], P], Generic[P]):
        pass

    class Sized(Base[PointsParams]):
        def _generate_payload(self, **_: Any) -> list[int]:
            return [self.params.n]

    assert Sized(tmp_path, n=3).payload == [3]


def test_default_store_is_the_enclosing_one_then_the_variable_then_the_project_file_then_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERSISTABLE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    node = Points(n=3)
    assert node.persist_filepath == tmp_path / "persistable-data" / "points" / node.persist_hash
    (tmp_path / "persistable.toml").write_text('store = "kept"\n')
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert node.persist_filepath == tmp_path / "kept" / "points" / node.persist_hash
    monkeypatch.setenv("PERSISTABLE_STORE", str(tmp_path / "env"))
    assert node.persist_filepath == tmp_path / "env" / "points" / node.persist_hash
    with open_store(tmp_path / "enclosing"):
        assert node.persist_filepath == tmp_path / "enclosing" / "points" / node.persist_hash
        bound = Points(n=3)
    assert bound.persist_filepath == tmp_path / "enclosing" / "points" / node.persist_hash
    assert not (tmp_path / "persistable-data").exists() or not os.listdir(tmp_path / "persistable-data")


def test_an_unbound_upstream_uses_its_consumers_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Outliers(tmp_path / "mine", k=0.5, points=Points(n=3)).generate()
    assert Points(tmp_path / "mine", n=3).exists()
    assert not (tmp_path / "persistable-data").exists()


def test_rng_is_seeded_by_the_digest_and_scratch_goes_with_the_commit(tmp_path: Path) -> None:
    folders = []

    class Draw(Persistable[float, PointsParams]):
        def _generate_payload(self, **_: Any) -> float:
            (self.scratch / "checkpoint").write_text("1")
            folders.append(self.scratch)
            self.progress(1, 2)
            return float(self.rng.random())

    first = Draw(tmp_path, n=1).generate().payload
    assert first == Draw(tmp_path / "elsewhere", n=1).payload != Draw(tmp_path, n=2).payload
    assert not any(folder.exists() for folder in folders)
    with pytest.raises(RuntimeError, match="only while"):
        Draw(tmp_path, n=1).rng


def test_processes_share_no_scratch_folder_of_stores_in_memory() -> None:
    """They are other stores, whatever their names."""
    code = (
        "from persistable import Key, open_store; from persistable.records.scratch import scratch_folder; "
        "print(scratch_folder(open_store('memory://same'), Key('a', 32 * '0')))"
    )
    folders = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout for _ in "ab"}
    assert len(folders) == 2 and "" not in folders


def test_scratch_survives_a_failed_attempt(tmp_path: Path) -> None:
    class Resumes(Persistable[str, None]):
        def _generate_payload(self, **_: Any) -> str:
            mark = self.scratch / "half"
            if not mark.exists():
                mark.write_text("done before")
                raise RuntimeError("power cut")
            return mark.read_text()

    with pytest.raises(RuntimeError):
        Resumes(tmp_path).generate()
    assert Resumes(tmp_path).payload == "done before"


def test_a_failure_is_recorded_blocks_downstream_and_goes_with_the_next_commit(tmp_path: Path) -> None:
    fail = [True]

    class Shaky(Persistable[int, None]):
        def _generate_payload(self, **_: Any) -> int:
            if fail[0]:
                raise ZeroDivisionError("on purpose")
            return 1

    class After(Persistable[int, None]):
        shaky: Shaky

        def _generate_payload(self, **_: Any) -> int:
            return self.shaky.payload

    after = After(tmp_path, shaky=Shaky(tmp_path))
    with pytest.raises(ZeroDivisionError, match="on purpose") as caught:
        after.generate()
    assert any(note.startswith("while generating shaky(") and "(shaky/" in note for note in caught.value.__notes__)
    assert Shaky(tmp_path).status is Status.FAILED
    assert after.status is Status.BLOCKED
    assert "ZeroDivisionError" in Shaky(tmp_path).explain()
    fail[0] = False
    assert after.payload == 1
    assert Shaky(tmp_path).status is Status.DONE and after.status is Status.DONE
    assert Shaky(tmp_path).record.attempts == 2  # type: ignore[union-attr]
    assert not list(tmp_path.rglob("*.failed.json"))


def test_a_payload_the_format_refuses_is_kept_in_memory_and_the_good_file_stays(tmp_path: Path) -> None:
    from persistable.errors import PayloadNotRepresentable
    from persistable.fileio import JsonFileIO

    answer: list[Any] = [{"a": 1}]

    class Settings(Persistable[Any, None]):
        io = JsonFileIO()

        def _generate_payload(self, **_: Any) -> Any:
            return answer[0]

    Settings(tmp_path).generate()
    answer[0] = {"a": {1, 2}}
    node = Settings(tmp_path)
    with pytest.raises(PayloadNotRepresentable):
        node.generate()
    assert node.payload == {"a": {1, 2}}
    assert Settings(tmp_path).load().payload == {"a": 1}


class CannotComeBack:
    def __reduce__(self) -> Any:
        return _refuse_to_be_read, ()


def _refuse_to_be_read() -> None:
    raise RuntimeError("never again")


@pytest.mark.filterwarnings("ignore::persistable.errors.StaleCodeWarning")  # its answer is part of its code
def test_a_payload_that_cannot_be_read_again_is_never_committed(tmp_path: Path) -> None:
    class Once(Persistable[Any, None]):
        answer: Any = 1

        def _generate_payload(self, **_: Any) -> Any:
            return type(self).answer

    Once(tmp_path).generate()
    Once.answer = CannotComeBack()
    node = Once(tmp_path)
    with pytest.raises(FormatError, match="never again"):
        node.generate()
    assert isinstance(node.payload, CannotComeBack)
    assert Once(tmp_path).load().payload == 1
    assert sorted(path.suffix for path in (tmp_path / "once").iterdir()) == [".json", ".json", ".pickle"]  # record, failure, old payload
    Once.answer = 2
    assert Once(tmp_path).generate().payload == 2
    node.reset_payload()
    assert node.payload == 2 and node.status is Status.DONE


def test_persisting_what_failed_to_be_written_removes_the_failure(tmp_path: Path) -> None:
    from persistable.fileio import JsonFileIO

    class Facts(Persistable[Any, None]):
        io: Any = JsonFileIO()

        def _generate_payload(self, **_: Any) -> Any:
            return {"a": {1, 2}}

    node = Facts(tmp_path)
    with pytest.raises(TypeError):
        node.generate()
    assert Facts(tmp_path).status is Status.FAILED
    node.io = None
    assert node.persist().payload == {"a": {1, 2}}
    assert node.status is Status.DONE and not list(tmp_path.rglob("*.failed.json"))


def test_explain_and_html_say_what_would_happen_and_why(tmp_path: Path) -> None:
    points = Points(tmp_path, n=3)
    node = Outliers(tmp_path, k=1.0, points=points)
    assert "absent: asking for its payload would generate it" in node.explain()
    assert "upstream, to be generated first: points" in node.explain()
    node.generate()
    assert "asking for its payload would load it" in node.explain()
    assert repr(node) == f"Outliers(k=1.0, points=<points>) [{node.persist_hash[:8]}]"
    html = node._repr_html_()
    assert "Outliers" in html and "done" in html and "<svg" in html and "<script" not in html


def test_nothing_is_printed_and_no_handler_installed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import logging

    Points(tmp_path, n=3).generate()
    Points(tmp_path, n=3).load()
    assert capfd.readouterr() == ("", "")
    assert all(type(handler) is logging.NullHandler for handler in logging.getLogger("persistable").handlers)


def test_verbose_prints_to_standard_error_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Points(tmp_path, n=3, verbose=True).generate()
    captured = capfd.readouterr()
    assert captured.out == "" and "Persisted" in captured.err
