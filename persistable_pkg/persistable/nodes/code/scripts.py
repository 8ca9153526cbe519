"""The source of what a script or notebook defines, as part of its name: `activation` in two scripts is two functions.

A mark stays on the function or class, so that it goes where that is sent by value, such as to a worker that has no source of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, cast

from persistable.nodes.code.constants import digest, kind_of, plain_bytes
from persistable.nodes.code.reference import closure_values
from persistable.params.reduce import MAINS

MARK = "__persistable_source__"
"""The attribute in which a function or class of ``__main__`` keeps its mark."""
_DIGITS = 16


def mark_of(thing: Any) -> str:
    """A digest of the source of a function, class or what wraps one, blind to comments, docstrings and layout; "" where nothing is known.

    It is the same on every Python where there is a source, and where there is none (``python -c``, older prompts) on each Python.
    """
    return _mark(thing, set())


def _mark(thing: Any, seen: set[int]) -> str:
    if id(thing) in seen:
        return ""
    seen.add(id(thing))
    kind = kind_of(thing)
    if kind is FunctionType:
        return _kept(thing, thing.__code__, lambda: _function(thing, seen))
    if issubclass(kind, type):
        return _kept(thing, None, lambda: _class(thing))
    wrapped = getattr(thing, "__wrapped__", None)
    return _mark(wrapped, seen) if wrapped is not None else ""


def _kept(thing: Any, code: CodeType | None, make: Callable[[], str]) -> str:
    """The mark that `thing` has by itself, not one that it was given with the attributes of what it wraps; else a new one."""
    known: Any = cast("dict[str, Any]", vars(thing)).get(MARK)
    if known.__class__ is tuple and known[0] == code:
        return str(known[1])
    mark = make()
    try:
        setattr(thing, MARK, (code, mark))
    except (AttributeError, TypeError):  # it is looked at again each time
        pass
    return mark


def _function(function: FunctionType, seen: set[int]) -> str:
    from persistable.nodes.code import source  # not read before anything of a script is a param
    from persistable.nodes.code.normal import bytecode_text

    found = source.of_function(function)
    said = [found.hash if found is not None else bytecode_text(function.__code__)]
    wrapped = getattr(function, "__wrapped__", None)
    for name, value in [*closure_values(function).items(), *([("__wrapped__", wrapped)] if wrapped is not None else [])]:
        if getattr(value, "__module__", None) in MAINS:
            said.append(f"{name}={_mark(value, seen)}")
        elif (raw := plain_bytes(value)) is not None:
            said.append(f"{name}={raw.hex()}")
    return digest("\n".join(said).encode("utf-8", "surrogatepass"))[:_DIGITS]


def _class(cls: type) -> str:
    from persistable.nodes.code import source
    from persistable.nodes.code.normal import bytecode_text, source_text

    node, _ = source.class_node(cls, vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {})
    if node is not None:
        text = source_text(node)
    else:
        said = [base.__qualname__ for base in cls.__bases__]
        for name, value in vars(cls).items():
            inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
            if type(inner) is FunctionType:
                said.append(f"{name}:{bytecode_text(inner.__code__)}")
            elif name not in _OWN and (raw := plain_bytes(value)) is not None:
                said.append(f"{name}={raw.hex()}")
        text = "\n".join(said)
    return digest(text.encode("utf-8", "surrogatepass"))[:_DIGITS]


_OWN = ("__module__", "__qualname__", "__doc__", "__firstlineno__", "__static_attributes__", MARK)
