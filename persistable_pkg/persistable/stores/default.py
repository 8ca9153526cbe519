"""Which store a node uses that names none and stands in no ``with open_store(...)``."""

from __future__ import annotations

import os

VARIABLE = "PERSISTABLE_STORE"
PROJECT_FILE = "persistable.toml"
FOLDER = "persistable-data"


def default_url() -> str:
    """``$PERSISTABLE_STORE``, else the ``store`` of the nearest ``persistable.toml`` upward, else ``./persistable-data``.

    A relative path in the file is relative to the file. Raises ValueError for a file that cannot be read as TOML.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named
    folder = os.getcwd()
    while True:
        file = os.path.join(folder, PROJECT_FILE)
        if os.path.isfile(file):
            url = _store_in(file)
            if url is not None:
                return url if "://" in url else os.path.join(folder, os.path.expanduser(url))
        parent = os.path.dirname(folder)
        if parent == folder:
            return FOLDER
        folder = parent


def _store_in(file: str) -> str | None:
    import tomllib

    with open(file, "rb") as toml:
        try:
            store = tomllib.load(toml).get("store")
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{file} is not valid TOML: {error}") from error
    if store is None or isinstance(store, str):
        return store
    raise ValueError(f"`store` in {file} is {store!r}; give one URL or path as a string")
