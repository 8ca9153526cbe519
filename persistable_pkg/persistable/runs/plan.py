"""Plans: nodes to be generated for some targets, in which order, and why: decided without touching anything.

A `Planner` is given a function that says what is stored, and is told what happened. `plan` gives it the real stores and stops before
anything would begin; `run` goes on to the end; tests give it lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from persistable.nodes import format_check
from persistable.nodes.binding import remember_store, remembered_store
from persistable.nodes.format_check import fitting
from persistable.nodes.generation import default_store, nearest_store
from persistable.nodes.label import COLUMNS, label
from persistable.nodes.staleness import FRESH, Judge
from persistable.nodes.status import Found, found_of
from persistable.nodes.types import Node, needs_of, own_store, upstream_of
from persistable.records.key import Key, Place
from persistable.runs.stale import POLICIES
from persistable.stores.base import Store
from persistable.stores.open import open_store

if TYPE_CHECKING:
    from persistable.graph.graph import Graph


class Unit:
    """One node in one store, as far as a run is concerned with it."""

    __slots__ = ("again", "feeds", "found", "needed", "node", "order", "place", "reason", "sources", "store", "there", "url", "waits")

    def __init__(self, node: Node, store: Store, url: str, place: Place) -> None:
        self.node = node
        self.store: Any = store
        self.url = url
        self.place = place
        self.found: Found | None = None
        self.there = False
        """True if it is stored, and stays as it is."""
        self.needed = False
        self.order = 0
        """Its place in an order that finishes one branch before it begins the next."""
        self.reason = ""
        self.sources: list[Unit] | None = None
        """The units upstream of it; None as long as nobody needed to know."""
        self.feeds: list[Unit] = []
        self.waits = 0
        self.again = ""
        """Of what is stored, and not to be left as it is: that it is to be made again (`GENERATE`), or if what it is made from changes
        (`FOLLOW`), or that it is somebody else's (`REFUSE`)."""

    def take(self, found: Found, again: str = "") -> None:
        """Keep what is stored of it, and whether it is left as it is."""
        self.found, self.again, self.there = found, again, found.stored and not again

    def __repr__(self) -> str:
        return f"<{self.node.key} {self.reason}>"


class Decision(NamedTuple):
    """All units that matter: those to be performed, and those that are there already or will not be tried.

    needed: upstream before downstream; some only if what they are made from turns out to have other bytes. refused: stored by another
    class with other code, so that they fail.
    """

    needed: list[Unit]
    reused: list[Unit]
    left: list[Unit]
    refused: list[Unit]


class Start(NamedTuple):
    """These units may begin now, and these never will, each with the failed unit it waits for.

    kept: those that were to follow others, which have the same bytes as before. more: those that are needed for such a one, which was not
    known before.
    """

    units: list[Unit]
    skipped: list[tuple[Unit, Unit]]
    kept: Sequence[Unit] = ()
    more: Sequence[Unit] = ()


Look = Callable[[list[Unit]], Sequence[Found]]
"""Tells what the stores hold of these units, in the same order."""
Ended = Iterable[tuple[Unit, bool]]
"""Units that have ended, and whether each succeeded."""


GENERATE, FOLLOW, REFUSE = "generate", "follow", "refuse"
_LEFT = "its last attempt failed, and failures are left as they are"


_GIVEN = Found(True, False, None, "it comes from outside")
"""Of an input: whoever needs it reads it, and says so if it is gone."""
GIVEN_UP = Found(False, True, None, "it failed in this run")
"""Of what failed earlier in the same run: it is not tried again."""


