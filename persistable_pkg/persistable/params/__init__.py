"""Params and what identity is made of: markers, canonical bytes, and trees for records and people."""

from __future__ import annotations

from persistable.params.canonical import encode, register_params
from persistable.params.fields import PersistableParams, formerly, markers_of, omit_when, untracked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from persistable.params.building import accepts as accepts
    from persistable.params.building import build as build
    from persistable.params.building import nearest as nearest
    from persistable.params.building import replaced as replaced
    from persistable.params.building import restore as restore
    from persistable.params.trees import absent as absent
    from persistable.params.trees import differences as differences
    from persistable.params.trees import from_tree as from_tree
    from persistable.params.trees import tree as tree
    from persistable.params.watching import Snapshot as Snapshot
    from persistable.params.watching import capture as capture
    from persistable.params.watching import first_change as first_change
    from persistable.params.watching import snapshot as snapshot
    from persistable.params.watching import untracked_values as untracked_values

_HOME = {
    **dict.fromkeys(("accepts", "build", "nearest", "replaced", "restore"), "building"),
    **dict.fromkeys(("absent", "differences", "from_tree", "tree"), "trees"),
    **dict.fromkeys(("Snapshot", "capture", "first_change", "snapshot", "untracked_values"), "watching"),
}

__all__ = [
    "PersistableParams",
    "Snapshot",
    "absent",
    "accepts",
    "build",
    "capture",
    "differences",
    "encode",
    "first_change",
    "formerly",
    "from_tree",
    "markers_of",
    "nearest",
    "omit_when",
    "register_params",
    "replaced",
    "restore",
    "snapshot",
    "tree",
    "untracked",
    "untracked_values",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'persistable.params' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"persistable.params.{home}"), name)
    globals()[name] = found
    return found
