"""Check that remote workers reach the same store: this process puts a file there, and a worker looks for it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from persistable.errors import NotEnforceable
from persistable.stores.base import HIDDEN, Store


def new_mark(store: Store) -> str | None:
    """Put a file into a store and return its path there; None if that fails, which the first write reports better."""
    path = f"{HIDDEN}/reach/{os.urandom(8).hex()}"
    try:
        return path if store.create(path, b"") else None
    except OSError:
        return None


def sees(store: Store, path: str) -> bool:
    """Tell, in a worker, whether the file exists."""
    return store.exists(path)


def check_files(paths: Sequence[str]) -> None:
    """Raise NotEnforceable, in a worker, if one of these files does not exist."""
    for path in paths:
        if not os.path.exists(path):
            raise store_not_shared(path.partition(f"/{HIDDEN}/")[0], "workers", platform.node())


def store_not_shared(url: str, executor: str, place: str, reason: str = "") -> NotEnforceable:
    """Return the error for a store that differs, or cannot be reached, at another place."""
    why = reason or "files of this process are not found there, as with a folder of one machine only"
    return NotEnforceable(
        f"results are to be kept in {url}, and {place} cannot put them there: {why}; use a folder on a file system that both share, "
        "or a store that both reach, such as a bucket or a database",
        key=None,
        executor=executor,
        wanted=url,
    )
