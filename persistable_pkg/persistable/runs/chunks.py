"""A run of families so large that their nodes are not to be in memory together: looked at, planned and carried out in chunks."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from contextlib import suppress
from functools import cache
from operator import itemgetter
from queue import SimpleQueue
from typing import Any, NamedTuple

from persistable import events
from persistable.errors import ClaimLost, StoreError
from persistable.executors import notes
from persistable.executors.base import Executor
from persistable.executors.inline import InlineExecutor
from persistable.nodes import connections, format_check
from persistable.nodes.binding import bound_to
from persistable.nodes.staleness import Judge
from persistable.nodes.status import look_up
from persistable.nodes.types import own_store
from persistable.params.secret import message_of
from persistable.records import claim_watch
from persistable.records.access import find_failure
from persistable.records.bulk import failed_attempts, format_in_records, made_by, present
from persistable.records.key import Key
from persistable.records.record import SUFFIX
from persistable.runs import relay
from persistable.runs.batch import Batch, Pace
from persistable.runs.estimate import expected_seconds
from persistable.runs.failures import Spot
from persistable.runs.others import failed_elsewhere
from persistable.runs.result import RunResult, Share
from persistable.runs.worker import Packer, check_keys, failed

PORTION = 5000
"""Members that are planned together, and begin before any after them does."""
CLOSER = 1000
"""Members that may be stale of which nodes are made at once."""

_TRIES = 2
"""Times that members which a worker gives back are sent together with others once more."""

Wanted = list[tuple[Any, Any]]
Member = tuple[Share, int]


class Lot(NamedTuple):
    """Some members of a family, by number, which are performed together. tries: how often they were given back before."""

    share: Share
    numbers: Sequence[int]
    tries: int = 0


class Portioned:
    """Carries out what is wanted: single nodes, and families of which only what is not stored is ever made a node of.

    loop: gives what carries out (node, store) pairs by `executor`, told which nodes failed before. families: the `KeyChunks` of each. base:
    the store of those that name none.
    """

    def __init__(
        self,
        loop: Callable[[Wanted, dict[Spot, Any]], Any],
        wanted: Wanted,
        families: Iterable[Any],
        base: Any,
        executor: Executor,
        fail_fast: bool,
        stale: str,
    ) -> None:
        self._stale = stale
        self._judging = cache(Judge)
        self._loop = loop
        self._wanted = wanted
        self._executor = executor
        self.result = RunResult(base)
        self._shares: list[Share] = []
        for lots in families:
            share = Share(lots, lots.store if lots.store is not None else base)
            if not any(map(share.equals, self._shares)):
                self._shares.append(share)
        self._failed: dict[Spot, Any] = {}
        self._attempts: dict[Share, dict[int, int]] = {share: {} for share in self._shares}
        """Number of the last attempt at each member whose failure was recorded when the run began."""
        self._begun = False
        self._fail_fast = fail_fast
        self._straights: dict[Share, Any] = {}
        self._pace = Pace()
        self._queue: deque[Lot] = deque()
        self._slow: Counter[Share] = Counter()
        self._packer = Packer(executor)
        self.run_name = os.urandom(4).hex()

    def run(self, failed: str) -> RunResult:
        """Look at all, then carry out one chunk after the other."""
        start = time.perf_counter()
        self.result.outcomes.shares.extend(self._shares)
        for share in self._shares:
            check_keys(self._executor, share.store, share.lots.model.key)
            self._look(share)
        if self._stale == "raise":
            self.result.stale.refuse()
            if self._wanted:
                self._loop(self._wanted, {}).check_stale(failed)
        missing = [(share, number) for share in self._shares for number in share.numbers("cancelled")] if self._few() else None
        portions = [missing] if missing is not None else self._portions()
        if failed == "retry" and not self._executor.worth:  # else a call is dear, and the loop knows how much it has to be worth
            missing_some = [share for share in self._shares if share.count("cancelled")]
            if not self._executor.shares_memory:
                for share in missing_some:
                    self._executor.check_store(share.store)
            fit = {share: format_check.refusal(share.lots.model) is None for share in missing_some}
            self._straights = {share: share.lots.direct_generator(share.store) if fit[share] else None for share in missing_some}
        # the loop over a single portion knows best what there is to do, unless there is nothing that it does
        quiet = missing is None or (not self._wanted and bool(self._straights) and all(self._straights.values()))
        told = events.listened() and quiet
        if told:
            self._announce()
        try:
            with connections.leading(self.run_name):
                for portion in portions:
                    if not self._carry_out(portion, failed, quiet):
                        break
        finally:
            self.result.seconds = time.perf_counter() - start
            if told:
                events.emit(self.result.finished())
        self.result.stale.warn()
        return self.result

    def _few(self) -> bool:
        return sum(share.count("cancelled") for share in self._shares) <= PORTION

    def _look(self, share: Share) -> None:
        """Find out what is there already, and what of it is stale."""
        made_by, format_ = self._made_by(share), format_in_records(share.lots.model.payload_io)
        for numbers in share.lots:
            bases: list[str] = share.lots.bases(numbers)
            there = present(share.store, bases, format_)
            if len(there) == len(bases) and made_by is not None and set(there.values()) == {made_by}:
                share.set_all(numbers, "reused")
                continue
            absent = {base: number for number, base in zip(numbers, bases, strict=True) if base not in there}
            failures = failed_attempts(share.store, list(absent)) if absent else {}
            self._attempts[share].update((absent[base], attempt) for base, attempt in failures.items())
            same = [number for number, base in zip(numbers, bases, strict=True) if made_by is not None and there.get(base) == made_by]
            share.set_all(same, "reused")
            known = set(same)
            self._look_closer(share, [number for number, base in zip(numbers, bases, strict=True) if base in there and number not in known])

    def _made_by(self, share: Share) -> bytes | None:
        """The bytes in which the records of all members agree where nothing has changed, if it is the same for all."""
        return None if share.lots.factory.upstream_families else made_by(self._judging().expected(share.lots.model, share.store))

    def _look_closer(self, share: Share, numbers: list[int]) -> None:
        """Judge these members, which are there, but perhaps not as the code as it is now would make them."""
        for first in range(0, len(numbers), CLOSER):
            some = numbers[first : first + CLOSER]
            nodes = [share.lots.nodes[number] for number in some]
            for number, node, found in zip(some, nodes, look_up([(node, share.store) for node in nodes], self._judging), strict=True):
                if not found.stored or found.verdict.refused or (found.verdict.causes and self._stale == "generate"):
                    continue  # a matter for the loop
                share.set(number, "reused")
                if found.verdict.causes:
                    self.result.stale.add(node, share.url, found.verdict)

    def _portions(self) -> Iterator[list[Member]]:
        missing = ((share, number) for share in self._shares for number in share.numbers("cancelled"))
        while portion := list(itertools.islice(missing, PORTION)):
            yield portion

    def _carry_out(self, portion: list[Member], failed: str, quiet: bool) -> bool:
        """Run one chunk; whether to go on with the next."""
        if any(self._straights.values()):
            portion = self._straightaway(portion)
            if self._fail_fast and self._failed:
                return False
        if failed == "retry" and (self._begun or any(self._straights.values())):
            portion = self._left_to_others(portion)
            if not portion and not self._wanted:
                return True
        self._begun = True
        members: dict[Spot, list[Member]] = {}
        wanted, self._wanted = self._wanted, []
        for share, number in portion:
            node = share.lots.nodes[number]
            members.setdefault((share.url, node.place), []).append((share, number))
            wanted.append((node, share.store))
        loop = self._loop(wanted, self._failed)
        loop.quiet, loop.run_name = quiet, self.run_name
        try:
            loop.run(failed)
        finally:
            self._take(loop.result, members)
        return not loop.stopped

    def _left_to_others(self, portion: list[Member]) -> list[Member]:
        """Note as failed what another run has failed at since this one began, as often as its `Retry` says; the rest is returned."""
        rest: list[Member] = []
        for share, members in itertools.groupby(portion, key=itemgetter(0)):
            numbers = [number for _, number in members]
            last = failed_attempts(share.store, share.lots.bases(numbers))
            if not last:
                rest += [(share, number) for number in numbers]
                continue
            retry = share.lots.model.retry
            enough = retry.attempts if retry is not None else 1
            for number, key in zip(numbers, share.lots.keys(numbers), strict=True):
                since = last.get(key.path, 0) - self._attempts[share].get(number, 0)
                is_own = (share.url, key) in self._failed
                failure = find_failure(share.store, key) if since >= enough and not is_own else None
                if failure is None:
                    rest.append((share, number))
                else:
                    self._note(share, [number], [(0, failed_elsewhere(failure), failure.traceback, failure.seconds)])
        return rest

    def _straightaway(self, portion: list[Member]) -> list[Member]:
        """Generate what is generated without its node, in this thread or, many at a time, by the executor; the rest is returned."""
        rest: list[Member] = []
        groups = itertools.groupby(portion, key=itemgetter(0))
        self._queue.extend(Lot(share, [number for _, number in members]) for share, members in groups)
        with connections.within(self.run_name):
            if isinstance(self._executor, InlineExecutor):
                while (lot := self._next(rest)) is not None:
                    self._perform(lot, rest)
            else:
                self._send(rest)
        return rest

    def _send(self, rest: list[Member]) -> None:
        """Have workers perform what `_next` gives, many members to a call; whatever ends this early leaves nothing running."""
        executor, running = self._executor, dict[futures.Future[Any], Lot]()
        arrived: SimpleQueue[futures.Future[Any] | tuple[events.NodeEvent, ...]] = SimpleQueue()
        with notes.received_at(self.run_name, arrived.put):
            try:
                while True:
                    while len(running) < self._pace.at_once(executor.workers) and (lot := self._next(rest)) is not None:
                        try:
                            function, argument = self._task(lot)
                            future = executor.submit_for(None, function, argument)
                        except Exception as error:  # noqa: BLE001 - each of them is tried alone, and told apart
                            self._arrived(rest, lot, error)
                            continue
                        running[future] = lot
                        future.add_done_callback(arrived.put)
                    if not running:
                        return
                    news = arrived.get()
                    if isinstance(news, tuple):
                        relay.tell_all(news, None, executor.workers > 1)
                        continue
                    try:
                        found = news.result()
                    except Exception as error:  # noqa: BLE001 - the executor's own
                        found = error
                    self._arrived(rest, running.pop(news), found)
            finally:
                self._end(running)

    def _end(self, running: dict[futures.Future[Any], Lot]) -> None:
        """End calls that are under way, and forget the claims of those workers that were stopped."""
        for future in running:
            future.cancel()
        for future in running:
            if self._executor.stops:
                self._executor.stop(future)
        futures.wait(running)
        for share, numbers, _ in running.values():
            with suppress(StoreError):  # they are taken over by whoever comes next
                claim_watch.forget_dead(share.store, share.lots.bases(numbers))

    def _goes_on(self) -> bool:
        return not (self._fail_fast and self._failed)

    def _next(self, rest: list[Member]) -> Lot | None:
        """Some that are performed together, one after the other; what is not goes to `rest`."""
        while self._queue and self._goes_on():
            share, numbers, tries = self._queue.popleft()
            if self._straights.get(share) is None:
                rest += [(share, number) for number in numbers]
                continue
            if self._failed:  # some of these may be among what failed earlier in this run
                spots = [(share.url, key) for key in share.lots.keys(numbers)]
                rest += [(share, number) for number, spot in zip(numbers, spots, strict=True) if spot in self._failed]
                numbers = [number for number, spot in zip(numbers, spots, strict=True) if spot not in self._failed]
            some, later = numbers[: self._pace.size], numbers[self._pace.size :]
            if later:
                self._queue.appendleft(Lot(share, later, tries))
            if some:
                return Lot(share, some, tries)
        return None

    def _perform(self, lot: Lot, rest: list[Member]) -> None:
        share, numbers, _ = lot
        keys = share.lots.keys(numbers)
        batch: Batch = self._straights[share].batch(keys, share.lots.rows(numbers), self._attempts_at(lot, keys))
        try:
            batch.perform(lambda: not self._fail_fast)
        finally:
            self._note(share, numbers, [(each.number, each.error, "", each.seconds) for each in batch.ended])
        if batch.late:
            self._queue.appendleft(Lot(share, [numbers[place] for place in sorted(batch.late)]))
        rest += [(share, numbers[place]) for place in batch.left if place not in batch.late]
        self._pace.saw(len(batch.ended), sum(ended.seconds for ended in batch.ended), share.store, batch.seconds)

    def _task(self, lot: Lot) -> tuple[Callable[..., Any], Any]:
        share, numbers, _ = lot
        generator, keys, rows = self._straights[share], share.lots.keys(numbers), share.lots.rows(numbers)
        attempts = self._attempts_at(lot, keys)
        if self._executor.shares_memory:
            in_thread: tuple[Callable[..., Any], Any] = generator.thread_request(keys, rows, attempts, self.run_name)
            return in_thread
        elsewhere: tuple[Callable[..., Any], Any] = generator.request(keys, rows, attempts, self._packer, self.run_name)
        return elsewhere

    def _attempts_at(self, lot: Lot, keys: Sequence[Key]) -> dict[str, int]:
        """Number of the last attempt, by digest, at those of a lot whose failure was recorded when the run began."""
        known = self._attempts[lot.share]
        return {key.digest: known[number] for number, key in zip(lot.numbers, keys, strict=True) if number in known} if known else {}

    def _arrived(self, rest: list[Member], lot: Lot, parcel: Any) -> None:
        share, numbers, tries = lot
        if isinstance(parcel, Exception):
            rest += [(share, number) for number in numbers]
            return
        relay.tell_all(parcel.told, None, self._executor.workers > 1)
        self._note(share, numbers, parcel.ended)
        self._pace.saw(len(parcel.ended), sum(seconds for *_, seconds in parcel.ended), share.store, parcel.seconds)
        left: list[int] = [numbers[place] for place in parcel.left]
        if not tries:
            self._judge(share, len(left) > len(parcel.ended))
        if left and tries < _TRIES:
            self._queue.append(Lot(share, left, tries + 1))
        else:
            rest += [(share, number) for number in left]

    def _judge(self, share: Share, slow: bool) -> None:
        """Send members one by one where they take so long that most of them are given back; the first ones of a worker may."""
        self._slow[share] = self._slow[share] + 1 if slow else 0
        if self._slow[share] > self._executor.workers + 2:
            self._straights[share] = None

    def _note(self, share: Share, numbers: Sequence[int], all_ended: Sequence[tuple[int, BaseException | None, str, float]]) -> None:
        """Keep how these ended: each its place among `numbers`, error, where that came from elsewhere its traceback, and seconds."""
        told, shown = events.listened(level=10), events.nodes_wanted()
        for place, error, lines, seconds in all_ended:
            number = numbers[place]
            status = "done" if error is None else "failed"
            if isinstance(error, ClaimLost) and share.store.exists(share.lots.bases([number])[0] + SUFFIX):
                status = "reused"  # whoever took it over has stored it
            share.set(number, status, seconds, 1)
            if error is not None and status == "failed":
                self._fail(share, number, failed(error, None, 1, seconds).error, lines, seconds)
            if told:
                said = "" if error is None or status != "failed" else f"{type(error).__name__}: {message_of(error)}"
                node = bound_to(share.lots.nodes[number], share.store) if shown else None
                key = share.lots.keys([number])[0]
                events.emit(events.Performed(key=key, outcome=status, seconds=seconds, error=said, is_target=True, node=node))

    def _fail(self, share: Share, number: int, error: Exception | None, lines: str, seconds: float) -> None:
        assert error is not None
        node = bound_to(share.lots.nodes[number], share.store)
        self.result.failures.add(node, error, lines, 1, seconds)
        self._failed[share.url, node.place] = node.key

    def _take(self, part: RunResult, members: dict[Spot, list[Member]]) -> None:
        """Add the results of one chunk."""
        for spot, ending in part.outcomes.own().items():
            for share, number in members.get(spot, ()):
                share.set(number, *ending[2:])
            if spot not in members and spot not in self.result.outcomes.own():
                self.result.outcomes.put(spot, ending)
            if ending.status in ("failed", "skipped"):
                self._failed[spot] = spot[1].key
        self.result.take(part)

    def _announce(self) -> None:
        jobs = Counter(node.payload_name for node, _ in self._wanted)
        stores = {node.payload_name: own_store(node) or store for node, store in self._wanted if node.is_persisted}
        for share in self._shares:
            jobs[share.lots.model.payload_name] += share.count("cancelled")
            stores[share.lots.model.payload_name] = share.store
        events.emit(events.RunStarted(jobs=dict(jobs), workers=self._executor.workers, expected=expected_seconds(stores)))
