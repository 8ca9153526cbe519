"""Luigi finds its tasks by class."""

from __future__ import annotations

from typing import Any

import luigi


class Noop(luigi.Task):
    n: Any = luigi.IntParameter()
    turn: Any = luigi.IntParameter()
    done = False

    def run(self) -> None:
        self.done = True

    def complete(self) -> bool:
        return self.done
