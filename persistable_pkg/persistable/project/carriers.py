"""Executors from what a project says of them: a name, or a table of a kind and its options."""

# Tables hold values of every type, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Generator, Mapping
from concurrent import futures
from contextlib import contextmanager
from typing import Any, cast

from persistable import executors, extensions
from persistable.errors import ConfigError
from persistable.project.kinds import parameters_of
from persistable.project.leaves import wrong
from persistable.project.names import check_names, unknown
from persistable.project.values import read

_NO_KINDS = ("Executor", "FuturesExecutor")
_WORKERS = ("max_workers", "num_cpus", "n_workers")
"""The names that executors themselves have for ``workers``."""


def kinds() -> dict[str, str]:
    """The name that files use, ``processes``, to that of the class, ``ProcessExecutor``; what packages bring has the same for both."""
    found = {name: name for name in extensions.entries("executors")}
    found |= {name.removesuffix("Executor").lower(): name for name in executors.__all__ if name not in _NO_KINDS}
    usual = {"threads": found.pop("thread"), "processes": found.pop("process")}
    return {**found, **usual}


def check(given: Any, where: str) -> None:
    """Raise ConfigError unless `given` is an executor, or names a kind that there is, with options that it takes.

    Options that an executor hands on to a library are the library's to judge, when it is imported.
    """
    if isinstance(given, futures.Executor) or hasattr(given, "submit_for"):
        return
    kind = given
    if isinstance(given, Mapping):
        table = cast("Mapping[str, Any]", given)
        if "kind" not in table:
            raise wrong(dict(table), where, f'a kind too, such as kind = "processes" ({", ".join(sorted(kinds()))})')
        kind = table["kind"]
    place = where if kind is given else f"{where}.kind"
    if not isinstance(kind, str):
        raise wrong(kind, place, f"one of {', '.join(sorted(kinds()))}, or a table with a kind")
    if kind not in kinds():
        raise unknown(kind, sorted(kinds()), f"{place}: ")
    if kind is not given:
        _call(given, None, where)


@contextmanager
def carrier(given: Any, max_workers: int | None, where: str) -> Generator[Any]:
    """The executor that `given` stands for; one that is made here is shut down here. Raises ConfigError for options it does not take."""
    check(given, where)
    if not isinstance(given, str | Mapping):
        yield given
        return
    cls, options = _call(given, max_workers, where)
    try:
        made = cls(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}", where=where, accepted=[]) from error
    with made:
        yield made


def _call(given: str | Mapping[str, Any], max_workers: int | None, where: str) -> tuple[Any, dict[str, Any]]:
    """The class and the arguments that make the executor."""
    table: dict[str, Any] = {"kind": given} if isinstance(given, str) else dict(given)
    name = kinds()[table.pop("kind")]
    cls: Any = getattr(executors, name) if name in executors.__all__ else extensions.load("executors", name)
    fields = parameters_of(cls, skip=int(isinstance(cls, type)))
    workers = next((name for name in _WORKERS if name in fields.kinds), None)
    if max_workers is not None and workers is not None:
        table.pop("workers", None)
        table[workers] = max_workers
    elif "workers" in table and workers is not None:
        table[workers] = table.pop("workers")
    if "address" in table and "client_or_address" in fields.kinds:
        table["client_or_address"] = table.pop("address")
    shown = {workers: "workers", "client_or_address": "address"}
    if not fields.open:
        check_names(
            [name for name in table if name not in fields.kinds], ["kind", *[shown.get(name, name) for name in fields.kinds]], where
        )
    return cls, {name: read(fields.kinds.get(name, Any), value, f"{where}.{shown.get(name, name)}") for name, value in table.items()}
