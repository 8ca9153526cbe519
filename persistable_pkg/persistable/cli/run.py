"""`persistable run` and `persistable plan`: generate missing payloads, or list them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from persistable.cli.options import COMMON, WANTED, CommonOptions, Flag, RunOptions, TargetArgument
from persistable.cli.output import Column, note, printable, table, write, write_json
from persistable.cli.target import CommandContext
from persistable.cli.usage import BadUsage
from persistable.nodes.provenance import facts_of
from persistable.records.units import duration_in_words

if TYPE_CHECKING:
    from persistable.project import Project
    from persistable.runs.result import RunResult


def run(
    *targets: TargetArgument,
    wanted: RunOptions = WANTED,
    executor: str | None = None,
    workers: int | None = None,
    fail_fast: Flag = False,
    watch: float | None = None,
    no_progress: Flag = False,
    no_output: Flag = False,
    common: CommonOptions = COMMON,
) -> int:
    """Generate the missing payloads of targets and stages, and only those. Without any, all stages in order, or all targets.

    Parameters
    ----------
    targets
        Targets, stages, members of targets, module:object, or keys, whose payloads are generated again from their records.
    executor
        inline, threads, processes, ray, dask, slurm, or an executor of another package, instead of the project's.
    workers
        The number of payloads to generate at once.
    fail_fast
        Stop everything at the first failure.
    watch
        Seconds between repeated runs, which pick up new and changed inputs, until interrupted.
    no_progress
        Show no bar.
    no_output
        Do not store the output and logs of the generating code.
    """
    here = CommandContext(common, wanted.changes)
    _check(executor, workers, watch)
    given = {
        "fail_fast": fail_fast or None,
        "watch": watch,
        "max_workers": workers,
        "executor": executor,
        "output": False if no_output else None,
    }
    options = {name: value for name, value in given.items() if value is not None}
    project, words = _project_of(here, targets), _targets(here, targets)
    with _bars(no_progress) as hooks:
        result = project.run(*words, errors="return", hooks=hooks, **options, **wanted.options)
    status = 1 if result.failures or result.counts["skipped"] else 0
    with contextlib.suppress(BrokenPipeError):  # the exit status must be returned even if the pipe is closed
        _tell(result, common.json)
    return status


def _check(executor: str | None, workers: int | None, watch: float | None) -> None:
    from persistable.project.services import check

    if executor is not None:
        check(executor, "--executor")
    if workers is not None and workers < 1:
        raise BadUsage(f"--workers {workers}: give 1 or more")
    if watch is not None and not 0 < watch < float("inf"):
        raise BadUsage(f"--watch {watch:g}: give seconds, more than 0")


@contextlib.contextmanager
def _bars(no_progress: bool) -> Any:
    """Show a progress bar on standard error if that is a terminal."""
    if no_progress or not sys.stderr.isatty():
        yield []
        return
    from rich.console import Console

    from persistable.runs.progress import Bar

    bar = Bar(Console(stderr=True))
    try:
        yield [bar]
    finally:
        bar.close()


def _project_of(here: CommandContext, words: Sequence[str]) -> Project:
    """The project; without a project file, one without targets."""
    from persistable.project import Project

    found = here.project if words else here.needed_project()
    return Project({}, store=here.store) if found is None else found


def _targets(here: CommandContext, words: Sequence[str]) -> list[Any]:
    """The targets for `run`: names of the project unchanged, for other words the objects that they name."""
    return [word if here.is_name(word) else _target(here, word) for word in words]


def _target(here: CommandContext, word: str) -> Any:
    found = here.find(word)
    if found.place is None:
        here.pairs(found.target)
        return found.target
    return here.node_at(found.place)


def _tell(result: RunResult, as_json: bool) -> None:
    counts = {name: number for name, number in result.counts.items() if number}
    failures: list[dict[str, Any]] = [
        {
            "key": str(failure.key),
            "name": failure.key.name,
            "label": failure.label,
            "error": type(failure.error).__name__,
            "message": str(failure.error),
            "attempts": failure.attempts,
            "params": facts_of(failure.node)["params"],
        }
        for failure in result.failures
    ]
    if as_json:
        skipped = {str(key): str(cause) for key, cause in result.skipped.items()}
        stale = {str(key): result.stale[key] for key in result.stale}
        write_json({"counts": result.counts, "seconds": result.seconds, "failures": failures, "skipped": skipped, "stale": stale})
        return
    for line in result.failures.describe().splitlines():
        note(printable(line if line.startswith((" ", "and ")) else f"failed: {line}"))
    words = ", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing to do"
    write(printable(f"{words}, in {duration_in_words(result.seconds)}"))


# plan


def plan(
    *targets: TargetArgument,
    wanted: RunOptions = WANTED,
    common: CommonOptions = COMMON,
) -> None:
    """Show the steps that run would take for these targets and stages, and the reasons. Nothing is changed.

    Parameters
    ----------
    targets
        Targets, stages, members of targets, or module:object.
    """
    here = CommandContext(common, wanted.changes)
    rows = _project_of(here, targets).plan(*_targets(here, targets), **wanted.options)
    if common.json:
        facts = [{**row._asdict(), "key": str(row.key), "name": row.key.name, "after": list(map(str, row.after))} for row in rows]
        write_json([{**each, "label": rows.label(number)} for number, each in enumerate(facts)])
        return
    shown = [(i, row) for i, row in enumerate(rows) if row.action != "reuse" or row.reason.startswith("stored, stale")]
    if shown:
        columns = [Column("action"), Column("node"), Column("key"), Column("after", right=True), Column("why", long=True)]
        table(columns, [(row.action, printable(rows.label(i, 60)), row.key.digest[:8], len(row.after), row.reason) for i, row in shown])
    counts = ", ".join(f"{number} to {action}" for action, number in rows.counts.items() if number)
    write(counts or "nothing to do")
