"""Values that are not of the declared type: the error with found and wanted type, hints, and placeholders that fit any type."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys
from collections.abc import Sequence, ValuesView
from typing import Any

from persistable.errors import MistypedParam
from persistable.params.encoding import step_text


class Mismatch(Exception):
    """Raised where a value is not of its declared type; the caller adds the path to it."""

    def __init__(self, found: Any, wanted: str, hint: str = "") -> None:
        super().__init__(wanted)
        self.found = found
        self.wanted = wanted
        self.hint = hint
        self.at: list[Any] = []
        """Attributes by name, items by place, keys in a tuple of one; outermost first."""

    def under(self, step: Any) -> Mismatch:
        """Return the same error, with `step` put before its path."""
        self.at.insert(0, step)
        return self

    def error(self, place: str) -> MistypedParam:
        """Return the error for the user; `place` is the name of the outermost value."""
        path = place + "".join(map(step_text, self.at))
        shown = f"{self.found!r:.80}" if type(self.found).__module__ == "builtins" else f"{self.found!r:.60}".replace("\n", " ")
        hint = f"; {self.hint}" if self.hint else ""
        text = f"{path} is {shown} ({type(self.found).__qualname__}), and takes {self.wanted}{hint}"
        return MistypedParam(text, path=path, found=f"{type(self.found).__module__}.{type(self.found).__qualname__}", wanted=self.wanted)


def mismatch_unless_placeholder(value: Any, wanted: str, hint: str = "") -> Any:
    """Raise Mismatch; but return `value` if it is, or contains, a placeholder: a node whose payload is not known yet."""
    if is_placeholder(type(value)) or _holds_stand_ins(value, 3):
        return value
    raise Mismatch(value, wanted, hint)


def is_placeholder(cls: Any) -> bool:
    """Tell whether values of `cls` are placeholders for any type: nodes, families, connections for payloads, OmegaConf for its content."""
    if getattr(cls, "_node_is_node", False) is True or getattr(cls, "_node_is_family", False) or getattr(cls, "_stands_in", False):
        return True
    package: str = cls.__module__.partition(".")[0]
    return package == "omegaconf"


def listed(value: Any) -> list[Any] | None:
    """The items of a sequence, or of the values of a mapping, where all of them are placeholders; None otherwise."""
    if is_placeholder(type(value)) or not isinstance(value, Sequence | ValuesView):
        return None
    items = list(value)
    return items if items and all(is_placeholder(type(each)) for each in items) else None


def _holds_stand_ins(value: Any, depth: int) -> bool:
    """Tell whether it is a collection or object with nodes in it, whose payloads cannot be judged yet."""
    kind = type(value)
    if depth == 0 or isinstance(value, type):
        return False
    held = value if kind is dict else getattr(value, "__dict__", {})
    items = value if kind is list or kind is tuple else held.values()
    return any(is_placeholder(type(each)) or _holds_stand_ins(each, depth - 1) for each in items)


def as_python(value: Any) -> Any:
    """The Python value of a numpy scalar, or the scalar itself where no Python type holds its value; any other value unchanged."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic):
        return value
    if isinstance(value, numpy.longdouble):
        number = float(value)
        return number if number == value else value
    return value.item()


def retype_hint(text: Any, kind: type) -> str:
    """A hint for text that can be read as a value of `kind`; "" for other text."""
    if not isinstance(text, str):
        return ""
    try:
        return f"did you mean {kind(text)!r}?"
    except ValueError:
        return ""
