"""A step that prints, logs and reports progress, and the check that all of it gets here from jobs that run elsewhere."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from persistable import progress, run, step
from persistable.executors.base import Executor


def check_that_it_gets_here(executor: Executor, store: Path, capsys: Any, caplog: Any) -> None:
    @step
    def talk(n: int) -> int:
        print("hello", n)
        logging.getLogger("mine").warning("loss is %d", n)
        for i in range(1, 4):
            progress(i, 3)
            time.sleep(0.5)
        print("end", end="")
        return n

    heard: list[Any] = []
    with executor:
        result = run(talk.step(1), store=store, executor=executor, hooks=[heard.append])
    assert result.records[talk.step(1)].output == "hello 1\nWARNING mine: loss is 1\nend"
    shown = capsys.readouterr().out
    assert shown.count("hello 1\n") == 1 and "end\n" in shown
    assert [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "mine"] == [(logging.WARNING, "loss is 1")]
    names = [type(event).__name__ for event in heard]
    assert names.index("Progressed") < names.index("Performed") and names.count("Printed") == 2
