"""The shape of the package: what a reader meets at its root."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import persistable
from persistable import step
from persistable.nodes.binding import bound_to
from persistable.nodes.reserved import HOOKS
from persistable.nodes.step import OpenNode, StepNode
from persistable.stores.base import BaseStore

ROOT = Path(persistable.__file__).parent
MODULES = {"__init__", "__main__", "errors", "events"}
PACKAGES = {
    "catalog", "cli", "executors", "families", "fileio", "graph", "nodes", "notify", "params", "project", "records", "runs", "stores",
    "testing", "web",
}  # fmt: skip


def test_the_root_holds_the_packages_and_four_modules() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == MODULES
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert found == PACKAGES


def test_every_package_says_what_it_is() -> None:
    for path in ROOT.rglob("__init__.py"):
        assert path.read_text().startswith('"""'), path


# docstrings

LEANING = {
    "After", "As", "At", "Because", "Before", "Beside", "By", "For", "From", "How", "If", "In", "Instead", "It", "Its", "Of", "On", "Since",
    "So", "That", "Them", "They", "Those", "Under", "Until", "What", "Whatever", "When", "Where", "Which", "While", "Who", "Whoever",
    "Whose", "Why", "With",
}  # fmt: skip
"""Words that a first sentence leans on something else by: it does not say what the thing is or does."""


def docstrings(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of the docstrings of a module, its classes, functions and attributes."""
    for each in ast.walk(module):
        body = getattr(each, "body", None)
        if isinstance(body, list):
            for line in body:
                if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str):
                    yield line.lineno, line.value.value


def test_a_docstring_says_first_what_a_thing_is_or_does() -> None:
    words = ((f"{file}:{line}", text.split(maxsplit=1)[0].rstrip(",:.")) for file, module in parsed() for line, text in docstrings(module))
    assert [found for found in words if found[1] in LEANING] == []


VAGUE = re.compile(r"(?<!`)\b(what|whatever|whoever|so many)\b(?![`:])", re.IGNORECASE)
"""Words in the place of a noun. In front of a colon or in backquotes they are the name of a param."""


def test_a_docstring_names_the_thing_it_is_about() -> None:
    firsts = ((f"{file}:{line}", text.split("\n\n")[0]) for file, module in parsed() for line, text in docstrings(module))
    assert [(where, text) for where, text in firsts if VAGUE.search(text)] == []


# the seams between packages are typed

NODES = {"node", "target", "model", "family", "unit", "upstream"}
"""Names of parameters and variables that hold a node, or something made of nodes."""
MARKS = {"_node_is_node", "_node_is_family"}
"""What a node and a family are known by where their classes are not, in `params` and `stores`."""


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def says_any(annotation: ast.expr) -> bool:
    """Tell whether an annotation admits anything: ``Any``, or a union with it."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return says_any(ast.parse(annotation.value, mode="eval").body)
    if isinstance(annotation, ast.BinOp):
        return says_any(annotation.left) or says_any(annotation.right)
    return "Any" in (getattr(annotation, "id", ""), getattr(annotation, "attr", ""))


def test_whatever_holds_a_node_has_a_type() -> None:
    untyped: list[str] = []
    for file, module in parsed():
        for each in ast.walk(module):
            if isinstance(each, ast.arg):
                name, annotation = each.arg, each.annotation
            elif isinstance(each, ast.AnnAssign):
                name, annotation = getattr(each.target, "id", getattr(each.target, "attr", "")), each.annotation
            else:
                continue
            if name in NODES and annotation is not None and says_any(annotation):
                untyped.append(f"{file}:{each.lineno} {name}")
    assert not untyped


def private_names() -> set[str]:
    """The private members of nodes: of their classes, and what they hold."""
    classes = [cls for kind in (StepNode, OpenNode) for cls in kind.__mro__ if cls.__module__.startswith("persistable.")]
    names = {name for cls in classes for name in (*vars(cls), *cls.__dict__.get("__annotations__", {}))}  # noqa: RUF063
    names |= vars(bound_to(one.step(1), None)).keys() | vars(one.step()).keys()
    return {name for name in names if name.startswith("_") and name[-1] != "_"} - MARKS


@step
def one(n: int) -> int:
    return n


def test_what_is_internal_to_a_node_class_has_one_prefix() -> None:
    assert {name for name in private_names() if not name.startswith("_node_")} == set(HOOKS)


def test_private_members_of_nodes_are_used_in_nodes_only() -> None:
    private = private_names()
    assert {"_node_store", "_node_upstream", "_node_logger", "_node_snapshot", "_node_arguments", "_node_look", "_node_own_code"} <= private
    found: list[str] = []
    for file, module in parsed():
        if file.startswith("nodes/"):
            continue
        for each in ast.walk(module):
            if isinstance(each, ast.Attribute) and each.attr in private:
                owner = ast.unparse(each.value)
                if owner not in ("self", "cls", "super()"):
                    found.append(f"{file}:{each.lineno} {owner}.{each.attr}")
            elif isinstance(each, ast.Call) and getattr(each.func, "id", "") in ("getattr", "hasattr", "setattr"):
                name = each.args[1]
                if isinstance(name, ast.Constant) and name.value in private:
                    found.append(f"{file}:{each.lineno} {ast.unparse(each)}")
    assert not found


LARGEST = 39
"""Functions in the body of a class, at most."""


def functions_in(body: list[ast.stmt]) -> int:
    """The functions in the body of a class, also under a condition."""
    inner = [each.body + each.orelse for each in body if isinstance(each, ast.If)]
    return sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in body) + sum(map(functions_in, inner))


def test_no_class_has_too_many_functions() -> None:
    found = {each.name: functions_in(each.body) for _, module in parsed() for each in ast.walk(module) if isinstance(each, ast.ClassDef)}
    assert {name: number for name, number in found.items() if number > LARGEST} == {}


def test_what_is_asked_of_stores_is_declared() -> None:
    found: list[str] = []
    for file, module in parsed():
        for each in ast.walk(module):
            if not (isinstance(each, ast.Call) and getattr(each.func, "id", "") in ("getattr", "hasattr")):
                continue
            owner, name = ast.unparse(each.args[0]), each.args[1]
            if owner.endswith("store") and isinstance(name, ast.Constant) and not hasattr(BaseStore, name.value):
                found.append(f"{file}:{each.lineno} {owner}.{name.value}")
    assert not found
