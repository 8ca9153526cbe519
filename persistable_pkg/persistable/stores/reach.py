"""Reach of a store: which other processes find the items that this one writes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from persistable.stores.base import HIDDEN, Store, extended

_SECONDS = 60
_PROBE = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
pickle.load(sys.stdin.buffer).create(sys.argv[1], b"")
"""
_seen: dict[tuple[type[Any], str], bool] = {}


def in_memory(store: Store) -> bool:
    """Tell whether a store is in the memory of this process, so that the same URL is another store in other processes.

    The attribute ``in_memory`` decides; where that is None, the URL and the stores that it holds.
    """
    own = extended(store).in_memory
    if own is not None:
        return bool(own)
    return store.url.startswith("memory:") or any(map(in_memory, held_by(store)))


def folder_of(store: Store) -> Path | None:
    """Return the folder of this machine in which a store keeps its files; None for a store elsewhere.

    Of several layers it is that of the slowest that may be written: the others have copies.
    """
    scheme, _, path = extended(store).primary_store.url.rpartition("://")
    if scheme in ("", "file", "local"):
        return Path(path).absolute()
    if scheme == "sqlite":
        return Path(path[1:]).absolute().parent  # after the slash that ends the empty name of a host
    return None


def held_by(store: object) -> list[Store]:
    """The stores that are attributes of this one, directly or in a list or tuple: it may be a wrapper of them."""
    found: list[Store] = []
    for value in getattr(store, "__dict__", {}).values():
        several = cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
        found.extend(each for each in several if each is not store and isinstance(each, Store))
    return found


def is_shared(store: Store) -> bool:
    """Tell whether this process finds items that another process writes; a third-party class that leaves it open is tested."""
    if in_memory(store):
        return False
    if type(store).__module__.partition(".")[0] == "persistable" or extended(store).in_memory is not None:
        return True
    kind = (type(store), store.url)
    if kind not in _seen:
        _seen[kind] = _tried(store)
    return _seen[kind]


def _tried(store: Store) -> bool:
    """Have another process write, and look for its item; True where that fails, since the next write there reports the reason."""
    import pickle
    import subprocess

    path = f"{HIDDEN}/reach/{os.urandom(8).hex()}"
    try:
        cloudpickle: Any = import_module("cloudpickle")
        given: bytes = pickle.dumps(sys.path) + cloudpickle.dumps(store)
        subprocess.run([sys.executable, "-c", _PROBE, path], input=given, check=True, capture_output=True, timeout=_SECONDS)
    except Exception:  # noqa: BLE001 - it cannot be pickled, or may not be written
        return True
    try:
        return store.exists(path)
    except OSError:
        return True
    finally:
        with suppress(Exception):
            store.delete(path)
