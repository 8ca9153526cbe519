"""Python source as a syntax tree, in a process of many threads."""

from __future__ import annotations

import ast
import time
from typing import Any

_TRIES = 10
_PAUSE = 0.001  # seconds


def parse(text: bytes | str, mode: str = "exec") -> Any:
    """Return the tree of a text, as `ast.parse` does.

    CPython counts how deep it is in a tree for all threads together: where several parse at a time, one of them may get a SystemError, of a
    recursion depth that does not match. Nothing is wrong with its text then.
    """
    for attempt in range(1, _TRIES):
        try:
            return ast.parse(text, mode=mode)
        except SystemError:
            time.sleep(_PAUSE * attempt)
    return ast.parse(text, mode=mode)
