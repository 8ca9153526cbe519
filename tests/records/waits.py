"""Callbacks for `claims.acquire`: they are called between two looks at a claim that somebody else holds."""

from __future__ import annotations

from collections.abc import Callable


class _Between:
    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look

    def look(self) -> None:
        self._look()

    def close(self) -> None:
        return None


def between(look: Callable[[], object]) -> Callable[[], _Between]:
    """For `claims.acquire`: `look` is called between two looks."""
    return lambda: _Between(look)
