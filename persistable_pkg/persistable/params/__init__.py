"""Params and what identity is made of: markers, canonical bytes, and trees for records and people."""

from __future__ import annotations

from persistable.params.encoding import encode, register_params
from persistable.params.fields import PersistableParams, formerly, markers_of, omit_when, untracked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from persistable.params.building import accepts, build, nearest, replaced, restore
    from persistable.params.snapshots import Snapshot, capture, first_change, snapshot, untracked_values
    from persistable.params.trees import absent, differences, from_tree, tree

_HOME = {
    **dict.fromkeys(("accepts", "build", "nearest", "replaced", "restore"), "building"),
    **dict.fromkeys(("absent", "differences", "from_tree", "tree"), "trees"),
    **dict.fromkeys(("Snapshot", "capture", "first_change", "snapshot", "untracked_values"), "snapshots"),
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
