"""What the tests of sources see: which nodes a run performed, and what it asked of the disk."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from persistable import Family, RunResult


def done(result: RunResult, family: Family[Any]) -> list[Any]:
    """Keys of the members that this run performed."""
    return [key for key, node in family.items() if node.key in result and result.status(node) == "done"]


def write(folder: Path, **texts: str) -> None:
    """Write files, and wait until their times can be told from those of a later change."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    settle()


def settle() -> None:
    time.sleep(0.15)


class Calls:
    """Paths that were listed and opened while it watched, in this process."""

    def __init__(self, below: str) -> None:
        self.below = below
        self.listed: list[str] = []
        self.opened: list[str] = []


_watching: list[Calls] = []


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in ("open", "os.scandir", "os.listdir") and isinstance(arguments[0], str):
        calls = _watching[-1]
        if arguments[0].startswith(calls.below):
            (calls.opened if event == "open" else calls.listed).append(arguments[0])


sys.addaudithook(_heard)


@contextmanager
def calls_below(folder: Path) -> Iterator[Calls]:
    _watching.append(Calls(str(folder)))
    try:
        yield _watching[-1]
    finally:
        _watching.pop()
