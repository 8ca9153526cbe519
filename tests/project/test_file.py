"""``persistable.toml``: how it is found, where its paths lead, and what is said of what cannot be meant so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from servers.needs import need
from servers.ray_cluster import RayCluster
from tests.project.conftest import BASIC

from persistable import Project, executors
from persistable.errors import ConfigError
from persistable.stores import LocalStore, SQLiteStore

Load = Callable[..., Project]


def test_the_nearest_file_upward_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "persistable.toml").write_text('store = "kept"\n')
    monkeypatch.chdir(root / "a" / "b")
    project = Project.load()
    assert project.file == root / "persistable.toml" and project.folder == root
    assert project.store == LocalStore(root / "kept")
    for path in (root, root / "persistable.toml", "../..", "../../persistable.toml"):
        assert Path(str(Project.load(path).store.local_path("x"))).parent.resolve() == (root / "kept").resolve()
    with pytest.raises(FileNotFoundError, match="there is no project file"):
        Project.load("nowhere.toml")
    with pytest.raises(FileNotFoundError, match=r"there is no project file .*persistable.toml"):
        Project.load(root / "a")


def test_without_a_file_it_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(FileNotFoundError, match=f"no persistable.toml in {empty} or above"):
        Project.load()


def test_stores_lie_beside_the_file_unless_something_else_is_said(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path.cwd()
    assert load("").store == LocalStore(here / "persistable-data")
    assert isinstance(load('store = "sqlite:///x.db"').store, SQLiteStore)
    layers = load('store = ["memory://fast", "data", { url = "team", readonly = true }]')
    monkeypatch.chdir(tmp_path)
    assert layers.store.url == f"layered://?layer=memory://fast&layer=file://{here}/data&layer=file://{here}/team&readonly=1"
    (here / "persistable.toml").write_text('store = "sqlite:///x.db"')
    Project.load(here).store.put("a", b"1")
    assert (here / "x.db").exists() and not (tmp_path / "x.db").exists()
    assert Project.load(here, environ={"PERSISTABLE_STORE": str(tmp_path / "env")}).store == LocalStore(tmp_path / "env")
    assert Project.load(here, environ={"PERSISTABLE_STORE": "env"}, store=tmp_path / "given").store == LocalStore(tmp_path / "given")
    monkeypatch.setenv("PERSISTABLE_STORE", "env")
    assert Project.load(here).store == LocalStore(tmp_path / "env")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stroe = 'x'", "persistable.toml: stroe is unknown; did you mean 'store'"),
        ("store = 5", "persistable.toml: store is 5; give one URL or path"),
        ("store = []", "persistable.toml: store is an empty list"),
        ("targets = 5", "persistable.toml: targets is 5; give a table"),
        ("x = ", "persistable.toml is not valid TOML: Invalid value"),
        ("[targets.a]\n", "persistable.toml: targets.a says neither `use` and `source`"),
        ("[targets.a]\nuse = 'm:C'\nsource = 'x'\n", "persistable.toml: targets.a says both"),
        ("[targets.a]\nsource = 'x'\nparams = {}\n", "persistable.toml: targets.a.params is not used beside `source`"),
        ("[targets.a]\nuse = 'm:C'\nparms = {}\n", "persistable.toml: targets.a.parms is unknown; did you mean 'params'"),
        ("[targets.a]\nuse = 'm:C'\nparams = 5\n", "persistable.toml: targets.a.params is 5; give a table"),
        ("[targets.a]\nuse = 'm:C'\nupstream = { b = 5 }\n", "persistable.toml: targets.a.upstream.b is 5; give the name of a target"),
        ("[targets.alpha]\nuse = 'm:C'\nupstream = { b = 'alhpa' }\n", "targets.alpha.upstream.b names alhpa, .*did you mean 'alpha'"),
        ("[targets.alpha]\nuse = 'm:C'\nupstream = { b = ['alhpa'] }\n", r"targets.alpha.upstream.b\[0\] names alhpa, .*'alpha'"),
        ("[targets.alpha]\nuse = 'm:C'\nover = { b = 'alhpa' }\n", "targets.alpha.over.b names alhpa, .*did you mean 'alpha'"),
        ("[targets.alpha]\nuse = 'm:C'\n[stages]\nall = ['alhpa']\n", "persistable.toml: stages.all names alhpa, .*did you mean 'alpha'"),
        ("[targets.a]\nuse = 'm:C'\n[stages]\na = ['a']\n", "persistable.toml: stages.a is named like a target"),
        ("[stages]\na = 'a'\n", "persistable.toml: stages.a is 'a'; give a list"),
        ("executor = 'proceses'", "persistable.toml: executor: proceses is unknown; did you mean 'processes'"),
        ("executor = { workers = 3 }", "persistable.toml: executor is .* give a kind too"),
        ("executor = { kind = 'thread' }", "persistable.toml: executor.kind: thread is unknown; did you mean 'threads'"),
        ("executor = { kind = 'processes', grcae = 1 }", "persistable.toml: executor.grcae is unknown; did you mean 'grace'"),
        ("executor = { kind = 'threads', workers = 'some' }", "persistable.toml: executor.workers is 'some'; give a whole number"),
        ("executor = { kind = 'dask', adress = 'x' }", "persistable.toml: executor.adress is unknown; did you mean 'address'"),
        ("executor = { kind = 'ray', max_pending = 'x' }", "persistable.toml: executor.max_pending is 'x'; give a whole number"),
        ("executor = { kind = 'inline', workers = 2 }", "persistable.toml: executor.workers is unknown"),
        ("limits = { db = '2' }", "persistable.toml: limits.db is '2'; give a number"),
        ("fail_fast = 1", "persistable.toml: fail_fast is 1; give true or false"),
        ("errors = 'raises'", "persistable.toml: errors is 'raises'; give 'raise' or 'return'"),
        ("[notify]\nslak = 'x'", "persistable.toml: notify.slak is unknown; did you mean 'slack'"),
        ("[notify]\nwebhook = { ulr = 'x' }", "persistable.toml: notify.webhook.ulr is unknown; did you mean 'url'"),
        ("[notify]\nwebhook = { on = 'always' }", "persistable.toml: notify.webhook needs one of `url` and `secret`"),
        ("[notify]\nwebhook = { url = 'http://x', on = 'never' }", "persistable.toml: notify.webhook.on is 'never'"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_loaded_and_the_place_is_named(load: Load, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(text)
    assert isinstance(caught.value, ValueError) and caught.value.where.startswith("persistable.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("alpha = 1", "alhpa = 1"), "persistable.toml: targets.model.params.alhpa is unknown; did you mean 'alpha'"),
        (("alpha = 1", "alpha = 'much'"), "persistable.toml: targets.model.params.alpha is 'much'; give a number"),
        (("params = { alpha = 1 }", ""), "persistable.toml: targets.model: Model needs alpha"),
        (("n = 4", "n = 4.5"), "targets.points.params.n is 4.5; give a whole number"),
        (("n = 4", "optimizer = { lr = 1, setps = 3 }"), "targets.points.params.optimizer.setps is unknown; did you mean 'steps'"),
        (("n = 4", "optimizer = { betas = [1] }"), r"targets.points.params.optimizer.betas is \[1\]; give a list of 2 values"),
        (("n = 4", "sizes = { a = 'x' }"), "targets.points.params.sizes.a is 'x'; give a whole number"),
        (("FLOWS:Model", "FLOWS:Modell"), r"targets.model.use is .* has no 'Modell'; did you mean 'Model'"),
        (("FLOWS:Model", "FLOWS.Model"), "targets.model.use is .*; give module:name"),
        (("FLOWS:Model", "tests.project.flow:Model"), "there is no module tests.project.flow"),
        (("FLOWS:Model", "FLOWS:number"), "targets.model.use is .*, a int: give a node class"),
        (('points = "points"', 'pionts = "points"'), "targets.model.upstream.pionts is unknown; did you mean 'points'"),
        (('upstream = { points = "points" }\n[targets.sweep]', "[targets.sweep]"), "still needs points"),
        (("params = { alpha = 1 }", "params = { alpha = 1, points = 3 }"), "params.points is no param but an upstream node"),
        (("params = { alpha = 1 }", "params = { alpha = 1 }\nover = { alpha = [1] }"), "targets.model.over.alpha is given elsewhere too"),
        (("params = { alpha = 1 }", "params = { alpha = 1 }\npath = 'x'"), "targets.model.path is for workspaces"),
    ],
)
def test_what_is_wrong_with_a_target_is_said_when_it_is_made(load: Load, change: tuple[str, str], message: str) -> None:
    project = load(BASIC.replace(*change))
    with pytest.raises(ConfigError, match=message) as caught:
        project.check()
    assert "targets." in caught.value.where


def test_what_a_module_or_class_raises_passes_with_the_place_as_a_note(load: Load) -> None:
    Path("raises_when_imported.py").write_text("1 / 0\n")
    Path("imports_too_much.py").write_text("import no_such_module_anywhere\n")
    project = load('[targets.a]\nuse = "raises_when_imported:x"\n[targets.b]\nuse = "imports_too_much:x"\n')
    for name, kind in (("a", ZeroDivisionError), ("b", ModuleNotFoundError)):
        with pytest.raises(kind) as caught:
            project[name]
        assert any(f"for persistable.toml: targets.{name}.use" in note for note in caught.value.__notes__)


def test_modules_are_imported_from_the_folder_of_the_file_and_its_src(load: Load) -> None:
    source = "from persistable import step\n@step\ndef one():\n    return 1\n"
    Path("beside_the_file.py").write_text(source)
    Path("src").mkdir()
    Path("src/within_src.py").write_text(source)
    project = load('[targets.a]\nuse = "beside_the_file:one"\n[targets.b]\nuse = "within_src:one"\n')
    assert project["a"].payload == project["b"].payload == 1
    assert project.run(executor="processes").counts["failed"] == 0


def test_a_module_of_another_project_is_not_taken_for_ones_own(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[targets.a]\nuse = "same_name_in_both:one"\n'
    source = "from persistable import step\n@step\ndef one():\n    return {}\n"
    Path("same_name_in_both.py").write_text(source.format(1))
    assert load(text)["a"].payload == 1
    monkeypatch.chdir(tmp_path)
    Path("same_name_in_both.py").write_text(source.format(2))
    with pytest.raises(ConfigError, match="give one of them another name"):
        load(text)["a"]
    del sys.modules["same_name_in_both"]


def test_executors_by_name_and_by_table(load: Load) -> None:
    seen: list[tuple[str, int]] = []

    def workers(event: object) -> None:
        if type(event).__name__ == "RunStarted":
            seen.append((event.workers,))  # type: ignore[attr-defined]

    for text in (
        'executor = "inline"',
        'executor = { kind = "threads", workers = 3 }',
        'executor = { kind = "processes", workers = "2", grace = 1 }',
    ):
        project = load(text + "\n" + BASIC)
        project["points"].delete()
        project.run("points", hooks=[workers])
    assert seen == [(1,), (3,), (2,)]
    with pytest.raises(ConfigError, match="max_workers is 0"):
        load('executor = { kind = "processes", workers = 0 }\n' + BASIC).run()
    with pytest.raises(ConfigError, match=r"^executor: proceses is unknown; did you mean 'processes'"):
        project.run(executor="proceses")


_WHERE = """
import os
from persistable import step

