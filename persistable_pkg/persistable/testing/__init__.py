"""Contracts that every store, format and executor keeps, as tests to subclass, and Hypothesis strategies. Needs pytest and hypothesis.

`StoreContract`, `ReadContract` (for stores that are only read), `FileIOContract` and `ExecutorContract` say in their docstrings how they
are used; `strategies` has values that can be params.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from persistable import lazily

if TYPE_CHECKING:
    from persistable.testing import strategies
    from persistable.testing.executors import ExecutorContract
    from persistable.testing.fileio import FileIOContract
    from persistable.testing.store_reads import ReadContract
    from persistable.testing.stores import StoreContract

__all__ = ["ExecutorContract", "FileIOContract", "ReadContract", "StoreContract", "strategies"]


_HOMES = {
    "": ("strategies",),
    "executors": ("ExecutorContract",),
    "fileio": ("FileIOContract",),
    "store_reads": ("ReadContract",),
    "stores": ("StoreContract",),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _HOMES)
