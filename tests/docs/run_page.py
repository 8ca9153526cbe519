"""Run every ```python block of a Markdown page, in order and in one namespace, as the script its reader would type.

    python run_page.py page.md script.py [pictures]

The script written to `script.py` has the page's own line numbers, so that a traceback points into the page. Two ways of showing a result
are checked: ``expression  # => text`` against the value's repr, and a ```text block right below a ```python block against what that block
printed. In both, ``...`` stands for anything.

A ```{picture} block is Python as well. The value of its last line is shown as a notebook would show it: it must have HTML, which is written
to `0.html`, `1.html` and so on in the folder `pictures`, if one is named.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import doctest
import io
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

SHOWN = re.compile(r"#\s*=>\s*(.+?)\s*$")


class Block(NamedTuple):
    """One fenced block: `line` is the number of its first line of content, `below` the text block right under it."""

    line: int
    code: str
    below: str | None
    picture: bool


def blocks(text: str) -> list[Block]:
    """The blocks of a page that are run, each with the ```text block that follows it, if nothing but blank lines stands between."""
    fences: list[tuple[str, int, list[str], bool]] = []
    inside: tuple[str, int, list[str], bool] | None = None
    prose = True
    for number, line in enumerate(text.splitlines(), 1):
        if inside is None and re.match(r"```(\w|\{picture\}$)", line):
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
        if language not in ("python", "{picture}"):
            continue
        following = fences[index + 1] if index + 1 < len(fences) else None
        below = "\n".join(following[2]) if following and following[0] == "text" and not following[3] else None
        found.append(Block(line, "\n".join(content), below, language == "{picture}"))
    return found


def run(page: Path, script: Path, pictures: Path | None = None) -> None:
    """Run the page's blocks as `__main__`; raises AssertionError with the place where a shown result is not the real one."""
    found = blocks(page.read_text(encoding="utf-8"))
    lines: list[str] = []
    for block in found:
        lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    main = sys.modules["__main__"].__dict__
    main.update(__file__=str(script), __builtins__=__builtins__)
    drawn = 0
    for block in found:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = _run(block, script, main)
        if block.picture:
            html = as_html(value, f"{page.name}:{block.line}")
            if pictures is not None:
                (pictures / f"{drawn}.html").write_text(html, encoding="utf-8")
            drawn += 1
        if block.below is not None:
            _same(printed.getvalue().rstrip("\n"), block.below, f"{page.name}:{block.line}")


def _run(block: Block, script: Path, namespace: dict[str, object]) -> object:
    """Run a block; the value of its last line, if that is an expression."""
    value: object = None
    tree = ast.parse(block.code, str(script))
    ast.increment_lineno(tree, block.line - 1)
    source = block.code.splitlines()
    for statement in tree.body:
        shown = SHOWN.search(source[(statement.end_lineno or 0) - block.line])
        if isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), str(script), "eval"), namespace)
            if shown:
                _same(repr(value), shown.group(1), f"{script.name}:{statement.lineno}")
        else:
            value = None
            exec(compile(ast.Module([statement], []), str(script), "exec"), namespace)
    return value


def as_html(value: Any, place: str) -> str:
    """The HTML that a notebook would show of a value; a plot as an image. Raises AssertionError where it would show text only."""
    if hasattr(value, "_repr_html_"):
        return str(value._repr_html_())
    figure = getattr(value, "figure", value)
    if not hasattr(figure, "savefig"):
        raise AssertionError(f"{place} is a picture, but a notebook would show only {value!r}")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", bbox_inches="tight", metadata={"Date": None})
    return f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode()}">'


def _same(got: str, want: str, place: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(want + "\n", got + "\n", flags):
        raise AssertionError(f"{place} shows\n{want}\nbut the result is\n{got}")


if __name__ == "__main__":
    run(*map(Path, sys.argv[1:]))