@step
def pid(number: int) -> int:
    return os.getpid()

@step
def doubled(pid: int) -> tuple[int, int]:
    return pid, os.getpid()
"""
_ELSEWHERE = """
executor = {executor}
[targets.pid]
use = "{module}:pid"
params = {{ number = 1 }}
[targets.doubled]
use = "{module}:doubled"
upstream = {{ pid = "pid" }}
"""


def _runs_elsewhere(load: Load, executor: str) -> None:
    """In a process of its own, whose connections to clusters are its own too."""
    module = f"flows_{uuid4().hex}"  # another one's would be taken for it
    Path(f"{module}.py").write_text(_WHERE)
    project = load(_ELSEWHERE.format(executor=executor, module=module))
    project["pid"].delete()
    project["doubled"].delete()
    environment = {**os.environ, "PYTHONPATH": str(Path(executors.__file__).parents[2])}
    command = [sys.executable, "-m", "persistable", "run", "doubled", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, error = process.communicate(timeout=200)
        finally:
            process.kill()
    assert process.returncode == 0, error
    assert json.loads(out)["counts"]["done"] == 2
    assert project["doubled"].payload[0] == project["pid"].payload and not {process.pid, os.getpid()} & set(project["doubled"].payload)


@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("table", ['"ray"', '{ kind = "ray", address = "ADDRESS", max_pending = 4, log_to_driver = false }'])
def test_a_project_runs_on_ray(load: Load, ray_cluster: RayCluster, table: str) -> None:
    _runs_elsewhere(load, table.replace("ADDRESS", ray_cluster.address))  # without one, that of $RAY_ADDRESS


@pytest.mark.parametrize("table", ['"dask"', '{ kind = "dask", workers = 1 }'])
def test_a_project_runs_on_dask(load: Load, table: str) -> None:
    need("distributed", "psutil")
    _runs_elsewhere(load, table)


def test_an_executor_given_to_run_takes_the_place_of_that_of_the_file(load: Load) -> None:
    project = load('executor = { kind = "threads", workers = 3 }\n' + BASIC)
    seen: list[int] = []
    hook = lambda event: seen.append(event.workers) if type(event).__name__ == "RunStarted" else None  # noqa: E731
    with executors.ThreadExecutor(2) as mine:
        project.run("points", executor=mine, hooks=[hook])
        mine.submit(int).result(30)  # it is left open
    project.run("model", max_workers=5, hooks=[hook])
    project.run("sweep", executor="inline", hooks=[hook])
    assert seen == [2, 5, 1]


def test_limits_hold_the_nodes_of_a_project(load: Load) -> None:
    from persistable.errors import Infeasible

    text = '[targets.points]\nuse = "FLOWS:Points"\nresources = { db = 2 }\n'
    assert load("limits = { db = 2 }\n" + text).run().counts["done"] == 1
    project = load("limits = { db = 1 }\n" + text)
    project["points"].delete()
    with pytest.raises(Infeasible):
        project.run()
