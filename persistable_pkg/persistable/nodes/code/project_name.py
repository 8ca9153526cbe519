"""The project of a module, by a name that is the same in every checkout."""

from __future__ import annotations

import os
import re
import sys
from types import FunctionType
from typing import Any

from persistable.nodes.code.ownership import is_installed
from persistable.nodes.code.reference import sent_main
from persistable.params.reducers import MAINS

_known: dict[str, str | None] = {}


def project_of(thing: type | FunctionType | Any) -> str | None:
    """The project of the module that a class or function is in; None if the module is installed or has no file.

    That is the name in the nearest pyproject.toml upward, or of the git repository (its origin or folder); if neither exists, the name of
    the folder of the top-level module. For a notebook the search starts in the working folder.
    """
    module = str(getattr(thing, "__module__", ""))
    sent = sent_main()
    if sent is not None and module in MAINS:
        return sent.project
    return project_at(module)


def project_at(module: str) -> str | None:
    """The project of the module of this name in this process; None if the module is installed or has no file."""
    found = sys.modules.get(module)
    file = getattr(found, "__file__", None)
    if file is None and module not in MAINS:
        return None
    module = str(getattr(getattr(found, "__spec__", None), "name", module))  # the real name of a program run with `python -m`
    path = os.path.abspath(file) if file else os.path.join(os.getcwd(), "-")
    if is_installed(path):
        return None
    depth = module.count(".") + (os.path.basename(path) == "__init__.py")
    folder = os.path.dirname(path)
    key = f"{depth} {folder}"
    if key not in _known:
        _known[key] = _project(folder, depth)
    return _known[key]


def _project(folder: str, depth: int) -> str:
    top = folder
    for _ in range(depth):
        top = os.path.dirname(top)
    while True:
        found = _declared(folder) or _repository(folder)
        if found:
            return found
        parent = os.path.dirname(folder)
        if parent == folder:
            return os.path.basename(top)
        folder = parent


def _declared(folder: str) -> str | None:
    try:
        with open(os.path.join(folder, "pyproject.toml"), "rb") as file:
            import tomllib

            facts = tomllib.load(file)
    except (OSError, ValueError):
        return None
    name = facts.get("project", {}).get("name") or facts.get("tool", {}).get("poetry", {}).get("name")
    return re.sub(r"[-_.]+", "-", name).lower() if isinstance(name, str) else None


def _repository(folder: str) -> str | None:
    git = os.path.join(folder, ".git")
    if not os.path.exists(git):
        return None
    try:
        with open(os.path.join(git, "config"), encoding="utf-8") as file:
            origin = re.search(r'\[remote "origin"\][^\[]*?\n\s*url\s*=\s*(\S+)', file.read())
    except (OSError, ValueError):  # in a linked work tree `.git` is a file
        origin = None
    named = origin is not None and re.split(r"[/:\\]", origin[1].rstrip("/").removesuffix(".git"))[-1]
    return named or os.path.basename(folder)
