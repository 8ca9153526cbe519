"""Modules made from the sources of scripts and notebooks that records keep."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from blake3 import blake3

from persistable.catalog.reproduce.facts import Facts

FUTURE = "__future__"
_made: dict[str, ModuleType] = {}


def text_of(statements: Mapping[str, str]) -> str:
    """The text of a source that a record keeps."""
    first = [statements[FUTURE]] if FUTURE in statements else []
    others = [text for name, text in statements.items() if name != FUTURE]
    imports = sorted(text for text in others if text.startswith(("import ", "from ")))
    return "\n\n\n".join(["\n".join([*first, *imports]), *(text for text in others if text not in imports)]).lstrip("\n") + "\n"


def module_of(script: str, statements: Mapping[str, str]) -> ModuleType:
    """The module made from a kept source; it is executed once in a process. Raises any error of the source."""
    text = text_of(statements)
    name = f"<{script}>"
    file = f"<source of {script}, {blake3(text.encode('utf-8', 'surrogatepass')).hexdigest(8)}>"
    module = _made.get(file)
    if module is None:
        module = ModuleType(name)
        module.__file__ = file
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        code = compile(text, file, "exec", dont_inherit=True)
        before = sys.modules.get(name)
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)
        except BaseException:
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before
            raise
        _made[file] = module
    sys.modules[name] = module
    pickling: Any = import_module("cloudpickle")
    pickling.register_pickle_by_value(module)  # other processes have nothing to import
    return module


def merged(every: Iterable[Facts]) -> dict[str, dict[str, str]]:
    """The sources that records keep, merged by script for all of its classes. Scripts whose records differ, as after an edit, have none."""
    found: dict[str, dict[str, str]] = {}
    clashing: set[str] = set()
    for facts in every:
        script = facts.script
        known = found.setdefault(script, {})
        for name, text in facts.source.items():
            if known.setdefault(name, text) != text:
                clashing.add(script)
    return {script: statements for script, statements in found.items() if statements and script not in clashing}
