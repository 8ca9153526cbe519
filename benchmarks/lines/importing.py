"""The first use: what it takes to import the names that a program begins with, as a process of its own each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from harness import LIMIT, MORE, OURS, RELEASED_ROLE, Goal, Job, Line

LINE = Line(
    name="import",
    title="first use",
    loop="a whole process: start, import what a class or function is declared with, exit; the bare interpreter's time of the same round is "
    "taken off",
    unit="ms",
    rounds=25,
    rounds_quick=5,
    seconds=0.0,
    over_limit=True,
    goals=(Goal("<= 0.2 x joblib", 0.2, "joblib"),),
)


def _process(code: str) -> Callable[[Job], Any]:
    def setup(_: Job) -> Any:
        command = [sys.executable, "-c", code]
        return lambda: subprocess.run(command, check=True)

    return setup


LINE.add("bare interpreter", "python -c pass", LIMIT)(_process("pass"))
for _name in ("diskcache", "labtech", "joblib", "exca", "pipefunc"):
    LINE.add(_name, f"python -c 'import {_name}'")(_process(f"import {_name}"))
LINE.add("released persistable", "python -c 'import persistable', 1.3.1", RELEASED_ROLE)(_process("import persistable"))
LINE.add("persistable", "python -c 'from persistable import Persistable, PersistableParams'", OURS)(
    _process("from persistable import Persistable, PersistableParams")
)
LINE.add("persistable, a function", "python -c 'from persistable import step'", MORE)(_process("from persistable import step"))
LINE.add("persistable, the name alone", "python -c 'import persistable', which imports nothing else yet", MORE)(
    _process("import persistable")
)
LINE.add("numpy", "python -c 'import numpy', to compare with", MORE)(_process("import numpy"))
