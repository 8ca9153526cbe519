"""Sources: external inputs by key."""

from persistable.families.sources.inputs import Inputs
from persistable.families.sources.source import Source

__all__ = ["Inputs", "Source"]
