"""Params and identity: markers, canonical bytes, and trees for records and people."""

from persistable.params.encoding import encode, register_params
from persistable.params.fields import PersistableParams, formerly, omit_when, untracked
from persistable.params.trees import from_tree  # scripts of the catalog call it

__all__ = ["PersistableParams", "encode", "formerly", "from_tree", "omit_when", "register_params", "untracked"]
