"""The source of a class or function of a script, with all that it uses of that: for records that are to give it back elsewhere."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from persistable.nodes.code import source
from persistable.nodes.code.constants import kind_of, plain_bytes
from persistable.params.reduce import is_script
from persistable.params.syntax import parse

MOST = 256 << 10
"""Characters. More of one class or function is not kept."""
FUTURE = "__future__"
_BUILTINS = frozenset(dir(builtins))


class Unkept(Exception):
    """Something of a script has no source that can be kept; the text says what, and why not."""


def extracted(*things: Any) -> dict[str, str]:
    """The statements that define `things`, and before each all that it uses of their script: name to text, in the order to execute them.

    Imports, functions, classes and what is assigned; numbers, text and collections of such as they are now. Raises Unkept.
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
        """Add what the script calls `name`, after what that uses."""
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
        """The `def` or `class` statement of something that is defined here."""
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
        """The statements at the top of the script that give `name` its value; of imports only that of this name."""
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
                return []  # of which it is not, or the text was edited since
            if len(statements) == 1 and isinstance(last, (ast.Assign, ast.AnnAssign)):
                return [last]
            raise Unkept(f"it uses {name}, which the script gives a value in more than a single assignment")
        return []

    def _import(self, name: str, value: Any) -> str | None:
        """An import of what came here by another way, such as a star."""
        if isinstance(value, ModuleType):
            return f"import {value.__name__}" if value.__name__ == name else f"import {value.__name__} as {name}"
        module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", name)
        if isinstance(module, str) and not is_script(module) and getattr(sys.modules.get(module), qualname, None) is value:
            return f"from {module} import {qualname}" if qualname == name else f"from {module} import {qualname} as {name}"
        return None


def _names(node: ast.AST) -> Iterator[str]:
    """The names that are read in a statement, those in annotations that are text as well."""
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
    """A value that is plain, as it would be written; None for all else."""
    if plain_bytes(value, mutable=True, budget=MOST) is None:
        return None
    text = repr(value)
    try:
        return text if ast.literal_eval(text) == value else None
    except (ValueError, SyntaxError):
        return None
