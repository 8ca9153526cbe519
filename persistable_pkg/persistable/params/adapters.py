"""Which module knows how to reduce values of a class: chosen by the package the class comes from, and loaded when one is met."""

# Values of every type pass through here, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys

from persistable.params.forms import Refused, Tagged
from persistable.params.references import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from persistable.params.forms import Reduce

_PACKAGES = {
    "numpy": "arrays",
    "pandas": "frames",
    "polars": "tables",
    "pyarrow": "tables",
    "sklearn": "models",
    "omegaconf": "models",
    "pydantic": "models",
    "pydantic_core": "models",
    "pytz": "models",
    "scipy": "scientific",
    "torch": "models",
    "upath": "models",
    "xarray": "scientific",
}
_GENERIC = "convert it to plain values, register_params its type, or mark the field untracked"


def find(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`; None if nothing is known about it. Raises Refused, with advice that fits."""
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
    """The function for values of a class that nothing is known about: it takes what can be named, and refuses all else."""
    return _reference if issubclass(cls, type) else _by_name


def _reference(value: Any) -> Tagged:
    return Tagged("reference", reference(value))


def _by_name(value: Any) -> Tagged:
    """Functions of every kind, and other objects that know the name they are imported by; all else is refused."""
    if callable(value) and isinstance(getattr(value, "__qualname__", None), str):
        return Tagged("reference", reference(value))
    raise Refused(*_why(value))


def _why(value: Any) -> tuple[str, str]:
    cls = type(value)
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
                f"{name} is a {kind} of another type, and may hold more than a {kind} does",
                f"convert it with {kind}(…), or register_params it",
            )
    return f"nothing is known about the type {name}", _GENERIC
