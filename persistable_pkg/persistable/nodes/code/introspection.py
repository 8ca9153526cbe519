"""Inspection of objects without running code of theirs: types by identity, attributes from ``__dict__`` only, nothing called."""

from __future__ import annotations

import functools
import operator
import sys
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from types import CodeType, FunctionType, GetSetDescriptorType, MappingProxyType, MethodType, ModuleType
from typing import Any, NamedTuple, cast

from persistable.nodes.code.bytecode import codes_in
from persistable.nodes.code.constants import SCALARS, exact_dict, kind_of, plain_bytes
from persistable.nodes.code.ownership import MARK, Namespace, is_installed
from persistable.nodes.code.reference import closure_values
from persistable.params.reducers import is_script
from persistable.params.unset import UNSET

class_dict: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
class_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__


class Watch(NamedTuple):
    """A condition for a walk to stay valid: a namespace, or a class held weakly, maps `name` to the same object.

    `weak` refers to the object if it supports weak references, so that watching a class does not keep it alive; else it is `held`.
    A function must also keep its `code`: reloading tools replace it in place.
    """

    namespace: Namespace | None
    cls: weakref.ref[type] | None
    name: str
    weak: weakref.ref[Any] | None
    held: Any
    code: CodeType | None


def given_namespace(thing: Any) -> Namespace | None:
    """The namespace of the module that defines a function or class among the params; None if that is a library."""
    if issubclass(kind_of(thing), type):
        namespace = class_namespace(thing)
    elif (function := innermost(thing)) is not None:
        namespace = function.__globals__
    else:
        module = sys.modules.get(str(getattr(thing, "__module__", None)))
        namespace = module_dict(module) if module is not None else {}
    file = namespace.get("__file__")
    return None if isinstance(file, str) and is_installed(file) else namespace


def innermost(code: Any) -> FunctionType | None:
    """The innermost function of a decorated or partial one, which decides its project; None if there is none."""
    for _ in range(50):
        kind, attributes = kind_of(code), instance_dict(code) or {}
        wrapped = attributes.get("__wrapped__")
        if kind is FunctionType and kind_of(wrapped) is not FunctionType:
            return cast("FunctionType", code)
        if issubclass(kind, functools.partial):
            code = partial_func(code)
        elif issubclass(kind, MethodType):
            code = method_function(code)
        else:
            code = (
                wrapped if wrapped is not None else next((value for value in attributes.values() if kind_of(value) is FunctionType), None)
            )
    return None


def title(thing: Any) -> str:
    """The name of a function or class among the params, with its module, which is part of the key anyway."""
    module = str(getattr(thing, "__module__", ""))
    name = str(getattr(thing, "__qualname__", "")).rpartition("<locals>.")[2]
    return name if not module or is_script(module) else f"{module}.{name}"


def is_member(name: str, cls: type) -> bool:
    """Tell whether an attribute of a class is code that a method call may reach."""
    value = class_dict(cls)[name]
    special = name.startswith("__") and name.endswith("__")
    return not special and (type(value) is FunctionType or issubclass(kind_of(value), (*WRAPPERS, functools.singledispatchmethod)))


def is_at_home(cls: type) -> bool:
    """Tell whether the module that a class names as its own has its name; for a class made by a call it often has not."""
    home = sys.modules.get(str(type.__getattribute__(cls, "__module__")))
    return home is not None and module_dict(home).get(type.__getattribute__(cls, "__qualname__").partition(".")[0]) is not None


def is_node(cls: type) -> bool:
    """Tell whether a class is a node class."""
    return any("_node_is_node" in class_dict(base) for base in class_mro(cls))


def fields_of(cls: type) -> Collection[str]:
    """The fields of a dataclass, attrs class or pydantic model: their values are identity, and their defaults are in the params."""
    attributes = class_dict(cls)
    for mark in ("__dataclass_fields__", "__pydantic_fields__"):
        found = exact_dict(attributes.get(mark))
        if found is not None:
            return found
    return [str(getattr(each, "name", "")) for each in attributes.get("__attrs_attrs__") or ()]


_QUIET = (
    "builtins",
    "abc",
    "typing",
    "typing_extensions",
    "enum",
    "collections",
    "_collections_abc",
    "dataclasses",
    "contextlib",
    "persistable",
)


def is_called_by_libraries(cls: type, owned: Callable[[type], bool]) -> bool:
    """Tell whether a library may call methods that the project never names: one of its classes is a base, or it transformed the class."""
    for base in class_mro(cls)[:-1]:
        if owned(base):
            if any(mark in class_dict(base) for mark in ("__attrs_attrs__", "__pydantic_fields__")):
                return True
        elif str(type.__getattribute__(base, "__module__")).partition(".")[0] not in _QUIET:
            return True
    return False


