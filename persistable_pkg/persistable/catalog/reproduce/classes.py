"""Import of the class or step that a record names, from where this process would import it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn, cast

from persistable.errors import NotRebuildable
from persistable.nodes.code import main_name
from persistable.nodes.node import Persistable
from persistable.nodes.step import Step
from persistable.params.building import nearest
from persistable.params.fields import FORMER
from persistable.params.reducers import MAINS
from persistable.records.key import Key

_NOTEBOOK = "it was defined in a notebook or at a prompt"
_SEARCHED = 500
"""The most files of a package that are searched for a class that was moved."""


def class_of(
    key: Key, reference: str, source: Mapping[str, str] | None = None, trusted: bool = False
) -> type[Persistable[Any, Any]] | Step[..., Any]:
    """The class of nodes, or the step, that `reference` names: ``module:qualname``, or ``script.py:qualname``.

    Modules are imported as by an import statement, scripts never: for them the script that this process runs is used, else `source`, the
    source that the record keeps, which is executed if it is `trusted`. Raises NotRebuildable for a name that does not exist, or is neither.
    """
    module, _, name = reference.partition(":")
    if "<locals>" in name:
        _refuse(key, reference, "script", "it is defined inside a function, so it has no name to import it by: define it in a module")
    home = _script(key, reference, module, source, trusted) if _is_script(module) else _imported(key, reference, module)
    found = _at(home, name)
    if found is None and source and home is sys.modules.get("__main__"):
        home = _executed(key, reference, module, source, trusted)
        found = _at(home, name)
    if found is None:
        found = _renamed(home, name, key)
    if found is None and home is sys.modules.get("__main__"):
        _refuse(
            key,
            reference,
            "script",
            f"{_NOTEBOOK if module in MAINS else f'it was defined in {module}'}, and here is no {name} yet: run what defines it first",
        )
    if found is None and _is_script(module) and source:
        text = f"records keep the source of other definitions of {module}, and not of this one: mark it source=True there, or ask in it"
        _refuse(key, reference, "script", text)
    if found is None:
        _refuse(key, reference, "class", f"{module} has no {name}{_elsewhere(module, name, home)}")
    if not _is_named_by_records(found):
        what = "a function without @step" if callable(found) and not isinstance(found, type) else f"{found!r:.60}"
        _refuse(key, reference, "no node", f"it is {what} and no class of nodes or step any more, so it is not called")
    return cast("type[Persistable[Any, Any]] | Step[..., Any]", found)


def _at(home: Any, name: str) -> Any:
    for part in name.split("."):
        home = getattr(home, part, None)
    return home


def _is_named_by_records(found: object) -> bool:
    """Tell whether an object is a step or a class of nodes."""
    return isinstance(found, Step) or (isinstance(found, type) and issubclass(found, Persistable))


def _is_script(module: str) -> bool:
    return module in MAINS or module.endswith((".py", ".ipynb")) or module == main_name()


def _executed(key: Key, reference: str, module: str, source: Mapping[str, str], trusted: bool) -> Any:
    """The module made from the source in a record."""
    if not trusted:
        text = (
            f"it was defined in {'a notebook' if module in MAINS else module}, of which the record keeps the source; that is executed "
            "only if its author is trusted: open the store with trust=..., or call Catalog.node(key, trusted=True) for a store of "
            "your own"
        )
        return _refuse(key, reference, "script", text)
    from persistable.catalog.reproduce.kept_source import module_of

    try:
        return module_of(module, source)
    except Exception as error:  # noqa: BLE001 - any error of that source
        return _refuse(
            key, reference, "script", f"executing the source that its record keeps raised {type(error).__name__}: {error}", error
        )


def _script(key: Key, reference: str, module: str, source: Mapping[str, str] | None, trusted: bool) -> Any:
    """The main program of this process, if `module` is that, else a module imported from the same file, else one made from `source`."""
    if module == main_name() and "__main__" in sys.modules:
        return sys.modules["__main__"]
    imported = sys.modules.get(module.removesuffix(".py"))
    if imported is not None and os.path.basename(getattr(imported, "__file__", None) or "") == module:
        return imported
    if source:
        return _executed(key, reference, module, source, trusted)
    if module in MAINS:
        text = f"{_NOTEBOOK}: run that again up to the definition and ask there, or move it to a module"
    else:
        text = f"it was defined in a script, {module}, and scripts are not imported: ask in it, or move it to a module"
    return _refuse(key, reference, "script", text)


def _imported(key: Key, reference: str, module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent is not None and (module == absent or module.startswith(f"{absent}.")):
            name = reference.partition(":")[2]
            _refuse(
                key,
                reference,
                "module",
                f"there is no module {absent} on the path of this process{_elsewhere(module, name, None)}. Install the package, or start "
                "Python where it can be imported",
                error,
            )
        _refuse(key, reference, "module", f"importing {module} raised {type(error).__name__}: {error}", error)
    except Exception as error:  # noqa: BLE001 - a module may raise anything on import
        _refuse(key, reference, "module", f"importing {module} raised {type(error).__name__}: {error}", error)


def _renamed(home: Any, name: str, key: Key) -> Any:
    """Find the class or step that is marked `formerly` with that name."""
    for each in _members(home).values():
        if not _is_named_by_records(each):
            continue
        if each.__dict__.get(FORMER) == name if isinstance(each, type) else each.payload_name == key.name == name:
            return each
    return None


def _elsewhere(module: str, name: str, home: Any) -> str:
    """A hint in words at the places that a name may have moved to; empty where none is known."""
    last = name.rpartition(".")[2]
    places = sorted({*_on_disk(module, last)} - {module})
    if places:
        return (
            f"; {' and '.join(places[:3])} {'has' if len(places) == 1 else 'have'} a {last}: import it in {module} as well, and it is found"
        )
    close = nearest(last, [name for name, each in _members(home).items() if _is_named_by_records(each)])
    return f"; did you mean {close}? Where it was renamed, put @formerly({last!r}) above it" if close is not None else ""


def _members(home: Any) -> dict[str, Any]:
    return dict(getattr(home, "__dict__", {}))


def _on_disk(module: str, name: str) -> Iterator[str]:
    """Yield modules of the same package whose files define that name; nothing is imported."""
    top = module.partition(".")[0]
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return
    pattern = re.compile(rf"^\s*(?:class|def) {re.escape(name)}\b", re.MULTILINE)
    searched = 0
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(each for each in folders if each.isidentifier() and each != "__pycache__")
            for file in sorted(files):
                if not file.endswith(".py") or searched >= _SEARCHED:
                    continue
                searched += 1
                path = os.path.join(folder, file)
                try:
                    with open(path, encoding="utf-8") as source:
                        if pattern.search(source.read()) is None:
                            continue
                except (OSError, ValueError):
                    continue
                parts = os.path.relpath(path, root).removesuffix(".py").split(os.sep)
                yield ".".join([top, *(part for part in parts if part != "__init__")])


def _refuse(key: Key, reference: str, reason: str, text: str, cause: BaseException | None = None) -> NoReturn:
    raise NotRebuildable(
        f"{key} was made by {reference}, and cannot be rebuilt: {text}", key=key, reason=reason, reference=reference, path="", found=None
    ) from cause
