"""What the tests of sources make from inputs."""

import os
import time
from pathlib import Path

from persistable import step


@step
def length(text: str) -> int:
    return len(text)


@step
def shouted(text: str, times: int = 1) -> str:
    if "fail" in text:
        raise ValueError("it says fail")
    return text.upper() * times


@step
def worker_of(text: str) -> tuple[int, str]:
    return os.getpid(), text


@step
def both(left: str, right: str) -> str:
    return f"{left}+{right}"


@step
def together(texts: list[str]) -> str:
    return "".join(texts)


@step
def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@step
def delayed(text: str, seconds: float, started: str) -> str:
    """Says in the file `started` that it has begun, and ends `seconds` later."""
    with Path(started).open("a") as file:
        file.write(text + "\n")
    time.sleep(seconds)
    return text
