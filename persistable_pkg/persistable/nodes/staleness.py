"""Staleness: stored payloads compared with the code and the upstream as they are now, judged for many at once.

A payload is stale if its own code has changed; if the code of something upstream has, that is not stored itself (else its record and bytes
tell); if something stored upstream has other bytes than it was made from; or if that is stale itself. All of it is learnt from the
records of the stored upstream, read in one call of each store.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from persistable.errors import PayloadCorrupted, PayloadUntrusted, PersistableError
from persistable.nodes import code
from persistable.nodes.origin import Today, content_of, contents_digest, fingerprint_of, is_all_in, makers, parsed, text_digest, token_of
from persistable.nodes.own_code import code_key, code_of_node
from persistable.nodes.types import Node
from persistable.records.key import Key, Place
from persistable.records.record import SUFFIX, Record
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
        """The cause as a record keeps what was accepted."""
        return f"{self.key} {self.now}"

    def describe(self) -> str:
        """In words, such as ``changed: clean, in points/1a2b3c4d``."""
        name = f"{self.key.name}/{self.key.digest[:8]}"
        return f"{self.change}, in {name}" if self.change else f"{name} was stored anew with other bytes"


class Verdict(NamedTuple):
    """The verdict on a stored payload; it is stale where there are causes.

    own: what has changed in its own code, in words. follows: whether all of it is that something stored upstream is stale. foreign: the
    class that made it, where that is another one with other code. unknown: what could not be compared, and of what was put in by hand what
    has changed upstream since, in words. barred: why it is not read, or would not be stored,
    by its format.
    """

    causes: tuple[Cause, ...] = ()
    own: str = ""
    follows: bool = False
    foreign: str = ""
    unknown: tuple[str, ...] = ()
    barred: PersistableError | None = None

    @property
    def refused(self) -> bool:
        """Tell whether it is not served at all."""
        return bool(self.foreign) or self.barred is not None

    @property
    def stale(self) -> bool:
        """Tell whether it is."""
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
NO_FACTS = "its record does not say what it was made from, so it cannot be told whether something upstream has changed"


BY_HAND = "put in by hand, so it stays as it is, although upstream has changed since:"


def judged(node: Node, store: Store, record: Record) -> Verdict:
    """The verdict on one payload."""
    if not node._upstream:
        made_by = record.head["code"]
        if made_by is None or (made_by["quick"] and made_by["quick"] == code_of_node(node).quick):
            return FRESH
        return Judge().own(node, record)
    which = (node.key, node._to) if is_all_in(node, store) else None  # else another object of it may have its upstream elsewhere
    known = _found_fresh.get(which) if which is not None else None
    if known is not None and known.is_unchanged(node, store, record):
        return FRESH
    judge = Judge()
    verdict = judge.judge([(node, store, record)])[0]
    if which is None:
        return verdict
    if verdict is FRESH and sum(len(paths) for _, paths, _ in judge.read) <= _MOST_LINES:
        if len(_found_fresh) >= _MOST_FRESH:
            _found_fresh.clear()
        _found_fresh[which] = _Fresh(node, store, record, judge)
    elif known is not None:
        _found_fresh.pop(which, None)
    return verdict


class _Fresh:
    """The facts of a payload that was found fresh, for any object that describes it: it still is while all of that is as it was.

    The first line of a record tells one commit from any other, and holds all of what made from that is judged by.
    """

    __slots__ = ("_lines", "_own", "_store", "_tokens")

    def __init__(self, node: Node, store: Store, record: Record, judge: Judge) -> None:
        self._store = store
        self._own = first_line(record.to_bytes())
        self._tokens = _tokens(node)
        self._lines = [(at, paths, {path: first_line(data) for path, data in found.items()}) for at, paths, found in judge.read]

    def is_unchanged(self, node: Node, store: Store, record: Record) -> bool:
        """Tell whether it is all as it was."""
        if self._store is not store or not record.to_bytes().startswith(self._own):
            return False
        if self._tokens != _tokens(node):
            return False
        for at, paths, lines in self._lines:
            found = at.get_many(paths)
            if found.keys() != lines.keys() or not all(map(bytes.startswith, map(found.__getitem__, lines), lines.values())):
                return False
        return True


def _tokens(node: Node) -> list[str]:
    """The tokens of the code of a node and of everything upstream, as it is now."""
    token = Today().token
    return [token(node), *map(token, makers(node).values())]


def first_line(data: bytes) -> bytes:
    """That of a record."""
    return data[: data.find(b"\n") + 1]


_found_fresh: dict[tuple[Key, str | None], _Fresh] = {}
"""By key, and path of its own."""
_MOST_FRESH = 32
_MOST_LINES = 1000


DIGEST = 32
_BEGINNING = b'{"record":1,"key":"'
_FILES = b'"},"files":[["","'
_MADE_FROM = b',"made_from":["'
_MADE_FROM_BYTES = len(_MADE_FROM) + 2 * DIGEST + len(b'",""],')


class _Head:
    """The facts in the first line of a record about how its payload was made.

    In nearly every record it is found by its place in the line. Whether the record is sound is asked only of one that is not as expected:
    a flipped bit never makes it so.
    """

    __slots__ = ("_key", "_record", "accepted", "code", "content", "contents", "data", "quick")

    def __init__(self, data: bytes, key: Key, record: Record | None = None) -> None:
        self.data = data
        self._key = key
        self._record = record
        end = data.find(b"\n")
        files = data.find(_FILES, 0, end)
        told = end - _MADE_FROM_BYTES
        if data.startswith(_MADE_FROM, told):
            code, contents = data[told + len(_MADE_FROM) : end - DIGEST - 6], data[end - DIGEST - 3 : end - 3]
        else:
            code, contents, told = None, None, end - 1
        if (
            files > 0 and data.startswith(b'"]]', told - 3) and data.count(b"[", files, told) == 2
        ):  # one file, and nothing after it but that
            quick = data.rfind(b'"', 0, files) + 1
            self.quick: str | None = data[quick:files].decode("latin-1")
            self.content: str = data[told - 67 : told - 67 + DIGEST].decode("latin-1")
            self.code, self.contents, self.accepted = code, contents, False
            return
        self.take(self.record)

    def take(self, record: Record) -> None:
        """Say what `record` says."""
        head = record.head
        self.quick, self.content = (head["code"] or {"quick": None})["quick"], content_of(head)
        told = head.get("made_from") or (None, None)
        self.code, self.contents = [each if each is None else each.encode() for each in told[:2]]
        self.accepted = len(told) > 2

    @property
    def record(self) -> Record:
        """All of it. Raises PayloadCorrupted where it is damaged."""
        if self._record is None:
            self._record = Record.parse(self.data, self._key)
        return self._record

    def is_sound(self) -> bool:
        """Tell whether it is what was written; if so, from now on it says what all of the record says."""
        if self._record is None:
            record = parsed(self.data, self._key)
            if record is None:
                return False
            self._record = record
            self.take(record)
        return True


class _Unit:
    """One node in one store."""

    __slots__ = ("head", "node", "sources", "store", "verdict")

    def __init__(self, node: Node, store: Store) -> None:
        self.node = node
        self.store = store
        self.sources: list[_Unit] | None = None if node._upstream else _NONE
        self.head: _Head | None = None
        self.verdict: Verdict | None = None


_NONE: list[_Unit] = []


def _stranger(node: Node, record: Record) -> str:
    """The maker of a record, where that is another class, or one of that name in another project; else ""."""
    if not code.is_same_place(record.class_reference, code.class_reference(node.__class__)):
        return record.class_reference
    given = node.__dict__.get("_given_code")
    theirs, mine = record.project, given.project if given is not None else code.project_of(node.__class__)
    return f"{record.class_reference} of {theirs}" if theirs and mine and theirs != mine else ""


class Judge:
    """Judges payloads, a few or many at a time; what was read, of code and of records, is not read again."""

    def __init__(self) -> None:
        self._today = Today()
        self._units: dict[str, dict[Place, _Unit]] = {}
        self._stores: dict[int, tuple[Store, dict[Place, _Unit]]] = {}
        self._looked: set[_Unit] = set()
        self._digests: dict[str, bytes] = {}
        self.read: list[tuple[Store, list[str], dict[str, bytes]]] = []
        """Each request to a store, and its answer."""

    def judge(self, asked: Sequence[tuple[Any, Store, Record]]) -> list[Verdict]:
        """The verdicts on these payloads, given their records."""
        units: list[_Unit | None] = []
        deep: list[_Unit] = []
        for node, store, record in asked:
            unit = None
            if node._upstream:
                unit = self._unit(node, store)
                if unit.head is None or unit.head.data is not record.to_bytes():
                    unit.head, unit.verdict = _Head(record.to_bytes(), node.key, record), None
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
        """The verdicts on these nodes; None for one of which no sound record is stored. Their records are read here."""
        units = [self._unit(node, store) for node, store in nodes]
        self._verdicts(self._order(units))
        return [unit.verdict for unit in units]

    def expected(self, node: Node, store: Store) -> tuple[str, list[Any] | None] | None:
        """The facts of its record about its code, and as ``made_from``, where nothing has changed; None where something upstream has."""
        if not node._upstream:
            return self._today.token(node), None
        unit = self._unit(node, store)
        self._looked.add(unit)
        self._verdicts(self._order([unit]))
        stored, _ = _frontier(unit)
        if any(source.verdict is not None and source.verdict.causes for source in stored):
            return None
        return self._today.token(node), [self._today.upstream(node), contents_digest(_contents(stored))]

    # the nodes upstream, and what is stored of them

    def _unit(self, node: Node, store: Store) -> _Unit:
        kept = self._stores.get(id(store))
        if kept is None:
            kept = self._stores[id(store)] = (store, self._units.setdefault(store.url, {}))
        place = node.key if node._to is None else node.place
        unit = kept[1].get(place)
        if unit is None:
            unit = kept[1][place] = _Unit(node, store)
        return unit

    def _order(self, units: list[_Unit]) -> Iterable[_Unit]:
        """These and everything upstream of them, upstream first."""
        order: dict[_Unit, None] = {}
        entered: set[_Unit] = set()
        stack = list(units)
        while stack:
            unit = stack[-1]
            if unit in entered:
                order[unit] = None
                stack.pop()
                continue
            entered.add(unit)
            sources = unit.sources
            if sources is None:
                store = unit.store
                sources = unit.sources = [self._unit(node, node._store or store) for node in unit.node._upstream.values()]
            for source in sources:
                if source.sources is _NONE:
                    order[source] = None
                elif source not in entered:
                    stack.append(source)
        return order

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
            paths = [(node.key if (node := unit.node)._to is None else node.place).path + SUFFIX for unit in some]
            found = store.get_many(paths)
            self.read.append((store, paths, found))
            get = found.get
            for unit, path in zip(some, paths, strict=True):
                data = get(path)
                if data is not None:
                    unit.head = _head_of(data, unit.node)

    # what is to be said

    def own(self, node: Node, record: Record) -> Verdict:
        """The verdict on the payload's own code alone."""
        made_by = record.head["code"]
        if made_by is None or (made_by["quick"] and made_by["quick"] == self._today.token(node)):
            return FRESH
        return self._compared(node, record)

    def _compared(self, node: Node, record: Record) -> Verdict:
        """As `own`, where the quick digests differ."""
        own, before = self._today.code(node), _fingerprint(record)
        change = code.compare(before, own)
        if change.same and (change.comparable or _is_shown_same(before, own)):
            return FRESH
        reference = code.class_reference(node.__class__)
        cause = Cause(node.key, reference, change.describe(), self._today.token(node))
        if not change.same and (stranger := _stranger(node, record)) and not code.is_same_code(before, own):
            return Verdict((cause,), cause.change, foreign=stranger)
        if not change.comparable:
            return Verdict(unknown=(_other_python(before.python, own.python),))
        if record.by_hand:
            return FRESH  # no code has made it
        return Verdict((cause,), cause.change)

    def _verdicts(self, order: Iterable[_Unit]) -> None:
        self._look(order)
        is_expected = self._is_expected
        for unit in order:
            if unit.verdict is None and unit.head is not None:
                unit.verdict = FRESH if is_expected(unit, unit.head) else self._verdict(unit)

    def _is_expected(self, unit: _Unit, head: _Head) -> bool:
        """Tell whether its record says what it says where nothing has changed, and so for everything upstream."""
        today = self._today
        if not head.quick or head.quick != today.token(unit.node):
            return False
        sources = unit.sources
        if not sources:
            return True
        for source in sources:
            if source.head is None:
                sources = _frontier(unit)[0]
                break
        said: list[str] = []
        for source in sources:
            read = source.head
            if read is None or source.verdict is not FRESH:
                return False
            name, digest = source.node.key
            said.append(f"{name}/{digest} {read.content}")
        text = said[0] if len(sources) == 1 else "\n".join(sorted(set(said)))
        digests = self._digests
        if head.contents != (digests.get(text) or digests.setdefault(text, text_digest(text).encode())):
            return False
        return head.code == today.upstream(unit.node).encode()

    def _verdict(self, unit: _Unit) -> Verdict | None:
        """As `_is_expected` would have it, where something is not; None where its record is damaged."""
        node, head = unit.node, unit.head
        assert head is not None
        if not head.is_sound():
            unit.head = None
            return None
        own = FRESH if head.quick is None or (head.quick and head.quick == self._today.token(node)) else self._compared(node, head.record)
        if not node._upstream or own.foreign:
            return own
        if head.code is None or head.contents is None:
            return own._replace(unknown=(*own.unknown, NO_FACTS))
        upstream = self._upstream(unit, head)
        if upstream is FRESH:
            return own
        if upstream.causes and head.record.by_hand:  # not from what is upstream, so it is not stale
            return own._replace(unknown=(*own.unknown, f"{BY_HAND} {upstream.describe()}"))
        causes = tuple(dict.fromkeys((*own.causes, *upstream.causes)))
        # another project's, of other code upstream, is not this one's of earlier times
        stranger = _stranger(node, head.record) if any(cause.change for cause in causes) else ""
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
        damaged = [source for source in stored if source.head is not None and not source.head.is_sound()]
        if damaged:
            for source in damaged:
                source.head = source.verdict = None
            return self._upstream(unit, head)
        contents = _contents(stored)
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
            unknown = tuple(dict.fromkeys((*unknown, *[words for words in told if words != NO_FACTS and not words.startswith(BY_HAND)])))
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
            if node.is_external or code_key(node) in done:
                continue
            done.add(code_key(node))
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


def _head_of(data: bytes, node: Node) -> _Head | None:
    """The head of the record in `data`, which was read where the record of `node` lies; None for a record that is damaged, or another's."""
    record = None
    if node._to is not None or not data.startswith(_BEGINNING):  # payloads may take turns there
        record = parsed(data, node.key)
        if record is None:
            return None
    try:
        return _Head(data, node.key, record)
    except (PayloadCorrupted, PayloadUntrusted):
        return None


def _contents(units: Iterable[_Unit]) -> dict[str, str]:
    return {str(unit.node.key): unit.head.content for unit in units if unit.head is not None}


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
