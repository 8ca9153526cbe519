"""What was computed and cannot be written: kept as a pickle, so that the work is not lost."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from persistable import payload
from persistable.errors import PersistableError, StoreError
from persistable.fileio.pickle import PickleFileIO
from persistable.key import Key
from persistable.secret import redact
from persistable.stores.base import HIDDEN, Store

FOLDER = f"{HIDDEN}/rescued"


def rescue(store: Store, key: Key, result: Any, error: PersistableError) -> None:
    """Keep `result` beside what is in `store`, or on this machine where that cannot be, and say in `error` where. Never raises."""
    if isinstance(result, payload.InFile):
        return
    try:
        where = _in_store(store, key, result) if not isinstance(error, StoreError) else None
        where = where or _here(key, result)
    except Exception as second:  # noqa: BLE001 - the first error is the one to tell of
        error.add_note(f"what was computed could not be kept as a pickle either: {redact(str(second))}")
        return
    error.__dict__["rescued"] = where
    text = f"{error}; what was computed is kept as a pickle at {where}: PickleFileIO().load(...) reads it, put(payload) stores it"
    error.args = (text, *error.args[1:])


def _in_store(store: Store, key: Key, result: Any) -> str | None:
    path = f"{FOLDER}/{key.path}.pickle"
    try:
        payload.write(store, path, PickleFileIO(), result)
    except (OSError, StoreError):
        return None
    local = store.local_path(path)
    return str(local) if local is not None else f"{path} in {store.url}"


def _here(key: Key, result: Any) -> str:
    path = _folder() / f"{key.name}-{key.digest}.pickle"
    PickleFileIO().save(result, path)
    return str(path)


@cache
def _folder() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix=f"persistable-rescued-{os.getpid()}-"))
