"""`Outcomes`: how each node of a run ended; that of a member of a large family takes some bytes, and not a node."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from types import MappingProxyType
from typing import Any, NamedTuple

from persistable.key import Key, Place, Placed

Spot = tuple[str, Place]
"""Where a node stands: the URL of its store, and its place there. Nodes of one key may stand at several."""
STATUSES = ("cancelled", "reused", "done", "failed", "skipped")


_CODES = {status: code for code, status in enumerate(STATUSES)}


class Ending(NamedTuple):
    """How one node ended. attempts: tries made in this run."""

    node: Any
    store: Any
    status: str
    seconds: float
    attempts: int

    @property
    def spot(self) -> Spot:
        """Where it stands."""
        return self.store.url, self.node.place


class Share:
    """How the members of one family ended, by number; at first, all are cancelled.

    lots: gives keys and nodes by number, see `persistable.family.lots.Lots`. store: where all of them lie.
    """

    def __init__(self, lots: Any, store: Any) -> None:
        self.lots = lots
        self.store = store
        self.url: str = store.url
        self._statuses = bytearray(len(lots))
        self._attempts = bytearray(len(lots))
        self._seconds = array("f", bytes(4 * len(lots)))
        self._numbers: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self._statuses)

    def equals(self, other: Share) -> bool:
        """Tell whether both are about the same members in the same store. Where they are not, that is mostly seen at the first of them."""
        if (self.url, len(self), self.lots.model.payload_name) != (other.url, len(other), other.lots.model.payload_name):
            return False
        return all(self.lots.keys(numbers) == other.lots.keys(numbers) for numbers in (range(1), *self.lots))

    def set(self, number: int, status: str, seconds: float = 0.0, attempts: int = 0) -> None:
        """Keep how this member ended."""
        self._statuses[number] = _CODES[status]
        self._seconds[number] = seconds
        self._attempts[number] = min(attempts, 255)

    def set_all(self, numbers: Iterable[int], status: str) -> None:
        """Keep that these members ended so, without an attempt."""
        code, statuses = _CODES[status], self._statuses
        if isinstance(numbers, range) and numbers.step == 1:
            statuses[numbers.start : numbers.stop] = bytes((code,)) * len(numbers)
            return
        for number in numbers:
            statuses[number] = code

    def count(self, status: str) -> int:
        """How many ended so."""
        return self._statuses.count(STATUSES.index(status))

    def numbers(self, status: str) -> Iterator[int]:
        """Those that ended so."""
        wanted = STATUSES.index(status)
        at = self._statuses.find(wanted)
        while at >= 0:
            yield at
            at = self._statuses.find(wanted, at + 1)

    def keys(self) -> Iterator[Key]:
        """All keys, in order."""
        for numbers in self.lots:
            yield from self.lots.keys(numbers)

    def find(self, key: Key) -> int | None:
        """The number of the member of that key. The first call makes an index of all."""
        if key.name != self.lots.model.payload_name:
            return None
        if self._numbers is None:
            self._numbers = {each.digest: number for number, each in enumerate(self.keys())}
        return self._numbers.get(key.digest)

    def ending(self, number: int) -> Ending:
        """How this member ended."""
        status = STATUSES[self._statuses[number]]
        return Ending(self.lots.nodes[number], self.store, status, self._seconds[number], self._attempts[number])

    def facts(self) -> Iterator[tuple[Spot, str, float, int]]:
        """Where each stands, its status, seconds and attempts, without its node."""
        url = self.url
        for key, status, seconds, attempts in zip(self.keys(), self._statuses, self._seconds, self._attempts, strict=True):
            yield (url, key), STATUSES[status], seconds, attempts


class Outcomes:
    """How the node at each place ended."""

    def __init__(self) -> None:
        self._own: dict[Spot, Ending] = {}
        self._urls: dict[str, None] = {}
        self._placed: dict[Key, list[Spot]] = {}
        self.shares: list[Share] = []

    def put(self, ending: Ending) -> None:
        """Keep how a node ended that is in no share."""
        spot = ending.spot
        if spot not in self._own:
            self._urls[spot[0]] = None
            if isinstance(spot[1], Placed):
                self._placed.setdefault(spot[1].key, []).append(spot)
        self._own[spot] = ending

    def at(self, url: str, place: Place) -> Ending | None:
        """How what stands there ended; None where nothing of this run does."""
        if (url, place) in self._own:
            return self._own[url, place]
        shared = self._shared(url, place)
        return shared[0].ending(shared[1]) if shared is not None else None

    def of(self, key: Key, url: str) -> Iterator[Ending]:
        """How the nodes of that key ended, one after the other; those in the store of that URL come first, then those under their key."""
        urls = dict.fromkeys([url, *self._urls, *(share.url for share in self.shares)])
        found = (self.at(each, key) for each in urls)
        yield from (ending for ending in found if ending is not None)
        yield from (self._own[spot] for spot in sorted(self._placed.get(key, ()), key=lambda spot: spot[0] != url))

    def __iter__(self) -> Iterator[Spot]:
        for share in self.shares:
            yield from zip(repeat(share.url), share.keys())
        yield from self._own

    def __len__(self) -> int:
        return len(self._own) + sum(map(len, self.shares))

    def endings(self) -> Iterator[Ending]:
        """How each ended, in the order of iteration."""
        for share in self.shares:
            yield from map(share.ending, range(len(share)))
        yield from self._own.values()

    def _shared(self, url: str, place: Place) -> tuple[Share, int] | None:
        for share in self.shares:
            number = share.find(place) if share.url == url and isinstance(place, Key) else None
            if number is not None:
                return share, number
        return None

    def put_first(self, earlier: Outcomes) -> None:
        """Add what `earlier` holds as well, which counts where both hold something."""
        for ending in earlier._own.values():
            shared = self._shared(ending.store.url, ending.node.place)
            if shared is None:
                self.put(ending)
            else:
                shared[0].set(shared[1], *ending[2:])
        for spot in [spot for spot in self._own if earlier._shared(*spot) is not None]:
            del self._own[spot]
        self.shares = [*earlier.shares, *(share for share in self.shares if not any(map(share.equals, earlier.shares)))]

    def own(self) -> Mapping[Spot, Ending]:
        """Those that are in no share."""
        return MappingProxyType(self._own)

    def counts(self) -> dict[str, int]:
        """Status to number of nodes; inputs that lie elsewhere are none."""
        counts: dict[str, int] = dict.fromkeys(("done", "reused", "failed", "skipped", "cancelled"), 0)
        for ending in self._own.values():
            if not (ending.status == "reused" and ending.node._external):  # an input, which no run makes
                counts[ending.status] += 1
        for status in counts:
            counts[status] += sum(share.count(status) for share in self.shares)
        return counts

    def facts(self) -> Iterator[tuple[Spot, str, float, int]]:
        """Where each stands, its status, seconds and attempts."""
        for share in self.shares:
            yield from share.facts()
        for spot, (_, _, status, seconds, attempts) in self._own.items():
            yield spot, status, seconds, attempts
