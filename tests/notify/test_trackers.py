"""MLflow and Weights & Biases as hooks of a run: to a real server, and in the files of the offline mode, read back."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers import mlflow_server
from servers.needs import free_port, need

from notify.offline_runs import offline_runs
from persistable import run, step
from persistable.errors import ConfigError, UndeliveredWarning
from persistable.events import Event, Performed
from persistable.notify import MLflow, Secret, WandB
from persistable.project import Project

pytestmark = pytest.mark.xdist_group("trackers")
PATIENCE = 120.0
TOKEN = "wk3f9a7c1e5b2d8f4a6c"


@dataclass(frozen=True)
class Forest:
    trees: int = 50
    depth: tuple[int, ...] = (3, 5)


@step
def points(n: int, api_key: str = TOKEN) -> list[float]:
    return [float(each) for each in range(n)]


@step
def score(points: list[float], model: Forest = Forest(), c: float = 1.0) -> dict[str, Any]:
    if c > 2:
        raise ValueError(f"c is too large, says {os.environ.get('TEST_TRACKER_TOKEN', 'nobody')}")
    return {"accuracy": 0.5 + c / 10, "folds": {"first": 1, "second": np.float32(0.25)}, "passed": True, "words": "fine", "huge": 10**400}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    need("mlflow", "wandb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("WANDB_MODE", "offline")
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server.running(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


def told(*hooks: Any) -> list[str]:
    """Wait for the hooks; what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert all(hook.flush(PATIENCE) for hook in hooks)
    return [str(each.message) for each in caught if issubclass(each.category, UndeliveredWarning)]


def runs_of(server: str, experiment: str) -> dict[str, Any]:
    """The runs of an experiment, by name."""
    import mlflow

    client = mlflow.MlflowClient(server)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return {each.info.run_name: each for each in client.search_runs([found.experiment_id])}


# ------------------------------------------------------------------ what they keep


