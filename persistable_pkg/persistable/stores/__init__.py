"""Bytes at paths: in a folder, memory, SQLite, a bucket, or layers of these. Nothing here is imported before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persistable.stores.base import Store, check_name, check_path, enclosing_store
    from persistable.stores.http import HTTPStore
    from persistable.stores.keys import SigningKey, new_signing_key
    from persistable.stores.layered.compare import Difference
    from persistable.stores.layered.layer import Layer
    from persistable.stores.layered.store import LayeredStore
    from persistable.stores.local import LocalStore
    from persistable.stores.memory import MemoryStore
    from persistable.stores.mongo.store import MongoStore
    from persistable.stores.object import ObjectStore
    from persistable.stores.oci.store import OCIStore
    from persistable.stores.open import open_store, register_store
    from persistable.stores.postgres.store import PostgresStore
    from persistable.stores.sqlite import SQLiteStore
    from persistable.stores.zip import ZipStore

__all__ = [
    "Difference",
    "HTTPStore",
    "Layer",
    "LayeredStore",
    "LocalStore",
    "MemoryStore",
    "MongoStore",
    "OCIStore",
    "ObjectStore",
    "PostgresStore",
    "SQLiteStore",
    "SigningKey",
    "Store",
    "ZipStore",
    "check_name",
    "check_path",
    "enclosing_store",
    "new_signing_key",
    "open_store",
    "register_store",
]

_HOMES = {
    "Difference": "layered.compare",
    "HTTPStore": "http",
    "Layer": "layered.layer",
    "LayeredStore": "layered.store",
    "LocalStore": "local",
    "MemoryStore": "memory",
    "MongoStore": "mongo.store",
    "OCIStore": "oci.store",
    "ObjectStore": "object",
    "PostgresStore": "postgres.store",
    "SQLiteStore": "sqlite",
    "SigningKey": "keys",
    "Store": "base",
    "ZipStore": "zip",
    "check_name": "base",
    "check_path": "base",
    "enclosing_store": "base",
    "new_signing_key": "keys",
    "open_store": "open",
    "register_store": "open",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
