"""Params and what identity is made of: markers, canonical bytes, and trees for records and people."""

from __future__ import annotations

from persistable import lazily
from persistable.params.encoding import encode, register_params
from persistable.params.fields import PersistableParams, formerly, markers_of, omit_when, untracked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from persistable.params.building import accepts, build, nearest, replaced, restore
    from persistable.params.snapshots import Snapshot, capture, first_change, snapshot, untracked_values
    from persistable.params.trees import absent, differences, from_tree, tree

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

_HOMES = {
    "building": ("accepts", "build", "nearest", "replaced", "restore"),
    "snapshots": ("Snapshot", "capture", "first_change", "snapshot", "untracked_values"),
    "trees": ("absent", "differences", "from_tree", "tree"),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _HOMES)
