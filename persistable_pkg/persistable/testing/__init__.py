"""Contracts that every store, format and executor keeps, as tests to subclass, and Hypothesis strategies. Needs pytest and hypothesis.

`StoreContract`, `ReadContract` (for stores that are only read), `FileIOContract` and `ExecutorContract` say in their docstrings how they
are used; `strategies` has values that can be params.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persistable.testing import strategies
    from persistable.testing.executors import ExecutorContract
    from persistable.testing.fileio import FileIOContract
    from persistable.testing.reading import ReadContract
    from persistable.testing.stores import StoreContract

__all__ = ["ExecutorContract", "FileIOContract", "ReadContract", "StoreContract", "strategies"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "strategies":
        return import_module("persistable.testing.strategies")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"persistable.testing.{home}"), name)


_HOMES = {"ExecutorContract": "executors", "FileIOContract": "fileio", "ReadContract": "reading", "StoreContract": "stores"}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
