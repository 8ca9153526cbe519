"""The source of a function or class of a script or notebook, as part of its name: `activation` in two scripts is two functions.

A mark is an attribute of the function or class, so it stays when that is sent by value, as to a worker without the source.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, cast

from persistable.nodes.code.constants import digest, kind_of, plain_bytes
from persistable.nodes.code.reference import closure_values
from persistable.params.reducers import MAINS

MARK = "__persistable_source__"
"""The attribute of a function or class of ``__main__`` with its mark."""
_DIGITS = 16


def mark_of(thing: Any) -> str:
    """A digest of the source of a function, class or wrapper of one, blind to comments, docstrings and layout; "" for other objects.

    With a source it is the same on every Python; without one (``python -c``, older prompts) it depends on the Python version.
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
    """The mark of `thing` itself, not one copied with the attributes of the function it wraps; computed if there is none."""
    known: Any = cast("dict[str, Any]", vars(thing)).get(MARK)
    if known.__class__ is tuple and known[0] == code:
        return str(known[1])
    mark = make()
    try:
        setattr(thing, MARK, (code, mark))
    except (AttributeError, TypeError):  # no such attribute can be set: the mark is computed each time
        pass
    return mark


def _function(function: FunctionType, seen: set[int]) -> str:
    from persistable.nodes.code import source  # imported only once an object of a script is a param
    from persistable.nodes.code.normal import bytecode_text

    found = source.of_function(function)
    pieces = [found.hash if found is not None else bytecode_text(function.__code__)]
    wrapped = getattr(function, "__wrapped__", None)
    for name, value in [*closure_values(function).items(), *([("__wrapped__", wrapped)] if wrapped is not None else [])]:
        if getattr(value, "__module__", None) in MAINS:
            pieces.append(f"{name}={_mark(value, seen)}")
        elif (raw := plain_bytes(value)) is not None:
            pieces.append(f"{name}={raw.hex()}")
    return digest("\n".join(pieces).encode("utf-8", "surrogatepass"))[:_DIGITS]


def _class(cls: type) -> str:
    from persistable.nodes.code import source
    from persistable.nodes.code.normal import bytecode_text, source_text

    node, _ = source.class_node(cls, vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {})
    if node is not None:
        text = source_text(node)
    else:
        pieces = [base.__qualname__ for base in cls.__bases__]
        for name, value in vars(cls).items():
            inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
            if type(inner) is FunctionType:
                pieces.append(f"{name}:{bytecode_text(inner.__code__)}")
            elif name not in _OWN and (raw := plain_bytes(value)) is not None:
                pieces.append(f"{name}={raw.hex()}")
        text = "\n".join(pieces)
    return digest(text.encode("utf-8", "surrogatepass"))[:_DIGITS]


_OWN = ("__module__", "__qualname__", "__doc__", "__firstlineno__", "__static_attributes__", MARK)
