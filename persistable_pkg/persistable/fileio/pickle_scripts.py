"""Classes and functions of a script or notebook in a pickle: by name and shape, with the definition for when there is no match.

Their module is ``__main__``, which differs between processes. With the definition in the payload alone, a loaded object would be of a
class that the script does not know.
"""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import functools
import sys
from abc import ABCMeta
from collections.abc import Iterator
from contextvars import ContextVar
from io import BytesIO, IOBase
from types import CodeType, FunctionType
from typing import Any, cast
from weakref import WeakKeyDictionary

from persistable.errors import CodeOfOtherPython
from persistable.fileio.lazy_check import refusal, why_lazy
from persistable.params.reducers import MAINS

_FIELDS = ("__dataclass_fields__", "_fields", "__attrs_attrs__", "__pydantic_fields__", "model_fields", "__struct_fields__")
"""Attributes in which dataclasses and similar classes keep the names of the fields of their instances."""
sender: ContextVar[str | None] = ContextVar("sender", default=None)
"""The import name of the main module of the process that sent the work running here; None without such work."""
_PICKLE_METHODS = ("__getstate__", "__setstate__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__", "__new__")


@functools.cache
def pickler_class() -> Any:
    """The class of picklers that accept all that cloudpickle accepts, with classes and functions of scripts by name and definition."""

    class Pickler(_pickler_by_value()):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if (isinstance(obj, type) or type(obj) is FunctionType) and _is_named(obj):
                if obj.__module__ == "__mp_main__":
                    sys.modules["cloudpickle"].register_pickle_by_value(sys.modules["__mp_main__"])
                _say(
                    obj, "the class or function of that name counts where there is one that fits, else the definition kept with the payload"
                )
                return of_script, (_home(), obj.__qualname__, shape_of(obj), by_value(obj))
            if isinstance(obj, IOBase) and (reason := why_lazy(obj)):  # cloudpickle would keep the text of an open file
                raise refusal(obj, reason, "PickleFileIO")
            reduced: Any = super().reducer_override(obj)
            if (isinstance(obj, type) or type(obj) is FunctionType) and type(reduced) is tuple:
                _say(obj, "a loaded object keeps the present code, even if the definition changes")
            return reduced

    return Pickler


_logged: set[str] = set()


