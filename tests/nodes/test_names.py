"""Names that every node has, params called like settings, keywords that would vanish, and equal nodes."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from persistable import Persistable, step, untracked
from persistable.errors import ReservedName, UnknownParam, UnwatchedFileWarning


@dataclass
class FitParams:
    n: int = 1
    verbose: bool = True
    data_dir: str = "corpus"
    logger: str = ""


class Fit(Persistable[int, FitParams]):
    def _generate_payload(self, **_: Any) -> int:
        return self.params.n


@pytest.mark.parametrize("name", ["verbose", "data_dir", "logger"])
def test_a_param_called_like_a_setting_is_given_in_params(tmp_path: Path, name: str) -> None:
    value: Any = False if name == "verbose" else "v2"
    node = Fit(tmp_path, params={name: value}, n=3)
    assert (getattr(node.params, name), node.params.n) == (value, 3)
    assert node.key == Fit(tmp_path, FitParams(n=3, **{name: value})).key != Fit(tmp_path, n=3).key
    with pytest.raises(ReservedName, match=rf"Fit\({name}=...\) could be the param .* or the setting"):
        Fit(tmp_path, **{name: value})
    with pytest.raises(UnknownParam, match="n in params= and as a keyword"):
        Fit(tmp_path, params={"n": 1}, n=2)


def test_axes_of_such_a_class(tmp_path: Path) -> None:
    family = Fit.over(n=[1, 2], params={"verbose": False})
    assert [(node.params.n, node.params.verbose) for node in family.nodes] == [(1, False), (2, False)]
    with pytest.raises(ReservedName, match="verbose"):
        Fit.over(verbose=[True, False]).nodes[0]


@pytest.mark.parametrize("name", ["params", "persist_data_dir"])
def test_a_param_that_no_keyword_could_reach(name: str) -> None:
    made: Any = dataclass(type("Odd", (), {"__annotations__": {name: int}, name: 1}))

    class Some(Persistable[int, made]):  # type: ignore[valid-type]
        """Its params have a field of a name that a node needs."""

    with pytest.raises(ReservedName, match=f"have a field `{name}`"):
        Some()


def _role(name: str) -> Callable[[], type]:
    return lambda: type("Some", (Persistable,), {"__annotations__": {name: Fit}, "__module__": __name__})


def _member(name: str, value: Any) -> Callable[[], type]:
    return lambda: type("Some", (Persistable,), {name: value, "__module__": __name__})


@pytest.mark.parametrize(
    ("define", "name"),
    [
        *[
            (_role(name), name)
            for name in ("record", "store", "status", "payload", "upstream", "params", "logger", "find", "label", "aload")
        ],
        *[(_member(name, 3), name) for name in ("record", "store", "rng", "scratch", "verify", "_node_call_hook")],
        *[(_member(name, lambda self: 3), name) for name in ("status", "explain", "_node_identify", "_node_use", "diff", "run")],
        (_member("status", property(lambda self: 3)), "status"),
        (_member("over", classmethod(lambda cls: 3)), "over"),
    ],
)
def test_a_name_that_every_node_has_is_refused_at_the_definition(define: Callable[[], type], name: str) -> None:
    with pytest.raises(ReservedName, match=rf"Some\.{name}: .* call it otherwise") as caught:
        define()
    assert (caught.value.name, caught.value.owner) == (name, "Some")


def test_any_other_name_with_an_underscore_is_the_authors(tmp_path: Path) -> None:
    class Mean(Persistable[float, None]):
        _reader = 2.0

        def _open(self) -> list[float]:
            self._store = [self._reader, 4.0]
            self._upstream = self._snapshot = self._payload = None
            return self._store

        def _look(self) -> float:
            return sum(self._open()) / 2

        def _generate_payload(self) -> float:
            return self._look()

    mean = Mean(tmp_path)
    assert (mean.payload, Mean(tmp_path).load().payload, mean._store) == (3.0, 3.0, [2.0, 4.0])


@pytest.mark.parametrize(("hook", "name"), [("_generate_payload", "persist"), ("_post_load", "verify")])
def test_a_keyword_that_would_never_arrive_at_a_hook(hook: str, name: str) -> None:
    spelled: dict[str, Any] = {}
    exec(f"def {hook}(self, {name}=1): return 1", spelled)
    with pytest.raises(ReservedName, match=f"takes `{name}`"):
        _member(hook, spelled[hook])()


def test_what_extends_a_member_or_only_annotates_it_stays_allowed(tmp_path: Path) -> None:
    class Loud(Persistable[int, None]):
        payload: int  # pyright: ignore[reportIncompatibleMethodOverride]
        helper = 1
        version = 2

        def load(self, *args: Any, **kwargs: Any) -> Any:
            said.append("load")
            return super().load(*args, **kwargs)

        @property
        def label_of_mine(self) -> str:
            return "fine"

        def _generate_payload(self, **_: Any) -> int:
            return 5

    said: list[str] = []
    assert Loud(tmp_path).load_generate().payload == 5
    assert Loud(tmp_path).load().payload == 5
    assert said == ["load"]


@step
def odd(self: int, cls: int, rows: int, store: int = 1, verbose: bool = False) -> int:
    """A step whose arguments are called as arguments of ours."""
    return self + cls + rows


def test_arguments_of_a_step_may_have_any_name(tmp_path: Path) -> None:
    one = odd.step(self=1, cls=2, rows=3, store=4, verbose=True)
    assert one.bind(tmp_path).payload == 6
    assert one.key != odd.step(1, 2, 3).key
    assert odd.over(self=[1], cls=2, rows=3).nodes[0] == odd.among([{"self": 1}], cls=2, rows=3).nodes[0] == odd.step(1, 2, 3)
    assert odd.step(1, 2, 3).replace(self=5) == odd.step(5, 2, 3)


class Jobs(Persistable[int, None]):
    def _generate_payload(self, n_jobs: int = 1) -> int:
        return n_jobs

    def _post_load(self, echo: bool = False) -> None: ...


class Anything(Persistable[int, None]):
    def _generate_payload(self, **untracked_payload_params: Any) -> int:
        return len(untracked_payload_params)


@step
def jobs(a: int, n_jobs: Annotated[int, untracked] = 1) -> int:
    """A step with an untracked argument."""
    return n_jobs


def test_an_untracked_keyword_that_nobody_takes_is_refused(tmp_path: Path) -> None:
    assert Jobs(tmp_path).generate(n_jobs=3).payload == 3
    assert Jobs(tmp_path).load_generate(n_jobs=9, echo=True).payload == 3
    assert Anything(tmp_path).generate(whatever=1).payload == 1
    assert jobs.step(1).bind(tmp_path).generate(n_jobs=4).payload == 4
    with pytest.raises(UnknownParam, match="'n_jobz' means nothing to Jobs; did you mean 'n_jobs'"):
        Jobs(tmp_path).generate(n_jobz=8)
    assert Jobs(tmp_path).load(n_jobs=3).payload == 3  # it is for another hook of the class
    with pytest.raises(UnknownParam, match=r"none of its hooks takes it \(they take echo, n_jobs\)"):
        Jobs(tmp_path).load(ecko=True)
    with pytest.raises(UnknownParam, match="'n_jbs' means nothing to jobs"):
        jobs.step(1).load_generate(n_jbs=4)


@step
def size(of: Path, times: int = 1) -> int:
    """A step that reads a file by its path."""
    return of.stat().st_size * times


def test_a_param_that_is_the_path_of_a_file_is_said_once_to_be_a_path_only(tmp_path: Path) -> None:
    file = tmp_path / "in.txt"
    file.write_text("abc")
    with pytest.warns(UnwatchedFileWarning, match=r"of of size names a file, .*in\.txt: .*Source"):
        assert size.step(file).bind(tmp_path / "data").payload == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert size.step(file, 2).bind(tmp_path / "data").payload == 6  # said already
        assert size.step(file).bind(tmp_path / "data").payload == 3


def test_nodes_of_one_key_are_equal(tmp_path: Path) -> None:
    assert Fit("a", n=1) == Fit("b", n=1) != Fit("a", n=2)
    assert len({Fit("a", n=1), Fit("b", n=1), Fit("a", n=2)}) == 2
    assert odd.step(1, 2, 3) in [odd.step(1, 2, 3).bind(tmp_path)]
    assert Fit("a", n=1) != Fit("a", n=1).key
    left_open = odd.step(rows=1)
    assert left_open == left_open != odd.step(rows=1)
    assert len({left_open, odd.step(rows=1)}) == 2
