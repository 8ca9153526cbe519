"""Payloads that were computed and cannot be written: kept as a pickle, or as their own file, so that the work is not lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from persistable.errors import PersistableError, StoreError
from persistable.fileio.pickle import PickleFileIO
from persistable.params.secret import redact
from persistable.records.files import ExistingFile, write
from persistable.records.key import Key
from persistable.records.record import FileFact
from persistable.stores.base import HIDDEN, Store

FOLDER = f"{HIDDEN}/rescued"


def rescue(store: Store, key: Key, result: Any, error: Exception, name: str = "", files: Sequence[FileFact] = ()) -> None:
    """Keep `result` beside the payloads in `store`, or on this machine if that fails, and add its location to `error`. Never raises.

    name: of a piece of the payload, such as an item. files: those files of a payload in a file that are in the store by now.
    """
    try:
        if isinstance(result, ExistingFile):
            where, how = _file(store, key, result, files), "the file as it was given"
        else:
            kept = _in_store(store, key, name, result) if not isinstance(error, StoreError) else None
            where = kept or _here(key, name, result)
            how = "PickleFileIO().load(...) reads it" + ("" if name else ", put(payload) stores it")
    except Exception as second:  # noqa: BLE001 - the first error is the one to report
        error.add_note(f"what was computed could not be kept either: {redact(str(second))}")
        return
    error.__dict__["rescued"] = where
    kind = "" if isinstance(result, ExistingFile) else " as a pickle"
    text = f"what was computed is kept{kind} at {where}: {how}"
    if isinstance(error, PersistableError):
        error.args = (f"{error}; {text}", *error.args[1:])
    else:
        error.add_note(text)


def _file(store: Store, key: Key, result: ExistingFile, files: Sequence[FileFact]) -> str:
    """Copy the file, or the files, of a payload to the folder of rescued ones, or on this machine, and return the location."""
    try:
        base = f"{FOLDER}/{key.path}"
        if files:
            for file in files:
                _copied(store.read(file.path), store, f"{base}/{file.part}" if file.part else base + _ending(file.path))
            whole = base if files[0].part else base + _ending(files[0].path)
        elif result.path.is_dir():
            whole = base
            for path in sorted(path for path in result.path.rglob("*") if path.is_file()):
                _copied(path.open("rb"), store, f"{base}/{path.relative_to(result.path).as_posix()}")
        else:
            whole = base + _ending(result.path.name)
            _copied(result.path.open("rb"), store, whole)
        return _place(store, whole)
    except (OSError, StoreError):
        if not result.path.exists():
            raise
        target = _folder() / f"{key.name}-{key.digest}-{result.path.name}"
        shutil.copytree(result.path, target) if result.path.is_dir() else shutil.copy2(result.path, target)
        return str(target)


def _copied(source: Any, store: Store, path: str) -> None:
    with source, store.write(path) as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _ending(path: str) -> str:
    return "".join(PurePosixPath(path).suffixes[-1:])


def _place(store: Store, path: str) -> str:
    local = store.local_path(path)
    return str(local) if local is not None else f"{path} in {store.url}"


def _in_store(store: Store, key: Key, name: str, result: Any) -> str | None:
    path = f"{FOLDER}/{key.path}{name and f'/{name}'}.pickle"
    try:
        write(store, path, PickleFileIO(), result)
    except (OSError, StoreError):
        return None
    return _place(store, path)


def _here(key: Key, name: str, result: Any) -> str:
    path = _folder() / f"{key.name}-{key.digest}{name and f'-{name}'}.pickle"
    PickleFileIO().save(result, path)
    return str(path)


@cache
def _folder() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix=f"persistable-rescued-{os.getpid()}-"))
