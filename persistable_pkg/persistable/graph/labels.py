"""The words and colours of a picture, before any language escapes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from persistable.nodes.label import line, params_in_words, width
from persistable.nodes.status import Status
from persistable.nodes.types import Node

__all__ = ["COLOURS", "OTHER", "TIMES", "line", "params_of", "roles_in_words", "short", "width"]

COLOURS: dict[str, str] = {
    Status.DONE.value: "#1a7f5a",
    Status.ABSENT.value: "#7a7f87",
    Status.RUNNING.value: "#2563b8",
    Status.FAILED.value: "#c0392b",
    Status.BLOCKED.value: "#b06a00",
    Status.CORRUPT.value: "#c0392b",
    Status.STALE.value: "#b06a00",
    Status.FOREIGN.value: "#c0392b",
    # the actions of a plan
    "reuse": "#1a7f5a",
    "generate": "#2563b8",
    "follow": "#7a5bb0",
    "leave": "#b06a00",
    "refuse": "#c0392b",
}
TIMES = "\N{MULTIPLICATION SIGN}"

OTHER = "#7a7f87"
"""The colour of a status that has none."""


def short(value: Any) -> str:
    """The repr of `value`, cut."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def params_of(node: Node, columns: int) -> str:
    """The node's own tracked params on one line of at most `columns` columns; empty without any, or where they were changed since."""
    return line(params_in_words(node, columns), columns)


def roles_in_words(roles: Iterable[str]) -> str:
    """The label of an arrow: the role, or the stem of several roles and their number, or their first three stems."""
    roles = list(roles)
    if len(roles) <= 1:
        return "".join(line(role, 24) for role in roles)
    bases = list(dict.fromkeys(role.partition(".")[0] for role in roles))
    if len(bases) == 1:
        return f"{line(bases[0], 16)} {TIMES} {len(roles)}"
    return line(", ".join(bases[:3]) + (", …" if len(bases) > 3 else ""), 24)
