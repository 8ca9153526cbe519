"""One step for each kind of payload, and a workspace: what the tests of cleaning up, verifying and renaming share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from persistable import Workflow, Workspace, seed, step, stored
from persistable.fileio import BundleFileIO, JsonFileIO, TextFileIO


@step(io=JsonFileIO())
def number(n: int) -> int:
    return n


@step(io=JsonFileIO())
def squares(n: int) -> Iterator[tuple[int, int]]:
    for each in range(n):
        yield each, each * each


@step(io=BundleFileIO({"count": JsonFileIO(), "words": TextFileIO()}))
def several(n: int) -> dict[str, Any]:
    return {"count": n, "words": "w" * n}


@step(io=JsonFileIO())
def twice(n: int) -> int:
    return 2 * n


class Doubling(Workflow):
    raw = seed(int)
    doubled = twice.step(raw)


class Files(Workspace[Doubling]):
    raw = stored("raw/{workflow_id}.json")
    doubled = stored("computed/doubled-{workflow_id}.json")
