"""Modules of the project that are not imported yet, read from their source without running them.

A function that imports ``pkg.heavy`` in its body uses code that is not in memory on a warm load. Importing it would run user
code and could cost seconds; so its functions and classes are compiled, put into a namespace, and inspected, never called.
"""

from __future__ import annotations

import ast
import os
import sys
from enum import Enum
from types import CellType, CodeType, FunctionType
from typing import Any

from persistable.nodes.code.annotations import MAKERS
from persistable.nodes.code.modules import Deferred, absolute_name
from persistable.nodes.code.ownership import MARK, Namespace, Project
from persistable.params.syntax import parse

_known: dict[str, tuple[tuple[int, int], Namespace]] = {}


def namespace_of(project: Project, name: str) -> Namespace | None:
    """The names that importing module `name` would define, as far as they can be read; None if no readable source file is found."""
    file = _find(name, project)
    if file is None:
        return None
    try:
        stat = os.stat(file)
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = _known.get(name)
        if known is None or known[0] != stamp:
            _known[name] = (stamp, {})  # ends the recursion of modules with star imports of each other
            known = _known[name] = (stamp, _read(name, file, project))
    except (OSError, SyntaxError, ValueError, RecursionError):
        _known.pop(name, None)
        return None
    return known[1]


def _find(name: str, project: Project) -> str | None:
    """The file of a module, found through its parent packages as the import system would, without importing them."""
    parent, _, last = name.rpartition(".")
    if not parent:
        folders: list[Any] = list(project.folders)
    else:
        module = sys.modules.get(parent)
        if module is not None:
            path = vars(module).get("__path__")
            folders = list(path) if path is not None else []
        else:
            above = _find(parent, project)
            folders = [os.path.dirname(above)] if above is not None and os.path.basename(above) == "__init__.py" else []
    for folder in folders:
        for file in (os.path.join(str(folder), last, "__init__.py"), os.path.join(str(folder), last + ".py")):
            if os.path.isfile(file):
                return os.path.abspath(file)
    return None


def _read(name: str, file: str, project: Project) -> Namespace:
    with open(file, "rb") as opened:
        tree = parse(opened.read())
    package = file.endswith("__init__.py")
    namespace: Namespace = {"__name__": name, "__file__": file, "__package__": name if package else name.rpartition(".")[0], MARK: True}
    if package:
        namespace["__path__"] = [os.path.dirname(file)]
    codes = [item for item in compile(tree, file, "exec", dont_inherit=True).co_consts if isinstance(item, CodeType)]
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    for code in codes:
        if code.co_name in classes:
            namespace[code.co_name] = _class(code, namespace)
        elif code.co_name.isidentifier():
            namespace[code.co_name] = _function(code, namespace)
    for node in tree.body:
        for target in getattr(node, "targets", None) or [getattr(node, "target", None)]:
            if isinstance(target, ast.Name):
                namespace.setdefault(target.id, Unread.UNREAD)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                level = node.level if isinstance(node, ast.ImportFrom) else 0
                source = (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
                if alias.name == "*":
                    for each in _public(absolute_name(source, level, namespace), project):
                        namespace.setdefault(each, Deferred(source, level, each, False))
                    continue
                wanted = alias.name if isinstance(node, ast.ImportFrom) else ""
                namespace.setdefault(alias.asname or alias.name.partition(".")[0], Deferred(source, level, wanted, bool(alias.asname)))
    return namespace


def _public(name: str, project: Project) -> list[str]:
    """The names that ``from name import *`` would bind, if the module is imported or of the project."""
    running = sys.modules.get(name)
    found = vars(running) if running is not None else namespace_of(project, name) or {}
    return [each for each in found if not each.startswith("_")]


class Unread(Enum):
    """The type of the placeholder for a constant that has a source but no value yet."""

    UNREAD = "unread"


def _function(code: CodeType, namespace: Namespace) -> FunctionType:
    return FunctionType(code, namespace, code.co_name, None, tuple(CellType() for _ in code.co_freevars))


def _class(code: CodeType, namespace: Namespace) -> type:
    body: dict[str, Any] = {"__module__": namespace["__name__"], "__qualname__": code.co_qualname, MARK: namespace}
    for item in code.co_consts:
        if isinstance(item, CodeType) and item.co_name.isidentifier() and item.co_name not in MAKERS:
            body.setdefault(item.co_name, _function(item, namespace))
    return type(code.co_name, (), body)
