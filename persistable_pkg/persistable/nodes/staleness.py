"""Staleness: stored payloads compared with the code and the upstream as they are now, judged for many at once.

A payload is stale if its own code has changed; if the code of an upstream node has that is not stored itself (a stored one is judged by its
record and bytes); if something stored upstream has other bytes than it was made from; or if that is stale itself. All of this is judged by
the records of the stored upstream, read in one call of each store.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from persistable.errors import PersistableError
from persistable.nodes import code
from persistable.nodes.own_code import code_key, code_of_node
from persistable.nodes.types import Node
from persistable.nodes.upstream_digests import (
    CodeFacts,
    CurrentCode,
    content_of,
    contents_digest,
    fingerprint_of,
    is_all_in,
    parsed,
    text_digest,
    token_of,
    upstream_makers,
)
from persistable.records.key import Key, Place
from persistable.records.record import SUFFIX, Record
from persistable.records.record_cache import records_at
from persistable.stores.base import Store


class Cause(NamedTuple):
    """One change since a payload was made.

    key: of the node whose code has changed, or that was stored anew with other bytes. by: its class or function. change: the parts of
    the code that have changed, in words; empty if the bytes have. now: the token of the code, or digest of the bytes, as they are now.
    """

    key: Key
    by: str
    change: str
    now: str

    @property
    def mark(self) -> str:
        """The text of the cause in a record that accepts it."""
        return f"{self.key} {self.now}"

    def describe(self) -> str:
        """The cause in words, such as ``changed: clean, in points/1a2b3c4d``."""
        name = f"{self.key.name}/{self.key.digest[:8]}"
        return f"{self.change}, in {name}" if self.change else f"{name} was stored anew with other bytes"


class Verdict(NamedTuple):
    """The verdict on a stored payload; it is stale if there are causes.

    own: the change of its own code, in words. follows: whether the only cause is that something stored upstream is stale. foreign: the
    class that made it, if that is another one with other code. unknown: in words, the code that could not be compared, and, for a payload
    put in by hand, the changes upstream since. barred: the error for which it is not read, or would not be stored, by its format.
    """

    causes: tuple[Cause, ...] = ()
    own: str = ""
    follows: bool = False
    foreign: str = ""
    unknown: tuple[str, ...] = ()
    barred: PersistableError | None = None

    @property
    def refused(self) -> bool:
        """Tell whether the payload is not served at all."""
        return bool(self.foreign) or self.barred is not None

    @property
    def stale(self) -> bool:
        """Tell whether the payload is stale."""
        return bool(self.causes) and not self.foreign

    def describe(self) -> str:
        """The changes, in words."""
        shown = [cause.describe() for cause in self.causes[:_SHOWN]]
        more = len(self.causes) - len(shown)
        if self.own:
            shown[:1] = [self.own]
        return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


_SHOWN = 4
FRESH = Verdict()
NO_FACTS = "its record does not name its upstream, so it cannot be told whether something upstream has changed"


BY_HAND = "put in by hand, so it stays as it is, although upstream has changed since:"


def judged(node: Node, store: Store, record: Record, judge: Judge | None = None) -> Verdict:
    """The verdict on one payload. judge: one that has judged nothing yet; by default a new one."""
    if not node._node_upstream:
        made_by = record.head["code"]
        if made_by is None or (made_by["quick"] and made_by["quick"] == code_of_node(node).quick):
            return FRESH
        return Judge().own(node, record)
    which = (node.key, node._node_custom_path)
    known = _known_fresh.get(which)
    if known is not None and is_all_in(node, store) and known.is_unchanged(node, store, record):
        return FRESH
    judge = judge or Judge()
    verdict = judge.judge_all([(node, store, record)])[0]
    if judge._stores.keys() != {id(store)}:  # another object of the node may have its upstream elsewhere
        return verdict
    if verdict is FRESH and sum(len(paths) for _, paths, _ in judge.read) <= _MOST_LINES:
        if len(_known_fresh) >= _MOST_FRESH:
            _known_fresh.clear()
        _known_fresh[which] = _Fresh(node, store, record, judge)
    elif known is not None:
        _known_fresh.pop(which, None)
    return verdict


class _Fresh:
    """The facts of a payload that was found fresh, for any node object that describes it: it is fresh while all of them are unchanged.

    The first line of a record differs between commits, and holds all facts by which payloads made from its payload are judged.
    """

    __slots__ = ("_lines", "_own", "_store", "_tokens")

    def __init__(self, node: Node, store: Store, record: Record, judge: Judge) -> None:
        self._store = store
        self._own = first_line(record.to_bytes())
        self._tokens = [judge.token(each) for each in (node, *upstream_makers(node).values())]
        self._lines = [(at, paths, {path: data[: data.find(b"\n") + 1] for path, data in found.items()}) for at, paths, found in judge.read]

    def is_unchanged(self, node: Node, store: Store, record: Record) -> bool:
        """Tell whether all the facts are unchanged."""
        if self._store is not store or not record.to_bytes().startswith(self._own):
            return False
        if self._tokens != [token_of(code_of_node(each)) for each in (node, *upstream_makers(node).values())]:
            return False
        for at, paths, lines in self._lines:
            found = records_at(at, paths)
            if found.keys() != lines.keys() or not all(map(bytes.startswith, map(found.__getitem__, lines), lines.values())):
                return False
        return True


def first_line(data: bytes) -> bytes:
    """The first line of a record."""
    return data[: data.find(b"\n") + 1]


_known_fresh: dict[tuple[Key, str | None], _Fresh] = {}
"""The payloads that were found fresh, by key and custom path."""
_MOST_FRESH = 32
_MOST_LINES = 1000


_DIGEST = 32
_BEGINNING = b'{"record":1,"key":"'
_FILE_DIGEST = 64
"""Characters of the digest of a file; the first half is the content digest of a payload of one file."""


class _Head(NamedTuple):
    """The facts in the first line of a sound record about how its payload was made."""

    record: Record
    quick: str | None
    content: str
    code: str | None
    contents: str | None
    accepted: bool

    @classmethod
    def of(cls, record: Record) -> _Head:
        """The facts of `record`."""
        head = record.head
        made_from = head.get("made_from") or (None, None)
        return cls(record, (head["code"] or {"quick": None})["quick"], content_of(head), made_from[0], made_from[1], len(made_from) > 2)


class _Unit:
    """One node in one store.

    data: its record as it was read, sound or not; None if nothing is stored. content: digest of its payload, known once it is judged.
    code: its own as it is now. codes: that of everything upstream, as bits of `CurrentCode`; whole: with its own.
    """

    __slots__ = ("_head", "code", "codes", "content", "data", "node", "sources", "store", "verdict", "whole")

    def __init__(self, node: Node, store: Store) -> None:
        self.node = node
        self.store = store
        self.sources: list[_Unit] | None = None if node._node_upstream else _NONE
        self.data: bytes | None = None
        self.content = ""
        self.verdict: Verdict | None = None
        self.code: CodeFacts | None = None
        self.codes = 0
        self.whole = 0
        self._head: _Head | None = None

    def found(self, record: Record) -> None:
        """Use `record` as the stored one."""
        self.data, self._head, self.verdict = record.to_bytes(), _Head.of(record), None

    def head(self) -> _Head | None:
        """The facts in its record; None if it is damaged: then it is treated as absent."""
        if self._head is None:
            record = parsed(self.data, self.node.key)
            if record is None:
                self.data = self.verdict = None
                return None
            self._head = _Head.of(record)
        self.content = self._head.content
        return self._head


_NONE: list[_Unit] = []


def _other_maker(node: Node, record: Record) -> str:
    """The maker of a record, if that is another class, or one of the same name in another project; else ""."""
    if not code.is_same_place(record.class_reference, code.class_reference(node.__class__)):
        return record.class_reference
    given = node.__dict__.get("_node_given_code")
    theirs, mine = record.project, given.project if given is not None else code.project_of(node.__class__)
    return f"{record.class_reference} of {theirs}" if theirs and mine and theirs != mine else ""


class Judge:
    """Judge of payloads, a few or many at a time; code and records are read only once."""

    def __init__(self) -> None:
        self._today = CurrentCode()
        self._units: dict[str, dict[Place, _Unit]] = {}
        self._stores: dict[int, tuple[Store, dict[Place, _Unit]]] = {}
        self._looked: set[_Unit] = set()
        self._digests: dict[str, bytes] = {}
        self.read: list[tuple[Store, list[str], dict[str, bytes]]] = []
        """Each request to a store, and its answer."""

    def token(self, node: Node) -> str:
        """The token of the code of a node, as it was when it was first read."""
        return self._today.token(node)

    def judge(self, asked: Sequence[tuple[Any, Store, Record]]) -> list[Verdict]:
        """The verdicts on these payloads, given their records."""
        if len(asked) == 1 and not self._units:
            return [judged(*asked[0], self)]
        return self.judge_all(asked)

    def judge_all(self, asked: Sequence[tuple[Any, Store, Record]]) -> list[Verdict]:
        """Judge all of these payloads, even those found fresh before."""
        units: list[_Unit | None] = []
        deep: list[_Unit] = []
        for node, store, record in asked:
            unit = None
            if node._node_upstream:
                unit = self._unit(node, store)
                if unit.data is not record.to_bytes():
                    unit.found(record)
                self._looked.add(unit)
                deep.append(unit)
            units.append(unit)
        if deep:
            self._verdicts(self._order(deep))
        return [
            unit.verdict if unit is not None and unit.verdict is not None else self.own(node, record)
            for unit, (node, _, record) in zip(units, asked, strict=True)
        ]

    def stored(self, nodes: Sequence[tuple[Any, Store]]) -> list[Verdict | None]:
        """The verdicts on these nodes; None for one without a sound stored record. Their records are read here."""
        units = [self._unit(node, store) for node, store in nodes]
        self._verdicts(self._order(units))
        return [unit.verdict for unit in units]

    def expected(self, node: Node, store: Store) -> tuple[str, list[Any] | None] | None:
        """The token of its code, and the ``made_from`` of its record, if it were made now; None if something stored upstream is stale."""
        if not node._node_upstream:
            return self._today.token(node), None
        unit = self._unit(node, store)
        self._looked.add(unit)
        self._verdicts(self._order([unit]))
        stored, _ = _frontier(unit)
        if any(source.verdict is not None and source.verdict.causes for source in stored):
            return None
        return self._today.token(node), [self._today.upstream(node), contents_digest(_contents(stored))]

    # the nodes upstream, and their records

    def _unit(self, node: Node, store: Store) -> _Unit:
        kept = self._stores.get(id(store))
        if kept is None:
            kept = self._stores[id(store)] = (store, self._units.setdefault(store.url, {}))
        place = node.key if node._node_custom_path is None else node.place
        unit = kept[1].get(place)
        if unit is None:
            unit = kept[1][place] = _Unit(node, store)
        return unit

    def _order(self, units: list[_Unit]) -> list[_Unit]:
        """These units and everything upstream of them, upstream first."""
        order: list[_Unit] = []
        entered: set[_Unit] = set()
        stack: list[_Unit | None] = [*units]
        while stack:
            unit = stack.pop()
            if unit is None:  # everything upstream of the next one is in `order`
                order.append(cast("_Unit", stack.pop()))
                continue
            if unit in entered:
                continue
            entered.add(unit)
            sources = unit.sources
            if sources is None:
                sources = unit.sources = self._sources(unit)
            if not sources:
                order.append(unit)
                continue
            stack += (unit, None)
            stack += [source for source in sources if source not in entered]
        return order

    def _sources(self, unit: _Unit) -> list[_Unit]:
        store = unit.store
        return [self._unit(node, node._node_store or store) for node in unit.node._node_upstream.values()]

    def _look(self, units: Iterable[_Unit]) -> None:
        by_store: dict[int, tuple[Store, list[_Unit]]] = {}
        looked = self._looked
        for unit in units:
            if unit not in looked:
                looked.add(unit)
                if unit.node.is_persisted:
                    store, these = self._stores[id(unit.store)]
                    by_store.setdefault(id(these), (store, []))[1].append(unit)
        for store, some in by_store.values():
            paths = [(node.key if (node := unit.node)._node_custom_path is None else node.place).path + SUFFIX for unit in some]
            found = records_at(store, paths)
            self.read.append((store, paths, found))
            for unit, data in zip(some, map(found.get, paths), strict=True):
                unit.data = data
                if data is not None and (unit.node._node_custom_path is not None or not data.startswith(_BEGINNING)):
                    unit.head()  # payloads may take turns at one path

    # verdicts

    def own(self, node: Node, record: Record) -> Verdict:
        """The verdict on the payload's own code alone."""
        made_by = record.head["code"]
        if made_by is None or (made_by["quick"] and made_by["quick"] == self._today.token(node)):
            return FRESH
        return self._compared(node, record)

    def _compared(self, node: Node, record: Record) -> Verdict:
        """The verdict of `own` if the quick digests differ."""
        own, before = self._today.code(node), _fingerprint(record)
        change = code.compare(before, own)
        if change.same and (change.comparable or _is_shown_same(before, own)):
            return FRESH
        reference = code.class_reference(node.__class__)
        cause = Cause(node.key, reference, change.describe(), self._today.token(node))
        if not change.same and (stranger := _other_maker(node, record)) and not code.is_same_code(before, own):
            return Verdict((cause,), cause.change, foreign=stranger)
        if not change.comparable:
            return Verdict(unknown=(_other_python(before.python, own.python),))
        if record.by_hand:
            return FRESH  # no code has made it
        return Verdict((cause,), cause.change)

    def _verdicts(self, order: Sequence[_Unit]) -> None:
        self._look(order)
        if not any(unit.data is not None and unit.verdict is None for unit in order):
            return
        code_facts, is_expected = self._today.code_facts, self._is_expected
        for unit in order:
            facts = unit.code
            if facts is None:
                facts = unit.code = code_facts(unit.node)
                for source in unit.sources or _NONE:
                    unit.codes |= source.whole
                unit.whole = unit.codes if unit.node.is_external else unit.codes | facts.bit
            if unit.verdict is None and unit.data is not None:
                unit.verdict = FRESH if is_expected(unit, facts, unit.data) else self._verdict(unit)

    def _is_expected(self, unit: _Unit, facts: CodeFacts, data: bytes) -> bool:
        """Tell whether the record of the unit, and those of everything upstream, are as if nothing had changed.

        For nearly every record that is decided by fixed places in its first line. Only a record that is not as expected is checked for
        damage: a flipped bit never makes one as expected.
        """
        code = contents = b""
        end = data.find(b"\n")
        if unit.sources:
            text = self._contents_of(unit)
            if text is None:
                return False
            contents = self._digests.get(text) or self._digests.setdefault(text, text_digest(text).encode())
            code = self._today.digest_of(unit.codes)
            rest = b'"]],"made_from":["%b","%b"],' % (code, contents)
        else:
            rest = b'"]],'
        files, after = data.find(facts.line, 0, end), end - len(rest)
        if files > 0 and data.startswith(rest, after) and data.count(b"[", files, after) == 2:  # one file, and only `rest` after it
            unit.content = data[after - _FILE_DIGEST : after - _FILE_DIGEST + _DIGEST].decode("latin-1")
            return True
        head = unit.head()
        if head is None or not facts.token or head.quick != facts.token:
            return False
        return not unit.sources or (head.code, head.contents) == (code.decode(), contents.decode())

    def _contents_of(self, unit: _Unit) -> str | None:
        """The contents of the direct stored upstream as text; None if any of it is not fresh."""
        sources = unit.sources or _NONE
        if len(sources) > 1 or sources[0].data is None:
            for source in sources:
                if source.data is None:
                    sources = _frontier(unit)[0]
                    break
        unknown: list[str] = []
        for source in sources:
            if source.verdict is not FRESH:
                return None
            name, digest = source.node.key
            unknown.append(f"{name}/{digest} {source.content}")
        return unknown[0] if len(unknown) == 1 else "\n".join(sorted(set(unknown)))

    def _verdict(self, unit: _Unit) -> Verdict | None:
        """The verdict on a payload whose record is not as `_is_expected` requires; None if the record is damaged."""
        node, head = unit.node, unit.head()
        if head is None:
            return None
        own = FRESH if head.quick is None or (head.quick and head.quick == self._today.token(node)) else self._compared(node, head.record)
        if not node._node_upstream or own.foreign:
            return own
        if head.code is None or head.contents is None:
            return own._replace(unknown=(*own.unknown, NO_FACTS))
        upstream = self._upstream(unit, head)
        if upstream is FRESH:
            return own
        if upstream.causes and head.record.by_hand:  # not made from upstream, so it is not stale
            return own._replace(unknown=(*own.unknown, f"{BY_HAND} {upstream.describe()}"))
        causes = tuple(dict.fromkeys((*own.causes, *upstream.causes)))
        # one of another project, with other code upstream, is no earlier version of this payload
        stranger = _other_maker(node, head.record) if any(cause.change for cause in causes) else ""
        foreign = stranger if stranger != head.record.class_reference else ""
        return Verdict(
            causes,
            own.own or (upstream.describe() if foreign else ""),
            upstream.follows and not own.causes,
            foreign,
            (*own.unknown, *upstream.unknown),
        )

    def _upstream(self, unit: _Unit, head: _Head) -> Verdict:
        """The verdict on the upstream of the payload."""
        stored, exposed = _frontier(unit)
        if None in [source.head() for source in stored]:  # damaged
            return self._upstream(unit, head)
        contents = _contents(stored)
        same_code = head.code == self._today.upstream(unit.node)
        same_content = head.contents == contents_digest(contents)
        causes: list[Cause] = []
        unknown: tuple[str, ...] = ()
        if not same_code and exposed:
            causes, unknown = self._changed(exposed, head.record.upstream_code)
        if not same_content:
            recorded = head.record.upstream_content
            direct, further = recorded.get("direct", {}), recorded.get("further", {}) if exposed else {}
            stored = [source for source in stored if str(source.node.key) in direct or str(source.node.key) in further]
            for source in stored:
                key = str(source.node.key)
                if contents[key] != direct.get(key, contents[key]) or contents[key] != further.get(key, contents[key]):
                    causes.append(Cause(source.node.key, code.class_reference(source.node.__class__), "", contents[key]))
        above = [source.verdict for source in stored if source.verdict is not None and source.verdict.causes]
        inherited = [cause for verdict in above for cause in verdict.causes]
        if inherited and head.accepted:
            accepted = head.record.accepted_causes
            inherited = [cause for cause in inherited if cause.mark not in accepted]
        if not same_code:
            above_it = [words for source in stored if source.verdict is not None for words in source.verdict.unknown]
            unknown = tuple(
                dict.fromkeys((*unknown, *[words for words in above_it if words != NO_FACTS and not words.startswith(BY_HAND)]))
            )
        if not (causes or inherited or unknown):
            return FRESH
        return Verdict(tuple(dict.fromkeys((*causes, *inherited))), "", not causes and bool(inherited), "", unknown)

    def _changed(self, exposed: list[_Unit], entries: list[dict[str, Any]]) -> tuple[list[Cause], tuple[str, ...]]:
        """The changes of the code of these units since the payload was made, and notes on code that cannot be compared."""
        causes: list[Cause] = []
        unknown: dict[str, None] = {}
        done: set[Any] = set()
        for unit in exposed:
            node = unit.node
            if node.is_external or code_key(node) in done:
                continue
            done.add(code_key(node))
            token, reference = self._today.token(node), code.class_reference(node.__class__)
            named = [entry for entry in entries if node.payload_name in entry["names"]]
            of_it = [entry for entry in named if entry["class"] == reference]
            old = [entry for entry in of_it or named if entry.get("old")]
            if not old and any(token_of(fingerprint_of(entry)) == token for entry in of_it or named):
                continue  # one class has several if there is code among its params
            for entry in old or of_it or named:
                before = fingerprint_of(entry)
                change = code.compare(before, self._today.code(node))
                if change.comparable and not change.same:
                    causes.append(Cause(node.key, reference, change.describe(), token))
                elif not change.comparable and not _is_shown_same(before, self._today.code(node)):
                    unknown[_other_python(before.python, self._today.code(node).python)] = None
        return causes, tuple(unknown)


