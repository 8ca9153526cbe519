"""`persistable init`, `demo` and `completion`: the verbs to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from persistable.cli.options import COMMON, CommonOptions, Flag
from persistable.cli.output import answer, write, write_json
from persistable.cli.usage import BadUsage

_TOML = """\
# What this project computes: `persistable run` generates what is missing, `persistable status` tells how far it is.

# Where payloads are kept: a path (from here), a URL such as "s3://bucket/folder" or "sqlite:///results.db", or layers, fast to slow:
# store = ["memory://", "data", { url = "s3://team/results", readonly = true }]
store = "data"

# Where they are generated: "inline", "threads", "processes", "ray", "dask"; a table may say more:
# executor = { kind = "processes", workers = 4 }
executor = "inline"

# Each target is a class, a step, a node or a family of a module beside this file, with its params and what is upstream of it:
"""
_COMMENTED = """\
# [targets.points]
# use = "flows:points"
# params = { n = 1000 }
#
# [targets.summary]
# use = "flows:summary"
# upstream = { points = "points" }

# Targets under one name, in the order in which stages are run:
# [stages]
# prepare = ["points"]
# report = ["summary"]
"""
_FLOWS = '''\
"""A small flow: `persistable run`, then `persistable cat summary`."""

from persistable import step


@step
def points(n: int = 1000, seed: int = 7) -> list[int]:
    """Numbers that look random, the same each time."""
    numbers, state = [], seed
    for _ in range(n):
        state = (state * 1103515245 + 12345) % 2**31
        numbers.append(state % 100)
    return numbers


@step
def summary(points: list[int]) -> dict[str, float]:
    """Count and mean of the points."""
    return {"count": len(points), "mean": sum(points) / len(points)}
'''


def init(folder: Path = Path(), /, *, example: Flag = False, common: CommonOptions = COMMON) -> None:
    """Write a persistable.toml to begin with. Files that exist and were changed are never overwritten; missing files are written.

    Parameters
    ----------
    folder
        The folder to write to; by default the current folder.
    example
        Also write a small flow that runs.
    """
    uncommented = "\n".join(
        line.removeprefix("#").removeprefix(" ") if "=" in line or "[" in line or line == "#" else line for line in _COMMENTED.split("\n")
    )
    toml = folder / "persistable.toml"
    files = {toml: _TOML + (uncommented if example else _COMMENTED)}
    if example:
        files[folder / "flows.py"] = _FLOWS
    there = [file for file in files if file.exists() or file.is_symlink()]
    untouched = example and toml in there and _is(toml, _TOML + _COMMENTED)
    if untouched:  # as `init` wrote it: only the targets of the example are comments there
        there.remove(toml)
    for file in there:
        del files[file]
    if not files:
        raise BadUsage(f"{there[0]} is there already; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            with file.open("w" if file == toml and untouched else "x", encoding="utf-8") as opened:
                opened.write(text)
    except OSError as error:
        raise BadUsage(f"{folder}: {error.strerror or error}") from error
    if common.json:
        write_json({"written": list(map(str, files)), "kept": list(map(str, there))})
    else:
        write("\n".join([*(f"wrote {file}" for file in files), *(f"{file} is there already and stays as it is" for file in there)]))
        if toml in there:
            write(f"the targets of the example, for {toml}:\n{uncommented.strip()}")


def _is(file: Path, text: str) -> bool:
    try:
        return file.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def demo(folder: str = "demo-data", /, *, common: CommonOptions = COMMON) -> int:
    """Run a small flow on a real data set three times, and print the results.

    Parameters
    ----------
    folder
        The folder of its payloads.
    """
    from persistable.cli.demo.__main__ import main

    return main(common.store or folder)


def completion(shell: Literal["bash", "zsh", "fish"], /, *, install: Flag = False, common: CommonOptions = COMMON) -> None:
    """Write a script that completes verbs, options and choices: eval "$(persistable completion bash)".

    Parameters
    ----------
    shell
        The shell that is to read it.
    install
        Write it to the folder where that shell looks for such scripts instead.
    """
    from persistable.cli.main import application

    app = application()
    if install:
        place = app.install_completion(shell=shell)
        answer(common.json, {"written": [str(place)]}, f"wrote {place}; it counts in the next {shell}")
    else:
        write(app.generate_completion(shell=shell))
