"""The public surface as a user writes it. Never run: mypy and pyright check it, both strict (`make types`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, assert_type

import numpy as np
from numpy.typing import NDArray

import persistable
from persistable import (
    Command,
    HttpGet,
    Key,
    NodeFailure,
    Persistable,
    PersistableParams,
    Pipeline,
    Plan,
    Record,
    Resources,
    Retry,
    RunResult,
    Secret,
    Status,
    Upload,
    any_of,
    formerly,
    omit_when,
    open_store,
    optional,
    plan,
    rng,
    run,
    scratch,
    step,
    untracked,
)
from persistable.events import Event, RunFinished
from persistable.executors import DaskExecutor, ProcessExecutor, RayExecutor, ThreadExecutor
from persistable.fileio import FileIO, JsonFileIO, NumpyFileIO, PickleFileIO
from persistable.nodes.explain import Explanation
from persistable.nodes.step import StepNode
from persistable.notify import Slack, Webhook
from persistable.stores import LocalStore, Store


@dataclass
class PointsParams(PersistableParams):
    n: int
    random_state: int = 100
    n_jobs: Annotated[int, untracked] = 1
    noise: Annotated[float, omit_when(0.0)] = 0.0
    size: Annotated[int, formerly("n_rows")] = 10


class Points(Persistable[NDArray[np.float64], PointsParams]):
    io = NumpyFileIO()

    def _generate_payload(self, **untracked_payload_params: Any) -> NDArray[np.float64]:
        assert_type(self.params, PointsParams)
        assert_type(self.rng, np.random.Generator)
        assert_type(self.scratch, Path)
        self.progress(1, self.params.n)
        return self.rng.normal(size=self.params.n)


@dataclass(frozen=True)
class OutlierParams:
    k: float = 3.0
    tags: list[str] = field(default_factory=list[str])


class Outliers(Persistable[NDArray[np.bool_], OutlierParams]):
    """A hook that takes no keywords at all is fine too."""

    points: Points
    version = 2

    def _generate_payload(self) -> NDArray[np.bool_]:
        assert_type(self.points.payload, NDArray[np.float64])
        return np.abs(self.points.payload) > self.params.k

    def _validate_payload(self, payload: NDArray[np.bool_]) -> None:
        if payload.ndim != 1:
            raise ValueError("one dimension, please")


class Count(Persistable[dict[str, int], None]):
    outliers: Outliers
    io = JsonFileIO()

    def _generate_payload(self, **_: Any) -> dict[str, int]:
        return {"outliers": int(self.outliers.payload.sum())}


points = Points(persist_data_dir="data", params=PointsParams(n=100))
points = Points(Path("data"), PointsParams(n=100))
points = Points(data_dir="data", n=100)
points = Points(n=100)
points = Points(open_store("memory://"), n=100)
outliers = Outliers("data", OutlierParams(k=2.0), points=points)
outliers = Outliers("data", OutlierParams(k=2.0), tracked_persistable_dependencies=[points])
count = Count("data", outliers=outliers)

assert_type(points.payload, NDArray[np.float64])
assert_type(outliers.payload, NDArray[np.bool_])
assert_type(count.payload, dict[str, int])
assert_type(points.generate(), Points)
assert_type(points.generate(persist=False, threads=4), Points)
assert_type(points.load(verify=False), Points)
assert_type(points.load_generate().persist(), Points)
assert_type(points.replace(n=3), Points)
assert_type(points.params, PointsParams)
assert_type(points.key, Key)
assert_type(points.key.name, str)
assert_type(points.persist_hash, str)
assert_type(points.persist_filepath, Path)
assert_type(points.record, Record | None)
assert_type(points.status, Status)
assert_type(points.exists(), bool)
assert_type(points.delete(), bool)
assert_type(points.explain(), Explanation)
assert_type(points.params_tree, dict[str, Any])
assert_type(points.payload_io, FileIO[NDArray[np.float64]])
assert_type(outliers.upstream, Mapping[str, Persistable[Any, Any]])
if points.status is Status.STALE:
    points.accept_code("a variable was renamed")

with open_store("data") as store:
    assert_type(store, Store)
LocalStore("data")
PickleFileIO().save([1, 2], "numbers.pkl")
print(persistable.__version__, persistable.errors.PayloadNotFound)


@step
def sample(n: int, seed: int = 0) -> NDArray[np.float64]:
    assert_type(rng, np.random.Generator)
    (scratch / "checkpoint").write_text("x")
    return rng.normal(size=n)


@step(version=2, io=NumpyFileIO(), retry=Retry(3, delay=1.0), resources=Resources(cpus=2, time=60, db=1), persist=True, name="cut")
def above(points: NDArray[np.float64], k: float = 3.0) -> NDArray[np.float64]:
    return points[points > k]


assert_type(sample(3), NDArray[np.float64])
assert_type(above(np.ones(3), k=2.0), NDArray[np.float64])
assert_type(sample.step(3), StepNode[NDArray[np.float64]])
assert_type(above.step(sample.step(3), k=2.0).payload, NDArray[np.float64])
assert_type(above.step(k=2.0).replace(k=3.0), StepNode[NDArray[np.float64]])
assert_type(optional(sample.step(3)).key, Key)
assert_type(any_of(sample.step(3), sample.step(4)).payload, NDArray[np.float64])
chain = sample.step(3) >> [above.step(k=1.0), above.step(k=2.0)] >> Count("data")
assert_type(chain, Count)
assert_type(sample.step(3) >> above.step(k=1.0), StepNode[NDArray[np.float64]])
assert_type((sample.step(3) >> [above.step(k=1.0)])[0].payload, NDArray[np.float64])
pipeline = Pipeline(points=points, count=count)


def hook(event: Event) -> None:
    if isinstance(event, RunFinished):
        print(event.counts["done"], event.failures[0][0].name)


def running() -> None:
    result = run(points, [outliers], pipeline, executor="processes", max_workers=8, errors="return", failed="skip", hooks=[hook])
    assert_type(result, RunResult)
    failures: list[NodeFailure] = result.failures
    records: dict[Key, Record] = result.records
    print(failures, records, result.failures[points].reproduce(), result.records[points.key].size)
    assert_type(result.counts, dict[str, int])
    assert_type(result[points].payload, NDArray[np.float64])
    assert_type(result[points.key], Persistable[Any, Any])
    assert_type(result.failures[0], NodeFailure)
    assert_type(result.failures[points].error, Exception)
    assert_type(result.failures[:1], list[NodeFailure])
    assert_type(result.records[points], Record)
    for carrier in (ThreadExecutor(2), ProcessExecutor(2), RayExecutor(num_cpus=2), DaskExecutor(n_workers=2)):
        assert_type(points.run(executor=carrier, limits={"db": 2}), RunResult)
    assert_type(pipeline.run(progress=True, fail_fast=True, hooks=[Webhook("http://localhost"), Slack(Secret("SLACK_URL"))]), RunResult)
    assert_type(plan(points, failed="retry"), Plan)
    print(plan(points).to_frame(), points.lineage().mermaid(), pipeline.lineage().svg(), result.failures[0].reproduce())
    print(HttpGet("http://localhost/x.csv", as_of="2024-01-01") >> Upload("data/copy.csv"))
    Command("sort {{ text }} > {{ output }}", text=points).run()


def what_a_checker_must_refuse() -> None:
    """Each ignore is needed: mypy reports one that is not."""
    points.paylod  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnusedExpression]
    points.replace()._generate_payload("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportPrivateUsage]
    sample("three")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(points, errors="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    persistable.Persistible  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnusedExpression]
