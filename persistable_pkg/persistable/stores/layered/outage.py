"""Availability of layers: a layer that has failed is reported once, and skipped for a while."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Sequence

from persistable.errors import LayerSkippedWarning, StoreUnavailable
from persistable.stores.layered.layer import Layer
from persistable.stores.layered.primary import Primary
from persistable.stores.remote_errors import is_of_name

SKIP_SECONDS = 15.0
"""Seconds for which a layer that could not be read is skipped at first, later longer; the layer that decides never is."""


class Availability:
    """The layers among `layers` that are available, by their answers so far. at: the layer that decides."""

    def __init__(self, layers: Sequence[Layer], at: Primary) -> None:
        self._layers = layers
        self._at = at
        self._reported: set[tuple[int, str]] = set()
        self._skipped_until: dict[int, float] = {}
        self._skip_seconds: dict[int, float] = {}

    @property
    def all_do(self) -> bool:
        """Tell whether no layer has failed so far, and the primary has neither an outage nor an unfinished check for pending changes."""
        return not (self._skipped_until or self._at.needs_check)

    def available_layers(self) -> Iterable[int]:
        """The layers that are not skipped, fast to slow."""
        everyone = range(len(self._layers))
        return everyone if self.all_do else (index for index in everyone if not self.is_skipped(index))

    def without_skipped(self, indexes: Iterable[int]) -> Sequence[int]:
        """The layers among `indexes` that are not skipped."""
        return [index for index in indexes if not self.is_skipped(index)]

    def is_skipped(self, index: int) -> bool:
        """Tell whether a layer is skipped now."""
        until = self._skipped_until.get(index) if index != self._at.index else None
        return (until is not None and time.monotonic() < until) or self._at.is_silent(index)

    def _skip_for_a_while(self, index: int) -> None:
        """Skip a layer for a while, longer each time: finding out that it is down may take half a minute."""
        self._skip_seconds[index] = min(2 * self._skip_seconds.get(index, SKIP_SECONDS / 2), 16 * SKIP_SECONDS)
        self._skipped_until[index] = time.monotonic() + self._skip_seconds[index]

    def failed(self, index: int, error: OSError) -> OSError | None:
        """Handle a failed read of a layer; the error, if the caller has to raise it."""
        if index == self._at.index:
            return None if self._at.give_up(index, error) else error
        if index in self._at.down or is_of_name(error):
            return None
        self._skip_for_a_while(index)
        self.skipped(index, error, "read")
        return None

    def skipped(self, index: int, error: OSError, operation: str) -> None:
        """Skip the layer for a while if it is unreachable, and warn, once for each layer and operation ("read", "written")."""
        if isinstance(error, StoreUnavailable) and index != self._at.index:
            self._skip_for_a_while(index)
        if (index, operation) in self._reported or is_of_name(error):  # a file whose name a layer cannot hold is absent there
            return
        self._reported.add((index, operation))
        warnings.warn(
            f"the layer {self._layers[index].store.url} could not be {operation} and is passed over, the other layers go on without it: "
            f"{error}",
            LayerSkippedWarning,
            stacklevel=4,
        )
