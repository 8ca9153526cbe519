"""The modules that the user's code imports, by name: those that run, and of others what can be read."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from persistable.nodes.code.constants import kind_of
from persistable.nodes.code.objects import module_dict
from persistable.nodes.code.ownership import Namespace, Project, module_name
from persistable.params.unset import UNSET


def absolute_name(name: str, level: int, namespace: Namespace) -> str:
    """The absolute name of a module imported with `level` leading dots from `namespace`."""
    if not level:
        return name
    package = namespace.get("__package__")
    if type(package) is not str:
        package = module_name(namespace) if "__path__" in namespace else module_name(namespace).rpartition(".")[0]
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - level + 1])
    return f"{base}.{name}" if name and base else base or name


class UnimportedModule:
    """A module that is read, not run, standing where the module would."""

    __slots__ = ("namespace",)

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace


class Deferred:
    """An import statement of a module that is not running: what it would bind is looked up when it is reached."""

    __slots__ = ("aliased", "level", "module", "wanted")

    def __init__(self, module: str, level: int, wanted: str, aliased: bool) -> None:
        self.module, self.level, self.wanted, self.aliased = module, level, wanted, aliased


class Modules:
    """The modules of a project. `unseen` has the names of those that were asked for and have not been imported yet.

    reads: whether a module that is not imported is read from its source; else it is not looked at.
    """

    def __init__(self, project: Project, reads: bool) -> None:
        self._project = project
        self._reads = reads
        self.unseen: dict[str, None] = {}

    def find(self, name: str) -> Namespace | None:
        """The namespace of a project module: the running one, else what can be read of it."""
        module = sys.modules.get(name)
        if module is not None:
            below = module_dict(module) if issubclass(kind_of(module), ModuleType) else {}
            return below if self._project.owns(below) else None
        if not self._reads:
            if self._project.may_own(name):
                self.unseen[name] = None
            return None
        from persistable.nodes.code.unimported import namespace_of  # which needs what is defined here

        found = namespace_of(self._project, name)
        if found is None or not self._project.owns(found):
            return None
        self.unseen[name] = None
        return found

    def imported_later(self, value: Any, place: Namespace) -> tuple[Any, Namespace]:
        """The names that an import statement of a module that is not running would have bound."""
        for _ in range(20):
            if type(value) is not Deferred:
                return value, place
            target = absolute_name(value.module, value.level, place)
            if not value.wanted:
                target = target if value.aliased else target.partition(".")[0]
                found = self.find(target)
                return (UNSET if found is None else UnimportedModule(found)), place
            below = self.find(target)
            if below is None:
                return UNSET, place
            if value.wanted not in below:
                found = self.find(f"{target}.{value.wanted}")
                return (UNSET if found is None else UnimportedModule(found)), place
            value, place = below[value.wanted], below
        return UNSET, place
