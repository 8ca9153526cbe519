"""Thousands of real functions: each is read, whatever its length, and what cannot be read is said."""

from __future__ import annotations

import dis
import importlib
import itertools
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from persistable.nodes.code import bytecode, code_of, compare
from persistable.nodes.code.fingerprint import UNKNOWN, UNREADABLE

SECONDS = 6.0
PACKAGES = ("numpy", "pandas", "sklearn")
MODULES = ("argparse", "asyncio.base_events", "dataclasses", "enum", "inspect", "json.decoder", "logging", "tarfile", "typing", "zipfile")


def files() -> Iterator[Path]:
    """Modules of the standard library and of what is installed, in turn, so that a slow machine sees some of each."""
    site, library = Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("stdlib"))
    groups = [
        sorted(library.glob("*.py")),
        sorted(library.glob("[a-z]*/*.py")),
        *(sorted((site / name).glob("**/*.py")) for name in PACKAGES),
    ]
    for row in itertools.zip_longest(*groups):
        yield from (path for path in row if path is not None and "test" not in str(path.relative_to(path.anchor)))


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def long_arguments(code: CodeType) -> bool:
    return dis.opmap["EXTENDED_ARG"] in code.co_code[::2]


def spelled(found: bytecode.Uses) -> list[list[Any]]:
    return [list(group) for group in found]


def test_what_is_read_quickly_is_what_dis_reads() -> None:
    """Names, attributes, imports and assignments, in their order, of some thousand functions, many of them long."""
    until, seen, long = time.monotonic() + SECONDS, 0, 0
    for path in files():
        if time.monotonic() > until and seen > 500 and long > 20:
            break
        try:
            module = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):  # examples of what is none
            continue
        for code in [constant for constant in module.co_consts if isinstance(constant, CodeType)]:
            quick, slow = bytecode.uses_by(bytecode.raw_steps, code), bytecode.uses_by(bytecode.dis_steps, code)
            assert spelled(quick) == spelled(slow), f"{path}:{code.co_firstlineno} {code.co_qualname}"
            many = list(codes(code))
            seen, long = seen + len(many), long + sum(map(long_arguments, many))
    assert seen > 500
    assert long > 20


def functions(name: str) -> list[FunctionType]:
    module = importlib.import_module(name)
    found: list[FunctionType] = []
    for thing in vars(module).values():
        if getattr(thing, "__module__", None) == name:
            found += (
                [thing]
                if isinstance(thing, FunctionType)
                else [f for f in getattr(thing, "__dict__", {}).values() if isinstance(f, FunctionType)]
            )
    return found


@pytest.mark.parametrize("name", MODULES)
def test_real_functions_have_a_fingerprint(name: str) -> None:
    """No part of what a function of the standard library reaches is unknown, and a quick digest says the same."""
    until, seen = time.monotonic() + SECONDS / len(MODULES), 0
    for function in sorted(functions(name), key=lambda f: -len(f.__code__.co_code)):
        code = code_of(function)
        parts = {part: said for part, said in code.parts.items() if not part.startswith("import ")}
        assert parts
        unread = [
            part
            for part, said in parts.items()
            if said == UNKNOWN or (said == UNREADABLE and isinstance(vars(importlib.import_module(name)).get(part), FunctionType))
        ]
        assert not unread, function.__qualname__
        seen += 1
        if time.monotonic() > until:
            break
    assert seen


@pytest.mark.parametrize("body", ["for", "while", "try", "match", "many names"])
def test_a_long_body_is_followed_to_its_end(body: str) -> None:
    """A helper used after hundreds of instructions, names and branches is compared like any other."""
    lines = [f"        total += first(rows.a{n}) * {n}.5" for n in range(300)]
    heads = {
        "for": ["    for row in rows:"],
        "while": ["    while total < 1e9:"],
        "try": ["    try:"],
        "match": ["    match rows:", "      case [*_]:"],
        "many names": ["    if rows:"],
    }
    tail = ["    except ValueError:", "        pass"] if body == "try" else []
    source = "\n".join(["def f(rows):", "    total = 0", *heads[body], *lines, *tail, "    return last(total)"])
    namespace: dict[str, Any] = {"__name__": "long_bodies"}
    exec(f"def first(x):\n    return x\ndef last(x):\n    return x\n{source}\n", namespace)
    before = code_of(namespace["f"]).fingerprint()
    assert {"f", "first", "last"} <= before.parts.keys()
    assert before.quick
    assert not before.unknown
    exec("def last(x):\n    return x + 1\n", namespace)
    assert compare(before, code_of(namespace["f"])).changed == ["last"]


def test_a_function_of_unknown_instructions_is_said_to_be_not_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Python whose instructions have other names nobody knows what the function uses; what it says itself is known."""
    (tmp_path / "unknown_python.py").write_text(
        "import math\nK = 2\ndef helper(x):\n    return x * K\ndef entry(x):\n    y = helper(x)\n    return math.sqrt(y)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(bytecode, "KNOWN", (3, 0))
    monkeypatch.setattr(bytecode, "_NEEDED", ("LOAD_WHATEVER",))
    from unknown_python import entry  # type: ignore[import-not-found]

    code = code_of(entry)
    assert code.quick == ""
    assert code.unknown == ("entry",)
    assert code.parts["entry#2"].startswith("s:")


def test_a_later_python_is_read_by_dis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version newer than those that were tried is not guessed at."""
    code = functions("argparse")[0].__code__
    usual = spelled(bytecode.uses(code))
    monkeypatch.setattr(bytecode, "KNOWN", (3, 0))
    monkeypatch.delattr(bytecode, "raw_steps")
    assert spelled(bytecode.uses(code)) == usual
