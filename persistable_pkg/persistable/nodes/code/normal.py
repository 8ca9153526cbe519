"""Normal forms: one text for all code that differs only in comments, docstrings, layout and annotations.

`source_text` spells a syntax tree in our own way, because `ast.dump` differs between Python versions. `bytecode_text` spells
a code object, for functions without a faithful source.
"""

from __future__ import annotations

import ast
import dis
from bisect import bisect_left
from collections.abc import Iterator
from types import CodeType
from typing import Any, cast

from persistable.nodes.code.constants import code_facts

_DROPPED = frozenset({"ctx", "type_comment", "kind", "returns", "type_params", "type_ignores"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BODIES = frozenset({"body", "orelse", "finalbody"})


def source_text(node: ast.AST) -> str:
    """The normal form of one function, lambda or statement."""
    out: list[str] = []
    _node(node, out, False)
    return "".join(out)


def class_text(node: ast.ClassDef) -> str:
    """The normal form of a class without its methods: decorators, bases, and all other statements of its body."""
    bare = ast.ClassDef(node.name, node.bases, node.keywords, [s for s in node.body if not isinstance(s, _FUNCTIONS)], node.decorator_list)
    return source_text(bare)


def _node(node: ast.AST, out: list[str], in_class: bool) -> None:
    if isinstance(node, ast.Constant):
        out.append(_constant(node.value))
        return
    if isinstance(node, ast.JoinedStr):
        _joined(node, out)
        return
    in_class = isinstance(node, ast.ClassDef) or (in_class and not isinstance(node, (*_FUNCTIONS, ast.Lambda)))
    out.append(type(node).__name__)
    out.append("(")
    for field, value in ast.iter_fields(node):
        if field in _DROPPED or value is None or value == [] or (field == "annotation" and not in_class):
            continue
        if field in _BODIES and isinstance(value, list):
            kept: object = list(_statements(cast("list[ast.stmt]", value), in_class))
            if not kept:
                continue
        else:
            kept = value
        out.append(field)
        out.append("=")
        _value(kept, out, in_class)
        out.append(",")
    out.append(")")


def _value(value: object, out: list[str], in_class: bool) -> None:
    if isinstance(value, ast.AST):
        _node(value, out, in_class)
    elif isinstance(value, list):
        out.append("[")
        for item in cast("list[object]", value):
            _value(item, out, in_class)
            out.append(",")
        out.append("]")
    else:
        out.append(_constant(value))


def _statements(body: list[ast.stmt], in_class: bool) -> Iterator[ast.AST]:
    """The statements that have an effect; statements with two spellings are given in one."""
    for node in body:
        if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        if isinstance(node, ast.AnnAssign) and not in_class:
            if node.value is not None:
                yield ast.Assign([node.target], node.value)
        elif isinstance(node, ast.Delete):
            yield ast.Delete([part for target in node.targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])])
        else:
            yield node


def _joined(node: ast.JoinedStr, out: list[str]) -> None:
    """Append an f-string with neighbouring literal pieces joined and empty ones left out, since Python versions differ in them."""
    pieces: list[str | ast.AST] = []
    for value in _flat(node):
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            if pieces and isinstance(pieces[-1], str):
                pieces[-1] += value.value
            elif value.value:
                pieces.append(value.value)
        else:
            pieces.append(value)
    out.append("JoinedStr(")
    for piece in pieces:
        _value(piece, out, False)
        out.append(",")
    out.append(")")


def _flat(node: ast.JoinedStr) -> Iterator[ast.expr]:
    for value in node.values:
        if isinstance(value, ast.JoinedStr):
            yield from _flat(value)
        else:
            yield value


def _constant(value: object) -> str:
    """The text of a constant with its type; not Python's `repr`, which for text depends on the Unicode tables of its version."""
    if isinstance(value, (str, bytes)):
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return f"{type(value).__name__}:{data.hex()}"
    if isinstance(value, bool) or value is None or value is Ellipsis:
        return repr(value)
    if isinstance(value, int):
        return f"int:{value:x}"
    if isinstance(value, float):
        return f"float:{value.hex()}"
    if isinstance(value, complex):
        return f"complex:{value.real.hex()}:{value.imag.hex()}"
    if isinstance(value, tuple):
        return f"tuple:({','.join(map(_constant, cast('tuple[object, ...]', value)))})"
    if isinstance(value, frozenset):
        return f"frozenset:({','.join(sorted(map(_constant, cast('frozenset[object]', value))))})"
    return f"{type(value).__name__}:{value!r}"


_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_SPELLED = frozenset(dis.hasname) | frozenset(dis.haslocal) | frozenset(dis.hasfree) | frozenset(dis.hascompare)
_CONSTANTS = frozenset(dis.hasconst)
_SILENT = frozenset({"NOP", "CACHE", "RESUME", "EXTENDED_ARG"})
_KIND_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # *args, **kwargs, generator, coroutine, async generator


def bytecode_text(code: CodeType) -> str:
    """The normal form of a code object, without lines, its docstring, its own annotations, and instructions that do nothing."""
    body = dis.Bytecode(code)
    steps = [step for step in body if step.opname not in _SILENT]
    offsets = [step.offset for step in steps]  # a position is the index of the first kept instruction at or after it
    signature = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _KIND_FLAGS)
    lines = [f"{code.co_name}{signature}{code.co_varnames[: sum(signature[::2]) + 2]}"]
    for step in steps:
        arg = step.arg
        if step.opcode in _JUMPS:
            text = f"to {bisect_left(offsets, step.argval)}"
        elif step.opcode in _CONSTANTS:
            text = bytecode_text(step.argval) if isinstance(step.argval, CodeType) else _constant(step.argval)
        elif step.opcode in _SPELLED:
            text = str(step.argval)
        else:
            text = "" if arg is None else str(arg)
        lines.append(f"{step.opname} {text}")
    for entry in getattr(body, "exception_entries", ()):
        span = tuple(bisect_left(offsets, offset) for offset in (entry.start, entry.end, entry.target))
        lines.append(f"except {span} {entry.depth} {entry.lasti}")
    return "\n".join(lines)


def shape(code: CodeType) -> tuple[Any, ...]:
    """The behaviour of a code object, in a form that is equal for equal code."""
    return code_facts(code, _constant)