class Planner:
    """Decides what is to be done for the (node, store) pairs `targets`, and what may begin once something has ended.

    failed: ``"retry"`` performs what failed before again, ``"skip"`` leaves it. stale: ``"generate"`` makes again what is stale. packages:
    whether formats need theirs here.
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
        self._wanted = list(dict.fromkeys([self._unit(node, store) for node, store in targets]))
        # what is under way
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
        return unit

    def _upstream(self, unit: Unit) -> list[Unit]:
        if unit.sources is None:
            store = unit.store
            unit.sources = [self._unit(node, store) for node in upstream_of(unit.node).values()]
            if len(unit.sources) > 1:
                unit.sources = list(dict.fromkeys(unit.sources))
        return unit.sources

    # which are needed

    def decide(self) -> Decision:
        """Find out which units are needed: a target that is not stored, and whatever is not stored upstream of such."""
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
        """Mark what is needed of these and upstream of them.

        Of what only follows others the upstream is searched for these, and nothing else of it is needed as yet.
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
                    judged = state.stored or state is GIVEN_UP or fitting.get(id(unit.node.__class__), fitting) is unit.node.io
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

    def _fit(self, node: Node, found: Found) -> Found:
        """`found`, which is not stored, and not to be tried if it surely could not be: that is to be known before the work."""
        error = format_check.refusal(node, self._packages) if not node.is_external else None
        return found if error is None else found._replace(why=str(error), failed=False, verdict=found.verdict._replace(barred=error))

    def _again(self, found: Found) -> str:
        if found.verdict.refused:
            return REFUSE
        if self._stale != "generate" or not found.verdict.causes:
            return ""
        return FOLLOW if found.verdict.follows else GENERATE

    def _with_upstream(self, asked: list[Unit], looked: int) -> list[Unit]:
        """These, and as many upstream of them as were looked at before: few rounds on long chains, at most twice the looks."""
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
        if found.failed and not found.stored:
            return "its last attempt failed" if self._failed == "retry" else _LEFT
        return found.why

    # which may begin

    def start(self) -> Start | None:
        """The units that may begin at once; None where there is nothing to do."""
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
                begins, never = _verdict(needs, success, fed.waits == 0)
                if begins:
                    self._begin(fed)
                elif never:
                    fed.waits = _CLOSED
                    self._skipped.append((fed, unit))
                    stack.append((fed, False))

    def _decide_followers(self) -> tuple[Sequence[Unit], Sequence[Unit]]:
        """Decide about those that follow others, as far as these have ended: the ones that stay as they are, and what is needed besides."""
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

    def _expanded(self, unit: Unit, found: Found) -> list[Unit]:
        """Perform `unit` after all, and before it what it is made from and nobody else needed."""
        unit.take(found, GENERATE)
        unit.reason = found.why
        self._search([source for source in self._upstream(unit) if not source.there and source not in self._planned])
        new: list[Unit] = []
        self._join(unit, new)
        return new

    def _join(self, first: Unit, new: list[Unit]) -> None:
        """Let `first` wait for those of its sources that have not ended, and these, where they are `new`, for theirs."""
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
    """The units that have to end before `unit` begins, or, where it follows others, before that can be decided."""
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
"""`Unit.waits` of what has begun or never will."""


def _verdict(needs: str, success: bool, last: bool) -> tuple[bool, bool]:
    """Tell whether a unit begins, or never will, now that one upstream has ended, `last` of all or not."""
    if needs == "all":
        return success and last, not success
    if needs == "any":
        return success, last and not success
    return last, False


# driven with real stores


def base_of(targets: Iterable[Any], store: Any) -> Store:
    """The store of those of `targets` that name none: `store`, else the enclosing one, else that of their last run, else the default.

    Within the code of a node, that node's store encloses it, in whichever thread or process it is generated.
    """
    if store is not None:
        return open_store(store)
    return nearest_store() or default_store(next(filter(None, map(remembered_store, _families_and_nodes(targets))), None))


def _families_and_nodes(targets: Iterable[Any]) -> list[Any]:
    """The nodes that `pairs` finds, families as they are."""
    found: list[Any] = []
    for target in targets:
        kind: Any = target.__class__
        if getattr(kind, "_is_persistable_node", False) or getattr(kind, "_is_family", False):
            found.append(target)
        else:
            inner: Any = target if issubclass(kind, dict | list | tuple) else getattr(target, "targets", ())
            found += _families_and_nodes(inner.values() if issubclass(inner.__class__, Mapping) else inner)
    return found


_is_family: Callable[[Any], bool] = attrgetter("_is_family")
"""Of a node or family: which of the two it is."""


