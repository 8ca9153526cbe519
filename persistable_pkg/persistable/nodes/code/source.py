"""Faithful sources: the text that a running function, constant or class was made from, never a later edit of it."""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, cast

from persistable.nodes.code.constants import digest, plain_bytes
from persistable.nodes.code.modules import absolute_name
from persistable.nodes.code.normal import class_text, shape, source_text
from persistable.nodes.code.ownership import Namespace, is_installed, module_name
from persistable.params.syntax import parse

_STARTED = time.time()  # a file that was changed later may not be the one that was imported
_MOST_FILES = 128
_MOST_CELLS = 4096

Chain = tuple[str, ...]


class Found(NamedTuple):
    """A source: the hash of its normal form, the global names that its definition evaluates, and their namespace."""

    hash: str
    names: list[Chain]
    namespace: Namespace


class SourceFile:
    """One text, parsed; compiled at the first lookup of a function."""

    def __init__(self, text: bytes | str | ast.Module, changed: float = 0.0) -> None:
        self.tree = text if isinstance(text, ast.Module) else parse(text)
        self.doubtful = changed > _STARTED
        self.bindings: dict[str, list[ast.stmt]] = {}
        self.stars: list[ast.ImportFrom] = []
        self._bind(self.tree.body)
        self._codes: dict[str, list[tuple[CodeType, ast.AST]]] | None = None
        self._classes: dict[str, ast.ClassDef] | None = None
        self._hashes: dict[ast.AST, str] = {}

    def function(self, code: CodeType) -> ast.AST | None:
        """The syntax node that compiles to exactly this code; None if the text has none."""
        if self._codes is None:
            self._codes = _match(self.tree)
        near = sorted(self._codes.get(code.co_qualname, ()), key=lambda pair: pair[0].co_firstlineno != code.co_firstlineno)
        if near:
            wanted = shape(code)
            for candidate, node in near:
                if shape(candidate) == wanted:
                    return node
        return None

    def class_(self, qualname: str) -> ast.ClassDef | None:
        """The last class of this qualified name; None if there is none."""
        if self._classes is None:
            self._classes = dict(_classes(self.tree, ""))
        return self._classes.get(qualname)

    def hash(self, node: ast.AST) -> str:
        """The hash of a node's normal form, cached."""
        known = self._hashes.get(node)
        if known is None:
            text = class_text(node) if isinstance(node, ast.ClassDef) else source_text(node)
            known = self._hashes[node] = digest(text.encode("utf-8", "surrogatepass"))
        return known

    def _bind(self, body: Iterable[ast.stmt]) -> None:
        """Record the statements that give module-level names their values."""
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.bindings.setdefault(node.name, []).append(node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    if alias.name == "*" and isinstance(node, ast.ImportFrom):
                        self.stars.append(node)
                    self.bindings.setdefault(alias.asname or alias.name.partition(".")[0], []).append(node)
            elif blocks := [getattr(node, part) for part in ("body", "orelse", "finalbody") if hasattr(node, part)]:
                for name in _targets(getattr(node, "target", None), *[item.optional_vars for item in getattr(node, "items", ())]):
                    self.bindings.setdefault(name, []).append(node)
                before, self.bindings = self.bindings, {}
                for block in [*blocks, *[part.body for kind in ("handlers", "cases") for part in getattr(node, kind, ())]]:
                    self._bind(block)
                inside, self.bindings = self.bindings, before
                decides: list[ast.expr] = [
                    part for part in (getattr(node, "test", None), getattr(node, "subject", None)) if part is not None
                ]
                for name, nodes in inside.items():
                    self.bindings.setdefault(name, []).extend([*map(Condition, decides), *nodes])
            else:
                for name in _targets(node):
                    self.bindings.setdefault(name, []).append(node)


class Condition(ast.Expr):
    """The condition of an ``if`` or ``while``, or the subject of a ``match``, listed before the statements inside it that bind a name."""


def _root(node: ast.AST, calls: bool = False) -> str | None:
    """The first name of a chain such as ``NAME.a[0].b``; None if it starts otherwise. calls: also through calls such as ``NAME.f(x).b``."""
    while isinstance(node, (ast.Attribute, ast.Subscript)) or (calls and isinstance(node, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _changed_by(call: ast.Call) -> str | None:
    """The name whose object a call statement may change: ``NAME.append(x)``, ``setattr(NAME, "a", x)``."""
    if isinstance(call.func, ast.Attribute):
        return _root(call.func.value, calls=True)
    by_string = isinstance(call.func, ast.Name) and call.func.id in ("setattr", "delattr")
    return _root(call.args[0]) if by_string and call.args else None


def _targets(*nodes: ast.AST | None) -> Iterator[str]:
    """The names that simple statements or targets assign; ``NAME[...] = x``, ``NAME.a.b = x`` and ``NAME.append(x)`` count as well."""
    for root in nodes:
        if isinstance(root, ast.AnnAssign) and root.value is None:
            continue
        if isinstance(root, ast.Expr) and isinstance(root.value, ast.Call):
            if (name := _changed_by(root.value)) is not None:
                yield name
            continue
        for node in ast.walk(root) if root is not None else ():
            if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
                yield node.id
            elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store) and (name := _root(node)) is not None:
                yield name


def _classes(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, child
            yield from _classes(child, f"{prefix}{child.name}.")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _classes(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, (ast.stmt, ast.ExceptHandler)):
            yield from _classes(child, prefix)


def _match(tree: ast.Module) -> dict[str, list[tuple[CodeType, ast.AST]]]:
    """All functions of a module, compiled anew, each with its syntax node, by qualified name."""
    nodes: dict[tuple[str, int], list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            line = node.decorator_list[0].lineno if node.decorator_list else node.lineno
            nodes.setdefault((node.name, line), []).append(node)
        elif isinstance(node, ast.Lambda):
            nodes.setdefault(("<lambda>", node.lineno), []).append(node)
    matched: dict[str, list[tuple[CodeType, ast.AST]]] = {}
    waiting: list[Any] = list(compile(tree, "<source>", "exec", dont_inherit=True).co_consts)
    while waiting:
        code = waiting.pop(0)
        if isinstance(code, CodeType):
            waiting.extend(code.co_consts)
            found = _one(nodes.get((code.co_name, code.co_firstlineno), []), code)
            if found is not None:
                matched.setdefault(code.co_qualname, []).append((code, found))
    return matched


def _one(nodes: list[ast.AST], code: CodeType) -> ast.AST | None:
    """The node of a code object among those on its line; of several lambdas, the one whose body is at its last instruction."""
    if len(nodes) < 2:
        return nodes[0] if nodes else None
    line, _, column, _ = list(code.co_positions())[-1]
    for node in nodes:
        if isinstance(node, ast.Lambda) and (node.body.lineno, node.body.col_offset) == (line, column):
            return node
    return None


_files: dict[str, list[tuple[tuple[int, int], SourceFile]]] = {}  # newest first
_pinned: dict[str, tuple[int, object, object, SourceFile]] = {}  # the source as at the first lookup after each execution of the module
_cells: dict[tuple[str, bool], SourceFile | None] = {}


def _on_disk(filename: str) -> list[SourceFile]:
    """The file as it is now, then its earlier versions that this process has read."""
    seen = _files.setdefault(filename, [])
    try:
        stat = os.stat(filename)
        stamp = (stat.st_mtime_ns, stat.st_size)
        if not seen or seen[0][0] != stamp:
            with open(filename, "rb") as file:
                seen.insert(0, (stamp, SourceFile(file.read(), stat.st_mtime)))
            del seen[4:]
            if len(_files) > _MOST_FILES:
                del _files[next(iter(_files))]
    except (OSError, SyntaxError, ValueError, RecursionError):
        pass
    return [file for _, file in seen]


def _parsed(text: str, shown: bool = False) -> SourceFile | None:
    """A text, parsed. shown: drop an expression at its end, which a notebook only displays: ``df.head()`` changes nothing."""
    if (text, shown) not in _cells:
        if len(_cells) >= _MOST_CELLS:
            _cells.clear()
        try:
            tree = parse(text)
            if shown and tree.body and isinstance(tree.body[-1], ast.Expr):
                tree.body.pop()
            _cells[text, shown] = SourceFile(tree)
        except (SyntaxError, ValueError, RecursionError):
            _cells[text, shown] = None
    return _cells[text, shown]


def _remembered(filename: str, namespace: Namespace) -> list[SourceFile]:
    """The source in `linecache`: a cell of a notebook, input of a prompt, module inside an archive, or earlier version of a file."""
    import linecache

    entry = linecache.cache.get(filename)
    try:
        on_disk = os.path.exists(filename)
        lines = entry[2] if entry is not None and len(entry) == 4 else [] if on_disk else linecache.getlines(filename, namespace)
    except Exception:  # noqa: BLE001  a loader of another package may raise anything
        return []
    file = _parsed("".join(lines)) if lines else None
    return [file] if file is not None else []


def files_of(namespace: Namespace) -> list[SourceFile]:
    """The sources that filled a namespace, as they were then, the decisive one first: for a notebook the last cell."""
    name, filename, inputs = module_name(namespace), namespace.get("__file__"), namespace.get("In")
    if name == "__main__" and type(inputs) is list and "get_ipython" in namespace:
        cells, shown = list(enumerate(cast("list[object]", inputs))), namespace.get("Out") or ()
        return [file for at, cell in reversed(cells) if type(cell) is str and (file := _parsed(cell, at in shown)) is not None]
    if isinstance(filename, str):
        spec, trace, known = namespace.get("__spec__"), _trace(namespace, filename), _pinned.get(filename)
        if known is None or known[0] != id(namespace) or known[1] is not spec or known[2] is not trace:
            files = _on_disk(filename) or _remembered(filename, namespace)
            if not files:
                return []
            known = _pinned[filename] = (id(namespace), spec, trace, files[0])
        return [known[3]]
    if name == "__main__" and "linecache" in sys.modules:
        prompts = [key for key in sys.modules["linecache"].cache if type(key) is str and key.startswith("<python-input-")]
        return [file for key in reversed(prompts) for file in _remembered(key, namespace)]
    return []


def _trace(namespace: Namespace, filename: str) -> CodeType | None:
    """A code object created by executing the module: a new object after a reload by any tool; None if the module has no function."""
    for value in list(namespace.values()):
        for inner in list(type.__dict__["__dict__"].__get__(value).values()) if type(value) is type else (value,):
            if type(inner) is FunctionType and inner.__code__.co_filename == filename:
                return inner.__code__
    return None


def statements_of(namespace: Namespace, name: str) -> tuple[list[ast.stmt], SourceFile | None]:
    """The statements that give a module-level name its value, in order; of a notebook only those since the cell that last bound it anew."""
    found: list[ast.stmt] = []
    for file in files_of(namespace):
        nodes = file.bindings.get(name, ())
        found[:0] = nodes
        if any(_binds(node, name) for node in nodes):
            return found, file
    return found, None


def _binds(node: ast.stmt, name: str) -> bool:
    """Tell whether a statement binds a name to a new object, not only changes the bound object."""
    if isinstance(node, (ast.Expr, ast.AugAssign)):
        return False
    stored = any(isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store) for part in ast.walk(node))
    return stored or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom))


def function_node(function: FunctionType) -> tuple[ast.AST | None, SourceFile | None]:
    """The definition of a function that compiles to its exact code, and its source; None for both if no source has it."""
    for file in _texts(function.__code__.co_filename, function.__globals__):
        node = file.function(function.__code__)
        if node is not None:
            return node, file
    return None, None


def of_function(function: FunctionType) -> Found | None:
    """The source of a function, with the names its decorators and defaults evaluate."""
    node, file = function_node(function)
    if node is None or file is None:
        return None
    outside: list[ast.AST] = [*getattr(node, "decorator_list", ())]
    arguments = getattr(node, "args", None)
    if isinstance(arguments, ast.arguments):
        outside += [default for default in [*arguments.defaults, *arguments.kw_defaults] if default is not None]
    return Found(file.hash(node), _names(outside), function.__globals__)


def _texts(filename: str, namespace: Namespace) -> Iterator[SourceFile]:
    yield from _on_disk(filename)
    yield from _remembered(filename, namespace)


def of_class(cls: type, namespace: Namespace, annotated: bool) -> Found | None:
    """The source of a class without its methods, with the names its bases, decorators and body (`annotated`: and annotations) evaluate."""
    node, file = class_node(cls, namespace)
    if node is None or file is None:
        return None
    body = [part for part in node.body if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
    annotations = [part.annotation for part in body if annotated and isinstance(part, ast.AnnAssign)]
    return Found(file.hash(node), _names([*node.decorator_list, *node.bases, *node.keywords, *body, *annotations]), namespace)


def of_attribute(cls: type, name: str, namespace: Namespace) -> Found | None:
    """The assignments to one name in a class body."""
    node, file = class_node(cls, namespace)
    if node is None or file is None:
        return None
    return _joined([part for part in node.body if name in set(_targets(part))], namespace)


def assigned_to(thing: Any, namespace: Namespace) -> Found | None:
    """The statements of a module that set attributes of a function or class after its definition; None if there are none."""
    name = thing.__code__.co_qualname if type(thing) is FunctionType else str(type.__getattribute__(thing, "__qualname__"))
    return _joined([node for node in statements_of(namespace, name)[0] if _gives_attribute(node, name)], namespace)


def _gives_attribute(node: ast.stmt, name: str) -> bool:
    """Tell whether a statement is ``NAME.a = x``, ``NAME.a[0] = x``, ``NAME.a.append(x)`` or ``setattr(NAME, ...)``, not a mere use."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        method = node.value.func
        if not isinstance(method, ast.Attribute):
            return _changed_by(node.value) == name
        return not isinstance(method.value, ast.Name) and _root(method.value) == name
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, (ast.AnnAssign, ast.AugAssign)) else []
    return any(not isinstance(each, ast.Name) and _root(each) == name for each in targets)


def library_of(namespace: Namespace, name: str, depth: int = 0) -> str | None:
    """The library module, and the name there, that a module-level name is imported from, or a digest of its assignments; else None."""
    nodes, _ = statements_of(namespace, name)
    imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = [said for node in imports for alias in node.names if (said := _said(node, alias, name, namespace, depth)) is not None]
    assigned = _joined([node for node in nodes if isinstance(node, (ast.Assign, ast.AnnAssign))], namespace)
    if assigned is not None:  # also if an import failed, or is for a type checker only
        found.append(assigned.hash)
    return "|".join(dict.fromkeys(found)) or None


def _said(node: ast.Import | ast.ImportFrom, alias: ast.alias, name: str, namespace: Namespace, depth: int) -> str | None:
    bound = alias.asname or (alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name)
    if bound != name:
        return None
    if isinstance(node, ast.Import):
        return alias.name if alias.asname else bound
    module = _origin(node, namespace)
    file = getattr(module, "__file__", None)
    if module is not None and isinstance(file, str) and not is_installed(file) and depth < 20:
        return library_of(vars(module), alias.name, depth + 1)  # a module of the project, which may be moved
    return f"{absolute_name(node.module or '', node.level, namespace)}:{alias.name}"


def class_node(cls: type, namespace: Namespace) -> tuple[ast.ClassDef | None, SourceFile | None]:
    """The definition of a class, with its methods, in the source that the module ran from, and that source; None for both if not found."""
    for file in files_of(namespace):
        node = file.class_(type.__getattribute__(cls, "__qualname__"))
        if node is not None:
            return node, file
    return None, None


def of_constant(namespace: Namespace, name: str, value: object, depth: int = 0) -> Found | ModuleType | None:
    """The assignments that give a module-level name its value, in the module that contains them.

    A module if the name is imported and no source of it can be read; None if no assignment is found.
    """
    nodes, file = statements_of(namespace, name)
    if nodes:
        imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
        if imports and depth < 20:
            return _imported(imports[-1], namespace, name, value, depth)
        if not _edited(nodes, value):
            return _joined(nodes, namespace)
        newer = [later for later in _on_disk(str(namespace.get("__file__"))) if later is not file and name in later.bindings]
        fitting = [later.bindings[name] for later in newer if not _edited(later.bindings[name], value)]
        return _joined(fitting[0], namespace) if fitting else _joined(nodes, namespace) if file is None or not file.doubtful else None
    for file in files_of(namespace):
        for star in file.stars:
            module = _origin(star, namespace)
            if module is not None and name in vars(module) and depth < 20:
                return of_constant(vars(module), name, value, depth + 1)
    return None


def _imported(node: ast.stmt, namespace: Namespace, name: str, value: object, depth: int) -> Found | ModuleType | None:
    module = _origin(node, namespace) if isinstance(node, ast.ImportFrom) else None
    if module is None:
        return sys  # the name is a module, or its module is not imported: no code of the project
    assert isinstance(node, ast.ImportFrom)
    original = next((alias.name for alias in node.names if (alias.asname or alias.name) == name), name)
    found = of_constant(vars(module), original, value, depth + 1)
    return module if found is None else found


def _origin(node: ast.ImportFrom, namespace: Namespace) -> ModuleType | None:
    module = sys.modules.get(absolute_name(node.module or "", node.level, namespace))
    return module if isinstance(module, ModuleType) else None


def _edited(nodes: list[ast.stmt], value: object) -> bool:
    """Tell whether a text has a different literal from the value in memory: the name is state, or the file was edited since."""
    nodes = [node for node in nodes if not isinstance(node, Condition)]
    if len(nodes) != 1:
        return False
    try:
        spelled = plain_bytes(ast.literal_eval(getattr(nodes[0], "value", None)))  # type: ignore[arg-type]
    except (ValueError, TypeError, SyntaxError):
        return False
    held = plain_bytes(value)
    return spelled is not None and held is not None and spelled != held


def _joined(nodes: list[ast.stmt], namespace: Namespace) -> Found | None:
    if not nodes:
        return None
    heads = [_head(node) for node in nodes]
    hashes = [digest(source_text(head).encode("utf-8", "surrogatepass")) for head in heads]
    return Found(hashes[0] if len(hashes) == 1 else digest(" ".join(hashes).encode()), _names(heads), namespace)


def _head(node: ast.stmt) -> ast.AST:
    """A statement without its block, if that is of a ``for`` or ``with``; an annotated assignment as a plain one."""
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return ast.Tuple([node.target, node.iter], ast.Load())
    if isinstance(node, (ast.With, ast.AsyncWith)):
        return ast.Tuple([item.context_expr for item in node.items], ast.Load())
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return ast.Assign([node.target], node.value)
    return node


def _names(nodes: Iterable[ast.AST]) -> list[Chain]:
    """The global names that are read outside of functions, each with the attributes read from it."""
    chains: dict[Chain, None] = {}
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop(0)
        attributes: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            if isinstance(inner.ctx, ast.Load):
                chains[(inner.id, *reversed(attributes))] = None
        elif isinstance(inner, ast.AnnAssign):
            waiting.extend([inner.value] if inner.value is not None else [])
        elif isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting.extend(inner.decorator_list)
        else:
            waiting.extend(ast.iter_child_nodes(inner))
    return list(chains)
