"""Reach of a store: which other processes find there what this one writes."""

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
    """Tell whether it is in the memory of this process, where others of the same URL are others.

    The store says so by ``in_memory``. Of one that does not say, the URL and the stores that it holds tell.
    """
    own = extended(store).in_memory
    if own is not None:
        return bool(own)
    return store.url.startswith("memory:") or any(map(in_memory, held_by(store)))


def folder_of(store: Store) -> Path | None:
    """Return the folder of this machine that a store keeps its files in; None for a store that is elsewhere.

    Of several layers the slowest that may be written tells: what the others have is a copy.
    """
    scheme, _, path = extended(store).primary_store.url.rpartition("://")
    if scheme in ("", "file", "local"):
        return Path(path).absolute()
    if scheme == "sqlite":
        return Path(path[1:]).absolute().parent  # after the slash that ends the empty name of a host
    return None


def held_by(store: object) -> list[Store]:
    """The stores that are attributes of this one, directly or in a list or tuple: it may be a view of them."""
    found: list[Store] = []
    for value in getattr(store, "__dict__", {}).values():
        several = cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
        found.extend(each for each in several if each is not store and isinstance(each, Store))
    return found


def is_shared(store: Store) -> bool:
    """Tell whether what another process writes there is there for this one; a class of somebody else's that does not say is tried out."""
    if in_memory(store):
        return False
    if type(store).__module__.partition(".")[0] == "persistable" or extended(store).in_memory is not None:
        return True
    kind = (type(store), store.url)
    if kind not in _seen:
        _seen[kind] = _tried(store)
    return _seen[kind]


def _tried(store: Store) -> bool:
    """Let another process write, and look. Where that cannot be done, the next write there says why."""
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
