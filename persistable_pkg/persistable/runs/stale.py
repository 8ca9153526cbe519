"""`Stale`: the stale payloads that a run has reused, and the one warning about all of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

from persistable.errors import StaleCode, StaleCodeWarning
from persistable.nodes import loading
from persistable.nodes.staleness import Cause, Verdict
from persistable.nodes.types import Node
from persistable.records.key import Key, Place

POLICIES = ("reuse", "generate", "raise")


class Stale(Mapping[Key, str]):
    """Stale payloads that were reused: key to the changes since, in words; also indexed by node."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Place], tuple[Node, Verdict]] = {}
        self._told = False

    def add(self, node: Node, url: str, verdict: Verdict) -> None:
        """Record that `node`, in the store of that URL, is stale."""
        self._found[url, node.place] = (node, verdict)

    def take(self, other: Stale) -> None:
        """Add those found by another part of the same run."""
        self._found.update(other._found)

    def __getitem__(self, target: object) -> str:
        key = getattr(target, "key", target)
        for _, place in self._found if isinstance(key, Key) else ():
            if place.key == key:
                return self._words(place.key)
        raise KeyError(target)

    def _words(self, key: Key) -> str:
        return next(verdict.describe() for (_, place), (_, verdict) in self._found.items() if place.key == key)

    def __iter__(self) -> Iterator[Key]:
        return (place.key for _, place in self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<{self.describe() or 'nothing is stale'}>"

    def describe(self) -> str:
        """The causes, each with its numbers of stale payloads: ``clean of points/1a2b3c4d changed: 1 stale, 239 made from it``."""
        groups: dict[tuple[str, str], tuple[Cause, list[int]]] = {}
        for node, verdict in self._found.values():
            follows: dict[tuple[str, str], bool] = {}  # one change may have reached it through many nodes
            for cause in verdict.causes:
                place = (cause.by, cause.change) if cause.change else (str(cause.key), "")
                groups.setdefault(place, (cause, [0, 0]))
                follows[place] = follows.get(place, True) and (cause.key != node.key or not cause.change)
            for place, following in follows.items():
                groups[place][1][following] += 1
        shown = [_words_of(cause, *numbers) for cause, numbers in list(groups.values())[:_SHOWN]]
        more = len(groups) - len(shown)
        return "; ".join(shown) + (f"; and {more} more changes" if more > 0 else "")

    def warn(self) -> None:
        """Warn of all of them, once per run; loads in this process do not warn again."""
        if not self._found or self._told:
            return
        self._told = True
        for node, verdict in self._found.values():
            loading.is_new(node, verdict)
        number = len(self._found)
        warnings.warn(
            f'{number} payload{"s" * (number > 1)} reused although stale: {self.describe()}; run(..., stale="generate") makes '
            f"{'them' if number > 1 else 'it'} anew, accept_code(reason) records that no change matters",
            StaleCodeWarning,
            stacklevel=loading.depth_of_user(),
        )

    def refuse(self) -> None:
        """Raise StaleCode if there are any."""
        if self._found:
            raise StaleCode(
                f'{len(self._found)} stale, so nothing was begun: {self.describe()}; make it anew with stale="generate", or call '
                "accept_code(reason) if nothing that matters has changed",
                stale=list(self),
            )


_SHOWN = 5


def _words_of(cause: Cause, own: int, following: int) -> str:
    name = f"{cause.key.name}/{cause.key.digest[:8]}"
    what = f"{cause.change.removeprefix('changed: ')} of {name} changed" if cause.change else cause.describe()
    counts = [f"{own} stale"] if own else []
    counts += [f"{following} made from it"] if following else []
    return f"{what}: {', '.join(counts)}"
