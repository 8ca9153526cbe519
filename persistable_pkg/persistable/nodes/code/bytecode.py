"""The names that a code object uses: read from its instructions, without `dis` where this Python's are known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple

from persistable.nodes.code.constants import exact_tuple


class Uses(NamedTuple):
    """Names used by a code object and those nested in it, each once, in order of use."""

    names: dict[tuple[str, ...], None]
    """Global names, each with the attributes read right after it: ``pkg.helpers.f(x)`` is ``("pkg", "helpers", "f")``."""
    attributes: dict[tuple[str, str], None]
    """Attributes of anything else, after the attribute read just before (or ""): ``self.params.k`` gives ``("params", "k")``."""
    imports: dict[tuple[str, int, tuple[str, ...]], None]
    """Imports made inside functions: module, level, names imported from it."""
    stored: dict[str, None]
    """Global and captured names that are assigned: their value is state, not code."""


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """A code object and those nested in it."""
    yield code
    for constant in code.co_consts:
        if type(constant) is CodeType:
            yield from codes_in(constant)


class UnknownInstructions(Exception):
    """The instructions of this Python, or of one code object, cannot be read: its source has to do."""


KNOWN = (3, 15)
"""The newest Python whose instructions `_scan` has been held against `dis`; later ones are read by `dis` itself."""


class _Opcodes:
    """Opcode numbers of this Python and how far each shifts its name index."""

    def __init__(self) -> None:
        from opcode import opmap  # already loaded by whoever uses dataclasses; not by us before it is needed

        version = sys.version_info
        self.extended = opmap["EXTENDED_ARG"]
        self.padding = bytes([0, self.extended])  # instructions that do nothing of their own: inline caches and longer arguments
        self.names = {opmap["LOAD_GLOBAL"]: 1, opmap["LOAD_NAME"]: 0}
        if "LOAD_FROM_DICT_OR_GLOBALS" in opmap:
            self.names[opmap["LOAD_FROM_DICT_OR_GLOBALS"]] = 0
        self.attributes = {opmap["LOAD_ATTR"]: 1 if version >= (3, 12) else 0, opmap["STORE_ATTR"]: 0, opmap["DELETE_ATTR"]: 0}
        for name, shift in (("LOAD_METHOD", 0), ("LOAD_SUPER_ATTR", 2)):
            if name in opmap and opmap[name] < 256:
                self.attributes[opmap[name]] = shift
        self.import_name, self.import_from = opmap["IMPORT_NAME"], opmap["IMPORT_FROM"]
        self.stores = {opmap["STORE_GLOBAL"]: 0, opmap["DELETE_GLOBAL"]: 0}
        self.store_captured = opmap["STORE_DEREF"]
        self.wanted = frozenset(
            {self.store_captured, self.extended, self.import_name, self.import_from, *self.names, *self.attributes, *self.stores}
        )


_opcodes: _Opcodes | None = None


def uses(code: CodeType) -> Uses:
    """The names that `code` and everything defined inside it uses. Raises UnknownInstructions."""
    global _opcodes
    found = Uses({}, {}, {}, {})
    if sys.version_info[:2] <= KNOWN:
        try:
            if _opcodes is None:
                _opcodes = _Opcodes()
            _scan(code, found, _opcodes)
        except Exception:  # noqa: BLE001  an instruction that is not what we take it for: `dis` knows better, or says that it does not
            found = Uses({}, {}, {}, {})
        else:
            return found
    try:
        _disassemble(code, found)
    except Exception as error:
        raise UnknownInstructions(f"{code.co_qualname}: {type(error).__name__}: {error}") from error
    return found


def _scan(code: CodeType, found: Uses, table: _Opcodes) -> None:
    raw, names = code.co_code, code.co_names
    ops, args = raw[::2], raw[1::2]
    wanted = table.wanted
    chain: list[str] = []  # a global name and the attributes that followed it without anything in between
    previous, last = "", -1
    longer, extended = -1, 0  # where the instruction stands that a longer argument belongs to, and the upper part of that
    if names or code.co_freevars:
        for at in [i for i, op in enumerate(ops) if op in wanted]:
            op, arg = ops[at], args[at] | extended if at == longer else args[at]
            if op == table.extended:
                longer, extended = at + 1, arg << 8
                continue
            adjacent = last >= 0 and not ops[last + 1 : at].strip(table.padding)
            if adjacent and chain and op in table.attributes:
                previous = names[arg >> table.attributes[op]]
                chain.append(previous)
            else:
                if chain:
                    found.names[tuple(chain)] = None
                chain = []
                if op in table.names:
                    chain = [names[arg >> table.names[op]]]
                previous = _note(code, op, arg, at, previous if adjacent else "", found, table)
            last = at
        if chain:
            found.names[tuple(chain)] = None
    for constant in code.co_consts:
        if type(constant) is CodeType:
            _scan(constant, found, table)


def _note(code: CodeType, op: int, arg: int, at: int, before: str, found: Uses, table: _Opcodes) -> str:
    """Note what an instruction does besides reading a global; the attribute it read, or ""."""
    names = code.co_names
    if op in table.attributes:
        name = names[arg >> table.attributes[op]]
        found.attributes[before, name] = None
        return name
    if op in table.stores:
        found.stored[names[arg]] = None
    elif op == table.import_name:
        _imported(code, at, found)
    elif op == table.store_captured:
        _captured(code, arg, found)
    return ""


def _captured(code: CodeType, arg: int, found: Uses) -> None:
    """Note an assignment to a captured variable: those come last among all variables."""
    first = len({*code.co_varnames, *code.co_cellvars})
    if arg >= first:
        found.stored[code.co_freevars[arg - first]] = None


def _imported(code: CodeType, at: int, found: Uses) -> None:
    """Note an import. Its level and names are the two constants loaded just before it."""
    import dis

    _note_import([step for step in dis.get_instructions(code) if step.offset <= 2 * at and step.opname not in _SILENT][-3:], found)


def _note_import(last: list[Any], found: Uses) -> None:
    """Note the import that the last of these instructions makes."""
    level, wanted = (last[0].argval, last[1].argval) if len(last) == 3 else (0, None)
    froms = tuple(str(item) for item in exact_tuple(wanted))
    found.imports[(str(last[-1].argval), level if isinstance(level, int) else 0, froms)] = None


# The same, told by `dis`: slower, and right wherever its names for instructions are


_SILENT = frozenset({"EXTENDED_ARG", "CACHE"})
_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "STORE_ATTR", "DELETE_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
_STORES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_NEEDED = ("LOAD_GLOBAL", "LOAD_ATTR", "STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF", "IMPORT_NAME")


def _disassemble(code: CodeType, found: Uses) -> None:
    import dis

    missing = [name for name in _NEEDED if name not in dis.opmap]
    if missing:
        raise UnknownInstructions(f"this Python has no instruction {missing[0]}")
    chain: list[str] = []
    previous, adjacent, steps = "", False, [step for step in dis.get_instructions(code) if step.opname not in _SILENT]
    for number, step in enumerate(steps):
        if step.opname.startswith("<"):
            raise UnknownInstructions(f"instruction {step.opcode} has no name")
        name = str(step.argval)
        if adjacent and chain and step.opname in _ATTRIBUTES:
            previous = name
            chain.append(name)
            continue
        if chain:
            found.names[tuple(chain)] = None
        chain = [name] if step.opname in _GLOBALS else []
        before, previous = previous if adjacent else "", ""
        adjacent = step.opname in _READ
        if step.opname in _ATTRIBUTES:
            found.attributes[before, name] = None
            previous = name
        elif step.opname in _STORES or (step.opname == "STORE_DEREF" and name in code.co_freevars):
            found.stored[name] = None
        elif step.opname == "IMPORT_NAME":
            _note_import(steps[max(number - 2, 0) : number + 1], found)
    if chain:
        found.names[tuple(chain)] = None
    for constant in code.co_consts:
        if type(constant) is CodeType:
            _disassemble(constant, found)


_READ = _GLOBALS | _ATTRIBUTES | _STORES | {"STORE_DEREF", "IMPORT_NAME", "IMPORT_FROM"}
