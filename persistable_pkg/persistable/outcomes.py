"""`Outcomes`: how each node of a run ended; that of a member of a large family takes some bytes, and not a node."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, NamedTuple

from persistable.key import Key

STATUSES = ("cancelled", "reused", "done", "failed", "skipped")


class Ending(NamedTuple):
    """How one node ended. attempts: tries made in this run."""

    node: Any
    store: Any
    status: str
    seconds: float
    attempts: int


class Share:
    """How the members of one family ended, by number; at first, all are cancelled.

    lots: gives keys and nodes by number, see `persistable.family.lots.Lots`. store: where all of them lie.
    """

    def __init__(self, lots: Any, store: Any) -> None:
        self.lots = lots
        self.store = store
        self._statuses = bytearray(len(lots))
        self._attempts = bytearray(len(lots))
        self._seconds = array("f", bytes(4 * len(lots)))
        self._numbers: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self._statuses)

    def set(self, number: int, status: str, seconds: float = 0.0, attempts: int = 0) -> None:
        """Keep how this member ended."""
        self._statuses[number] = STATUSES.index(status)
        self._seconds[number] = seconds
        self._attempts[number] = min(attempts, 255)

    def set_all(self, numbers: Iterable[int], status: str) -> None:
        """Keep that these members ended so, without an attempt."""
        code, statuses = STATUSES.index(status), self._statuses
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

    def facts(self) -> Iterator[tuple[Key, str, float, int]]:
        """Key, status, seconds and attempts of each, without its node."""
        for key, status, seconds, attempts in zip(self.keys(), self._statuses, self._seconds, self._attempts, strict=True):
            yield key, STATUSES[status], seconds, attempts


class Outcomes(MutableMapping[Key, Ending]):
    """Key to how that node ended."""

    def __init__(self) -> None:
        self._own: dict[Key, Ending] = {}
        self.shares: list[Share] = []

    def __getitem__(self, key: Key) -> Ending:
        if key in self._own or not self.shares:
            return self._own[key]
        share, number = self._shared(key) or (None, 0)
        if share is None:
            raise KeyError(key)
        return share.ending(number)

    def __setitem__(self, key: Key, ending: Ending) -> None:
        shared = self._shared(key)
        if shared is None:
            self._own[key] = ending
        else:
            shared[0].set(shared[1], *ending[2:])

    def __delitem__(self, key: Key) -> None:
        del self._own[key]

    def __iter__(self) -> Iterator[Key]:
        for share in self.shares:
            yield from share.keys()
        yield from self._own

    def __len__(self) -> int:
        return len(self._own) + sum(map(len, self.shares))

    def _shared(self, key: Key) -> tuple[Share, int] | None:
        for share in self.shares:
            number = share.find(key)
            if number is not None:
                return share, number
        return None

    def put_first(self, earlier: Outcomes) -> None:
        """What `earlier` holds as well, which counts where both hold something."""
        self.shares[:0] = earlier.shares
        for key, ending in earlier._own.items():
            self[key] = ending

    def own(self) -> dict[Key, Ending]:
        """Those that are in no share."""
        return self._own

    def counts(self) -> dict[str, int]:
        """Status to number of nodes."""
        counts: dict[str, int] = dict.fromkeys(("done", "reused", "failed", "skipped", "cancelled"), 0)
        for ending in self._own.values():
            counts[ending.status] += 1
        for status in counts:
            counts[status] += sum(share.count(status) for share in self.shares)
        return counts

    def facts(self) -> Iterator[tuple[Key, str, float, int]]:
        """Key, status, seconds and attempts of each."""
        for share in self.shares:
            yield from share.facts()
        for key, (_, _, status, seconds, attempts) in self._own.items():
            yield key, status, seconds, attempts
