"""Whether stored payloads are what the code as it is now would make of what is stored now: judged for many at once.

A payload is stale if its own code has changed; if the code of something upstream has, that is not stored itself (else its record and bytes
tell); if something stored upstream has other bytes than it was made from; or if that is stale itself. All of it is learnt from the
records of the stored upstream, read in one call of each store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from persistable import code
from persistable.key import Key, Place
from persistable.origin import Today, content_of, contents_digest, fingerprint_of, parsed, token_of
from persistable.record import SEAL_BYTES, SUFFIX, Record
from persistable.stores.base import Store


class Cause(NamedTuple):
    """One thing that has changed since a payload was made.

    key: of the node whose code has changed, or that was stored anew with other bytes. by: its class or function. change: which parts of the
    code have changed, in words; empty where it is the bytes. now: what stands for the code, or the bytes, as they are now.
    """

    key: Key
    by: str
    change: str
    now: str

    @property
    def mark(self) -> str:
        """What it is, as a record keeps what was accepted."""
        return f"{self.key} {self.now}"

    def describe(self) -> str:
        """In words, such as ``changed: clean, in points/1a2b3c4d``."""
        name = f"{self.key.name}/{self.key.digest[:8]}"
        return f"{self.change}, in {name}" if self.change else f"{name} was stored anew with other bytes"


class Verdict(NamedTuple):
    """What is to be said of a stored payload; it is stale where there are causes.

    own: what has changed in its own code, in words. follows: whether all of it is that something stored upstream is stale. foreign: the
    class that made it, where that is another one with other code. unknown: what could not be compared, in words.
    """

    causes: tuple[Cause, ...] = ()
    own: str = ""
    follows: bool = False
    foreign: str = ""
    unknown: tuple[str, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether it is."""
        return bool(self.causes) and not self.foreign

    def describe(self) -> str:
        """What has changed, in words."""
        shown = [cause.describe() for cause in self.causes[:_SHOWN]]
        more = len(self.causes) - len(shown)
        if self.own:
            shown[:1] = [self.own]
        return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


_SHOWN = 4
FRESH = Verdict()
NO_FACTS = "its record does not say what it was made from, so it cannot be told whether something upstream has changed"


def judged(node: Any, store: Store, record: Record) -> Verdict:
    """What is to be said of one payload."""
    return Judge().judge([(node, store, record)])[0]


_TEXT, _BRACES = rb'"[^"]*+"', rb"\{[^{}]*+(?:\{[^{}]*+\}[^{}]*+)*+\}"
_LINE = re.compile(
    rb'\{"record":1,"key":"([^"]*+)","token":%b,"io":%b,"class":%b,"code":\{"python":"[^"]*+","quick":"([^"]*+)"\},'
    % (_TEXT, _BRACES, _TEXT)
    + rb'"files":\[\["","[^"]++",[0-9]++,"([0-9a-f]++)"\]\](?:,"made_from":\["([0-9a-f]*+)","([0-9a-f]*+)"(,true)?\])?,\n'
).match
"""The first line of nearly every record, see `presence`."""


class _Head:
    """What the first line of a record says of how its payload was made."""

    __slots__ = ("_record", "accepted", "code", "content", "contents", "data", "key", "quick")

    def __init__(self, data: bytes, key: Key, record: Record | None = None) -> None:
        self.data = data
        self.key = key
        self._record = record
        found = _LINE(data)
        if found is not None:
            quick, digest, self.code, self.contents, accepted = found.group(2, 3, 4, 5, 6)
            self.quick: str | None = quick.decode()
            self.content: str = digest[:32].decode()
            self.accepted = accepted is not None
            return
        head = self.record.head
        self.quick, self.content = (head["code"] or {"quick": None})["quick"], content_of(head)
        told = head.get("made_from") or (None, None)
        self.code, self.contents = [each if each is None else each.encode() for each in told[:2]]
        self.accepted = len(told) > 2

    @classmethod
    def of(cls, data: bytes, key: Key) -> _Head | None:
        """That of the sound record of `key` in `data`; None where there is no such."""
        kept = _kept.get(key)
        if kept is not None and kept.data == data:
            return kept
        record = None
        if data[-11:-3] != b"%08x" % crc32(data[:-SEAL_BYTES]) or not data.startswith(b'{"record":1,"key":"%b"' % key.path.encode()):
            record = parsed(data, key)
            if record is None:
                return None
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        made = _kept[key] = cls(data, key, record)
        return made

    @property
    def record(self) -> Record:
        if self._record is None:
            self._record = Record.parse(self.data, self.key)
        return self._record


