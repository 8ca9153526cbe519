"""`UNSET`: no value, where None may be one.

Every sentinel of the package is the member of an Enum: it is compared with `is`, type checkers narrow by it, and it is the same object
after it was pickled. One with a meaning of its own has an Enum of its own, in the module of that meaning.
"""

from __future__ import annotations

from enum import Enum


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "unset"


UNSET = Unset.UNSET
"""No value."""