def _contents(units: Iterable[_Unit]) -> dict[str, str]:
    return {str(unit.node.key): unit.content for unit in units if unit.data is not None}


def _frontier(unit: _Unit) -> tuple[list[_Unit], list[_Unit]]:
    """The nearest stored units upstream, and the units in between, which are not stored."""
    sources = unit.sources or []
    if all(source.data is not None for source in sources):
        return sources if len(sources) < 2 else list(dict.fromkeys(sources)), []
    stored: dict[_Unit, None] = {}
    exposed: dict[_Unit, None] = {}
    stack = list(reversed(sources))
    while stack:
        source = stack.pop()
        if source in stored or source in exposed:
            continue
        if source.data is not None:
            stored[source] = None
        else:
            exposed[source] = None
            stack.extend(reversed(source.sources or []))
    return list(stored), list(exposed)


def _fingerprint(record: Record) -> code.Fingerprint:
    made_by = record.head["code"]
    return code.Fingerprint(made_by["python"], made_by["quick"], record.code_parts)


def _is_shown_same(before: code.Fingerprint, now: Any) -> bool:
    """Tell whether the source of all parts is the same, so that it does not matter that bytecode cannot be compared."""
    return code.is_same_code(before, now) or not (before.parts or now.parts)


def _other_python(before: str, now: str) -> str:
    return f"code not compared: {_version(before)}, {_version(now)}"


def _version(tag: str) -> str:
    """``3.11`` of ``cpython-311``, ``3.11 -O1`` of ``cpython-311-O1``."""
    name, _, rest = tag.partition("-")
    digits, _, optimised = rest.partition("-")
    if name != "cpython" or not digits.isdigit() or len(digits) < 2:
        return tag
    return f"{digits[0]}.{digits[1:]}" + (f" -{optimised}" if optimised else "")