_kept: dict[Key, _Head] = {}
"""Of what was read last, so that what is the same again needs no second look."""
_MOST_KEPT = 2000


class _Unit:
    """One node in one store."""

    __slots__ = ("head", "node", "sources", "store", "verdict")

    def __init__(self, node: Any, store: Store) -> None:
        self.node = node
        self.store = store
        self.sources: list[_Unit] | None = None if node._upstream else _NONE
        self.head: _Head | None = None
        self.verdict: Verdict | None = None


_NONE: list[_Unit] = []


class Judge:
    """Judges payloads, a few or many at a time; what was read, of code and of records, is not read again."""

    def __init__(self) -> None:
        self._today = Today()
        self._units: dict[tuple[str, Place], _Unit] = {}
        self._stores: dict[int, tuple[Store, str]] = {}
        self._read: set[_Unit] = set()

    def judge(self, asked: Sequence[tuple[Any, Store, Record]]) -> list[Verdict]:
        """What is to be said of these payloads, given their records."""
        units: list[_Unit | None] = []
        deep: list[_Unit] = []
        for node, store, record in asked:
            unit = None
            if node._upstream:
                unit = self._unit(node, store)
                if unit.head is None or unit.head.data is not record.to_bytes():
                    unit.head, unit.verdict = _Head(record.to_bytes(), node.key, record), None
                self._read.add(unit)
                deep.append(unit)
            units.append(unit)
        if deep:
            self._look(order := self._order(deep))
            for each in order:
                if each.verdict is None and each.head is not None:
                    each.verdict = self._verdict(each)
        return [
            unit.verdict if unit is not None and unit.verdict is not None else self.own(node, record)
            for unit, (node, _, record) in zip(units, asked, strict=True)
        ]

    def expected(self, node: Any, store: Store) -> tuple[str, list[Any] | None] | None:
        """What its record says of its code, and as ``made_from``, where nothing has changed; None where something upstream has."""
        if not node._upstream:
            return self._today.token(node), None
        unit = self._unit(node, store)
        self._read.add(unit)
        order = self._order([unit])
        self._look(order)
        for each in order[:-1]:
            if each.verdict is None and each.head is not None:
                each.verdict = self._verdict(each)
        stored, _ = _frontier(unit)
        if any(source.verdict is not None and source.verdict.causes for source in stored):
            return None
        contents = {str(source.node.key): source.head.content for source in stored if source.head is not None}
        return self._today.token(node), [self._today.upstream(node), contents_digest(contents)]

    # the nodes upstream, and what is stored of them

    def _unit(self, node: Any, store: Store) -> _Unit:
        kept = self._stores.get(id(store))
        if kept is None:
            kept = self._stores[id(store)] = (store, store.url)
        place = (kept[1], node.place)
        unit = self._units.get(place)
        if unit is None:
            unit = self._units[place] = _Unit(node, store)
        return unit

    def _sources(self, unit: _Unit) -> list[_Unit]:
        if unit.sources is None:
            store = unit.store
            unit.sources = [self._unit(node, node._store or store) for node in unit.node._upstream.values()]
        return unit.sources

    def _order(self, units: list[_Unit]) -> list[_Unit]:
        """These and everything upstream of them, upstream first."""
        order: list[_Unit] = []
        entered: set[_Unit] = set()
        stack: list[tuple[_Unit, bool]] = [(unit, False) for unit in units]
        while stack:
            unit, ready = stack.pop()
            if ready:
                order.append(unit)
            elif unit not in entered:
                entered.add(unit)
                stack.append((unit, True))
                for source in self._sources(unit):
                    if source.sources is _NONE:
                        if source not in entered:
                            entered.add(source)
                            order.append(source)
                    elif source not in entered:
                        stack.append((source, False))
        return order

    def _look(self, units: Iterable[_Unit]) -> None:
        by_store: dict[str, tuple[Store, list[_Unit]]] = {}
        read = self._read
        for unit in units:
            if unit in read:
                continue
            read.add(unit)
            if unit.node._persisted:
                store, url = self._stores[id(unit.store)]
                by_store.setdefault(url, (store, []))[1].append(unit)
        for store, some in by_store.values():
            paths = [unit.node.place.path + SUFFIX for unit in some]
            get, of = store.get_many(paths).get, _Head.of
            for unit, path in zip(some, paths, strict=True):
                data = get(path)
                if data is not None:
                    unit.head = of(data, unit.node.key)

    # what is to be said

    def own(self, node: Any, record: Record) -> Verdict:
        """What is to be said of the payload's own code alone."""
        made_by = record.head["code"]
        if made_by is None or (made_by["quick"] and made_by["quick"] == self._today.token(node)):
            return FRESH
        return self._compared(node, record)

    def _compared(self, node: Any, record: Record) -> Verdict:
        """As `own`, where the quick digests differ."""
        own, before = self._today.code(node), _fingerprint(record)
        change = code.compare(before, own)
        if change.same and (change.comparable or _is_shown_same(before, own)):
            return FRESH
        reference = code.class_reference(node.__class__)
        cause = Cause(node.key, reference, change.describe(), self._today.token(node))
        if not change.same and record.class_reference != reference and not code.is_same_code(before, own):
            return Verdict((cause,), cause.change, foreign=record.class_reference)
        if not change.comparable:
            return Verdict(unknown=(_other_python(before.python, own.python),))
        if record.made == "put":
            return FRESH  # no code has made it
        return Verdict((cause,), cause.change)

    def _verdict(self, unit: _Unit) -> Verdict:
        node, head = unit.node, unit.head
        assert head is not None
        own = FRESH if head.quick is None or (head.quick and head.quick == self._today.token(node)) else self._compared(node, head.record)
        if not node._upstream or own.foreign:
            return own
        if head.code is None or head.contents is None:
            return own._replace(unknown=(*own.unknown, NO_FACTS))
        upstream = self._upstream(unit, head)
        if upstream is FRESH:
            return own
        if upstream.causes and head.record.made == "put":
            return own  # made by hand, not from what is upstream
        causes = tuple(dict.fromkeys((*own.causes, *upstream.causes)))
        return Verdict(causes, own.own, upstream.follows and not own.causes, "", (*own.unknown, *upstream.unknown))

    def _upstream(self, unit: _Unit, head: _Head) -> Verdict:
        """What is to be said of what the payload was made from."""
        stored, exposed = _frontier(unit)
        contents = {str(source.node.key): source.head.content for source in stored if source.head is not None}
        same_code = head.code == self._today.upstream(unit.node).encode()
        same_content = head.contents == contents_digest(contents).encode()
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
            told = [words for source in stored if source.verdict is not None for words in source.verdict.unknown]
            unknown = tuple(dict.fromkeys((*unknown, *[words for words in told if words != NO_FACTS])))
        if not (causes or inherited or unknown):
            return FRESH
        return Verdict(tuple(dict.fromkeys((*causes, *inherited))), "", not causes and bool(inherited), "", unknown)

    def _changed(self, exposed: list[_Unit], entries: list[dict[str, Any]]) -> tuple[list[Cause], tuple[str, ...]]:
        """Which of the code of these has changed, given how it was when the payload was made."""
        causes: list[Cause] = []
        unknown: dict[str, None] = {}
        done: set[Any] = set()
        for unit in exposed:
            node = unit.node
            if node._external or node._code_key() in done:
                continue
            done.add(node._code_key())
            token, reference = self._today.token(node), code.class_reference(node.__class__)
            named = [entry for entry in entries if node.payload_name in entry["names"]]
            of_it = [entry for entry in named if entry["class"] == reference]
            old = [entry for entry in of_it or named if entry.get("old")]
            if not old and any(token_of(fingerprint_of(entry)) == token for entry in of_it or named):
                continue  # one class has several where params bring code
            for entry in old or of_it or named:
                before = fingerprint_of(entry)
                change = code.compare(before, self._today.code(node))
                if change.comparable and not change.same:
                    causes.append(Cause(node.key, reference, change.describe(), token))
                elif not change.comparable and not _is_shown_same(before, self._today.code(node)):
                    unknown[_other_python(before.python, self._today.code(node).python)] = None
        return causes, tuple(unknown)


def _frontier(unit: _Unit) -> tuple[list[_Unit], list[_Unit]]:
    """The nearest stored units upstream, and those on the way there that are not stored."""
    sources = unit.sources or []
    if all(source.head is not None for source in sources):
        return sources if len(sources) < 2 else list(dict.fromkeys(sources)), []
    stored: dict[_Unit, None] = {}
    exposed: dict[_Unit, None] = {}
    stack = list(reversed(sources))
    while stack:
        source = stack.pop()
        if source in stored or source in exposed:
            continue
        if source.head is not None:
            stored[source] = None
        else:
            exposed[source] = None
            stack.extend(reversed(source.sources or []))
    return list(stored), list(exposed)


def _fingerprint(record: Record) -> code.Fingerprint:
    made_by = record.head["code"]
    return code.Fingerprint(made_by["python"], made_by["quick"], record.code_parts)


def _is_shown_same(before: code.Fingerprint, now: Any) -> bool:
    """Whether the source of all parts is the same, so that it does not matter that bytecode cannot be compared."""
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
