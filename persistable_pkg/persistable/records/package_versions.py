"""Versions of the installed distributions of imported modules, read from the names of their metadata folders."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from typing import Any

_known: dict[str, tuple[str, str] | None] = {}
"""Top-level module to distribution and version; None for a module without a distribution."""
_ENDS = (".dist-info", ".egg-info")


def imported_versions() -> dict[str, str]:
    """Distribution to version, for all top-level modules imported so far; a module without one by its own name and ``__version__``."""
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        if "." in name or name in sys.stdlib_module_names or name.startswith("__"):
            continue
        if name not in _known:
            _known[name] = _distribution_of(name, module)
        known = _known[name]
        if known is not None:
            found[known[0]] = known[1]
        elif not name.startswith("_"):
            version = getattr(module, "__dict__", {}).get("__version__")
            if isinstance(version, str):
                found[name] = version
    return found


def _distribution_of(name: str, module: Any) -> tuple[str, str] | None:
    folders = {_site(path) for path in [getattr(module, "__file__", None), *list(getattr(module, "__path__", ()))] if isinstance(path, str)}
    for folder in (*folders, *sys.path):
        info = _infos(folder).get(_plain(name))
        if info is not None:
            return _named(info)
    for folder in folders:
        info = _modules(folder).get(name)
        if info is not None:
            return _named(info)
    return None


def _site(path: str) -> str:
    """The folder of a top-level module or package."""
    folder = os.path.dirname(path)
    return os.path.dirname(folder) if os.path.basename(path).startswith("__init__.") else folder


@cache
def _infos(folder: str) -> dict[str, str]:
    """Name of each distribution with metadata in `folder`, to the path of the metadata."""
    try:
        names = [name for name in os.listdir(folder or ".") if name.endswith(_ENDS)]
    except OSError:
        return {}
    return {_plain(name.rpartition(".")[0].split("-")[0]): os.path.join(folder, name) for name in sorted(names)}


@cache
def _modules(folder: str) -> dict[str, str]:
    """Top-level module to the metadata path of its distribution, for those in `folder`."""
    found: dict[str, str] = {}
    for info in _infos(folder).values():
        listed = _read(os.path.join(info, "top_level.txt"))
        if not listed:
            files = [line.partition(",")[0] for line in _read(os.path.join(info, "RECORD")).splitlines()]
            listed = " ".join({file.partition("/")[0].partition(".")[0] for file in files})
        for name in listed.split():
            found.setdefault(name, info)
    return found


@cache
def _named(info: str) -> tuple[str, str]:
    """Name and version of a distribution."""
    for file in ("METADATA", "PKG-INFO"):
        text = _read(os.path.join(info, file)).partition("\n\n")[0]
        name, version = re.search(r"^Name: *(\S+)", text, re.MULTILINE), re.search(r"^Version: *(\S+)", text, re.MULTILINE)
        if name is not None and version is not None:
            return name[1], version[1]
    name_, _, rest = os.path.basename(info).rpartition(".")[0].partition("-")
    return name_, rest.split("-")[0]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
