"""Objects that ``use = "module:name"`` refers to, imported from the project's own folder."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from persistable.errors import ConfigError
from persistable.params.building import nearest
from persistable.project.leaves import wrong


def make_importable(folder: Path) -> None:
    """Let modules of `folder`, and of its ``src`` if it has one, be imported: as where a script lies, before all others.

    It stays so: functions import when they run, and worker processes look where this one does.
    """
    for place in (folder / "src", folder):
        if place.is_dir() and str(place) not in sys.path:
            sys.path.insert(0, str(place))


def referred(text: Any, folder: Path, where: str) -> Any:
    """The object at ``module:name``. Raises ConfigError, saying which part is not there; what a module itself raises passes with a note."""
    module_name, colon, name = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not (colon and module_name and name):
        raise wrong(text, where, "module:name, such as mypkg.flows:Points")
    make_importable(folder)
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            error.add_note(f"while importing {module_name} for {where}")
            raise
        raise ConfigError(
            f"{where} is {text!r}, but there is no module {error.name}; modules are looked for in {folder}, then as by any import",
            where=where,
            accepted=[],
        ) from error
    except Exception as error:
        error.add_note(f"while importing {module_name} for {where}")
        raise
    _check_home(found, module_name, folder, where)
    for part in name.split("."):
        inner = getattr(found, part, None)
        if inner is None:
            names = [each for each in dir(found) if not each.startswith("_")]
            near = nearest(part, names)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ConfigError(f"{where} is {text!r}, but {module_name} has no {part!r}{hint}", where=where, accepted=names)
        found = inner
    return found


def _check_home(module: Any, name: str, folder: Path, where: str) -> None:
    """Raise where the folder has a module of that name, and another one was imported under it before."""
    top = name.partition(".")[0]
    file = getattr(sys.modules.get(top, module), "__file__", None)
    for place in (folder / "src", folder):
        for own in (place / f"{top}.py", place / top / "__init__.py"):
            if own.is_file():
                if file is None or not os.path.samefile(file, own):
                    raise ConfigError(
                        f"{where} means {own}, but the module {top} of this process is {file or 'a built-in one'}; give one "
                        "of them another name, or use each in a process of its own",
                        where=where,
                        accepted=[],
                    )
                return
