"""Names that every node has: a class that uses one for something else is refused at its definition, not at its use."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from persistable.errors import ReservedName
from persistable.nodes.declaration import Declaration, is_role
from persistable.params.annotations import own_annotations

HOOKS = ("_generate_payload", "_validate_payload", "_post_generate", "_post_load")
"""Methods that a class overrides."""
PLANNED = frozenset({"diff", "find", "pin", "reproduce", "verify"})
"""Names of members to come. There will be no others: further verbs are functions, or on the catalog."""
_OWN = frozenset(
    {*HOOKS, "version", "io", "payload_io", "payload_name", "payload_file_suffix", "params", "retry", "resources"}
    | {"is_persisted", "is_external", "_node_needs", "_node_by_payload", "_node_look"}
)
"""Names that a class may define."""
_ASKED = {"_generate_payload": {"persist"}, "_post_generate": {"persist"}, "_post_load": {"verify", "warn_if_validation_fails"}}
"""The keyword arguments of each hook that `generate` and `load` take themselves, so that they would never arrive."""


def check(cls: type, root: type) -> None:
    """Raise ReservedName if `cls`, a class of a user, defines something under a name that every node has."""
    if cls.__module__.partition(".")[0] == "persistable" or hasattr(cls, "_node_step"):
        return
    for name in _taken(cls, root):
        kind = "will be" if name in PLANNED else "is"
        advice = "call super() in it if it is meant to extend that" if callable(getattr(root, name, None)) and name[0] != "_" else ""
        raise ReservedName(
            f"{cls.__qualname__}.{name}: `{name}` {kind} something that every node has, so a class cannot use it for anything else; "
            f"call it otherwise{', or ' if advice else ''}{advice}",
            name=name,
            owner=cls.__qualname__,
        )
    if {"io", "payload_io"} <= cls.__dict__.keys():
        raise ReservedName(
            f"{cls.__qualname__} sets `io` and `payload_io`, two names of one thing; leave one out",
            name="io",
            owner=cls.__qualname__,
        )
    for hook, names in _ASKED.items():
        function = cls.__dict__.get(hook)
        for name in names.intersection(inspect.signature(function).parameters) if callable(function) else ():
            raise ReservedName(
                f"{cls.__qualname__}.{hook} takes `{name}`, which generate() and load() take themselves, so it would never arrive; "
                "call it otherwise",
                name=name,
                owner=cls.__qualname__,
            )


def _taken(cls: type, root: type) -> Iterator[str]:
    for name, member in cls.__dict__.items():
        if _is_reserved(name, root) and not (name[0] != "_" and _extends(member)):
            yield name
    for name in own_annotations(cls):
        if name not in cls.__dict__ and (name in _OWN or _is_reserved(name, root)) and is_role(cls, name):
            yield name


def _is_reserved(name: str, root: type) -> bool:
    if name in _OWN or (name.startswith("__") and name.endswith("__")):
        return False
    return name in PLANNED or hasattr(root, name) or name in root.__annotations__


def _extends(member: Any) -> bool:
    """Tell whether a method or property calls that of its base."""
    function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    return code is not None and "__class__" in code.co_freevars


_MEANS = {"params": "params", "persist_data_dir": "store"}


def ambiguous(declaration: Declaration, owner: str, given: dict[str, Any]) -> None:
    """Raise ReservedName for a setting of the constructor that is given, while params have a field of that name."""
    for name in declaration.settings:
        if name in ("params", "persist_data_dir"):
            raise ReservedName(
                f"the params of {owner} have a field `{name}`, which is what a node calls its {_MEANS[name]}; call it otherwise",
                name=name,
                owner=owner,
            )
        if given.get(name) is not None:
            raise ReservedName(
                f"{owner}({name}=...) could be the param of that name or the setting that every node has; give the param by "
                f"params=..., such as params={{{name!r}: {given[name]!r}}}, and the setting on the node afterwards",
                name=name,
                owner=owner,
            )
