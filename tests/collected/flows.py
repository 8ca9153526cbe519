"""What the tests of collected payloads generate."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persistable import Collected, Persistable, committed, step
from persistable.fileio import JsonFileIO


@step(io=JsonFileIO())
def letters(word: str, log: str = "", fail_at: str = "") -> Iterator[tuple[str, list[str]]]:
    """One item a letter; what is made is noted in the file `log`, and one letter fails as long as there is no file ``<log>.mended``."""
    for place, letter in enumerate(word):
        key = f"{place}-{letter}"
        if key in committed():
            continue
        if letter == fail_at and not os.path.exists(f"{log}.mended"):
            raise ValueError(f"no {letter}")
        if log:
            with open(log, "a") as file:
                file.write(f"{key}\n")
        yield key, [letter] * place


@step
def length(letters: list[str], times: int = 1) -> int:
    return len(letters) * times


@dataclass
class WordsParams:
    text: str


class Words(Persistable[Collected[str], WordsParams]):
    io = JsonFileIO()

    def _generate_payload(self, **_: Any) -> Iterator[tuple[int, str]]:
        for number, word in enumerate(self.params.text.split()):
            if number not in self.committed:
                yield number, word


def made(log: Path) -> list[str]:
    """What `letters` has noted."""
    return log.read_text().split() if log.exists() else []
