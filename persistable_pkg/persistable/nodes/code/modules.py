"""The modules that the user's code imports, by name: imported modules, and the readable part of others."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from persistable.nodes.code.constants import kind_of
from persistable.nodes.code.introspection import module_dict
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
    """A placeholder for a module that is read from its source, not run."""

    __slots__ = ("namespace",)

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace


class Deferred:
    """An import statement of a module that is not imported; its value is looked up when the walk reaches it."""

    __slots__ = ("aliased", "level", "module", "wanted")

    def __init__(self, module: str, level: int, wanted: str, aliased: bool) -> None:
        self.module, self.level, self.wanted, self.aliased = module, level, wanted, aliased


class Modules:
    """The modules of a project. `unseen` has the names of modules that were looked up and are not imported yet.

    reads: whether a module that is not imported is read from its source; else it is skipped.
    """

    def __init__(self, project: Project, reads: bool) -> None:
        self._project = project
        self._reads = reads
        self.unseen: dict[str, None] = {}

    def find(self, name: str) -> Namespace | None:
        """The namespace of a project module: the imported one, else one read from its source; None for any other module."""
        module = sys.modules.get(name)
        if module is not None:
            below = module_dict(module) if issubclass(kind_of(module), ModuleType) else {}
            return below if self._project.owns(below) else None
        if not self._reads:
            if self._project.may_own(name):
                self.unseen[name] = None
            return None
        from persistable.nodes.code.unimported import namespace_of  # here: it imports names of this module

        found = namespace_of(self._project, name)
        if found is None or not self._project.owns(found):
            return None
        self.unseen[name] = None
        return found

    def imported_later(self, value: Any, place: Namespace) -> tuple[Any, Namespace]:
        """The value that a `Deferred` import would bind, with its namespace; any other value as it is."""
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
