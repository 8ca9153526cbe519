"""References to classes and functions in records, and the values that a closure captures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from persistable.nodes.code.checkout import Checkout
from persistable.params.reducers import MAINS


def class_reference(thing: type | Callable[..., Any]) -> str:
    """``module:qualified.name`` of a class or function, such as ``mypkg.flows:Points``.

    An object of ``__main__`` is named by its script, ``train.py:Points`` (by the module under ``python -m``), and stays
    ``__main__:Points`` in a notebook or at the prompt. Never an absolute path.
    """
    read: Callable[[Any, str], Any] = type.__getattribute__ if issubclass(type(thing), type) else object.__getattribute__
    try:
        module, name = read(thing, "__module__"), read(thing, "__qualname__")
    except AttributeError:
        module, name = type.__getattribute__(type(thing), "__module__"), type.__getattribute__(type(thing), "__qualname__")
    module = str(module)
    if module[:1] == "<":  # built from the source that a record keeps
        return f"{module[1:-1]}:{name}"
    return f"{main_name() if module in MAINS else module}:{name}"


def is_same_place(one: str, other: str) -> bool:
    """Tell whether two references name one object: they are equal, or one names a file run as a script and the other its module."""
    (first, _, name), (second, _, others) = one.partition(":"), other.partition(":")
    if name != others:
        return False
    script, module = (first, second) if first.endswith(".py") else (second, first)
    return first == second or (script.endswith(".py") and module.rpartition(".")[2] == script.removesuffix(".py"))


class Main(NamedTuple):
    """The main program: the name of ``__main__`` in references, its git work tree, and its project."""

    name: str
    commit: Checkout | None
    project: str | None = None


_sent: ContextVar[Main | None] = ContextVar("sent", default=None)


@contextmanager
def sent_from(main: Main | None) -> Generator[None]:
    """Inside the block, name objects of ``__main__`` as in `main`, the main program of the process that sent the work; None: as here."""
    from persistable.fileio.pickle_scripts import sender

    before = _sent.set(main)
    home = sender.set(None if main is None else main.name.removesuffix(".py"))
    try:
        yield
    finally:
        sender.reset(home)
        _sent.reset(before)


_is_sending: ContextVar[bool] = ContextVar("sending", default=False)


@contextmanager
def sending() -> Generator[None]:
    """Mark objects pickled inside the block as sent to another process to run."""
    before = _is_sending.set(True)
    try:
        yield
    finally:
        _is_sending.reset(before)


def is_sending() -> bool:
    """Tell whether the caller is inside a block of `sending`."""
    return _is_sending.get()


def sent_main() -> Main | None:
    """The main program of the process that sent the current work; None if that is this process."""
    return _sent.get()


def main_name() -> str:
    """The name of ``__main__`` in references: in the process that sent the current work, else in this one."""
    sent = _sent.get()
    return sent.name if sent is not None else _own_main_name()


def _own_main_name() -> str:
    namespace = vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}
    spec = namespace.get("__spec__")
    if spec is not None and isinstance(getattr(spec, "name", None), str):
        name: str = spec.name
        return name if name != "__mp_main__" else "__main__"
    file = namespace.get("__file__")
    if isinstance(file, str) and not file.startswith("<"):
        return file.replace("\\", "/").rpartition("/")[2] or "__main__"
    return "__main__"


def closure_values(function: Any) -> dict[str, Any]:
    """The variables that a function captures from its enclosing functions: name to current value, in the compiler's order.

    ``__class__``, the cell behind `super()`, is left out, and so are variables not assigned yet. Empty if `function` is
    not a Python function. Methods and functions wrapped with `functools.wraps` are read as they are, not unwrapped.
    """
    if type(function) is MethodType:
        function = function.__func__
    if type(function) is not FunctionType or not function.__closure__:
        return {}
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=False):
        if name != "__class__":
            try:
                found[name] = cell.cell_contents
            except ValueError:
                continue
    return found
