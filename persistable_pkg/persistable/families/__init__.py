"""Families: the same node over many params or keys."""

from persistable.families.axis import Axis
from persistable.families.family import Family
from persistable.families.gather import Gathered
from persistable.families.matrix import Matrix

__all__ = ["Axis", "Family", "Gathered", "Matrix"]
