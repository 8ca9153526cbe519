"""`Planner`: decides which nodes to generate for some targets, in which order, and which may begin; it changes nothing.

It takes a function that looks up units in the stores, and receives the units that have ended. `plan` looks in the real stores and stops
before anything begins; `run` goes on to the end; tests pass lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from persistable.nodes import format_check
from persistable.nodes.format_check import accepted_io
from persistable.nodes.loading import refuse_different_code
from persistable.nodes.staleness import FRESH
from persistable.nodes.status import State, Status
from persistable.nodes.types import Node, needs_of, own_store, upstream_of
from persistable.records.key import Place
from persistable.runs.stale import POLICIES
from persistable.stores.base import Store


class Unit:
    """One node in one store, as part of a run."""

    __slots__ = ("again", "feeds", "found", "needed", "node", "order", "place", "reason", "sources", "store", "there", "url", "waits")

    def __init__(self, node: Node, store: Store, url: str, place: Place) -> None:
        self.node = node
        self.store: Any = store
        self.url = url
        self.place = place
        self.found: State | None = None
        self.there = False
        """True if it is stored, and stays as it is."""
        self.needed = False
        self.order = 0
        """Rank of the unit in an order that finishes one branch before it begins the next."""
        self.reason = ""
        self.sources: list[Unit] | None = None
        """The units upstream of it; None until they are needed."""
        self.feeds: list[Unit] = []
        self.waits = 0
        self.again = ""
        """Plan for a stored payload that is not kept as it is: generate it again (`GENERATE`), or only if its upstream changes (`FOLLOW`),
        or refuse it as the payload of another class (`REFUSE`)."""

    def take(self, found: State, again: str = "") -> None:
        """Record its state in the store, and whether a stored payload is kept as it is."""
        self.found, self.again, self.there = found, again, found.stored and not again

    def __repr__(self) -> str:
        return f"<{self.node.key} {self.reason}>"


class Decision(NamedTuple):
    """All units of a plan: those to perform, and those that are stored or will not be tried.

    needed: upstream before downstream; some only if the bytes of their upstream change. refused: stored by another class with other code,
    so that they fail.
    """

    needed: list[Unit]
    reused: list[Unit]
    left: list[Unit]
    refused: list[Unit]


class Start(NamedTuple):
    """Units that may begin now, and units that never will, each with the failed unit it waits for.

    kept: followers that stay as they are, since their upstream has the same bytes as before. more: units that are needed for a follower,
    which was not known before.
    """

    units: list[Unit]
    skipped: list[tuple[Unit, Unit]]
    kept: Sequence[Unit] = ()
    more: Sequence[Unit] = ()


Look = Callable[[list[Unit]], Sequence[State]]
"""A function that returns the states of these units in the stores, in the same order."""
Ended = Iterable[tuple[Unit, bool]]
"""Units that have ended, and whether each succeeded."""


GENERATE, FOLLOW, REFUSE = "generate", "follow", "refuse"
_LEFT = "its last attempt failed, and failures are left as they are"


_GIVEN = State(Status.DONE, True, why="it comes from outside")
"""The state of an input: the node that needs it reads it, and raises if it is gone."""
GIVEN_UP = State(Status.FAILED, why="it failed in this run")
"""The state of a node that failed earlier in the same run: it is not tried again."""


class Planner:
    """Decides which units to perform for the (node, store) pairs `targets`, and which may begin once others have ended.

    failed: ``"retry"`` performs failed nodes again, ``"skip"`` leaves them. stale: ``"generate"`` generates stale payloads again.
    packages: whether formats need their packages in this process.
    """

    def __init__(
        self, targets: Iterable[tuple[Any, Any]], look: Look, *, failed: str = "retry", stale: str = "reuse", packages: bool = True
    ) -> None:
        self._look = look
        self._failed = failed
        self._stale = stale
        self._packages = packages
        self._by_store: dict[str, dict[Place, Unit]] = {}
        self._stores: dict[int, tuple[Any, str, dict[Place, Unit]]] = {}
        self._made: dict[int, dict[int, Unit]] = {}
        """Units by identity of their store and of their node: an upstream node that many share is looked up once."""
        self._wanted = list(dict.fromkeys([self._unit(node, store) for node, store in targets]))
        # the state of the run
        self._ready: list[Unit] = []
        self._skipped: list[tuple[Unit, Unit]] = []
        self._undecided: list[Unit] = []
        self._ended: dict[Unit, bool] = {}
        self._planned: set[Unit] = set()
        self._remaining = 0

    # units by key and store, each made once

    def _unit(self, node: Node, store: Any) -> Unit:
        where = own_store(node)
        if where is None:
            where = store
        known = self._stores.get(id(where))
        if known is None:
            url = where.url
            known = self._stores[id(where)] = (where, url, self._by_store.setdefault(url, {}))
        place = node.place
        unit = known[2].get(place)
        if unit is None:
            unit = known[2][place] = Unit(node, where, known[1], place)
            if node.is_external:
                unit.take(_GIVEN)
        elif unit.node.__class__ is not node.__class__:
            refuse_different_code(unit.node, node)
        return unit

    def _upstream(self, unit: Unit) -> list[Unit]:
        if unit.sources is None:
            store = unit.store
            made = self._made.get(id(store))
            if made is None:
                made = self._made[id(store)] = {}
            sources: dict[Unit, None] = {}
            for node in upstream_of(unit.node).values():
                source = made.get(id(node))
                if source is None:
                    source = made[id(node)] = self._unit(node, store)
                sources[source] = None
            unit.sources = list(sources)
        return unit.sources

    # needed units

    def decide(self) -> Decision:
        """Find the needed units: targets that are not stored, and units upstream of these that are not stored."""
        self._search(self._wanted)
        order = _ordered(self._wanted)
        needed = [unit for unit in order if unit.reason is not _LEFT and unit.again != REFUSE]
        reused = [unit for units in self._by_store.values() for unit in units.values() if unit.there and unit.needed]
        left = [unit for unit in order if unit.reason is _LEFT]
        refused = [unit for unit in order if unit.again == REFUSE]
        self._remaining = len(order)
        self._planned.update(order)
        for unit in needed:
            if unit.waits == 0:
                self._begin(unit)
        for unit in (*left, *refused):
            unit.waits = _CLOSED
            self._settle(unit, False)
        return Decision(needed, reused, left, refused)

    def _search(self, frontier: list[Unit]) -> None:
        """Mark the needed units among these and upstream of them.

        Upstream of units that only follow others, the search marks units that change themselves, and nothing else yet.
        """
        looked = 0
        searched: set[Unit] = set()
        for unit in frontier:
            unit.needed = True
        while frontier:
            asked = [unit for unit in frontier if unit.found is None and unit.node.is_persisted]
            if asked:
                if len(asked) < looked:
                    asked = self._with_upstream(asked, looked)
                looked += len(asked)
                for unit, state in zip(asked, self._look(asked), strict=True):
                    judged = state.stored or state is GIVEN_UP or accepted_io.get(id(unit.node.__class__), accepted_io) is unit.node.io
                    found = state if judged else self._fit(unit.node, state)
                    unit.take(found, self._again(found) if found.verdict is not FRESH else "")
            following: list[Unit] = []
            for unit in frontier:
                unit.reason = self._reason(unit)
                unit.needed = unit.needed or bool(unit.again)
                if unit.there or unit.reason is _LEFT or unit.again == REFUSE:
                    continue
                search = not unit.needed or unit.again == FOLLOW
                for source in self._upstream(unit):
                    if not (source.needed or (search and source in searched)):
                        source.needed = not search
                        searched.add(source)
                        following.append(source)
            frontier = following

    def _fit(self, node: Node, found: State) -> State:
        """`found`, for a payload not stored; if its format surely cannot store it, a state that refuses it, before the work is done."""
        error = format_check.refusal(node, self._packages) if not node.is_external else None
        return found if error is None else State(Status.ABSENT, token=found.token, why=str(error), verdict=FRESH._replace(barred=error))

    def _again(self, found: State) -> str:
        if found.verdict.refused:
            return REFUSE
        if self._stale != "generate" or not found.verdict.causes:
            return ""
        return FOLLOW if found.verdict.follows else GENERATE

    def _with_upstream(self, asked: list[Unit], looked: int) -> list[Unit]:
        """These units, and upstream ones, up to the number looked up before: few rounds on long chains, at most twice the lookups."""
        more = list(asked)
        seen = set(asked)
        for unit in more:  # grows while it is walked
            for source in self._upstream(unit):
                if source not in seen and len(more) < looked:
                    seen.add(source)
                    more.append(source)
        return [unit for unit in more if unit.node.is_persisted and unit.found is None]

    def _reason(self, unit: Unit) -> str:
        found = unit.found
        if found is None:
            return "it is not persisted, so it runs each time"
        if found is GIVEN_UP:
            return _LEFT
        if found.status is Status.FAILED:
            return "its last attempt failed" if self._failed == "retry" else _LEFT
        return found.why

    # units that may begin

    def start(self) -> Start | None:
        """The units that may begin at once; None if there is nothing to do."""
        return self.go_on(())

    def go_on(self, ended: Ended) -> Start | None:
        """The units that may begin, now that these have ended; None if nothing is left to do."""
        for unit, succeeded in ended:
            self._settle(unit, succeeded)
        kept, more = self._decide_followers() if self._undecided else ((), ())
        if not (self._remaining or self._skipped or kept):
            return None
        start = Start(self._ready, self._skipped, kept, more)
        self._ready, self._skipped = [], []
        return start

    def _begin(self, unit: Unit) -> None:
        unit.waits = _CLOSED
        (self._undecided if unit.again == FOLLOW else self._ready).append(unit)

    def _settle(self, unit: Unit, succeeded: bool) -> None:
        """Pass the end of `unit` on to those downstream of it."""
        stack = [(unit, succeeded)]
        while stack:
            ended, success = stack.pop()
            self._remaining -= 1
            self._ended[ended] = success
            for fed in ended.feeds:
                if fed.waits == _CLOSED:
                    continue
                fed.waits -= 1
                needs = "all" if fed.again == FOLLOW else needs_of(fed.node)
                if success and needs == "all":  # the usual case
                    if fed.waits == 0:
                        self._begin(fed)
                    continue
                begins, never = _verdict(needs, success, fed.waits == 0)
                if begins:
                    self._begin(fed)
                elif never:
                    fed.waits = _CLOSED
                    self._skipped.append((fed, unit))
                    stack.append((fed, False))

    def _decide_followers(self) -> tuple[Sequence[Unit], Sequence[Unit]]:
        """Decide about followers whose upstream has ended; return those that stay as they are, and the units needed besides."""
        kept: list[Unit] = []
        more: list[Unit] = []
        while self._undecided:
            asked, self._undecided = self._undecided, []
            for unit, found in zip(asked, self._look(asked), strict=True):
                if found.stored and not found.verdict.causes:
                    unit.take(found)
                    kept.append(unit)
                    self._settle(unit, True)
                else:
                    more += self._expanded(unit, found)
        return kept, more

    def _expanded(self, unit: Unit, found: State) -> list[Unit]:
        """Plan to perform `unit` after all, and before it the upstream units not planned so far; return these."""
        unit.take(found, GENERATE)
        unit.reason = found.why
        self._search([source for source in self._upstream(unit) if not source.there and source not in self._planned])
        new: list[Unit] = []
        self._join(unit, new)
        return new

    def _join(self, first: Unit, new: list[Unit]) -> None:
        """Make `first` wait for those of its sources that have not ended, and each of these that is `new` for its own."""
        stack = [first]
        while stack:
            unit = stack.pop()
            unit.waits = 0
            for source in waited_for(unit):
                if source in self._ended:
                    continue
                unit.waits += 1
                source.feeds.append(unit)
                if source not in self._planned:
                    self._planned.add(source)
                    self._remaining += 1
                    source.order = len(self._planned)
                    new.append(source)
                    stack.append(source)
            if any(self._ended.get(source) is False for source in unit.sources or ()) and needs_of(unit.node) == "all":
                unit.waits = _CLOSED
                self._skipped.append((unit, unit))
                self._settle(unit, False)
            elif not unit.waits:
                self._begin(unit)


def _ordered(wanted: list[Unit]) -> list[Unit]:
    """The units to perform, upstream before downstream, one branch after the other; their `order`, `waits` and `feeds` are set."""
    done: list[Unit] = []
    entered: set[Unit] = set()
    stack = [(unit, False) for unit in reversed(wanted)]
    while stack:
        unit, ready = stack.pop()
        if ready:
            unit.order = len(done)
            done.append(unit)
            continue
        if unit in entered or unit.there:
            continue
        entered.add(unit)
        if not unit.sources:
            unit.order = len(done)
            done.append(unit)
            continue
        stack.append((unit, True))
        for source in reversed(waited_for(unit)):
            unit.waits += 1
            source.feeds.append(unit)
            if source not in entered:
                stack.append((source, False))
    return done


def waited_for(unit: Unit) -> list[Unit]:
    """The units that have to end before `unit` begins, or, if it follows others, before that can be decided."""
    if not unit.sources or unit.reason == _LEFT or unit.again == REFUSE:
        return []
    if unit.again != FOLLOW:
        return [source for source in unit.sources or () if not source.there]
    found: dict[Unit, None] = {}
    seen: set[Unit] = set()
    stack = list(unit.sources or ())
    while stack:
        source = stack.pop()
        if source in seen or source.there:
            continue
        seen.add(source)
        if source.again or (source.needed and source.node.is_persisted):
            found[source] = None
        else:
            stack.extend(source.sources or ())
    return list(found)


_CLOSED = -1
"""`Unit.waits` of a unit that has begun or never will."""


def _verdict(needs: str, success: bool, last: bool) -> tuple[bool, bool]:
    """Tell whether a unit begins, and whether it never will, now that one upstream has ended. last: whether all have ended."""
    if needs == "all":
        return success and last, not success
    if needs == "any":
        return success, last and not success
    return last, False


def check_stale(stale: str) -> None:
    """Raise ValueError for an unknown policy for stale payloads."""
    if stale not in POLICIES:
        raise ValueError(f'stale is "reuse", "generate" or "raise"; it was {stale!r}')
