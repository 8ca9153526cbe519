"""A run of families so large that their nodes are not to be in memory together: looked at, planned and carried out in portions."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from persistable import connections, events
from persistable.batch import Batch, Ended, Pace
from persistable.outcomes import Share, Spot
from persistable.presence import present
from persistable.result import NodeFailure, RunResult
from persistable.worker import failed, lines_of

PORTION = 5000
"""So many members are planned together, and begin before any after them does."""
SMALLEST = 500
"""A family with fewer members is planned as the single nodes are."""

Wanted = list[tuple[Any, Any]]


class Large:
    """The families among the targets that are worked on in portions; `base` is the store of those that name none."""

    def __init__(self, base: Any) -> None:
        self.base = base
        self.families: list[Share] = []

    def take(self, family: Any) -> bool:
        """Whether `family` is one of them."""
        lots = family.lots if len(family) >= SMALLEST else None
        if lots is None:
            return False
        share = Share(lots, lots.store if lots.store is not None else self.base)
        if not any(map(share.equals, self.families)):
            self.families.append(share)
        return True


class Portioned:
    """Carries out what is wanted: single nodes, and families of which only what is not stored is ever made a node of.

    loop: gives what carries out (node, store) pairs, told which nodes failed before. here: whether that is done in this thread.
    """

    def __init__(
        self, loop: Callable[[Wanted, dict[Spot, Any]], Any], wanted: Wanted, large: Large, workers: int, here: bool, fail_fast: bool
    ) -> None:
        self._loop = loop
        self._wanted = wanted
        self._workers = workers
        self.result = RunResult(large.base)
        self._shares = large.families
        self._failed: dict[Spot, Any] = {}
        self._here = here
        self._fail_fast = fail_fast
        self._straights: dict[Share, Any] = {}
        self._pace = Pace()

    def run(self, failed: str) -> RunResult:
        """Look at all, then carry out one portion after the other."""
        start = time.perf_counter()
        self.result.outcomes.shares.extend(self._shares)
        for share in self._shares:
            self._look(share)
        missing = [(share, number) for share in self._shares for number in share.numbers("cancelled")] if self._few() else None
        portions = [missing] if missing is not None else self._portions()
        if self._here and failed == "retry":
            self._straights = {share: share.lots.straight(share.store) for share in self._shares}
        # the loop over a single portion knows best what there is to do, unless there is nothing that it does
        quiet = missing is None or (not self._wanted and bool(self._straights) and all(self._straights.values()))
        told = events.listened() and quiet
        if told:
            self._announce()
        try:
            for portion in portions:
                if not self._carry_out(portion, failed, quiet):
                    break
        finally:
            self.result.seconds = time.perf_counter() - start
            if told:
                self._told_all()
        return self.result

    def _few(self) -> bool:
        return sum(share.count("cancelled") for share in self._shares) <= PORTION

    def _look(self, share: Share) -> None:
        """Find out what is there already."""
        for numbers in share.lots:
            bases: list[str] = share.lots.bases(numbers)
            there = present(share.store, bases)
            share.set_all([number for number, base in zip(numbers, bases, strict=True) if base in there], "reused")

    def _portions(self) -> Iterator[list[tuple[Share, int]]]:
        missing = ((share, number) for share in self._shares for number in share.numbers("cancelled"))
        while portion := list(itertools.islice(missing, PORTION)):
            yield portion

    def _carry_out(self, portion: list[tuple[Share, int]], failed: str, quiet: bool) -> bool:
        """Run one portion; whether to go on with the next."""
        if any(self._straights.values()):
            portion = self._straightaway(portion)
            if self._fail_fast and self._failed:
                return False
            if not portion and not self._wanted:
                return True
        members: dict[Spot, list[tuple[Share, int]]] = {}
        wanted, self._wanted = self._wanted, []
        for share, number in portion:
            node = share.lots.nodes[number]
            members.setdefault((share.url, node.place), []).append((share, number))
            wanted.append((node, share.store))
        loop = self._loop(wanted, self._failed)
        loop.quiet = quiet
        try:
            loop.run(failed)
        finally:
            self._take(loop.result, members)
        return not loop.stopped

    def _straightaway(self, portion: list[tuple[Share, int]]) -> list[tuple[Share, int]]:
        """Generate, one after the other, what is generated without its node; the rest is returned."""
        rest: list[tuple[Share, int]] = []
        with connections.scope():
            for share, members in itertools.groupby(portion, key=itemgetter(0)):
                straight = self._straights[share]
                numbers = [number for _, number in members]
                rest += [(share, number) for number in (self._in_batches(share, straight, numbers) if straight is not None else numbers)]
        return rest

    def _in_batches(self, share: Share, straight: Any, numbers: list[int]) -> list[int]:
        left: list[int] = []
        if self._failed:
            left = [number for number in numbers if (share.url, share.lots.keys([number])[0]) in self._failed]
            numbers = [number for number in numbers if number not in left]
        place = 0
        while place < len(numbers) and not (self._fail_fast and self._failed):
            some = numbers[place : place + self._pace.size]
            place += len(some)
            start = time.perf_counter()
            batch: Batch = straight.batch(some)
            try:
                batch.perform(lambda: not self._fail_fast)
            finally:
                self._note(share, some, batch.ended)
            left += [some[number] for number in batch.left]
            self._pace.saw(len(batch.ended), time.perf_counter() - start)
        return left

    def _note(self, share: Share, numbers: Sequence[int], all_ended: Sequence[Ended]) -> None:
        told = events.listened(level=10)
        for ended in all_ended:
            number = numbers[ended.number]
            share.set(number, "done" if ended.error is None else "failed", ended.seconds, 1)
            if ended.error is not None:
                self._fail(share, number, ended)
            if told:
                status = "done" if ended.error is None else "failed"
                events.emit(events.Performed(key=share.lots.keys([number])[0], outcome=status, seconds=ended.seconds))

    def _fail(self, share: Share, number: int, ended: Ended) -> None:
        assert ended.error is not None
        node = share.lots.nodes[number]._twin(share.store)
        error = failed(ended.error, None, 1, ended.seconds).error
        assert error is not None
        self.result.failures.append(NodeFailure(node, error, lines_of(error), 1, ended.seconds))
        self._failed[share.url, node.place] = node.key

    def _take(self, part: RunResult, members: dict[Spot, list[tuple[Share, int]]]) -> None:
        """Add what came of one portion."""
        for spot, ending in part.outcomes.own().items():
            for share, number in members.get(spot, ()):
                share.set(number, *ending[2:])
            if spot not in members and spot not in self.result.outcomes.own():
                self.result.outcomes.put(ending)
            if ending.status in ("failed", "skipped"):
                self._failed[spot] = spot[1].key
        self.result.take(part)

    def _announce(self) -> None:
        jobs = Counter(node.payload_name for node, _ in self._wanted)
        for share in self._shares:
            jobs[share.lots.model.payload_name] += share.count("cancelled")
        events.emit(events.RunStarted(jobs=dict(jobs), workers=self._workers, expected={}))

    def _told_all(self) -> None:
        events.emit(self.result.finished())
