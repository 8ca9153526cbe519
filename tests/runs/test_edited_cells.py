"""The loop of a notebook, in a real kernel: edit a cell, run it again, and only what follows from it is made anew."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

IMPORTS = """
import json
from persistable import open_store, plan, run, step
"""
READ = """
@step
def read(n: int) -> list[int]:
    print("reading", n)
    return list(range(n))
"""
CLEANED = """
@step
def cleaned(values: list[int]) -> list[int]:
    return [value for value in values if value % 2]
"""
EDITED = CLEANED.replace("value % 2]", "value > 2]")
RENAMED = EDITED.replace("value", "each").replace("eachs: list", "values: list").replace("in eachs", "in values")
FIGURES = """
@step
def total(values: list[int]) -> int:
    return sum(values)

@step
def number(raw: list[int]) -> int:
    return len(raw)
"""
BUILT = """
with open_store("data"):
    raw = read.step(7)
    clean = cleaned.step(raw)
    targets = {"total": total.step(clean), "number": number.step(raw)}
"""
SHOWN = """
todo = {row.key.name: row.action for row in plan(targets, stale="generate")}
result = run(targets, stale="generate", executor=EXECUTOR)
print(json.dumps([todo, result.counts["done"], [result[node].payload for node in targets.values()]]))
"""


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_only_what_follows_from_an_edited_cell_is_made_anew(tmp_path: Path, executor: str) -> None:
    show = SHOWN.replace("EXECUTOR", repr(executor))
    cells = [IMPORTS, READ, CLEANED, FIGURES, BUILT, show, BUILT, show, EDITED, BUILT, show, RENAMED, BUILT, show]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, startup_timeout=240, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    first, again, edited, renamed = [
        json.loads(cell.outputs[-1]["text"].splitlines()[-1]) for cell in notebook.cells if cell.source == show
    ]
    assert first == [dict.fromkeys(["read", "cleaned", "total", "number"], "generate"), 4, [9, 7]]
    assert again == [{"total": "reuse", "number": "reuse"}, 0, [9, 7]]
    assert edited == [{"number": "reuse", "read": "reuse", "cleaned": "generate", "total": "follow"}, 2, [18, 7]]
    # the edit changes no bytes, so nothing follows
    assert renamed == [{"number": "reuse", "read": "reuse", "cleaned": "generate", "total": "follow"}, 1, [18, 7]]
