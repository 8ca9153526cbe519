"""Values built of literals, and their digests.

A value is *plain* when it is built from exactly the builtin scalars and containers a literal can spell. Nothing here calls
code of the value: types are compared by identity, so subclasses, proxies and arrays are never plain.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Collection
from types import CodeType
from typing import Any, cast

from blake3 import blake3

SCALARS = frozenset({int, float, complex, bool, str, bytes, type(None), type(Ellipsis)})
FROZEN = frozenset({tuple, frozenset})
_MUTABLE = frozenset({list, set, dict})
_BUDGET = 4096  # units of work: one per value, one more per 64 bytes of it
_STABLE = 2  # the marshal version without references and interning, whose bytes do not depend on the history of a process


def kind_of(value: Any) -> type[Any]:
    """The real type of any object, also of one that overrides ``__class__``."""
    return type(value)  # pyright: ignore[reportUnknownVariableType]


def exact_dict(value: Any) -> dict[Any, Any] | None:
    """The value if its type is exactly dict, else None."""
    return value if kind_of(value) is dict else None


def exact_tuple(value: Any) -> tuple[Any, ...]:
    """The value if its type is exactly tuple, else an empty tuple."""
    return value if kind_of(value) is tuple else ()


def digest(data: bytes) -> str:
    """The BLAKE3 digest of `data`: 32 hexadecimal digits."""
    return blake3(data).hexdigest(16)


def code_facts(code: CodeType, constant: Callable[[Any], object]) -> tuple[Any, ...]:
    """The behaviour of a code object as a tuple, without its lines and file. constant: maps each of its constants to a comparable value."""
    constants = tuple([code_facts(item, constant) if type(item) is CodeType else constant(item) for item in code.co_consts])
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    variables = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_name, code.co_code, *variables, counts, code.co_exceptiontable, constants)


def plain_bytes(value: object, mutable: bool = False, budget: int = _BUDGET) -> bytes | None:
    """A typed, injective encoding of a plain value; None if it is not plain, or too large to encode cheaply.

    `mutable` admits lists, sets and dicts too. The bytes are the same for every process, hash seed and Python version.
    """
    if _spend(value, mutable, budget, 0) < 0:
        return None
    try:
        return marshal.dumps(value, _STABLE)  # type: ignore[arg-type]
    except ValueError:
        return None


def _spend(value: object, mutable: bool, budget: int, depth: int) -> int:
    """The rest of the budget after looking at `value`; negative when it is spent or the value is not plain."""
    kind = type(value)
    if kind in SCALARS:
        if isinstance(value, (str, bytes)):
            budget -= len(value) >> 6
        elif isinstance(value, int):
            budget -= value.bit_length() >> 9
        return budget - 1
    if depth > 20 or not (kind in FROZEN or (mutable and kind in _MUTABLE)):
        return -1
    held = cast("Collection[object]", value)
    if len(held) > budget:
        return -1
    budget -= 1
    mapping = exact_dict(value)
    members = list(held) if mapping is None else [part for item in mapping.items() for part in item]
    for member in members:
        budget = _spend(member, mutable, budget, depth + 1)
        if budget < 0:
            return -1
    return budget
