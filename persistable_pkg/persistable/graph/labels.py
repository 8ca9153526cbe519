"""The words and colours of a picture, before any language escapes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from unicodedata import east_asian_width

from persistable.errors import PersistableError
from persistable.nodes.lineage import shown_params
from persistable.nodes.status import Status

COLOURS: dict[str, str] = {
    Status.DONE.value: "#1a7f5a",
    Status.ABSENT.value: "#7a7f87",
    Status.RUNNING.value: "#2563b8",
    Status.FAILED.value: "#c0392b",
    Status.BLOCKED.value: "#b06a00",
    Status.CORRUPT.value: "#c0392b",
    Status.STALE.value: "#b06a00",
    Status.FOREIGN.value: "#c0392b",
}
TIMES = "\N{MULTIPLICATION SIGN}"

OTHER = "#7a7f87"
"""The colour of a status that has none."""

# what XML 1.0 cannot hold, escaped or not; and halves of surrogate pairs, which no encoding can
_UNSAYABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_BREAKS = re.compile(r"\s+")


def line(text: str, columns: int) -> str:
    """Put `text` on one line of at most `columns` columns, without characters that cannot be written."""
    text = _BREAKS.sub(" ", _UNSAYABLE.sub("\ufffd", text)).strip()
    if width(text) <= columns:
        return text
    kept, used = 0, 1
    for char in text:
        used += width(char)
        if used > columns:
            break
        kept += 1
    return text[:kept] + "…"


def width(text: str) -> int:
    """The columns `text` takes; Chinese, Japanese, Korean and emoji take two each."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def short(value: Any) -> str:
    """The repr of `value`, cut."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def params_of(node: Any, columns: int) -> str:
    """The node's own tracked params on one line of at most `columns` columns; empty without any, or where they were changed since."""
    parts: list[str] = []
    left = columns
    try:
        fields = shown_params(node)
    except PersistableError:
        return ""
    for name, value in fields.items():
        if left <= 0:
            break  # the rest would be cut off
        parts.append(f"{name}={_value(value, left + 1)}")
        left -= width(parts[-1]) + 2
    return line(", ".join(parts), columns)


def _value(value: Any, columns: int) -> str:
    try:
        return line(repr(value)[: 4 * columns], columns)
    except Exception:  # noqa: BLE001 - a value that cannot show itself is shown by its type
        return f"<{type(value).__name__}>"


def roles_in_words(roles: Iterable[str]) -> str:
    """The label of an arrow: the role, or what several roles have in common, and how many."""
    roles = list(roles)
    if len(roles) <= 1:
        return "".join(line(role, 24) for role in roles)
    bases = list(dict.fromkeys(role.partition(".")[0] for role in roles))
    if len(bases) == 1:
        return f"{line(bases[0], 16)} {TIMES} {len(roles)}"
    return line(", ".join(bases[:3]) + (", …" if len(bases) > 3 else ""), 24)
