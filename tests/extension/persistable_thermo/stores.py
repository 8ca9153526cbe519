from typing import Any

from persistable.stores import LocalStore


def open_attic(url: str, **options: Any) -> LocalStore:
    return LocalStore(url.removeprefix("attic://"), **options)
