"""`persistable run` and `persistable plan`: what is missing is generated, or shown."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from persistable.amounts import duration_in_words
from persistable.cli.here import Here
from persistable.cli.options import COMMON, Common
from persistable.cli.output import Column, note, printable, table, write, write_json
from persistable.cli.usage import BadUsage

if TYPE_CHECKING:
    from persistable.result import RunResult

Flag = Annotated[bool, Parameter(negative="")]
Settings = Annotated[tuple[str, ...], Parameter(name="--set", negative="", allow_leading_hyphen=True)]


def run(
    *targets: str,
    changes: Settings = (),
    executor: str | None = None,
    workers: int | None = None,
    fail_fast: Flag = False,
    failed: Literal["retry", "skip"] | None = None,
    watch: float | None = None,
    no_progress: Flag = False,
    common: Common = COMMON,
) -> int:
    """Generate what is missing of targets and stages, and only that. Without any, all stages in order, or all targets.

    Parameters
    ----------
    targets
        Targets, stages, members of targets, or module:object.
    changes
        A param in place of that of the project: points.n=500. May be given several times.
    executor
        inline, threads, processes, ray or dask, in place of the project's.
    workers
        So many payloads at once.
    fail_fast
        Stop everything at the first failure.
    failed
        Whether what failed before is tried again, or left.
    watch
        Go on for ever: look for new and changed inputs, so many seconds apart.
    no_progress
        Show no bar.
    """
    here = Here(common, changes)
    options: dict[str, Any] = {"fail_fast": True} if fail_fast else {}
    options |= {name: value for name, value in (("failed", failed), ("watch", watch), ("max_workers", workers)) if value is not None}
    _check(workers, watch)
    with _bars(no_progress) as hooks:
        result = _run(here, targets, executor, {**options, "hooks": hooks})
    status = 1 if result.failures or result.counts["skipped"] else 0
    with contextlib.suppress(BrokenPipeError):  # how it went is told by the exit status, whoever reads the rest
        _tell(result, common.json)
    return status


def _check(workers: int | None, watch: float | None) -> None:
    if workers is not None and workers < 1:
        raise BadUsage(f"--workers {workers}: give 1 or more")
    if watch is not None and not watch > 0:
        raise BadUsage(f"--watch {watch:g}: give seconds, more than 0")


@contextlib.contextmanager
def _bars(no_progress: bool) -> Any:
    """A bar on standard error, where that is a terminal."""
    if no_progress or not sys.stderr.isatty():
        yield []
        return
    from rich.console import Console

    from persistable.bars import Bar

    yield [Bar(Console(stderr=True))]


def _run(here: Here, words: Sequence[str], executor: str | None, options: dict[str, Any]) -> RunResult:
    project: Any = here.project
    if project is not None and all(word in project.targets or word in project.stages for word in words):
        given = {} if executor is None else {"executor": executor}
        result: RunResult = project.run(*words, errors="return", **given, **options)
        return result
    if not words:
        here.needed_project()
    targets = [_target(here, word) for word in words]
    return _run_targets(here, targets, executor, options)


def _run_targets(here: Here, targets: list[Any], executor: str | None, options: dict[str, Any]) -> RunResult:
    """Members of targets and things outside the project, as the project runs its targets, where there is one."""
    from persistable.project.carriers import carrier
    from persistable.running import run as run_nodes

    project: Any = here.project
    own: dict[str, Any] = {}
    if project is not None:
        own = {"limits": project._limits, **project._options}
        own.pop("errors", None)
        options = {**options, "hooks": [*project._hooks, *options["hooks"]]}
    workers = options.pop("max_workers", None)
    given = executor if executor is not None else "inline" if project is None else project._executor
    with carrier(given, workers, "--executor") as carrying:
        return run_nodes(*targets, executor=carrying, store=here.store, errors="return", **{**own, **options})


def _target(here: Here, word: str) -> Any:
    found = here.find(word)
    if found.place is None:
        here.pairs(found.target)
        return found.target
    node = here.node_of(found.place.key)
    if node is None:
        raise BadUsage(f"{word} is the key of a payload that no target of the project is; run takes targets")
    return node


def _tell(result: RunResult, as_json: bool) -> None:
    counts = {name: number for name, number in result.counts.items() if number}
    failures: list[dict[str, Any]] = [
        {
            "key": str(failure.key),
            "name": failure.key.name,
            "error": type(failure.error).__name__,
            "message": str(failure.error),
            "attempts": failure.attempts,
            "params": failure.node._facts()["params"],
        }
        for failure in result.failures
    ]
    if as_json:
        skipped = {str(key): str(cause) for key, cause in result.skipped.items()}
        write_json({"counts": result.counts, "seconds": result.seconds, "failures": failures, "skipped": skipped})
        return
    from persistable.cli.output import shown_params

    for failure in failures:
        times = f" after {failure['attempts']} attempts" if failure["attempts"] > 1 else ""
        note(f"failed: {failure['key']} ({shown_params(failure['params'])}){times}: {failure['error']}: {failure['message']}")
    words = ", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing to do"
    write(printable(f"{words}, in {duration_in_words(result.seconds)}"))


# what would be done


def plan(
    *targets: str,
    changes: Settings = (),
    failed: Literal["retry", "skip"] | None = None,
    common: Common = COMMON,
) -> int:
    """Show what run would do for these targets and stages, and why. Nothing is touched.

    Parameters
    ----------
    targets
        Targets, stages, members of targets, or module:object.
    changes
        A param in place of that of the project: points.n=500. May be given several times.
    failed
        Whether what failed before would be tried again, or left.
    """
    here = Here(common, changes)
    rows = _planned(here, targets, {} if failed is None else {"failed": failed})
    if common.json:
        write_json([{**row._asdict(), "key": str(row.key), "name": row.key.name, "after": list(map(str, row.after))} for row in rows])
        return 0
    shown = [row for row in rows if row.action != "reuse"]
    if shown:
        columns = [Column("action"), Column("name"), Column("key"), Column("after", right=True), Column("why", long=True)]
        table(columns, [(row.action, row.key.name, row.key.digest[:8], len(row.after), row.reason) for row in shown])
    counts = ", ".join(f"{number} to {action}" for action, number in rows.counts.items() if number)
    write(counts or "nothing to do")
    return 0


def _planned(here: Here, words: Sequence[str], options: dict[str, Any]) -> Any:
    project = here.project
    if not words:
        return here.needed_project().plan(**options)
    if project is not None and all(word in project.targets or word in project.stages for word in words):
        return project.plan(*words, **options)
    from persistable.planning import plan as plan_nodes

    return plan_nodes(*(_target(here, word) for word in words), store=here.store, **options)
