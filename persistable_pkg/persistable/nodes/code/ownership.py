"""The modules that are the user's own: a fingerprint follows only their code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from persistable.params.reducers import MAINS

_OURSELVES = __name__.partition(".")[0]
_STDLIB = os.path.dirname(os.path.abspath(os.__file__))

Namespace = dict[str, Any]


class Project:
    """The top-level packages of the code to fingerprint; for a script, notebook or single-file module, its folder too.

    Installed modules (in ``site-packages`` or the standard library) are never part of it, unless the code to fingerprint
    is installed itself: then its own top-level package is the project. persistable is never part of one.
    """

    def __init__(self, namespaces: Iterable[Namespace]) -> None:
        self._roots: set[str] = set()
        self.folders: list[str] = []
        """The folders of single-file modules of the project, each with a separator at the end."""
        self._own: dict[int, Namespace] = {}
        self._known: dict[str, bool] = {}
        for namespace in namespaces:
            self._include(namespace)

    def _include(self, namespace: Namespace) -> None:
        name = module_name(namespace)
        root = name.partition(".")[0]
        if root == _OURSELVES:
            return
        self._own[id(namespace)] = namespace
        if name in MAINS:
            self._roots.update(MAINS)
            spec = getattr(namespace.get("__spec__"), "name", "")
            root = spec.partition(".")[0] if isinstance(spec, str) and spec not in MAINS else ""
            package = namespace.get("__package__")
            if not root and type(package) is str:  # of a function sent by a process that runs with `python -m`
                root = package.partition(".")[0]
            if not root:
                self._add_folder(_folder(namespace) if "__file__" in namespace else os.getcwd())
        if root:
            self._roots.add(root)
            top = sys.modules.get(root)
            if "." not in name and top is not None and "__path__" not in vars(top):
                self._add_folder(_folder(namespace))

    def _add_folder(self, folder: str) -> None:
        if folder and os.path.dirname(folder) != folder and not is_installed(folder + os.sep):
            self.folders.append(folder + os.sep)

    def owns(self, namespace: Namespace) -> bool:
        """Tell whether the module (or exec'd) namespace is the user's own."""
        if id(namespace) in self._own:
            return True
        name = module_name(namespace)
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._decide(name, namespace)
        return known

    def owns_name(self, name: str) -> bool:
        """Tell whether the module of this name is the user's own."""
        module = sys.modules.get(name)
        return self.owns(vars(module)) if type(module) is ModuleType else name.partition(".")[0] in self._roots

    def may_own(self, name: str) -> bool:
        """Tell whether a module that is not imported yet would be the user's own."""
        root = name.partition(".")[0]
        if root in self._roots:
            return True
        ends = (root + ".py", os.path.join(root, "__init__.py"))
        return root != _OURSELVES and any(os.path.isfile(folder + end) for folder in self.folders for end in ends)

    def _decide(self, name: str, namespace: Namespace) -> bool:
        root = name.partition(".")[0]
        if root in self._roots:
            return True
        if root == _OURSELVES or not self.folders:
            return False
        file = namespace.get("__file__")
        if not isinstance(file, str):
            return False
        file = os.path.abspath(file)
        return file.startswith(tuple(self.folders)) and not is_installed(file)


def module_name(namespace: Namespace) -> str:
    """``__name__`` of a namespace, or "" if it has none."""
    name = namespace.get("__name__")
    return name if type(name) is str else ""


def _folder(namespace: Namespace) -> str:
    file = namespace.get("__file__")
    return os.path.dirname(os.path.abspath(file)) if isinstance(file, str) else ""


def is_ours(module: str) -> bool:
    """Tell whether a module is part of persistable, whose code is never followed."""
    return module.partition(".")[0] == _OURSELVES


def is_installed(path: str) -> bool:
    """Tell whether a file belongs to an installed package or to the standard library."""
    return f"{os.sep}site-packages{os.sep}" in path or f"{os.sep}dist-packages{os.sep}" in path or path.startswith(_STDLIB + os.sep)


MARK = "__persistable_unimported__"  # key in namespaces and classes that are read, not run; of a class the value is its namespace