def fitting(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that start with a pattern such as ``fit_``, or end with one such as ``_score``."""
    return [
        name
        for name in list(names)
        for text in patterns
        if type(name) is str
        and not name.startswith("__")
        and name != text
        and (name.startswith(text) if text.endswith("_") else name.endswith(text))
    ]


def strings_in(code: CodeType) -> Iterable[str]:
    """The identifiers in the string constants of a code object and those nested in it."""
    for text in (constant for each in codes_in(code) for constant in each.co_consts if type(constant) is str):
        yield from (part for part in text.split(".") if part.isidentifier() and part.strip("_"))


BY_NAME = frozenset({operator.attrgetter, operator.methodcaller})


def names_read_by(value: Any) -> list[str]:
    """The names that an ``attrgetter`` or a ``methodcaller`` reads."""
    return [part for argument in value.__reduce__()[1] if type(argument) is str for part in argument.split(".")]


def contents_of(held: Any) -> tuple[int, ...]:
    """The ids of the objects in a container; of a large one only their number."""
    if len(held) > 100:
        return (len(held),)
    return tuple(map(id, held.values() if hasattr(held, "values") else held))


def hold(value: Any) -> tuple[weakref.ref[Any] | None, Any, CodeType | None]:
    """The fields `weak`, `held` and `code` of a `Watch` for a value: a weak reference if possible, and the code of a function."""
    if type(value) is FunctionType:
        return weakref.ref(value), None, value.__code__
    if type(value) in SCALARS or value is UNSET:
        return None, value, None
    try:
        return weakref.ref(value), None, None
    except TypeError:
        return None, value, None


def class_namespace(cls: type) -> Namespace:
    """The namespace of the module that defines a class; empty if that module is gone."""
    read = exact_dict(class_dict(cls).get(MARK))
    if read is not None:
        return read
    module = sys.modules.get(str(type.__getattribute__(cls, "__module__")))
    if module is not None and issubclass(kind_of(module), ModuleType):
        return module_dict(module)
    return {}


def instance_dict(value: Any) -> Mapping[str, Any] | None:
    """The ``__dict__`` of any object, read without running its ``__getattribute__`` or a property; None if it has none."""
    for cls in class_mro(kind_of(value)):
        found = class_dict(cls).get("__dict__")
        if found is not None:
            if type(found) is not GetSetDescriptorType:
                return None
            return exact_dict(found.__get__(value))
    return None


def captured_bytes(function: FunctionType, stored: Iterable[str]) -> bytes | None:
    """The plain default and captured values of a function, encoded; None if it has none."""
    values: list[tuple[str, bytes | None]] = [("", _carried(value)) for value in function.__defaults__ or ()]
    values += [(name, _carried(value)) for name, value in (function.__kwdefaults__ or {}).items()]
    values += [(name, None if name in stored else _carried(value)) for name, value in closure_values(function).items()]
    known = [value for value in values if value[1] is not None]
    return plain_bytes(tuple(known)) if known else None


def _carried(value: Any) -> bytes | None:
    """Encode a plain value, or the plain arguments of a partial; None for other values, which are followed or are state."""
    if type(value) is functools.partial:
        return plain_bytes((partial_args(value), tuple(partial_keywords(value).items())))
    return plain_bytes(value)


def module_dict(module: Any) -> Namespace:
    """The namespace of a module, also of one whose class overrides attribute access."""
    return ModuleType.__getattribute__(module, "__dict__")  # type: ignore[no-any-return]


def is_wrapper(kind: type[Any]) -> bool:
    """Tell whether a type wraps a function; the source of the function includes the wrapper."""
    return issubclass(kind, WRAPPERS)


LRU = type(functools.lru_cache(lambda: None))
ARGUED = (functools.partial, functools.partialmethod, MethodType)  # these add arguments or an instance to the function they hold
WRAPPERS = (*ARGUED, staticmethod, classmethod, property, functools.cached_property, LRU)
method_self: Callable[[Any], Any] = MethodType.__self__.__get__
method_function: Callable[[Any], Any] = MethodType.__func__.__get__
partial_func: Callable[[Any], Any] = functools.partial.func.__get__
partial_args: Callable[[Any], tuple[Any, ...]] = functools.partial.args.__get__
partial_keywords: Callable[[Any], dict[str, Any]] = functools.partial.keywords.__get__
PROPERTY_PARTS: tuple[Any, ...] = (property.fget, property.fset, property.fdel)
CONTAINERS = frozenset({tuple, frozenset, list, set, dict})
REGISTRIES = frozenset({dict, list, set, tuple, MappingProxyType})
DESCRIPTORS = frozenset({GetSetDescriptorType, type(FunctionType.__code__), type(str.join), type(object.__init__)})


def raw_function(value: Any) -> Any:
    """The function in a static or class method."""
    kind = staticmethod if issubclass(kind_of(value), staticmethod) else classmethod
    return kind.__dict__["__func__"].__get__(value)
