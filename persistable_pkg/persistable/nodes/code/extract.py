"""The source of a class or function of a script, with everything of the script that it uses; a record keeps it to restore it elsewhere."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from persistable.nodes.code import source
from persistable.nodes.code.constants import kind_of, plain_bytes
from persistable.params.reducers import is_script
from persistable.params.syntax import parse

MOST = 256 << 10
"""The limit, in characters, on the source kept for one class or function."""
FUTURE = "__future__"
_BUILTINS = frozenset(dir(builtins))


class Unkept(Exception):
    """An object of a script has no source that can be kept; the message names the object and the reason."""


def extracted(*things: Any) -> dict[str, str]:
    """The statements that define `things`, each after all that it uses of their script: name to text, in execution order.

    Imports, functions, classes and assignments; numbers, text and collections of them by their current values. Raises Unkept.
    """
    walk = _Extract(vars(sys.modules[things[0].__module__]))
    for thing in things:
        walk.add(thing.__qualname__.partition(".")[0], walk.namespace.get(thing.__qualname__.partition(".")[0], thing))
    if sum(map(len, walk.found.values())) > MOST:
        raise Unkept(f"it and what it uses are more than {MOST >> 10} KiB of text")
    return walk.found


class _Extract:
    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.found: dict[str, str] = {}
        self._met: set[str] = set()
        self._files = source.files_of(namespace)
        for file in self._files:
            for statement in file.tree.body:
                if isinstance(statement, ast.ImportFrom) and statement.module == FUTURE:
                    self.found[FUTURE] = ast.unparse(statement)

    def add(self, name: str, value: Any) -> None:
        """Add the definition of `name` in the script, after the definitions that it uses."""
        if name in self._met:
            return
        self._met.add(name)
        node = self._definition(value)
        text = _literal(value) if node is None else None
        if text is not None:
            self.found[name] = f"{name} = {text}"
            return
        nodes = [node] if node is not None else self._statements(name)
        if not nodes:
            text = self._import(name, value)
            if text is None:
                raise Unkept(f"it uses {name}, a {type(value).__qualname__}, whose source is not known")
            self.found[name] = text
            return
        for used in dict.fromkeys(each for statement in nodes for each in _names(statement)):
            if used != name and used in self.namespace and (used not in _BUILTINS or self._statements(used)):
                self.add(used, self.namespace[used])
        self.found[name] = "\n".join(ast.unparse(statement) for statement in nodes)

    def _definition(self, value: Any) -> ast.AST | None:
        """The `def` or `class` statement of a value that a script defines; None for any other value."""
        inner = value
        while is_script(str(getattr(inner, "__module__", ""))) or getattr(kind_of(inner), "_is_step", False):
            kind = kind_of(inner)
            if kind is FunctionType:
                return source.function_node(inner)[0]
            if issubclass(kind, type):
                return source.class_node(inner, self.namespace)[0]
            wrapped = getattr(inner, "__wrapped__", None)
            if wrapped is None:
                return None
            inner = wrapped
        return None

    def _statements(self, name: str) -> list[ast.AST]:
        """The top-level statements of the script that give `name` its value; of an import only the part for this name."""
        statements = [each for each in source.statements_of(self.namespace, name)[0] if not isinstance(each, source.Condition)]
        if statements:
            last = statements[-1]
            if isinstance(last, (ast.Import, ast.ImportFrom)):
                if isinstance(last, ast.ImportFrom) and last.level:
                    return []
                names = [alias for alias in last.names if (alias.asname or alias.name.partition(".")[0]) == name]
                again = ast.Import(names) if isinstance(last, ast.Import) else ast.ImportFrom(last.module, names, 0)
                return [again] if names else []
            if isinstance(last, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                return []  # the value is not from this definition, or the text was edited since
            if len(statements) == 1 and isinstance(last, (ast.Assign, ast.AnnAssign)):
                return [last]
            raise Unkept(f"it uses {name}, which the script assigns more than once")
        return []

    def _import(self, name: str, value: Any) -> str | None:
        """An import statement for a value that no statement of the script binds by name, such as one from a star import."""
        if isinstance(value, ModuleType):
            return f"import {value.__name__}" if value.__name__ == name else f"import {value.__name__} as {name}"
        module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", name)
        if isinstance(module, str) and not is_script(module) and getattr(sys.modules.get(module), qualname, None) is value:
            return f"from {module} import {qualname}" if qualname == name else f"from {module} import {qualname} as {name}"
        return None


def _names(node: ast.AST) -> Iterator[str]:
    """The names that a statement reads, also those in annotations that are text."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        annotation = getattr(inner, "annotation", None) or getattr(inner, "returns", None)
        for part in ast.walk(annotation) if isinstance(annotation, ast.AST) else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                try:
                    yield from _names(parse(part.value, "eval"))
                except SyntaxError:
                    continue


def _literal(value: Any) -> str | None:
    """The literal of a plain value; None for any other value."""
    if plain_bytes(value, mutable=True, budget=MOST) is None:
        return None
    text = repr(value)
    try:
        return text if ast.literal_eval(text) == value else None
    except (ValueError, SyntaxError):
        return None