def remember(targets: Iterable[Any], store: Store) -> None:
    """Let nodes among `targets` that name no store, families, and all that is upstream of them find what a run puts into `store`."""
    seen: set[int] = set()
    stack: list[tuple[Iterable[Any], Store]] = [(_families_and_nodes(targets), store)]
    while stack:
        some, store = stack.pop()
        for target in some:
            where = store
            if _is_family(target):
                upstream: Iterable[Any] = target.remember(where) if id(target) not in seen and hasattr(target, "remember") else ()
            else:
                own = own_store(target)
                if own is None:
                    remember_store(target, where)
                else:
                    where = own
                upstream = upstream_of(target) and upstream_of(target).values()
            if upstream and id(target) not in seen:
                seen.add(id(target))
                stack.append((upstream, where))


class Row(NamedTuple):
    """One node of a plan: what would be done, why, and after which others.

    action: ``"generate"``, ``"reuse"`` or ``"leave"``; ``"follow"`` for what is made anew only if what it is made from turns out to have
    other bytes; ``"refuse"`` for what a run would not accept: made by another class with other code, or stale where that is to raise.
    """

    key: Key
    action: str
    reason: str
    after: tuple[Key, ...]
    store: str


class Plan:
    """The actions of a run, in a possible order of doing it: a sequence of `Row`. ``print(plan)`` is a table."""

    def __init__(self, rows: Sequence[Row], nodes: Sequence[Any], absent: Sequence[tuple[Any, Store]] = ()) -> None:
        self.rows = list(rows)
        self._nodes = list(nodes)
        self._absent = absent

    @cached_property
    def hints(self) -> list[str]:
        """Stored payloads that are not found since a name or the params changed, and why: looked for when it is first asked for."""
        from persistable.nodes.nearest import left_behind

        return left_behind(self._absent)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def label(self, index: int, columns: int = COLUMNS) -> str:
        """The node of a row in words, on at most so many columns."""
        return label(self._nodes[index], columns)

    @property
    def counts(self) -> dict[str, int]:
        """Action to number of nodes; inputs that lie elsewhere are none."""
        counts: dict[str, int] = {}
        for row, node in zip(self.rows, self._nodes, strict=True):
            if not node.is_external:
                counts[row.action] = counts.get(row.action, 0) + 1
        return counts

    @property
    def jobs(self) -> list[Key]:
        """Keys of what would be generated."""
        return [row.key for row in self.rows if row.action == "generate"]

    def lineage(self, **options: Any) -> Graph:
        """The picture of what would be done: a lineage with the action of each node. What need not be looked at has none.

        options: as for `persistable.graph.lineage`.
        """
        from persistable.graph import lineage

        needed = {upstream.key for node in self._nodes for upstream in node.upstream.values()}
        targets = [node for node in self._nodes if node.key not in needed]
        return lineage(*targets, status={row.key: row.action for row in self.rows}, **options)

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame."""
        import pandas as pd

        columns = ["name", "key", "action", "reason", "after", "store"]
        table = [(row.key.name, str(row.key), row.action, row.reason, " ".join(map(str, row.after)), row.store) for row in self.rows]
        return pd.DataFrame(table, columns=columns)

    def __str__(self) -> str:
        shown = [(row.action, self.label(i, 60), row.key.digest[:8], row.reason) for i, row in enumerate(self.rows[:_SHOWN])]
        widths = [max((len(row[column]) for row in shown), default=0) for column in range(2)]
        lines = [f"{action:<{widths[0]}}  {label:<{widths[1]}}  {digest}  {reason}" for action, label, digest, reason in shown]
        if len(self.rows) > _SHOWN:
            lines.append(f"... and {len(self.rows) - _SHOWN} more")
        counts = ", ".join(f"{number} to {action}" for action, number in self.counts.items())
        return "\n".join([counts or "nothing to do", *lines, *self.hints])

    def __repr__(self) -> str:
        return f"<Plan: {', '.join(f'{number} to {action}' for action, number in self.counts.items()) or 'nothing to do'}>"

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import badge, digest, listing

        rows = [(self.label(i), badge(row.action), row.reason, digest(row.key)) for i, row in enumerate(self.rows[:_SHOWN])]
        return listing(("node", "action", "why", "key"), rows, len(self.rows) - _SHOWN, self.hints)


_SHOWN = 60


def plan(*targets: Any, store: Any = None, failed: str = "retry", stale: str = "reuse") -> Plan:
    """The plan of `run` for these targets, with reasons; nothing is touched.

    `store` is for nodes that name none; `failed` and `stale` are as for `run`.
    """
    check_stale(stale)
    base = base_of(targets, store)
    judge = cache(Judge)
    decided = Planner(
        [*makers(targets, base), *pairs(targets, base)],
        lambda asked: found_of([(unit.node, unit.store) for unit in asked], judge),
        failed=failed,
        stale=stale,
    ).decide()
    rows: list[Row] = []
    units: list[Unit] = []
    for action, some in (("reuse", decided.reused), ("leave", decided.left), ("refuse", decided.refused), ("generate", decided.needed)):
        for unit in some:
            done = FOLLOW if unit.again == FOLLOW else action
            if stale == "raise" and action == "reuse" and unit.found is not None and unit.found.verdict.causes:
                done = "refuse"
            before = waited_for(unit) if done == FOLLOW else unit.sources or ()
            after = tuple([source.node.key for source in before if action == "generate"])
            rows.append(Row(unit.node.key, done, unit.reason, after, unit.url))
            units.append(unit)
    absent = [
        (unit.node, unit.store) for unit in decided.needed if unit.found is not None and unit.found.token is None and not unit.found.failed
    ]
    return Plan(rows, [unit.node for unit in units], absent)


def check_stale(stale: str) -> None:
    """Raise ValueError for what cannot be done with what is stale."""
    if stale not in POLICIES:
        raise ValueError(f'stale is "reuse", "generate" or "raise"; it was {stale!r}')


def makers(targets: Iterable[Any], store: Store) -> list[tuple[Any, Any]]:
    """The (node, store) pairs of the nodes that make the members of families among `targets`, as far as they have not made all of them."""
    found: dict[Any, tuple[Any, Any]] = {}
    for target in _families_and_nodes(targets):
        for source in target.sources if _is_family(target) else ():
            if hasattr(source, "is_sealed"):
                source.default = store
                if not source.is_sealed:
                    found[source] = (source.node, own_store(source.node) or store)
    return list(found.values())


SMALLEST = 500
"""A family with fewer members is planned as the single nodes are."""


def pairs(targets: Iterable[Any], store: Store, large: list[Any] | None = None) -> list[tuple[Any, Any]]:
    """The (node, store) pairs that `targets` mean: nodes, lists and dicts of such, and whatever lists its nodes in ``targets``.

    large: takes the `key_chunks` of large families, of which no node is made. Raises TypeError for what is none of these, InputMissing for
    a node that is open.
    """
    found: list[tuple[Any, Any]] = []
    looked: set[int] = set()
    stack: list[Any] = list(reversed(list(targets)))
    while stack:
        target = stack.pop()
        kind: Any = target.__class__
        if getattr(kind, "_is_persistable_node", False):
            target.key  # noqa: B018 - an open node says here what it needs
            found.append((target, own_store(target) or store))
        elif issubclass(kind, dict):
            stack.extend(reversed(list(target.values())))
        elif issubclass(kind, list | tuple):
            stack.extend(reversed(target))
        elif hasattr(kind, "targets") or hasattr(target, "targets"):  # asked of a family itself, it would list
            if hasattr(target, "refresh_once"):  # a family: members come and go with what it follows, and all targets see the same
                target.refresh_once(looked)
                chunks = target.key_chunks if large is not None and len(target) >= SMALLEST else None
                if large is not None and chunks is not None:
                    large.append(chunks)
                    continue
            listed: Any = target.targets  # a project has names for them
            stack.extend(reversed(list(listed.values() if issubclass(listed.__class__, Mapping) else listed)))
        else:
            raise TypeError(f"{target!r:.80} is nothing to run: give nodes, lists or dicts of them, or a Pipeline")
    return found
