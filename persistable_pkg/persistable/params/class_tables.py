"""Tables keyed by class: one that forgets a class when it dies, one that knows classes by name before they are imported."""

from __future__ import annotations

import sys
from _weakref import ref

TYPE_CHECKING = False  # importing `typing` would cost more than the rest of this module
if TYPE_CHECKING:
    from typing import Any


class ClassTable:
    """Facts about a class, kept exactly as long as the class lives.

    A notebook cell that runs again makes a new class of the same name: it is another entry here, and the old one ends with the old class.
    Values must not refer to their class, or it never dies.
    """

    def __init__(self) -> None:
        self.found: dict[int, Any] = {}
        """The facts by ``id(cls)``, for a quick look-up: an id is only reused after its class died, and by then the entry is gone."""
        self._alive: dict[int, Any] = {}

    def set(self, cls: type, value: Any) -> None:
        """Keep `value` for `cls`, replacing an earlier one."""
        key = id(cls)

        def forget(_: object) -> None:
            self.found.pop(key, None)
            self._alive.pop(key, None)

        self._alive[key] = ref(cls, forget)
        self.found[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self.found.clear()
        self._alive.clear()


class TypeTable:
    """Values registered for a class or for its name (``module:Qualname``), found for its subclasses too."""

    def __init__(self) -> None:
        self._by_class: dict[type, Any] = {}
        self._by_name: dict[str, Any] = {}

    def register(self, cls: type | str, value: Any) -> None:
        """Keep `value` for `cls`; a later call for the same class replaces it. Raises ValueError for a name without a colon."""
        if isinstance(cls, type):
            self._by_class[cls] = value
        elif cls.count(":") == 1 and all(cls.split(":")):
            self._by_name[cls] = value
        else:
            raise ValueError(f"{cls!r} names no class: write it as 'module:Qualname'")

    def find(self, cls: type) -> Any | None:
        """The entry registered for `cls` or else for the nearest of its bases; None if there is none."""
        if not self._by_class and not self._by_name:
            return None
        for base in cls.__mro__:
            found = self._by_class.get(base)
            if found is None and self._by_name:
                found = self._named(base)
            if found is not None:
                return found
        return None

    def _named(self, base: type) -> Any | None:
        found = self._by_name.get(f"{base.__module__}:{base.__qualname__}")
        if found is not None:
            return found
        # a class is often registered by the module that users import it from, not the one that defines it
        for name, value in self._by_name.items():
            module, _, path = name.partition(":")
            place: Any = sys.modules.get(module)
            for part in path.split("."):
                place = getattr(place, part, None)
            if place is base:
                return value
        return None
