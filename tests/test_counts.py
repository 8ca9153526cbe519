"""Calls and modules of the library in the three operations that happen most, counted: they may only become fewer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

import persistable
from persistable import Persistable, PersistableParams, run, step

PACKAGE = str(Path(persistable.__file__).parent)
NOT_COUNTED = ("<listcomp>", "<dictcomp>", "<setcomp>", "usage_since")
"""Calls of their own up to Python 3.11, and what is done only for generations that take a millisecond."""
CEILINGS = {"hit": (28, 10), "miss": (81, 15), "run of two steps": (298, 25)}


@dataclass(frozen=True)
class CountedParams(PersistableParams):
    n: int = 1


class Counted(Persistable[dict[str, int], CountedParams]):
    def _generate_payload(self, **_: Any) -> dict[str, int]:
        return {"n": self.params.n}


@step
def first(n: int) -> dict[str, int]:
    return {"n": n}


@step
def second(one: dict[str, int]) -> dict[str, int]:
    return {"m": one["n"]}


class Count(NamedTuple):
    calls: list[str]
    modules: set[str]


def counted(act: Callable[[], object]) -> Count:
    """Python calls of the package in `act`, and the modules they are in."""
    calls: list[str] = []
    modules: set[str] = set()

    def saw(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE) and code.co_name not in NOT_COUNTED:
            module = code.co_filename[len(PACKAGE) + 1 : -3]
            calls.append(f"{module} {code.co_qualname}")
            modules.add(module)

    before = sys.getprofile()
    logging.disable()  # nobody listens, as in a script
    sys.setprofile(saw)
    try:
        act()
    finally:
        sys.setprofile(before)
        logging.disable(logging.NOTSET)
    return Count(calls, modules)


def operation(name: str, folder: Path, n: int) -> Callable[[], object]:
    if name == "run of two steps":
        report = second.step(first.step(n))
        return lambda: run(report, store=folder)
    node = Counted(folder, n=n)
    if name == "hit":
        Counted(folder, n=n).generate()
    return lambda: node.payload


@pytest.mark.parametrize("name", CEILINGS)
def test_no_more_calls_and_modules_than_before(name: str, tmp_path: Path) -> None:
    for n in range(3):  # what a process does once is not counted
        operation(name, tmp_path, n)()
    found = counted(operation(name, tmp_path, 3))
    calls, modules = CEILINGS[name]
    listed = "\n".join(found.calls)
    assert (len(found.calls), len(found.modules)) <= (calls, modules) and len(found.modules) <= modules, listed
    assert len(found.calls) > calls * 0.9, "lower the ceiling"
