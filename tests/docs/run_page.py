"""Run every ```python block of a Markdown page, in order and in one namespace, as the script its reader would type.

    python run_page.py page.md script.py

The script written to `script.py` has the page's own line numbers, so that a traceback points into the page. Two ways of showing a result
are checked: ``expression  # => text`` against the value's repr, and a ```text block right below a ```python block against what that block
printed. In both, ``...`` stands for anything.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import re
import sys
from pathlib import Path
from typing import NamedTuple

SHOWN = re.compile(r"#\s*=>\s*(.+?)\s*$")


class Block(NamedTuple):
    """One fenced block: `line` is the number of its first line of content, `below` the text block right under it."""

    line: int
    code: str
    below: str | None


def blocks(text: str) -> list[Block]:
    """The ```python blocks of a page, each with the ```text block that follows it, if nothing but blank lines stands between."""
    fences: list[tuple[str, int, list[str], bool]] = []
    inside: tuple[str, int, list[str], bool] | None = None
    prose = True
    for number, line in enumerate(text.splitlines(), 1):
        if inside is None and re.match(r"```\w", line):
            inside = (line[3:].strip(), number + 1, [], prose)
        elif inside is not None and line == "```":
            fences.append(inside)
            inside, prose = None, False
        elif inside is not None:
            inside[2].append(line)
        elif line.strip():
            prose = True
    found: list[Block] = []
    for index, (language, line, content, _) in enumerate(fences):
        if language != "python":
            continue
        following = fences[index + 1] if index + 1 < len(fences) else None
        below = "\n".join(following[2]) if following and following[0] == "text" and not following[3] else None
        found.append(Block(line, "\n".join(content), below))
    return found


def run(page: Path, script: Path) -> None:
    """Run the page's blocks as `__main__`; raises AssertionError with the place where a shown result is not the real one."""
    found = blocks(page.read_text(encoding="utf-8"))
    lines: list[str] = []
    for block in found:
        lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    main = sys.modules["__main__"].__dict__
    main.update(__file__=str(script), __builtins__=__builtins__)
    for block in found:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            _run(block, script, main)
        if block.below is not None:
            _same(printed.getvalue().rstrip("\n"), block.below, f"{page.name}:{block.line}")


def _run(block: Block, script: Path, namespace: dict[str, object]) -> None:
    tree = ast.parse(block.code, str(script))
    ast.increment_lineno(tree, block.line - 1)
    source = block.code.splitlines()
    for statement in tree.body:
        shown = SHOWN.search(source[(statement.end_lineno or 0) - block.line])
        if shown and isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), str(script), "eval"), namespace)
            _same(repr(value), shown.group(1), f"{script.name}:{statement.lineno}")
        else:
            exec(compile(ast.Module([statement], []), str(script), "exec"), namespace)


def _same(got: str, want: str, place: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(want + "\n", got + "\n", flags):
        raise AssertionError(f"{place} shows\n{want}\nbut the result is\n{got}")


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
