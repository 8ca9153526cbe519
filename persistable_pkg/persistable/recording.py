"""What a record says of one generation."""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakKeyDictionary

from persistable import code, gathering, payload
from persistable.record import FORMAT, Record, git_commit, members, package_versions, surroundings


def compose(generation: Any, written: payload.Written, result: Any) -> Record:
    """The record of a payload that `generation` has made and `written`."""
    node = generation.node
    io = generation.io
    own = generation.code
    head: dict[str, Any] = {
        "record": FORMAT,
        "key": str(node.key),
        "token": generation.token,
        "io": io.spec(),
        "class": code.class_reference(node.__class__),
        "code": {"python": own.python, "quick": own.quick},
        "files": written.files,
    }
    schema = None if isinstance(result, payload.InFile) else io.schema(result)
    if schema is not None:
        head["schema"] = schema
    if isinstance(result, gathering.Gathered):
        head["items"] = result.head
    details: dict[str, Any] = {
        "made": generation.made,
        "started": generation.started,
        "seconds": generation.seconds(),
        "attempts": generation.attempt,
    }
    if generation.notes:
        details["notes"] = generation.notes
    details.update(node._facts())
    return Record.compose(node.key, head, details, _of_class(node.__class__, own), package_versions(), surroundings())


_class_members: WeakKeyDictionary[type, tuple[str, bytes]] = WeakKeyDictionary()


def _of_class(cls: type, own: code.CodeOf | code.Fingerprint) -> bytes:
    """The members that are the same for every record of a class, as long as its code is."""
    quick, known = _class_members.get(cls, ("", b""))
    if not quick or quick != own.quick:
        known = members({"git_commit": _commit_of(cls), "code_parts": dict(own.parts)})
        _class_members[cls] = (own.quick, known)
    return known


_commits: dict[str, str | None] = {}


def _commit_of(cls: type) -> str | None:
    import sys

    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    folder = os.path.dirname(os.path.abspath(file)) if file else os.getcwd()
    if folder not in _commits:
        _commits[folder] = git_commit(folder)
    return _commits[folder]
