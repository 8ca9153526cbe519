"""The fingerprint that a record keeps of its generating code, and the comparison of two of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from persistable.nodes.code.checkout import Checkout

if TYPE_CHECKING:
    from persistable.nodes.code.live import CodeOf

    Code: TypeAlias = "Fingerprint | SentFingerprint | CodeOf"  # the types that `compare` takes; live code reads its parts only when needed

UNKNOWN = "?"
UNREADABLE = "-"  # a part that exists and has no hash: it cannot be compared
REGISTERED = "r:"  # prefix of the module that put a function into a container of another module: absent until that module is imported
IMPORT = "import "  # prefix of the name of a part that is a module read, not imported
LIBRARY = "i:"  # prefix of the origin of a name that is imported from a library


class Fingerprint(NamedTuple):
    """The generating code of one class or function, and of the project functions and constants it reaches.

    `python` is the bytecode flavour it was taken under, such as ``cpython-311`` or ``cpython-311-O1``.
    `quick` is a digest over code objects and constants: if equal, nothing changed; if different or empty, the parts decide.
    `parts` maps names such as ``Points._generate_payload`` to hashes, separated by a space: ``s:`` of the normalised source,
    ``b:`` of the normalised bytecode (or of the value of a constant), ``v:`` of default and captured values, ``a:`` of attributes
    that a module gives to a function or class after its definition; or ``?`` if nothing could be read. A name imported from a
    library has ``i:`` and its origin; it is compared only if both sides have it.
    """

    python: str
    quick: str
    parts: Mapping[str, str]

    @property
    def unknown(self) -> tuple[str, ...]:
        """Code that is reached and cannot be watched."""
        return unwatched(self.parts)

    def to_json(self) -> dict[str, Any]:
        """A plain dict of strings."""
        return {"python": self.python, "quick": self.quick, "parts": dict(self.parts)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fingerprint:
        """Inverse of `to_json`. Unknown keys are ignored. Raises KeyError if a key is missing."""
        return cls(str(data["python"]), str(data["quick"]), {str(name): str(part) for name, part in data["parts"].items()})


class SentFingerprint(NamedTuple):
    """The fingerprint of a node's code as taken in the process that sent the node, with the git work tree and project of the code."""

    python: str
    quick: str
    parts: Mapping[str, str]
    commit: Checkout | None
    project: str | None = None

    @property
    def unknown(self) -> tuple[str, ...]:
        """Code that is reached and cannot be watched."""
        return unwatched(self.parts)


def unwatched(parts: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the parts that cannot be compared."""
    return tuple(name for name, part in parts.items() if part in (UNKNOWN, UNREADABLE) and not name.startswith(IMPORT))


class Comparison(NamedTuple):
    """The changes between two fingerprints.

    `same`: no change was found. `comparable`: both were taken under one bytecode flavour; only then is a
    difference enough evidence to call a payload stale. `changed`, `added` and `removed` name parts, in reading order.
    """

    same: bool
    comparable: bool
    changed: list[str]
    added: list[str]
    removed: list[str]

    def describe(self) -> str:
        """One readable line, such as ``changed: clean, SCALE; no longer used: trim``. Empty if nothing changed."""
        groups = (("changed", self.changed), ("newly used", self.added), ("no longer used", self.removed))
        return "; ".join(f"{title}: {', '.join(names)}" for title, names in groups if names)


def python_tag() -> str:
    """The bytecode flavour of this process: `sys.implementation.cache_tag`, with ``-O1`` or ``-O2`` when optimised."""
    tag = sys.implementation.cache_tag or sys.implementation.name
    return f"{tag}-O{sys.flags.optimize}" if sys.flags.optimize else tag


def compare(old: Code, new: Code) -> Comparison:
    """The changes from `old` to `new`.

    Costs a string comparison if the quick digests agree; otherwise reads `parts`. Source is compared with source if
    both sides have it, bytecode with bytecode otherwise (under one flavour only).
    """
    comparable = old.python == new.python
    if comparable and old.quick and old.quick == new.quick:
        return Comparison(True, True, [], [], [])
    before, after = old.parts, new.parts
    changed = [name for name in before if name in after and _same(before[name], after[name], comparable) is False]
    added, removed = [], []
    if UNKNOWN not in before.values() and UNKNOWN not in after.values():  # else a missing name may still be used
        added = [name for name in after if name not in before and not after[name].startswith(LIBRARY)]
        removed = [name for name in before if name not in after and not before[name].startswith(LIBRARY)]
        if any(_awaits_import(before[name]) for name in removed):
            removed = []
    return Comparison(not (changed or added or removed), comparable, changed, added, removed)


def is_same_code(old: Code, new: Code) -> bool:
    """Tell whether every part is shown to be equal: code moved unchanged to another module is the same code.

    False if no part can show it, as for classes without project code of their own.
    """
    comparable = old.python == new.python
    if comparable and old.quick and old.quick == new.quick:
        return bool(old.parts)
    before, after = old.parts, new.parts
    own = {name for name, part in before.items() if not part.startswith(LIBRARY)}
    if not own or own != {name for name, part in after.items() if not part.startswith(LIBRARY)}:
        return False
    return all(_same(part, after[name], comparable) is True for name, part in before.items() if name in after)


def mixed(before: Code, after: Code) -> Fingerprint:
    """The fingerprint of a generation begun under `before` and resumed under `after`: it differs from both, and from the next such mix."""
    from persistable.nodes.code.constants import digest

    parts = dict(before.parts)
    for name, part in after.parts.items():
        old = parts.get(name)
        parts[name] = part if old in (None, part) else " ".join(f"{kind}:{digest(f'{old}|{part}'.encode())}" for kind in "sbv")
    return Fingerprint(after.python, digest(f"{before.quick}|{after.quick}".encode()), parts)


def _same(old: str, new: str, comparable: bool) -> bool | None:
    """Tell whether two parts are equal; None if they share no kind of hash that can be compared."""
    if old == new and old != UNKNOWN and (comparable or "s:" in old):
        return True
    before, after = _kinds(old), _kinds(new)
    if any(before.get(kind) != after.get(kind) for kind in "ai"):
        return False
    if "i" in before:
        return True
    if "v" in before and "v" in after and before["v"] != after["v"]:
        return False
    if "s" in before and "s" in after:
        return before["s"] == after["s"]
    if comparable and "b" in before and "b" in after:
        return before["b"] == after["b"]
    return None


def _awaits_import(part: str) -> bool:
    """Tell whether a part was registered by a module that this process has not imported."""
    return any(word.startswith(REGISTERED) and word[len(REGISTERED) :] not in sys.modules for word in part.split())


def _kinds(part: str) -> dict[str, str]:
    return {kind: value for kind, _, value in (word.partition(":") for word in part.split())}
