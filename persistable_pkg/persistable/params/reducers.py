"""Reduce values of any class, by the function for the package of the class; and refer to classes as ``module:qualname``."""

from __future__ import annotations

import sys
from _contextvars import ContextVar

from persistable.errors import ParamsError
from persistable.params.reduced_values import Refused, Tagged

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from persistable.params.reduced_values import Reduce


_PACKAGES = {
    "httpx": "other_libraries",
    "numpy": "numpy",
    "pandas": "pandas",
    "polars": "arrow",
    "pyarrow": "arrow",
    "sklearn": "other_libraries",
    "omegaconf": "other_libraries",
    "pydantic": "other_libraries",
    "pydantic_core": "other_libraries",
    "pytz": "other_libraries",
    "scipy": "scientific",
    "torch": "other_libraries",
    "upath": "other_libraries",
    "xarray": "scientific",
    "yarl": "other_libraries",
}
_GENERIC = "convert it to plain values, register_params its type, or mark the field untracked"


def find(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`; None if nothing is known about it. Raises Refused, with advice for its type."""
    from importlib import import_module

    from persistable.params import stdlib

    found = stdlib.reducer(cls)
    seen: set[str] = set()
    for base in cls.__mro__:
        if found is not None:
            return found
        package = base.__module__.partition(".")[0]
        module = _PACKAGES.get(package)
        if module is not None and package not in seen and package in sys.modules:
            seen.add(package)
            found = import_module(f"persistable.params.{module}").reducer(cls)
    return found


def unknown(cls: type) -> Reduce:
    """The function for values of an unknown class: it refers to objects that have a name to import them by, and refuses all others."""
    return _reference if issubclass(cls, type) else _by_name


def _reference(value: Any) -> Tagged:
    return Tagged("reference", reference(value))


def _by_name(value: Any) -> Tagged:
    """Refer to functions of every kind, and to other objects that know the name they are imported by; all others are refused."""
    if callable(value) and isinstance(getattr(value, "__qualname__", None), str):
        return Tagged("reference", reference(value))
    raise Refused(*_why(value))


def _why(value: Any) -> tuple[str, str]:
    cls = type(value)
    if getattr(cls, "_node_is_family", False):
        return "a family is many nodes, and this is the place of one value", "give its nodes, list(family.values())"
    if any(base.__name__ == "tzinfo" for base in cls.__mro__):
        return f"nothing tells the time zone {value} from others on every machine", "use zoneinfo.ZoneInfo, or a fixed datetime.timezone"
    name = f"{cls.__module__}.{cls.__qualname__}" if cls.__module__ != "builtins" else cls.__qualname__
    if hasattr(cls, "__next__"):
        return f"a {name} would be used up by looking at it", "convert it to a list or a tuple"
    if "Generator" in cls.__name__ or "RandomState" in cls.__name__:
        return f"a {name} changes whenever it is used", "pass the seed instead"
    for base in cls.__mro__[1:]:
        if base.__module__ == "builtins" and base is not object:
            kind = base.__name__
            return (
                f"{name} is derived from {kind}, and may hold more than that does",
                f"convert it with {kind}(…), or register_params it",
            )
    return f"nothing is known about the type {name}", _GENERIC


MAINS = ("__main__", "__mp_main__")
"""Names of the module of the main program, in itself and in processes that multiprocessing has started."""
main_of_record: ContextVar[Any] = ContextVar("kept_main", default=None)
"""The module used as ``__main__`` for the trees that are being read, where a record has kept its source."""


def is_script(module: str) -> bool:
    """Tell whether a module is a script or notebook, or was made of the source of one: ``<train.py>``, which cannot be imported."""
    return module in MAINS or module.startswith("<")


def _unmarked(_: Any) -> str:
    return ""


main_source_digest: Callable[[Any], str] = _unmarked
"""Return a digest of the source of an object in the main script. The package that reads sources, a layer above, puts its function here."""
_BY_NAME = "name a function or class at the top level of a module, or register_params its type, or mark the field untracked"
# types that claim to be in builtins but are not
_TYPES_MODULE = {type(None): "types:NoneType", type(...): "types:EllipsisType", type(NotImplemented): "types:NotImplementedType"}


def reference(value: Any) -> str:
    """The name by which `value` can be imported, as ``module:qualname``. Raises Refused if the name gives another object."""
    if isinstance(value, type) and value in _TYPES_MODULE:
        return _TYPES_MODULE[value]
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, type(sys)):
        return _method(value, owner)
    found = getattr(value, "__objclass__", None)
    if found is not None:  # str.upper and its like know their class, not their module
        return _member(reference(found), value.__name__)
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise Refused("it has no name to import it by", _BY_NAME)
    if name == "<lambda>" or ".<lambda>" in name:
        raise Refused("it is a lambda, which has no name that tells it from others", _BY_NAME)
    if "<locals>" in name:
        raise Refused(f"{name} is defined inside a function and cannot be imported", _BY_NAME)
    if is_script(module):
        # a worker holds a copy of the objects of the main script, so it need not be the same object, only one of the same kind
        found = _lookup(module, name)
        if found is not None and type(found) is not type(value):
            raise Refused(f"{name} in the main script is a {type(found).__name__}, this is a {type(value).__name__}", _BY_NAME)
        mark = main_source_digest(value)
        return f"__main__:{name}#{mark}" if mark else f"__main__:{name}"
    module = _public(module, name, value)
    if _lookup(module, name) is not value:
        raise Refused(f"importing {name} from {module} gives another object", _BY_NAME)
    return f"{module}:{name}"


def _method(value: Any, owner: Any) -> str:
    if isinstance(owner, type):
        return _member(reference(owner), value.__name__)
    raise Refused(f"it is a method bound to an instance of {type(owner).__qualname__}, whose state has no name", _BY_NAME)


def _member(owner: str, name: str) -> str:
    """The reference of the attribute `name` of a class."""
    place, sign, mark = owner.partition("#")
    return f"{place}.{name}{sign}{mark}"


def _public(module: str, name: str, value: Any) -> str:
    """The documented home of an object from a private module: those move between versions (``pathlib._local``, ``_operator``)."""
    parts = module.split(".")
    for i, part in enumerate(parts):
        if part.startswith("_") and not part.startswith("__"):
            home = ".".join(parts[:i]) if i else part.lstrip("_")
            if home in sys.modules and _lookup(home, name) is value:
                return home
            break
    return module


def _lookup(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    if module in MAINS:
        found = main_of_record.get() or found
    if found is None:
        from importlib import import_module

        try:
            found = import_module(module)
        except ImportError:
            return None
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _renamed(module: str, name: str) -> Any:
    """The class of `module` that was called `name` before, or None."""
    held = list(vars(sys.modules[module]).values()) if module in sys.modules and name.isidentifier() else ()
    return next((each for each in held if isinstance(each, type) and each.__dict__.get("__persistable_formerly__") == name), None)


def dereference(text: str) -> Any:
    """Import the class or function of which `text` is the `reference`. Raises ParamsError if it cannot be imported any more."""
    module, _, name = text.partition(":")
    name, _, mark = name.partition("#")
    found = _lookup(module, name)
    if found is not None and mark and reference(found) != text:
        raise ParamsError(f"{module}:{name} is defined otherwise in this script or notebook than in the one that the record is from")
    if found is None:
        found = _renamed(module, name)
    if found is None:
        raise ParamsError(f"{text} cannot be imported: it was moved, renamed or removed, or lived in another script or notebook")
    return found
