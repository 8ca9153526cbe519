"""Sources: external inputs by key."""

from persistable.source.family import Source as Source
from persistable.source.inputs import Inputs as Inputs

__all__ = ["Inputs", "Source"]
