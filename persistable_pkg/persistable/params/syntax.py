"""Python source as a syntax tree, in a process of many threads."""

from __future__ import annotations

import ast
import time
from typing import Any

_TRIES = 10
_PAUSE = 0.001  # seconds


def parse(text: bytes | str, mode: str = "exec") -> Any:
    """Return the tree of a text, as `ast.parse` does.

    CPython keeps one depth of recursion for all threads: where several parse at a time, one of them may get a SystemError about a recursion
    depth that does not match, although its text is correct.
    """
    for attempt in range(1, _TRIES):
        try:
            return ast.parse(text, mode=mode)
        except SystemError:
            time.sleep(_PAUSE * attempt)
    return ast.parse(text, mode=mode)
