"""Availability of layers: a layer that has failed is reported once, and skipped for a while."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Sequence

from persistable.errors import LayerSkippedWarning, StoreUnavailable
from persistable.stores.layered.layer import Layer
from persistable.stores.layered.primary import Primary
from persistable.stores.remote_errors import is_of_name

REST = 15.0
"""Seconds for which a layer that could not be read is skipped, at first; the primary never is."""


class Availability:
    """The layers among `layers` that are available, by their answers so far. at: the layer that decides."""

    def __init__(self, layers: Sequence[Layer], at: Primary) -> None:
        self._layers = layers
        self._at = at
        self._reported: set[tuple[int, str]] = set()
        self._resting: dict[int, float] = {}
        self._rested: dict[int, float] = {}

    @property
    def all_do(self) -> bool:
        """Tell whether no layer has failed so far, and the primary has neither an outage nor an unfinished check for pending changes."""
        return not (self._resting or self._at.needs_check)

    def awake(self) -> Iterable[int]:
        """The layers that are not skipped, fast to slow."""
        everyone = range(len(self._layers))
        return everyone if self.all_do else (index for index in everyone if not self.rests(index))

    def up(self, indexes: Iterable[int]) -> Sequence[int]:
        """The layers among `indexes` that are not skipped."""
        return [index for index in indexes if not self.rests(index)]

    def rests(self, index: int) -> bool:
        """Tell whether a layer is skipped now."""
        until = self._resting.get(index) if index != self._at.index else None
        return (until is not None and time.monotonic() < until) or self._at.is_silent(index)

    def _rest(self, index: int) -> None:
        """Skip a layer for a while, longer each time: finding out that it is down may take half a minute."""
        self._rested[index] = min(2 * self._rested.get(index, REST / 2), 16 * REST)
        self._resting[index] = time.monotonic() + self._rested[index]

    def failed(self, index: int, error: OSError) -> OSError | None:
        """Handle a failed read of a layer; the error, if the caller has to raise it."""
        if index == self._at.index:
            return None if self._at.give_up(index, error) else error
        if index in self._at.down or is_of_name(error):
            return None
        self._rest(index)
        self.skipped(index, error, "read")
        return None

    def skipped(self, index: int, error: OSError, what: str) -> None:
        """Report once that a layer is skipped after an error, in which it could not be "read" or "written"."""
        if isinstance(error, StoreUnavailable) and index != self._at.index:
            self._rest(index)
        if (index, what) in self._reported or is_of_name(error):  # a file whose name a layer cannot hold is absent there
            return
        self._reported.add((index, what))
        warnings.warn(
            f"the layer {self._layers[index].store.url} could not be {what} and is passed over, the other layers go on without it: {error}",
            LayerSkippedWarning,
            stacklevel=4,
        )
