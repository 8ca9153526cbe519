"""Reproduction of stored payloads: generated again, not stored, and found identical, equal within a tolerance, different, or impossible."""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
from collections.abc import Generator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from persistable.catalog.reproduce.compare import Comparison, compare
from persistable.errors import InputError, NotRebuildable, PayloadError, PersistableError, PersistableWarning
from persistable.nodes import loading
from persistable.nodes.binding import move_to
from persistable.nodes.lineage import flattened, rebuilt, walk
from persistable.nodes.node import Persistable
from persistable.nodes.staleness import judged
from persistable.nodes.types import Node, upstream_of
from persistable.params.secret import redact
from persistable.records import record_access
from persistable.records.key import Key
from persistable.records.record import Record
from persistable.records.units import duration_in_words
from persistable.runs.failures import NodeFailure
from persistable.runs.result import RunResult
from persistable.runs.run import run
from persistable.stores.base import Store
from persistable.stores.local import LocalStore
from persistable.stores.reach import in_memory
from persistable.stores.readonly import ReadOnlyStore

Outcome = Literal["identical", "equal", "different", "impossible"]
_RANK: dict[str, int] = {"identical": 0, "equal": 1, "different": 2, "impossible": 3}
_SHOWN = 3
_VERSIONS = 6


class NodeReproduction(NamedTuple):
    """One node that was made again. why: in words. comparison: of its payloads, if both were read. seconds: that it took."""

    key: Key
    label: str
    outcome: Outcome
    why: str
    comparison: Comparison | None = None
    seconds: float = 0.0


class Reproduction:
    """The result of generating a payload again and comparing it.

    outcome: ``"identical"`` (value, dtype and type; bytes of files may differ), ``"equal"`` (within the tolerance), ``"different"`` or
    ``"impossible"``: the worst of all nodes made again. first: the key of the first node, from upstream on, that is different or
    impossible; None where there is none. why: in plain words. nodes: each that was made again, upstream first.
    """

    def __init__(self, key: Key, nodes: Sequence[NodeReproduction], note: str = "") -> None:
        self.key = key
        self.nodes = tuple(nodes)
        worst = max(reversed(self.nodes), key=lambda each: _RANK[each.outcome])  # of equal ones the requested node
        diverging = next((each for each in self.nodes if _RANK[each.outcome] >= _RANK["different"]), None)
        self.outcome: Outcome = worst.outcome
        self.first: Key | None = None if diverging is None else diverging.key
        decisive = diverging or worst
        own = (
            decisive.why
            if decisive.key == key or worst.outcome == "identical"
            else f"{decisive.label} [{decisive.key}] is {decisive.outcome}: {decisive.why}"
        )
        number = len(self.nodes)
        many = f" ({number} nodes made again)" if number > 1 else ""
        self.why = f"{own}{many}{f'; {note}' if note else ''}"

    def __str__(self) -> str:
        return f"{self.outcome}: {self.why}"

    def __repr__(self) -> str:
        return f"<Reproduction of {self.key}: {self.outcome}; {self.why}>"

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import badge, card, digest, listing

        order = sorted(self.nodes, key=lambda each: -_RANK[each.outcome])
        rows = [(badge(each.outcome), each.label, digest(each.key), each.why) for each in order[:50]]
        return card(f"{self.outcome}: {self.key}", f" {self.why}", listing(("outcome", "node", "key", "why"), rows, len(order) - len(rows)))


def reproduce(
    node: Persistable[Any, Any],
    *,
    recursive: bool = False,
    rtol: float = 0.0,
    atol: float = 0.0,
    executor: str | futures.Executor = "processes",
    progress: bool = False,
) -> Reproduction:
    """Generate the payload of `node` again in a fresh process, without storing it, and compare it with the one that is stored.

    Upstream payloads are read from the store; missing ones are generated again as well. The new payloads are in a temporary folder
    meanwhile. If only the record is left, the digests of the new files decide. External effects of a node happen again.

    Parameters:
        node: one with a record in its store; everything upstream of it is looked for in that store, too.
        recursive: generate everything upstream again, from the sources on, each from the new payloads.
        rtol, atol: numbers are the same within ``atol + rtol * abs(stored)``.
        executor, progress: as for `run`; a store in memory is only known to this process, so it runs in that instead of others.

    Raises ValueError for a negative tolerance.
    """
    if not (rtol >= 0 and atol >= 0):
        raise ValueError(f"rtol is {rtol} and atol {atol}; give 0 or more")
    store = node.store
    note = ""
    if in_memory(store) and executor == "processes":
        executor, note = "inline", "made in this process, which alone knows the store"
    with _scratch() as scratch:
        remake = _ReproductionRun(node, store, scratch, recursive, executor)
        if remake.blockers:
            return Reproduction(node.key, remake.blockers)
        failures = remake.run(progress)
        found: list[NodeReproduction] = []
        for each in remake.remade:
            verdict = remake.judge(each, failures, rtol, atol)
            differs = verdict is not None and verdict.outcome in ("different", "impossible") and remake.is_made(each)
            if verdict is not None and differs and all(before.outcome in ("identical", "equal") for before in found):
                with _scratch() as second:
                    verdict = verdict._replace(why=f"{verdict.why}. {remake.cause(each, second)}")
            found += [] if verdict is None else [verdict]
        if found[-1].outcome in ("identical", "equal"):
            changed = remake.changes(node.key)
            found[-1] = found[-1]._replace(why=f"{found[-1].why}{f', though its code has changed since: {changed}' if changed else ''}")
        return Reproduction(node.key, found, note)


