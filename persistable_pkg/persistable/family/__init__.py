"""Families: the same node over many params or keys."""

from persistable.family.axes import Axis as Axis
from persistable.family.matrix import Matrix as Matrix
from persistable.family.members import Family as Family

__all__ = ["Axis", "Family", "Matrix"]