def test_mlflow_keeps_a_run_for_each_target(server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good, bad = score.step(points.step(n=3), c=1.0), score.step(points.step(n=3), c=3.0)
    hook = MLflow("each target", url=server)
    run(good, bad, store=tmp_path, hooks=[hook], errors="return")
    assert told(hook) == []
    assert capfd.readouterr() == ("", "")
    kept = runs_of(server, "each target")
    assert set(kept) == {good.label, bad.label}
    done, failed = kept[good.label], kept[bad.label]
    assert done.info.status == "FINISHED" and failed.info.status == "FAILED"
    assert done.data.params == {
        "model": "Forest",
        "model.trees": "50",
        "model.depth": "(3, 5)",
        "c": "1.0",
        "points.n": "3",
        "points.api_key": "***",
    }
    assert done.data.metrics == {"accuracy": 0.6, "folds.first": 1.0, "folds.second": 0.25, "passed": 1.0}
    assert failed.data.metrics == {}
    tags = done.data.tags
    assert tags["persistable.key"] == str(good.key) and tags["persistable.store"] == f"file://{tmp_path}"
    assert tags["persistable.run"] == failed.data.tags["persistable.run"], "one group for one run"
    assert f"persistable show {good.key}" in tags["mlflow.note.content"]
    assert failed.data.tags["persistable.error"].startswith("ValueError: c is too large")
    record = good.record
    assert record is not None
    assert done.info.start_time == round(record.started * 1000)


def test_wandb_keeps_a_run_for_each_target(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good, bad = score.step(points.step(n=3), c=1.0), score.step(points.step(n=3), c=3.0)
    hook = WandB("study", mode="offline", folder=str(tmp_path))
    run(good, bad, store=tmp_path / "data", hooks=[hook], errors="return")
    assert told(hook) == []
    assert capfd.readouterr() == ("", "")
    done, failed = offline_runs(tmp_path)
    assert (done.name, done.kind, done.project, done.exit_code) == (good.label, "score", "study", 0)
    assert done.config["model"] == {"class": "Forest", "trees": 50, "depth": "(3, 5)"}
    assert done.config["c"] == 1.0 and done.config["points"] == {"n": 3, "api_key": "***"}
    assert done.config["persistable"]["key"] == str(good.key)
    assert done.config["persistable"]["store"] == f"file://{tmp_path}/data"
    kept = {name: value for name, value in done.metrics.items() if not name.startswith("_")}
    assert kept == {"accuracy": 0.6, "folds.first": 1.0, "folds.second": 0.25, "passed": 1.0}
    assert (failed.exit_code, failed.group) == (1, done.group) and failed.group
    assert "ValueError: c is too large" in failed.config["persistable"]["error"]
    assert sys.executable.encode() not in done.data and TOKEN.encode() not in done.data, "nothing else of this process leaves it"


def test_a_run_that_the_users_own_code_has_open_stays_as_it_is(tmp_path: Path) -> None:
    import wandb

    own = wandb.init(project="own", dir=str(tmp_path), settings=wandb.Settings(silent=True, console="off"))
    try:
        hook = WandB("study", mode="offline", folder=str(tmp_path))
        run(points.step(n=1), store=tmp_path / "data", hooks=[hook])
        assert told(hook) == []
        assert wandb.run is own
    finally:
        own.finish()


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_upstream_is_kept_on_request_and_what_is_stored_is_not_told_again(server: str, tmp_path: Path, executor: str) -> None:
    experiment = f"each node on {executor}"
    hook = MLflow(experiment, url=server, each="node")
    first, second = score.step(points.step(n=3), c=0.5), score.step(points.step(n=3), c=0.75)
    run(first, store=tmp_path, hooks=[hook], executor=executor, max_workers=1)
    assert told(hook) == []
    assert set(runs_of(server, experiment)) == {first.label, points.step(n=3).label}
    run(first, second, store=tmp_path, hooks=[hook], executor=executor, max_workers=1)
    assert told(hook) == []
    kept = runs_of(server, experiment)
    assert set(kept) == {first.label, second.label, points.step(n=3).label}
    assert len({kept[node.label].data.tags["persistable.run"] for node in (first, second)}) == 2


def test_a_target_that_was_skipped_says_what_failed(server: str, tmp_path: Path) -> None:
    @step
    def nothing(n: int) -> list[float]:
        raise RuntimeError("no samples")

    node = score.step(nothing.step(n=1))
    hook = MLflow("skipped", url=server)
    run(node, store=tmp_path, hooks=[hook], errors="return")
    assert told(hook) == []
    (kept,) = runs_of(server, "skipped").values()
    assert kept.info.status == "FAILED"
    assert kept.data.tags["persistable.error"] == f"{nothing.step(n=1).key} failed"


def test_members_of_a_family_large_and_small(tmp_path: Path) -> None:
    """A large one is generated without its nodes; whoever asks for nodes has them all the same."""
    events: list[Event] = []

    class Asking:
        wants_nodes = True

        def __call__(self, event: Event) -> None:
            events.append(event)

    @step
    def square(x: int) -> int:
        return x * x

    for size in (3, 2000):
        events.clear()
        run(square.over(x=range(size)), store=f"sqlite:///{tmp_path}/{size}.db", hooks=[Asking()])
        performed = [event for event in events if isinstance(event, Performed)]
        assert len(performed) == size and all(event.is_target for event in performed)
        assert performed[1].node is not None and performed[1].node.key == performed[1].key
        assert performed[1].node.payload == performed[1].node.params.x ** 2


# ------------------------------------------------------------------ what they do not do


def test_a_tracker_that_cannot_be_reached_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("TEST_TRACKER_URL", f"http://me:{TOKEN}@127.0.0.1:{free_port()}")
    hook = MLflow("lost", url=Secret("TEST_TRACKER_URL"))
    with warnings.catch_warnings(record=True) as caught:  # also while the run goes on
        warnings.simplefilter("always")
        result = run(points.step(n=2), store=tmp_path, hooks=[hook])
        assert hook.flush(PATIENCE)
    assert result.counts["done"] == 1
    (warning,) = [str(each.message) for each in caught if issubclass(each.category, UndeliveredWarning)]
    assert "MLflow('lost', url=Secret('TEST_TRACKER_URL')) was not delivered" in warning
    assert TOKEN not in warning


def test_without_a_key_nobody_is_asked_for_one(tmp_path: Path) -> None:
    done = script(
        tmp_path, f"hooks = [WandB('study', mode='online', folder={str(tmp_path)!r})]", HOME=str(tmp_path), NETRC=str(tmp_path / "none")
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "WandB('study') was not delivered: it has no API key" in done.stderr and 'mode="offline"' in done.stderr
    assert "wandb:" not in done.stderr


def test_secrets_in_errors_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TRACKER_TOKEN", "9d4c7b2a6f1e8053")
    Secret("TEST_TRACKER_TOKEN").reveal()
    hook = WandB("study", mode="offline", folder=str(tmp_path))
    run(score.step(points.step(n=3), c=3.0), store=tmp_path / "data", hooks=[hook], errors="return")
    assert told(hook) == []
    (kept,) = offline_runs(tmp_path)
    assert "says <TEST_TRACKER_TOKEN>" in kept.config["persistable"]["error"]
    assert b"9d4c7b2a6f1e8053" not in kept.data


def script(folder: Path, hooks: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that ends when its run has ended."""
    (folder / "study.py").write_text(
        "from persistable import run, step\n"
        "from persistable.notify import MLflow, WandB\n"
        "@step\n"
        "def half(x: float) -> float:\n"
        "    return x / 2\n"
        f"{hooks}\n"
        f"run(half.step(x=3.0), store={str(folder / 'data')!r}, hooks=hooks)\n"
    )
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return subprocess.run(
        [sys.executable, str(folder / "study.py")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**known, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part), **environment},
    )


def test_the_end_of_the_process_waits_for_them(server: str, tmp_path: Path) -> None:
    done = script(
        tmp_path, f"hooks = [MLflow('at the end', url={server!r}), WandB('study', folder={str(tmp_path)!r})]", WANDB_MODE="offline"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (kept,) = runs_of(server, "at the end").values()
    assert kept.data.metrics == {"value": 1.5} and kept.data.params == {"x": "3.0"}
    (offline,) = offline_runs(tmp_path)
    assert offline.metrics["value"] == 1.5


# ------------------------------------------------------------------ how they are given


def test_they_travel_and_show_no_secret(tmp_path: Path) -> None:
    hook = pickle.loads(pickle.dumps(WandB("study", entity="team", mode="offline", folder=str(tmp_path))))
    assert repr(hook) == "WandB('team/study')"
    assert (
        repr(pickle.loads(pickle.dumps(MLflow("x", url=f"http://me:{TOKEN}@example.org/{TOKEN}")))) == "MLflow('x', url=http://example.org)"
    )
    run(points.step(n=2), store=tmp_path / "data", hooks=[hook])
    assert told(hook) == []
    assert [each.name for each in offline_runs(tmp_path)] == [points.step(n=2).label]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="each='run'"):
        MLflow(each="run")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode='disabled'"):
        WandB(mode="disabled")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Secret"):
        WandB(api_key=TOKEN)  # type: ignore[arg-type]


def test_a_project_names_them(server: str, tmp_path: Path) -> None:
    (tmp_path / "persistable.toml").write_text(
        f'store = "data"\n[notify]\nmlflow = {{ experiment = "of a project", url = "{server}", each = "node" }}\n'
        'wandb = { project = "study", entity = "team", mode = "offline", secret = "TEAM_KEY" }\n'
        '[targets.points]\nuse = "tests.notify.test_trackers:points"\nparams = { n = 2 }\n'
    )
    mlflow, wandb = Project.load(tmp_path)._hooks
    assert repr(wandb) == "WandB('team/study')"
    run(points.step(n=2), store=tmp_path / "data", hooks=[mlflow])
    assert told(mlflow) == []
    assert set(runs_of(server, "of a project")) == {points.step(n=2).label}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"wandb": "study"}, "notify.wandb"),
        ({"wandb": {"projct": "study"}}, "did you mean 'project'"),
        ({"wandb": {"project": 3}}, "notify.wandb.project"),
        ({"mlflow": {"each": "run"}}, "one of 'target', 'node'"),
        ({"mlflow": {"url": f"http://me:{TOKEN}@example.org"}}, "credentials"),
    ],
)
def test_what_a_project_cannot_mean_is_said(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Project({}, notify=entry)
    assert TOKEN not in str(caught.value)
