"""The names that a code object uses, read from its instructions; without `dis` on Pythons whose instructions are known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import NamedTuple

from persistable.nodes.code.constants import exact_tuple


class Uses(NamedTuple):
    """Names used by a code object and those nested in it, each once, in order of use."""

    names: dict[tuple[str, ...], None]
    """Global names, each with the attributes read right after it: ``pkg.helpers.f(x)`` is ``("pkg", "helpers", "f")``."""
    attributes: dict[tuple[str, str], None]
    """Attributes of other objects, each with the attribute read just before (or ""): ``self.params.k`` gives ``("params", "k")``."""
    imports: dict[tuple[str, int, tuple[str, ...]], None]
    """Imports inside functions: module, level, names imported from it."""
    stored: dict[str, None]
    """Global and captured names that the code assigns: their value is state, not code."""


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """A code object and those nested in it."""
    yield code
    for constant in code.co_consts:
        if type(constant) is CodeType:
            yield from codes_in(constant)


class UnknownInstructions(Exception):
    """The instructions of this Python, or of one code object, cannot be read."""


KNOWN = (3, 15)
"""The newest Python on which `raw_steps` was tested against `dis`; instructions of later ones are read by `dis` itself."""


Step = tuple[str, str, int, bool]
"""An instruction that reads or binds a name: kind, name, position, and whether the instruction just before it is also of this sort."""

_GLOBAL, _ATTRIBUTE, _STORED, _IMPORT, _OTHER = "global", "attribute", "stored", "import", ""
_KINDS = {
    **dict.fromkeys(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"), _GLOBAL),
    **dict.fromkeys(("LOAD_ATTR", "STORE_ATTR", "DELETE_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"), _ATTRIBUTE),
    **dict.fromkeys(("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF"), _STORED),
    "IMPORT_NAME": _IMPORT,
    "IMPORT_FROM": _OTHER,
}
_NEEDED = ("LOAD_GLOBAL", "LOAD_ATTR", "STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF", "IMPORT_NAME")
_SILENT = frozenset({"EXTENDED_ARG", "CACHE"})


def uses(code: CodeType) -> Uses:
    """The names that `code` and everything defined inside it uses. Raises UnknownInstructions."""
    problem: Exception | None = None
    for steps_of in (raw_steps, dis_steps) if sys.version_info[:2] <= KNOWN else (dis_steps,):
        try:
            return uses_by(steps_of, code)
        except Exception as error:  # noqa: BLE001  an instruction that is read wrongly here: `dis` reads it, or raises in its turn
            problem = error
    raise UnknownInstructions(f"{code.co_qualname}: {type(problem).__name__}: {problem}") from problem


def uses_by(steps_of: Callable[[CodeType], list[Step]], code: CodeType) -> Uses:
    """The names that `code` and everything defined inside it uses, as `steps_of` reads their instructions."""
    found = Uses({}, {}, {}, {})
    for each in codes_in(code):
        chain: list[str] = []  # a global name and the attributes that followed it without anything in between
        previous = ""  # the attribute that was read last
        for kind, name, at, adjacent in steps_of(each):
            if kind == _ATTRIBUTE and adjacent and chain:
                chain.append(name)
                previous = name
                continue
            if chain:
                found.names[tuple(chain)] = None
            chain = [name] if kind == _GLOBAL else []
            before, previous = previous if adjacent else "", ""
            if kind == _ATTRIBUTE:
                found.attributes[before, name] = None
                previous = name
            elif kind == _STORED:
                found.stored[name] = None
            elif kind == _IMPORT:
                found.imports[_imported(each, at)] = None
        if chain:
            found.names[tuple(chain)] = None
    return found


def _imported(code: CodeType, at: int) -> tuple[str, int, tuple[str, ...]]:
    """The import at an instruction. Its level and names are the two constants loaded just before it."""
    import dis

    last = [step for step in dis.get_instructions(code) if step.offset <= 2 * at and step.opname not in _SILENT][-3:]
    level, wanted = (last[0].argval, last[1].argval) if len(last) == 3 else (0, None)
    froms = tuple(str(item) for item in exact_tuple(wanted))
    return str(last[-1].argval), level if isinstance(level, int) else 0, froms


class _Opcodes:
    """Opcode numbers of this Python, the kind of each, and how far it shifts its name index."""

    def __init__(self) -> None:
        from opcode import opmap  # often loaded already, by dataclasses; imported only when needed

        self.extended = opmap["EXTENDED_ARG"]
        self.padding = bytes([0, self.extended])  # no effect of their own: inline caches and prefixes of longer arguments
        self.captured = opmap["STORE_DEREF"]
        self.kinds = {opmap[name]: kind for name, kind in _KINDS.items() if opmap.get(name, 256) < 256}
        self.shifts = {
            opmap["LOAD_GLOBAL"]: 1,
            opmap["LOAD_ATTR"]: 1 if sys.version_info >= (3, 12) else 0,
            opmap.get("LOAD_SUPER_ATTR"): 2,
        }
        self.wanted = frozenset({self.extended, *self.kinds})


_opcodes: _Opcodes | None = None


def raw_steps(code: CodeType) -> list[Step]:
    """The instructions that read or bind names, decoded from the bytes of the code."""
    global _opcodes
    table = _opcodes = _opcodes or _Opcodes()
    names, found = code.co_names, list[Step]()
    if not (names or code.co_freevars):
        return found
    ops, args = code.co_code[::2], code.co_code[1::2]
    wanted, kinds, shifts = table.wanted, table.kinds, table.shifts
    last, longer, extended = -1, -1, 0  # `longer`: the position of the instruction that `extended`, the upper part of an argument, is for
    for at in [i for i, op in enumerate(ops) if op in wanted]:
        op, arg = ops[at], args[at] | extended if at == longer else args[at]
        if op == table.extended:
            longer, extended = at + 1, arg << 8
            continue
        adjacent = last >= 0 and not ops[last + 1 : at].strip(table.padding)
        last, kind = at, kinds[op]
        if op != table.captured:
            name = names[arg >> shifts.get(op, 0)]
        else:  # captured variables are numbered after all others
            first = len({*code.co_varnames, *code.co_cellvars})
            kind, name = (kind, code.co_freevars[arg - first]) if arg >= first else (_OTHER, "")
        found.append((kind, name, at, adjacent))
    return found


def dis_steps(code: CodeType) -> list[Step]:
    """The same as `raw_steps`, by `dis`: slower, and correct if the instructions have the names known here."""
    import dis

    missing = [name for name in _NEEDED if name not in dis.opmap]
    if missing:
        raise UnknownInstructions(f"this Python has no instruction {missing[0]}")
    found, adjacent = list[Step](), False
    for step in dis.get_instructions(code):
        if step.opname in _SILENT:
            continue
        if step.opname.startswith("<"):
            raise UnknownInstructions(f"instruction {step.opcode} has no name")
        kind, name = _KINDS.get(step.opname), str(step.argval)
        if kind is not None:
            own = step.opname == "STORE_DEREF" and name not in code.co_freevars
            found.append((_OTHER if own else kind, name, step.offset // 2, adjacent))
        adjacent = kind is not None
    return found
