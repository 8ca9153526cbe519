"""Workflows by id as a user writes them. Never run: mypy and pyright check it, both strict (`make types`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

import pandas as pd

from persistable import Persistable, Plan, RunResult, Status, Workflow, Workspace, plan, run, seed, step, stored
from persistable.families.workspaces import Overview, Seed
from persistable.fileio import CsvFileIO
from persistable.nodes.step import StepNode


@step
def multiply(frame: pd.DataFrame, factor: int) -> pd.DataFrame:
    return frame * factor


@step
def first_cell(frame: pd.DataFrame) -> int:
    return int(str(frame.iloc[0, 0]))


class Largest(Persistable[float, None]):
    frame: Persistable[pd.DataFrame, Any]

    def _generate_payload(self) -> float:
        return float(self.frame.payload.to_numpy().max())


class Scaling(Workflow):
    raw = seed(pd.DataFrame)
    note: str = seed(default="")
    factor = seed(int, default=2)
    scaled = multiply.step(raw, factor=factor)
    top = first_cell.step(scaled)
    largest = Largest(frame=scaled)


class Files(Workspace[Scaling]):
    raw = stored("raw/data-{workflow_id}.csv")
    factor = stored("params/factor")
    scaled = stored("computed/scaled-{workflow_id}.csv", io=CsvFileIO(index=False))


assert_type(Scaling.raw, Seed[pd.DataFrame])
assert_type(Scaling.scaled, StepNode[pd.DataFrame])
assert_type(Scaling.largest, Largest)

ws = Files("data")
assert_type(ws["001"], Scaling)
assert_type(ws["001"].raw, pd.DataFrame)
assert_type(ws["001"].note, str)
assert_type(ws["001"].factor, int)
assert_type(ws["001"].scaled, pd.DataFrame)
assert_type(ws["001"].top, int)
assert_type(ws["001"].largest, float)
assert_type(ws["001"].node("scaled"), Persistable[Any, Any])
assert_type(ws["001"].status(), dict[str, Status])
assert_type([workflow.top for workflow in ws.values()], list[int])
assert_type(ws.run("top", executor="processes"), RunResult)
assert_type(run(ws), RunResult)
assert_type(plan(ws["001"]), Plan)
assert_type(ws.status(), Overview)
assert_type(Scaling(raw=pd.DataFrame(), factor=3).top, int)
assert_type(Largest(frame=Scaling.scaled).frame.payload, pd.DataFrame)

mapping: Mapping[Any, Scaling] = ws
