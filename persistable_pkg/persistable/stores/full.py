"""A disk that takes no more is `StoreFull`, wherever it shows."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from persistable.errors import StoreError, StoreFull
from persistable.stores.base import FULL


@contextmanager
def room_in(url: str, what: str, path: str = "") -> Generator[None]:
    """A block that writes something for the store of that URL; `what` says where and how much: ``in /tmp for 3 bytes``."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StoreError) or error.errno not in FULL:
            raise
        reason = error.strerror or error
        raise StoreFull(f"no room {what} ({reason}); free some space or raise the quota, then try again", url=url, path=path) from error