def impossible(key: Key, error: Exception) -> Reproduction:
    """The reproduction of a key without a node, with the reason in `error`."""
    label = error.reference if isinstance(error, NotRebuildable) else str(key)
    return Reproduction(key, [NodeReproduction(key, label, "impossible", redact(str(error)))])


@contextmanager
def _scratch() -> Generator[LocalStore]:
    folder = tempfile.mkdtemp(prefix="persistable-again-")
    try:
        yield LocalStore(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _ReproductionRun:
    """The nodes that are generated again, and their upstream.

    remade: the nodes that are generated again, upstream first. blockers: the reasons why that cannot begin.
    """

    def __init__(self, node: Node, store: Store, scratch: Store, recursive: bool, executor: str | futures.Executor) -> None:
        self.store = store
        self.scratch = scratch
        self.executor = executor
        self.original_nodes: dict[Key, Any] = {each.key: each for each in walk(node)}
        self.target: Node = rebuilt(flattened(node))  # a copy, so that its stores can be set
        self.records: dict[Key, Record | None] = {}
        self.blockers: list[NodeReproduction] = []
        self._kept = ReadOnlyStore(store)
        self.remade = self._assign(recursive)

    def _assign(self, recursive: bool) -> list[Any]:
        """Give each node the store that it is read from, or generated in; return the nodes to be generated."""
        again: set[Key] = {self.target.key}
        waiting = [self.target]
        met: set[Key] = {self.target.key}
        if self._look(self.target) is None:
            self._cannot(self.target, "there is no record of it to compare with")
        elif self._is_put(self.target.key):
            self._cannot(self.target, "it was put in by hand, so nothing says how it is made")
        while waiting:
            for upstream in upstream_of(waiting.pop()).values():
                if upstream.key in met:
                    continue
                met.add(upstream.key)
                if self._is_made(upstream, recursive):
                    again.add(upstream.key)
                elif upstream.is_persisted:
                    continue  # it is read, so nothing beyond it is needed
                waiting.append(upstream)
        order: list[Any] = []
        for each in walk(self.target):
            from_scratch = each.key in again or (not each.is_persisted and any(one.key in again for one in upstream_of(each).values()))
            move_to(each, self.scratch if from_scratch else self._kept)
            if each.key in again:
                order.append(each)
        return order

    def _is_made(self, node: Node, recursive: bool) -> bool:
        if node.is_external or not node.is_persisted:
            return False
        stored = self._look(node) is not None and self._is_whole(node.key)
        if self._is_put(node.key):
            if not stored:
                self._cannot(node, "it was put in by hand, and its payload is not stored any more")
            return False
        return recursive or not stored

    def _look(self, node: Node) -> Record | None:
        key = node.key
        if key not in self.records:
            try:
                self.records[key] = record_access.find_record(self.store, node.place)
            except PayloadError as error:
                self.records[key] = None
                if key == self.target.key:
                    self._cannot(node, str(error))
        return self.records[key]

    def _is_put(self, key: Key) -> bool:
        record = self.records.get(key)
        return record is not None and record.by_hand

    def _is_whole(self, key: Key) -> bool:
        record = self.records.get(key)
        return record is not None and record_access.missing_file(self.store, record) is None

    def _cannot(self, node: Node, why: str) -> None:
        if not any(each.key == node.key for each in self.blockers):
            self.blockers.append(NodeReproduction(node.key, node.label, "impossible", redact(why)))

    def run(self, progress: bool) -> list[NodeFailure]:
        """Generate the nodes; return the failures. Nodes whose items others take come first: a run uses these items as they are."""
        taken = {one.key for each in walk(self.target) if each.is_external for one in upstream_of(each).values()}
        failures: list[NodeFailure] = []
        for each in [*(each for each in self.remade if each.key in taken and each.key != self.target.key), self.target]:
            failures += _quietly(each, self.scratch, self.executor, progress).failures
        return failures

    def judge(self, node: Node, failures: Sequence[NodeFailure], rtol: float, atol: float) -> NodeReproduction | None:
        """The outcome for one node; None where there is no record to compare it with."""
        failure = next((each for each in failures if each.key == node.key), None)
        if failure is not None:
            missing = "an input is not there as it was: " if isinstance(failure.error, InputError) else "it cannot be generated now: "
            return NodeReproduction(node.key, node.label, "impossible", missing + failure.text, seconds=failure.seconds)
        record, new = self.records.get(node.key), record_access.find_record(self.scratch, node.place)
        if new is None:
            return NodeReproduction(node.key, node.label, "impossible", "what it needs could not be generated")
        if record is None:
            return None
        seconds = f"made again in {duration_in_words(new.seconds)}"
        if _content(record) == _content(new):
            return NodeReproduction(node.key, node.label, "identical", f"{seconds}: the same bytes", seconds=new.seconds)
        if not self._is_whole(node.key):
            why = "it has other bytes than were recorded, and the payload is not stored any more, so that nothing else can be compared"
            return NodeReproduction(node.key, node.label, "impossible", why, seconds=new.seconds)
        try:
            found = compare(self._read(self.store, node, record), self._read(self.scratch, node, new), rtol, atol)
        except PersistableError as error:
            return NodeReproduction(
                node.key, node.label, "impossible", f"the stored payload cannot be read: {redact(str(error))}", seconds=new.seconds
            )
        if found.outcome == "identical":
            why = f"{seconds}: the same value, dtype and type"
        else:
            text = "; ".join(map(str, found.differences[:_SHOWN])) + ("; …" if found.number > _SHOWN else "")
            within = f"within rtol={rtol:g}, atol={atol:g}: " if (rtol or atol) and found.outcome == "equal" else ""
            why = f"{within}{redact(text)}"
        return NodeReproduction(node.key, node.label, found.outcome, why, found, new.seconds)

    def is_made(self, node: Node) -> bool:
        """Tell whether a node with a record has been generated again."""
        return self.records.get(node.key) is not None and record_access.find_record(self.scratch, node.place) is not None

    def _read(self, store: Store, node: Node, record: Record) -> Any:
        return loading.read(store, record, loading.format_of(node, record))

    def cause(self, node: Node, second: Store) -> str:
        """The reason why a payload differs now, in plain words."""
        causes: list[str] = []
        if self._is_random(node, second):
            causes.append(
                "Two new generations differ from each other as well: it is made with unseeded randomness, or from the time or something "
                "else that is no param (self.rng is seeded, or make the seed a param)"
            )
        record = self.records[node.key]
        assert record is not None
        changed = self.changes(node.key)
        if changed:
            causes.append(f"The code has changed since: {changed}")
        others = other_versions(record.versions)
        if others:
            shown = [f"{name} {was} then, {now or 'not installed'} now" for name, (was, now) in list(others.items())[:_VERSIONS]]
            more = len(others) - len(shown)
            causes.append(f"Versions are others: {', '.join(shown)}{f' and {more} more' if more else ''}")
        if not causes:
            causes.append(
                f"Its code and all versions are the same, and two new generations agree, so something else differs: it was made on "
                f"{record.host} ({record.facts().get('platform', 'unknown')}), or from data that is no param"
            )
        return ". ".join(causes)

    def changes(self, key: Key) -> str:
        """The changes of its own and upstream code since the stored payload was made, in words."""
        record = self.records[key]
        assert record is not None
        verdict = judged(self.original_nodes[key], self.store, record)
        text = verdict.describe() or (f"it was made by {verdict.foreign}" if verdict.foreign else "")
        return "; ".join([*([text] if text else []), *verdict.unknown])

    def _is_random(self, node: Node, second: Store) -> bool:
        """Tell whether two new generations differ from each other."""
        twin: Any = rebuilt(flattened(node))
        move_to(twin, second)
        made = _quietly(twin, second, self.executor, False)
        one, two = record_access.find_record(self.scratch, node.place), record_access.find_record(second, node.place)
        if made.failures or one is None or two is None or _content(one) == _content(two):
            return False
        return compare(self._read(self.scratch, node, one), self._read(second, node, two)).outcome != "identical"


def _quietly(target: Node, scratch: Store, executor: str | futures.Executor, progress: bool) -> RunResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PersistableWarning)  # changes since then are reported at the end
        return run(target, store=scratch, executor=executor, errors="return", progress=progress)


def _content(record: Record) -> Any:
    """The facts that identify the bytes of a payload: format, and part, size and digest of each file; of items the digest of all."""
    items = record.head.get("items")
    if items is not None:
        return items[1:]
    return record.fileio, [(fact.part, fact.size, fact.digest) for fact in record.files], record.schema


def other_versions(recorded: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Distributions whose version differs from the record: versions then and now by name, "" for one that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, tuple[str, str]] = {}
    for name, was in recorded.items():
        try:
            now = sys.version.split()[0] if name == "python" else version(name)
        except PackageNotFoundError:
            now = ""
        except Exception:  # noqa: BLE001 - damaged metadata of another package
            continue
        if now != was:
            found[name] = (was, now)
    return found
