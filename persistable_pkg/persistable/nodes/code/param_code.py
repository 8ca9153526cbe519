"""The code that params contain: functions, and the user's own classes, at any depth."""

# Values of every type pass through here, so pyright meets unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from persistable.nodes.code.constants import kind_of
from persistable.nodes.code.ownership import is_installed, is_ours
from persistable.params.reducers import MAINS

Thing = tuple[str, Any]
"""A pair: ``"value"`` and a function or class that is a value itself, or ``"instance"`` and the class of a value."""

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...), range, slice})
"""Types whose values contain no code."""
_MOST = 10_000
_DEEPEST = 50


def code_in(values: Iterable[Any], root: str) -> tuple[Thing, ...]:
    """The functions and classes in `values`, each once, without those of libraries. root: the top-level package of the calling code.

    Values without any cost only a check of their types.
    """
    if all(type(value) in ATOMS for value in values):
        return ()
    found = _Look(root)
    for value in values:
        found.at(value, 0)
    return tuple(found.things.values())


class _Look:
    def __init__(self, root: str) -> None:
        self.root = root
        self.things: dict[tuple[str, int], Thing] = {}
        self._seen: dict[int, Any] = {}

    def at(self, value: Any, depth: int) -> None:
        """Collect the functions and classes of one value and of its members."""
        kind = kind_of(value)
        if kind in ATOMS or depth > _DEEPEST or len(self._seen) > _MOST or id(value) in self._seen:
            return
        if kind in (list, tuple, set, frozenset):
            if not ATOMS.issuperset(map(type, value)):
                self._seen[id(value)] = value
                for item in value:
                    self.at(item, depth + 1)
        elif kind is dict:
            self.at(list(value.values()), depth + 1)
            self.at(list(value), depth + 1)
        elif kind is FunctionType or kind is BuiltinFunctionType:
            self._function(value, depth)
        elif kind is MethodType:
            self.at(value.__func__, depth + 1)
            self.at(value.__self__, depth + 1)
        elif issubclass(kind, functools.partial):
            self.at([value.func, *value.args, *value.keywords.values()], depth + 1)
        elif issubclass(kind, type):
            if self._own(value.__module__):
                self._add("value", value)
        elif not issubclass(kind, ModuleType) and getattr(kind, "_node_is_node", False) is not True:
            self._object(value, kind, depth)

    def _function(self, value: Any, depth: int) -> None:
        module = getattr(value, "__module__", None)
        library = value.__globals__.get("__name__") if kind_of(value) is FunctionType else module
        if self._own(module) or (kind_of(value) is FunctionType and self._own(library)):
            self._add("value", value)
        elif kind_of(value) is FunctionType and (value.__closure__ or value.__dict__):
            self._add("value", value)  # a library's decorator, perhaps around code of the user's own
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            self.at(wrapped, depth + 1)

    def _object(self, value: Any, kind: type[Any], depth: int) -> None:
        own = self._own(kind.__module__)
        if own:
            self._add("instance", kind)
        wrapped = getattr(kind, "__wrapped__", None) is not None or hasattr(value, "__wrapped__")
        if own or wrapped or hasattr(kind, "get_params") or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__attrs_attrs__"):
            self._seen[id(value)] = value
            attributes = dict(getattr(value, "__dict__", {}))
            attributes.pop("__objclass__", None)  # the class of an enum's member, which identity names without its module
            held: list[Any] = list(attributes.values())
            for base in kind.__mro__:
                names = base.__dict__.get("__slots__", ())
                held += [getattr(value, name, None) for name in ([names] if isinstance(names, str) else names)]
            if wrapped:
                held.append(getattr(value, "__wrapped__", None))
            self.at(held, depth + 1)

    def _add(self, how: str, thing: Any) -> None:
        self.things.setdefault((how, id(thing)), (how, thing))

    def _own(self, module: Any) -> bool:
        if type(module) is not str or is_ours(module):
            return False
        known = _known.get(module)
        if known is None:
            file = getattr(sys.modules.get(module), "__file__", None)
            at_prompt = module in MAINS
            known = at_prompt or (module in sys.modules and isinstance(file, str) and not is_installed(file))
            if module in sys.modules:
                _known[module] = known
        return known or module.partition(".")[0] == self.root


_known: dict[str, bool] = {}