def _say(thing: Any, kind: str) -> None:
    """Log, once per class or function, that its definition is stored in a payload."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    if name not in _logged and name.rpartition(".")[0] not in _logged:  # a method is stored with its class
        import logging

        _logged.add(name)
        limit = "Under another minor version of Python its code cannot be used; define it in a module to have it by name"
        message = f"%s is stored by value in a payload: %s. {limit}"
        logging.getLogger("persistable").info(message, name, kind)


@functools.cache
def _pickler_by_value() -> Any:
    """The pickler class of cloudpickle, changed so that classes keep their qualified names and ``__slots__``."""
    import cloudpickle  # type: ignore[import-untyped]

    skeleton = getattr(cloudpickle.cloudpickle, "_make_skeleton_class", None)

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is CodeType:
                return code_of, (sys.implementation.cache_tag, *self.dispatch_table[CodeType](obj)[1])
            made = _of_functools(obj)
            if made is not None:
                return made
            reduced: Any = super().reducer_override(obj)
            if isinstance(obj, type) and type(reduced) is tuple and len(reduced) == 6:  # a definition
                reduced[2][0]["__qualname__"] = obj.__qualname__
                if any("__sent_along__" in base.__dict__ for base in obj.__mro__):
                    reduced[2][0].update(cast("Any", obj).__sent_along__())
                plain = reduced[0] is skeleton and type(obj) in (type, ABCMeta) and not issubclass(obj, tuple)
                if plain and "__slots__" in obj.__dict__:
                    reduced[1][3]["__slots__"] = obj.__dict__["__slots__"]
            return reduced

    return Pickler


def _of_functools(thing: Any) -> Any:
    """The reduction of an object of `functools` around functions pickled by value, which pickle refuses; None for other objects."""
    kind = type(thing)
    if kind is WeakKeyDictionary:  # the cache of `singledispatch`
        return kind, (dict(thing),)
    if kind is functools.cached_property and "lock" in vars(thing):  # of Python 3.11
        return kind, (thing.func,), {name: value for name, value in vars(thing).items() if name != "lock"}
    if kind is _CACHING and not importable(thing):  # its cached results are not stored
        own = {name: value for name, value in vars(thing).items() if name not in ("__wrapped__", "cache_parameters")}
        return caching, (thing.__wrapped__, *thing.cache_parameters().values()), own
    return None


_CACHING = type(functools.cache(len))


def caching(function: Any, maxsize: int | None, typed: bool) -> Any:
    """The function that `functools.lru_cache` makes of `function`."""
    return functools.lru_cache(maxsize, typed)(function)


caching.__module__ = "persistable.fileio"  # in pickles forever


def importable(thing: Any) -> bool:
    """Tell whether another process can import `thing` by its name; False in modules registered with cloudpickle to go by value."""
    if thing.__module__ in MAINS:
        return False
    cloudpickle: Any = sys.modules.get("cloudpickle")
    if cloudpickle is not None and thing.__module__ in cloudpickle.list_registry_pickle_by_value():
        return False
    found: Any = sys.modules.get(thing.__module__)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


def code_of(tag: str, *parts: Any) -> CodeType:
    """Rebuild a code object. Raises CodeOfOtherPython where it was stored by another Python than this, whose bytecode differs."""
    own = sys.implementation.cache_tag
    if tag != own:
        name = parts[_NAME] if len(parts) > _NAME else "a function"
        raise CodeOfOtherPython(
            f"it holds code by value ({name}, of a script, a notebook or another function) that was kept under {tag}, and this is {own}; "
            "a class or function of a module is kept by name and has no such limit",
            format="PickleFileIO",
            expected=own,
            found=tag,
        )
    return CodeType(*parts)


code_of.__module__ = "persistable.fileio"  # in pickles forever
_NAME = 12
"""The index of the qualified name among the parts of code, as in cloudpickle for Python 3.11 and later."""


def by_value(thing: Any) -> bytes:
    """`thing` as a pickle, with the definitions of classes and functions that another process could not import."""
    with BytesIO() as file:
        _pickler_by_value()(file, protocol=5).dump(thing)
        return file.getvalue()


def _is_named(thing: Any) -> bool:
    named = thing.__module__ in MAINS and "<" not in thing.__qualname__
    return named and not getattr(thing, "__closure__", None)


def _home() -> str:
    """The name under which the main module can be imported; for work sent here, that of the sender."""
    sent = sender.get()
    if sent is not None:
        return sent
    main: Any = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    name = getattr(spec, "name", None)
    if isinstance(name, str):
        return name
    file = str(getattr(main, "__file__", None) or "")
    return file.replace("\\", "/").rpartition("/")[2].removesuffix(".py")


def of_script(home: str, qualname: str, shape: tuple[Any, ...], definition: bytes) -> Any:
    """The current class or function of that name, if it has that shape; else the stored definition."""
    for found in _candidates(home, qualname):
        if _fits(found, shape):
            return found
    import pickle

    return pickle.loads(definition)


# in pickles forever, wherever it is defined; it has to be found under its name, or it would be pickled by value
of_script.__module__ = "persistable.fileio"


def _candidates(home: str, qualname: str) -> Iterator[Any]:
    # work that was sent comes with its classes by value, even if this process has run the script too
    if sender.get() is not None or getattr(sys.modules.get("__main__"), "__name__", "") == "__mp_main__":
        yield from _classes_received_by_value(qualname)
    for name in (*MAINS, home):
        found: Any = sys.modules.get(name)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        if found is not None:
            yield found
    yield from _classes_received_by_value(qualname)


def _classes_received_by_value(qualname: str) -> Iterator[Any]:
    """Classes of that name that were received by value, such as with a job in a worker process, latest first."""
    internals: Any = sys.modules.get("cloudpickle.cloudpickle")
    known = getattr(internals, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})
    for found in reversed(list(known.values())):
        if isinstance(found, type) and found.__qualname__ == qualname and found.__module__ in MAINS:
            yield found


def _fits(today: Any, shape: tuple[Any, ...]) -> bool:
    """Tell whether `today` matches a stored `shape`: its instances have the same fields, and it has at least the same methods."""
    if not isinstance(today, type) and type(today) is not FunctionType:
        return False
    try:
        return _shapes_match(shape_of(today), shape)
    except (AttributeError, TypeError, ValueError):
        return False


def _shapes_match(today: Any, then: Any) -> bool:
    if isinstance(today, str) or isinstance(then, str):
        return bool(today == then)
    kind, held, bases, methods = today
    same = kind == then[0] and (set(then[1]) <= set(held) if kind == "enum" else held == then[1])  # members and methods may be added
    return same and len(bases) == len(then[2]) and all(map(_shapes_match, bases, then[2])) and set(then[3]) <= set(methods)


def shape_of(thing: Any) -> tuple[str, tuple[str, ...], tuple[Any, ...], tuple[str, ...]]:
    """Kind, names of fields and attributes (of arguments for a function), bases, and methods."""
    if type(thing) is FunctionType:
        code = thing.__code__
        count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
        return "function", code.co_varnames[:count], (), ()
    own_modules = (*MAINS, thing.__module__)
    bases = tuple(
        [shape_of(base) if base.__module__ in own_modules else f"{base.__module__}.{base.__qualname__}" for base in thing.__bases__]
    )
    own = type.__getattribute__(thing, "__dict__")
    if "_member_map_" in own:
        return "enum", tuple([f"{name}={member.value!r}" for name, member in thing.__members__.items()]), bases, ()
    methods = tuple(sorted(name for name, member in own.items() if _is_method(name, member)))
    kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return kind, (*_fields(thing, own), "", *_stored(own)), bases, methods


def _is_method(name: str, member: Any) -> bool:
    if name.startswith("__") and name.endswith("__"):
        return name in _PICKLE_METHODS
    return not name.startswith("_abc_") and type(member).__name__ != "member_descriptor"  # a slot: one of its fields


def _fields(cls: type, own: Any) -> list[str]:
    """The declared fields of instances, in order."""
    for kept in _FIELDS:
        found: Any = getattr(cls, kept, None) if kept in own else None
        if found is not None:
            return [str(getattr(field, "name", field)) for field in found]
    slots: Any = own.get("__slots__", ())
    try:
        annotated = list(own["__annotations__"] if "__annotations__" in own else cls.__annotations__)  # noqa: SIM401 - asked for only where it is not
    except (AttributeError, NameError):  # evaluated on access, with undefined names
        annotated = []
    return [*([slots] if isinstance(slots, str) else map(str, slots)), *annotated]


def _stored(own: Any) -> list[str]:
    """The arguments of ``__init__``, and the attributes that any method sets."""
    import dis

    found: set[str] = set()
    init: Any = own.get("__init__")
    arguments = list(shape_of(init)[1]) if type(init) is FunctionType else []
    for member in own.values():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if type(function) is FunctionType:
            found.update(str(step.argval) for step in dis.get_instructions(function) if step.opname == "STORE_ATTR")
    return [*arguments, "", *sorted(found)]
