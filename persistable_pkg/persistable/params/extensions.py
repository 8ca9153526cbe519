"""Extensions of the library: registrations by programs, and entry points of installed packages, read when a name is not known.

Kinds are ``stores`` (by URL scheme), ``formats`` (by suffix or type), ``params`` (by type) and ``executors`` (by name); the groups of entry
points are called ``persistable.stores`` and so on.
"""

# Registered values are of every type, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys

from persistable.errors import RegistrationError

TYPE_CHECKING = False  # importing `typing` would cost more than the rest of this module
if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from typing import Any

registered: dict[tuple[str, Any], tuple[Any, Any]] = {}
"""Kind and name to the registration: its target and its value."""
_KINDS = ("stores", "formats", "params", "executors")
_listed: dict[str, dict[str, dict[str, EntryPoint]]] = {}


def register(kind: str, target: object, value: Any, replace: bool) -> None:
    """Note that `value` is registered for `target`: a class, the name of one, another type, a suffix or a scheme.

    Raises RegistrationError if another value is registered for it, unless `replace` is true. A class that was defined anew under the same
    name, as when the cell of a notebook runs again, is another target and may replace the former.
    """
    name = _name(target)
    known = registered.get((kind, name))
    if known is not None and not replace and not _same(known[1], value):
        before = known[0]
        if before is target or not (isinstance(before, type) and isinstance(target, type)):
            raise RegistrationError(
                f"{known[1]!r} is registered for {name} already, and {value!r} differs from it; "
                "what is made under either would not be found under the other: say replace=True if that is meant",
                kind=kind,
                name=str(name),
            )
    registered[kind, name] = target, value


def _name(target: object) -> Any:
    if isinstance(target, str) and target.count(":") == 1:
        module, _, path = target.partition(":")
        found: Any = sys.modules.get(module)
        for part in path.split("."):
            found = getattr(found, part, None)
        target = found if isinstance(found, type) else target
    return f"{target.__module__}:{target.__qualname__}" if isinstance(target, type) else target


def _same(one: Any, other: Any) -> bool:
    """Tell whether both are one object, or functions with the same code and variables, as after running their source again."""
    if one is other:
        return True
    code = getattr(one, "__code__", None)
    if code is None:
        return bool(one == other)
    facts = ("__code__", "__defaults__", "__kwdefaults__", "__closure__", "__module__")
    return all(getattr(one, fact, None) == getattr(other, fact, None) for fact in facts)


def entries(kind: str) -> dict[str, dict[str, EntryPoint]]:
    """The entry points of a kind by name and by value; listed once in a process, so that later installations are not seen."""
    if not _listed:
        from importlib.metadata import entry_points

        found = entry_points()
        for each in _KINDS:
            _listed[each] = {}
            for entry in found.select(group=f"persistable.{each}"):
                _listed[each].setdefault(entry.name, {})[entry.value] = entry
    return _listed[kind]


def load(kind: str, name: str) -> Any:
    """Import the object of the entry point of that name; None if no package has one.

    Raises RegistrationError if it cannot be imported, or two packages have one.
    """
    found = list(entries(kind).get(name, {}).values())
    if not found:
        return None
    if len(found) > 1:
        both = " and ".join(f"{_package(entry)} ({entry.value})" for entry in found)
        raise RegistrationError(f"{both} both bring {name!r} for {kind} of persistable; uninstall one of them", kind=kind, name=name)
    entry = found[0]
    try:
        return entry.load()
    except Exception as error:
        raise RegistrationError(
            f"{entry.value}, which {_package(entry)} brings for {name!r} ({kind} of persistable), cannot be imported: "
            f"{type(error).__name__}: {error}; mend or uninstall {_package(entry)}",
            kind=kind,
            name=name,
        ) from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "a package"
