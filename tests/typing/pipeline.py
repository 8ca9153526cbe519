"""Chains, pipelines and results as a user writes them. Never run: mypy and pyright check it, both strict (`make types`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from persistable import Family, HttpGet, NodeFailure, Persistable, Pipeline, Record, RunResult, Source, run, step
from persistable.fileio import JsonFileIO, TextFileIO
from persistable.nodes.step import StepNode


@step
def clean(text: str, threshold: int = 3) -> list[str]:
    return text.split()[:threshold]


@step
def stats(words: list[str]) -> dict[str, int]:
    return {word: words.count(word) for word in words}


@step
def plot(words: list[str]) -> bytes:
    return " ".join(words).encode()


@step
def join(stats: dict[str, int], plot: bytes) -> str:
    return f"{stats}{plot!r}"


class Model(Persistable[float, None]):
    words: Persistable[list[str], Any]

    def _generate_payload(self) -> float:
        return float(len(self.words.payload))


words = HttpGet("http://localhost/x.txt", io=TextFileIO()) >> clean.step(threshold=3)
report = words >> [stats.step(), plot.step()] >> join.step()
assert_type(words, StepNode[list[str]])
assert_type(report, StepNode[str])
assert_type([words >> stats.step(), words >> plot.step()] >> join.step(), StepNode[str])
assert_type({"plot": words >> plot.step(), "stats": words >> stats.step()} >> join.step(), StepNode[str])
assert_type(words >> Model("data"), Model)
assert_type((words >> [stats.step(), stats.step()])[0].payload, dict[str, int])
assert_type(words >> (stats.step(), plot.step()) >> join.step(), StepNode[str])
assert_type(Source("data/{name}.txt", io=TextFileIO())["a"] >> clean.step(), StepNode[list[str]])
assert_type(clean.over(Source("data/{name}.txt", io=TextFileIO())), Family[list[str]])
assert_type(Source({"a": {"x": 1}})["a"].payload, dict[str, int])
assert_type(Source("data/{name}.json", io=JsonFileIO()).nodes[0].exists(), bool)

model = Model("data", words=words)

# of one kind: known by any name
alike = Pipeline(first=words, second=clean.step("a b"))
assert_type(alike["first"], StepNode[list[str]])
assert_type(alike.first, StepNode[list[str]])
assert_type(alike.first.payload, list[str])
assert_type([node.payload for node in alike.values()], list[list[str]])
assert_type(alike.targets, list[StepNode[list[str]]])

# of several kinds: what they have in common, and by declaration what each is
mixed = Pipeline(report=report, model=model)
print(mixed["report"].payload, mixed.model.key, mixed["model"].status)


class Weather(Pipeline):
    report: StepNode[str]
    model: Model


weather = Weather(report=report, model=model)
assert_type(weather.report, StepNode[str])
assert_type(weather.model, Model)
assert_type(weather.model.payload, float)
plain: Pipeline = mixed
mapping: Mapping[str, StepNode[list[str]]] = alike


def results() -> None:
    result = run(weather, alike, errors="return")
    assert_type(result, RunResult)
    assert_type(alike.run(), RunResult)
    assert_type(result[report], StepNode[str])
    assert_type(result[report].payload, str)
    assert_type(result[weather.model].payload, float)
    assert_type(result[alike.first].payload, list[str])
    assert_type(result.failures[0], NodeFailure)
    assert_type(result.failures[report].error, Exception)
    assert_type(result.failures[model.key], NodeFailure)
    assert_type([failure.key.name for failure in result.failures], list[str])
    assert_type(result.records[model.key], Record)
    assert_type(result.status(report), str)
    assert_type(result.saved, float)


def what_a_checker_must_refuse() -> None:
    """Each ignore is needed: mypy reports one that is not."""
    Pipeline(report="text")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    weather.report.paylod  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnusedExpression]
