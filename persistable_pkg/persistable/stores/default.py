"""Which store a node uses that names none and stands in no ``with open_store(...)``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

VARIABLE = "PERSISTABLE_STORE"
PROJECT_FILE = "persistable.toml"
FOLDER = "persistable-data"
_RELATIVE = "sqlite:///"


def default_url() -> str | list[Any]:
    """``$PERSISTABLE_STORE``, else the ``store`` of the nearest ``persistable.toml`` upward, else ``./persistable-data``.

    In the file it is one URL or path, or a list of layers, fast to slow, each a URL, a path or a table; ``namespace`` beside it is that of
    `open_store`. A relative path in the file is relative to the file. Raises ValueError for a file that cannot be read as TOML.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named
    file = nearest_file(os.getcwd())
    while file is not None:
        store = _store_in(file)
        folder = os.path.dirname(file)
        if store is not None:
            return beside(folder, store)
        parent = os.path.dirname(folder)
        file = nearest_file(parent) if parent != folder else None
    return FOLDER


def nearest_file(folder: str) -> str | None:
    """The ``persistable.toml`` in `folder`, else in the nearest folder above it; None without one."""
    while True:
        file = os.path.join(folder, PROJECT_FILE)
        if os.path.isfile(file):
            return file
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def beside(folder: str, store: str | list[Any]) -> str | list[Any]:
    """The URL, path or layers that a file in `folder` names, with relative paths made absolute."""
    return _from(folder, store) if isinstance(store, str) else [_from(folder, layer) for layer in store]


def _from(folder: str, layer: Any) -> Any:
    """A URL or path in a file of that folder; of a table, its ``url``."""
    if isinstance(layer, dict):
        facts = cast("dict[str, Any]", layer)
        return {**facts, "url": _from(folder, facts["url"])} if isinstance(facts.get("url"), str) else facts
    if layer.startswith(_RELATIVE) and layer[len(_RELATIVE) : len(_RELATIVE) + 1] not in ("", "/"):
        return _RELATIVE + os.path.join(folder, layer.removeprefix(_RELATIVE))
    return layer if "://" in layer else os.path.join(folder, os.path.expanduser(layer))


def _store_in(file: str) -> str | list[Any] | None:
    import tomllib

    with open(file, "rb") as toml:
        try:
            facts = tomllib.load(toml)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{file} is not valid TOML: {error}") from error
    store, namespace = facts.get("store"), facts.get("namespace")
    if store is None or isinstance(store, str) or _are_layers(store):
        return cast("str | list[Any] | None", in_namespace(store, namespace))
    raise ValueError(f"`store` in {file} is {store!r}; give one URL or path as a string, or a list of layers")


def in_namespace(store: Any, namespace: Any) -> Any:
    """A store as a file names it, in the namespace that the file names, if it does. Raises ValueError for what is no namespace."""
    if namespace is None:
        return store
    from persistable.stores.namespace import namespaced

    return namespaced(store if store is not None else FOLDER, namespace)


def _are_layers(store: Any) -> bool:
    if not isinstance(store, list):
        return False
    layers = cast("Sequence[Any]", store)
    return len(layers) > 0 and all(isinstance(layer, str | dict) for layer in layers)
