"""Bytes at paths: in a folder, memory, a database, a bucket, a registry, an archive, or layers of these.

Nothing here is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from persistable import lazily

if TYPE_CHECKING:
    from persistable.stores.base import Store, check_name, check_path, enclosing_store
    from persistable.stores.http import HTTPStore
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
    from persistable.stores.signing_keys import SigningKey, new_signing_key
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
    "base": ("Store", "check_name", "check_path", "enclosing_store"),
    "http": ("HTTPStore",),
    "signing_keys": ("SigningKey", "new_signing_key"),
    "layered.compare": ("Difference",),
    "layered.layer": ("Layer",),
    "layered.store": ("LayeredStore",),
    "local": ("LocalStore",),
    "memory": ("MemoryStore",),
    "mongo.store": ("MongoStore",),
    "object": ("ObjectStore",),
    "oci.store": ("OCIStore",),
    "open": ("open_store", "register_store"),
    "postgres.store": ("PostgresStore",),
    "sqlite": ("SQLiteStore",),
    "zip": ("ZipStore",),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _HOMES)
