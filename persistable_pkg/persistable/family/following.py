"""Families whose members depend on what lies outside: they look again when asked to, and otherwise stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from persistable.family.layout import Layout


class Root(Protocol):
    """A source outside that may change, such as the files in a folder."""

    def version(self) -> int:
        """A number that is another one after each change that was noticed; the first call looks."""
        ...

    def refresh(self) -> None:
        """Look again."""
        ...


class Following:
    """The layout of a family that follows `roots`, made when it is needed, and again once one of them has changed."""

    def __init__(self, roots: tuple[Root, ...], make: Callable[[], Layout]) -> None:
        self.roots = roots
        self._make = make
        self._kept: tuple[tuple[int, ...], Layout] | None = None

    def layout(self) -> Layout:
        """The layout for what was seen of the roots last."""
        versions = tuple([root.version() for root in self.roots])
        kept = self._kept
        if kept is None or kept[0] != versions:
            kept = self._kept = (versions, self._make())
        return kept[1]

    def refresh(self, done: set[int]) -> None:
        """Let each root look again, but those among `done` (their ids), to which they are added."""
        for root in self.roots:
            if id(root) not in done:
                done.add(id(root))
                root.refresh()

    def changed(self, change: Callable[[Layout], Layout], *more: Root) -> Following:
        """A view that follows the same roots, and `more`, and makes `change` to each layout of this."""
        return Following(tuple(dict.fromkeys((*self.roots, *more))), _Changed(self, change))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


class _Changed:
    """A layout made of another one; picklable where the change is."""

    def __init__(self, before: Following, change: Callable[[Layout], Layout]) -> None:
        self._before = before
        self._change = change

    def __call__(self) -> Layout:
        return self._change(self._before.layout())
