"""One project, many processes and people: what one has made, the others find; nothing is made twice, nothing unfinished is served."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.project.conftest import BASIC
from tests.project.flows import Points, scaled

import persistable
from persistable import Project, step
from persistable.errors import RunFailed, StoreReadOnly
from persistable.nodes.status import Status

Load = Callable[..., Project]
Made = Callable[[], Counter[str]]
ROOT = Path(persistable.__file__).resolve().parents[1]

FLOWS = """
import os, time
from dataclasses import dataclass
from persistable import Persistable, step

def note(what):
    with open(os.environ["MADE"], "a") as log:
        log.write(f"{what}:{os.getpid()}\\n")

@dataclass
class PointsParams:
    n: int

class Points(Persistable[list[int], PointsParams]):
    def _generate_payload(self):
        note("points")
        time.sleep(0.3)
        return list(range(self.params.n))

@step
def model(points: list[int], alpha: float) -> float:
    note("model")
    return sum(points) * alpha
"""
FILE = """
store = {store}
[targets.points]
use = "{module}:Points"
params = {{ n = 4 }}
[targets.model]
use = "{module}:model"
params = {{ alpha = 1 }}
upstream = {{ points = "points" }}
"""


def folder(path: Path, store: str, module: str = "flows_of_a_folder") -> Path:
    """A project in a folder of its own."""
    path.mkdir(parents=True, exist_ok=True)
    (path / f"{module}.py").write_text(FLOWS)
    (path / "persistable.toml").write_text(FILE.format(store=store, module=module))
    return path


def begun(code: str, where: Path, **environment: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=where, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


ASK = "from persistable import Project; print(Project.load()['model'].payload)"


def test_another_process_finds_the_project_of_its_folder_and_what_was_made(tmp_path: Path, made: Made) -> None:
    place = folder(tmp_path / "project", '"data"')
    (place / "deeper").mkdir()
    assert said(begun(ASK, place / "deeper")) == "6.0"
    assert len(made()) == 2 and (place / "data" / "points").is_dir()
    assert said(begun(ASK, place)) == "6.0" and made() == {}
    assert said(begun(ASK, place, PERSISTABLE_PARAMS__model__alpha="2")) == "12.0"
    assert [name.partition(":")[0] for name in made()] == ["model"]


def test_three_processes_that_want_the_same_generate_it_once(tmp_path: Path, made: Made) -> None:
    place = folder(tmp_path / "project", '["memory://", "data"]')
    assert [said(process) for process in [begun(ASK, place) for _ in range(3)]] == ["6.0"] * 3
    assert sorted(name.partition(":")[0] for name in made().elements()) == ["model", "points"]


def test_three_workers_of_a_run_generate_once(tmp_path: Path, made: Made) -> None:
    place = folder(tmp_path / "project", '"data"')
    code = "from persistable import Project; print(Project.load().run(executor={'kind': 'processes', 'workers': 3}).counts['done'])"
    runs = [begun(code, place) for _ in range(2)]
    assert all(int(said(process)) <= 2 for process in runs)
    found = made()
    assert sorted(name.partition(":")[0] for name in found.elements()) == ["model", "points"]
    assert {name.partition(":")[2] for name in found}.isdisjoint({str(process.pid) for process in runs})


def test_of_two_users_with_a_read_only_layer_of_the_team_the_second_computes_nothing(tmp_path: Path, made: Made) -> None:
    team = tmp_path / "team"
    first = folder(tmp_path / "ann", f'["mine", "{team}"]')
    second = folder(tmp_path / "bob", f'["memory://", "mine", {{ url = "{team}", readonly = true }}]')
    assert said(begun(ASK, first)) == "6.0" and len(made()) == 2
    before = sorted((str(path), path.stat().st_mtime_ns) for path in team.rglob("*"))
    code = (
        "from persistable import Project; p = Project.load(); r = p.run(); print(p['model'].payload, r.counts['done'], r.counts['reused'])"
    )
    assert said(begun(code, second)) == "6.0 0 2"
    assert made() == {}
    assert (second / "mine" / "model").is_dir()  # it filled the faster layer
    assert said(begun(ASK, second, PERSISTABLE_PARAMS__model__alpha="3")) == "18.0"
    assert [name.partition(":")[0] for name in made()] == ["model"]
    assert sorted((str(path), path.stat().st_mtime_ns) for path in team.rglob("*")) == before


def test_a_miss_in_the_first_layer_is_served_by_a_slower_one_and_fills_it(load: Load, made: Made) -> None:
    load('store = "slow"\n' + BASIC).run()
    made()
    project = load('store = ["memory://filled", "fast", "slow"]\n' + BASIC)
    assert project["model"].payload == 6.0 and made() == {}
    assert list(Path("fast/model").iterdir()) != []
    assert load('store = "fast"\n' + BASIC)["model"].payload == 6.0 and made() == {}
    assert project.run().counts["done"] == 0


def test_a_team_layer_alone_may_be_read_and_not_written(load: Load, made: Made) -> None:
    load('store = "team"\n' + BASIC)["points"].payload
    project = load('store = [{ url = "team", readonly = true }]\n' + BASIC)
    assert project["points"].payload == [0, 1, 2, 3]
    with pytest.raises(StoreReadOnly):
        project["model"].payload


def test_names_and_values_that_look_alike_never_share_a_file(load: Load) -> None:
    @step
    def a(x: object) -> object:
        return x

    texts: list[object] = [1, "1", 1.0, True, None, "None", [], (), {}, "a-b"]
    targets = {f"t{number}": a.step(value) for number, value in enumerate(texts)}
    named = {"a-b_c": step(name="a-b")(one).step("c"), "a_b-c": step(name="a")(one).step("b-c")}
    project = Project({**targets, **named}, store="data")
    project.run()
    fresh = Project({**targets, **named}, store="data")
    assert [repr(fresh[f"t{number}"].payload) for number in range(len(texts))] == list(map(repr, texts))
    assert (fresh["a-b_c"].payload, fresh["a_b-c"].payload) == ("c", "b-c")
    assert len({str(node.persist_filepath) for node in fresh.values()}) == len(fresh)


def one(x: str) -> str:
    return x


def test_what_was_made_before_an_exception_is_not_served(load: Load, made: Made) -> None:
    text = '[targets.bad]\nuse = "FLOWS:failing"\nupstream = { points = "points" }\n[targets.points]\nuse = "FLOWS:Points"\n'
    project = load(text)
    with pytest.raises(RunFailed):
        project.run()
    for again in (project, load(text)):
        with pytest.raises(RuntimeError, match="it always fails"):
            again["bad"].payload
    assert project.status() == {"bad": Counter({Status.FAILED: 1}), "points": Counter({Status.DONE: 1})}
    assert made() == {"points": 1, "failing": 3} and not project["bad"].exists()


def test_the_threads_of_a_run_and_of_the_caller_generate_once(made: Made) -> None:
    points = Points(n=3)
    project = Project(
        {"a": scaled.step(points, factor=2.0), "b": scaled.step(points, factor=3.0), "points": points}, store="data", executor="threads"
    )
    assert project.run().counts["done"] == 3 and made() == {"points": 1, "scaled": 2}
