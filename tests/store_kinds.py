"""Stores of each kind, empty, on this machine or on a server: for tests that ask the same of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from servers.fixtures import Bucket

from persistable.stores import LayeredStore, MemoryStore, Store, new_signing_key, open_store

URLS = {"folder": "{}/data", "sqlite": "sqlite:///{}/data.db", "memory": "memory://{}"}
"""The URLs of stores on this machine, given a folder that is the test's own."""


def opened(kind: str, folder: Path, request: Any = None, **options: Any) -> Store:
    """An empty store of this kind; a server is a fixture, of `request`."""
    if kind in ("s3", "gcs"):
        bucket: Bucket = request.getfixturevalue(f"{kind}_bucket")
        return open_store(bucket.url, **bucket.options, **options)
    if kind == "postgres":
        return open_store(request.getfixturevalue("postgres_schema").url, **options)
    if kind == "layers":
        return LayeredStore(MemoryStore(f"fast-{folder}"), open_store(folder / "slow", **options))
    if kind == "two folders":
        return LayeredStore(folder / "fast", open_store(folder / "slow", **options))
    if kind == "signed":
        own, public = new_signing_key()
        return open_store(folder / "data", sign=own, trust=[public], **options)
    if kind == "cached":
        return LayeredStore(MemoryStore(), open_store(f"sqlite:///{folder}/slow.db", **options))
    return open_store(URLS[kind].format(folder), **options)


def each_store(*kinds: str, **options: Any) -> Any:
    """A fixture: an open store of each of these kinds, which nodes that name none use."""
    return _fixture(kinds, options, is_default=True)


def each_named_store(*kinds: str, **options: Any) -> Any:
    """A fixture: an open store of each of these kinds, for those alone that name it."""
    return _fixture(kinds, options, is_default=False)


def _fixture(kinds: tuple[str, ...], options: dict[str, Any], is_default: bool) -> Any:
    @pytest.fixture(params=kinds)
    def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
        store = opened(request.param, tmp_path, request, **options)
        with store if is_default else closing(store):
            yield store

    return store


def each_url(*kinds: str) -> Any:
    """A fixture: the URL of an empty store of each of these kinds, on this machine."""

    @pytest.fixture(params=kinds)
    def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
        return URLS[request.param].format(tmp_path)

    return url
