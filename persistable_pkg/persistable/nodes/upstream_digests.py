"""The origin of a payload in its record: the code of everything upstream, and the content of the stored payloads it was made from.

The first line of a record has two digests in ``made_from``: of the code of everything upstream, and of the content of its direct stored
upstream. The rest of it has the same in full, so that differences can be named: ``upstream_code``, an entry for each class or function, and
``upstream_content``, of the direct upstream and, from their records, of nodes further up.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from blake3 import blake3

from persistable.errors import PayloadCorrupted, PayloadUntrusted
from persistable.nodes import code
from persistable.nodes.lineage import MAX_TABLE
from persistable.nodes.own_code import REFERENCES, code_key, reference_of
from persistable.nodes.types import Node
from persistable.records.key import Key
from persistable.records.record import SUFFIX, Record
from persistable.records.record_cache import records_at
from persistable.stores.base import Store

Head = Mapping[str, Any]
_LENGTH = 16


def content_of(head: Head) -> str:
    """A digest of the payload whose record begins with `head`: of its bytes alone, not of the paths of its files."""
    files = head["files"]
    if len(files) == 1 and not files[0][0] and "schema" not in head and "items" not in head:
        plain: str = files[0][3][: 2 * _LENGTH]
        return plain
    items = head.get("items")
    own = [] if items is not None else sorted([part, size, digest] for part, _, size, digest in files)
    facts = [own, head.get("schema"), None if items is None else items[3:] or [files[0][3]]]
    return text_digest(code_text(facts))


def code_text(fact: Any) -> str:
    """The JSON text of `fact`: equal for equal facts."""
    import json

    return json.dumps(fact, sort_keys=True, separators=(",", ":"))


def text_digest(text: str) -> str:
    """A short digest of `text`."""
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest(length=_LENGTH)


def contents_digest(contents: Mapping[str, str]) -> str:
    """One digest for the contents of several payloads, by key."""
    return text_digest("\n".join(sorted([f"{key} {content}" for key, content in contents.items()])))


# the code upstream


class _Makers:
    """The makers of everything upstream of a node, kept on it. Not a dict itself, which would be searched for nodes.

    stores: the ``id`` of each store that an upstream node names.
    """

    __slots__ = ("rows", "stores")

    def __init__(self, rows: dict[Any, Any], stores: frozenset[int] = frozenset()) -> None:
        self.rows = rows
        self.stores = stores


_KEPT = "_node_makers"
_NO_MAKERS = _Makers({})
"""The makers of any node with nothing upstream: one object for all of these."""


def upstream_makers(node: Node) -> dict[Any, Any]:
    """The nodes upstream of `node` that represent all code there: one for each class or function and payload name."""
    kept: _Makers | None = node.__dict__.get(_KEPT)
    if kept is not None:
        return kept.rows
    stack = [node]
    while stack:
        top = stack[-1]
        if _KEPT in top.__dict__:
            stack.pop()
            continue
        if not top._node_upstream:
            top.__dict__[_KEPT] = _NO_MAKERS
            continue
        waiting = [upstream for upstream in top._node_upstream.values() if _KEPT not in upstream.__dict__]
        if waiting:
            stack.extend(waiting)
        else:
            top.__dict__[_KEPT] = _same(top._node_upstream.values()) or _joined(top._node_upstream.values())
    rows: dict[Any, Any] = node.__dict__[_KEPT].rows
    return rows


def is_all_in(node: Node, store: Store) -> bool:
    """Tell whether nothing upstream of `node` names another store than `store`."""
    upstream_makers(node)
    stores: frozenset[int] = node.__dict__[_KEPT].stores
    return stores <= {id(store)}


def _same(upstream: Iterable[Any]) -> _Makers | None:
    """The makers of one of these nodes if they are those of all, and include the code of these nodes themselves; else None.

    They are where a few functions make many nodes.
    """
    found: _Makers | None = None
    for node in upstream:
        known: _Makers = node.__dict__[_KEPT]
        if found is None:
            found = known
        if known is not found or not found.rows or node._node_store is not None or node.is_external or _row_of(node) not in found.rows:
            return None
    return found


def _row_of(node: Node) -> tuple[Any, str]:
    """The code that makes `node`, as `code_key` gives it, and the name of the payload."""
    return _code_key(node), node.payload_name


def _code_key(node: Node) -> Any:
    seen = node.__dict__.get("_node_snapshot")
    return node.__class__ if seen is not None and seen.plain else code_key(node)  # params without code, as nearly always


def _joined(upstream: Iterable[Any]) -> _Makers:
    named = [frozenset((id(each._node_store),)) for each in upstream if each._node_store is not None]
    return _Makers(_merged(upstream), frozenset[int]().union(*named, *[each.__dict__[_KEPT].stores for each in upstream]))


def _merged(upstream: Iterable[Any]) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    owned = False
    for node in upstream:
        rows: dict[Any, Any] = node.__dict__[_KEPT].rows
        if not merged:
            merged, owned = rows, False
        elif rows is not merged and not rows.keys() <= merged.keys():
            merged, owned = {**merged, **rows}, True
        own = None if node.is_external else _row_of(node)
        if own is not None and own not in merged:
            if not owned:
                merged, owned = dict(merged), True
            merged[own] = node
    return merged


class UpstreamCode(NamedTuple):
    """The code of everything upstream. entries: as in a record, one for each class or function."""

    digest: str
    entries: list[dict[str, Any]]


class CodeFacts(NamedTuple):
    """The code of a node as it is now. token: see `token_of`. line: its text in a first line, before one file. bit: its bit in a set."""

    token: str
    line: bytes
    bit: int


class CurrentCode:
    """The code of nodes as it is now; that of each class or function is determined once."""

    def __init__(self) -> None:
        self._codes: dict[Any, Any] = {}
        self._known: dict[Any, CodeFacts] = {}
        self._by_token: dict[str, CodeFacts] = {}
        self._digests: dict[int, bytes] = {}

    def code(self, node: Node) -> Any:
        """The code of `node` itself."""
        state = node.__dict__
        if "_node_given_code" in state:
            return state["_node_given_code"]
        key = _code_key(node)
        found = self._codes.get(key)
        if found is None:
            found = self._codes[key] = node._node_own_code()
        return found

    def code_facts(self, node: Node) -> CodeFacts:
        """The facts about the code of `node` itself, as records have them."""
        state = node.__dict__
        if "_node_given_code" in state:
            key: Any = token_of(state["_node_given_code"])
        else:
            key = _code_key(node)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._with_token(token_of(self.code(node)))
        return found

    def _with_token(self, token: str) -> CodeFacts:
        found = self._by_token.get(token)
        if found is None:
            line = b'"quick":"%b"},"files":[["","' % token.encode("utf-8", "surrogatepass")
            found = self._by_token[token] = CodeFacts(token, line, 1 << len(self._by_token))
        return found

    def token(self, node: Node) -> str:
        """The token of the code of `node`: the quick digest, or, if there is none, a digest of its parts."""
        return self.code_facts(node).token

    def digest_of(self, bits: int) -> bytes:
        """The digest over the tokens whose bits are set."""
        known = self._digests.get(bits)
        if known is None:
            known = self._digests[bits] = tokens_digest(each.token for each in self._by_token.values() if each.bit & bits).encode()
        return known

    def upstream(self, node: Node) -> str:
        """A digest of the code of everything upstream of `node`."""
        bits = 0
        for each in upstream_makers(node).values():
            bits |= self.code_facts(each).bit
        return self.digest_of(bits).decode()

    def table(self, node: Node) -> UpstreamCode:
        """The code of everything upstream of `node`, in full."""
        upstream = upstream_makers(node).values()
        names = [REFERENCES.found.get(id(each.__class__)) or reference_of(each.__class__) for each in upstream]
        rows = [(name, each.payload_name, self.token(each)) for name, each in zip(names, upstream, strict=True)]
        place = frozenset(rows)
        known = _tables.get(place)
        if known is None:
            if len(_tables) > _TABLES:
                _tables.clear()
            entries: dict[tuple[str, str], dict[str, Any]] = {}
            for (reference, name, token), each in zip(rows, upstream, strict=True):
                entry = entries.get((reference, token))
                if entry is None:
                    entries[reference, token] = entry_of(reference, [name], self.code(each))
                else:
                    entry["names"].append(name)
            known = _tables[place] = UpstreamCode(tokens_digest([token for _, _, token in rows]), list(entries.values()))
        return known


_tables: dict[frozenset[tuple[str, str, str]], UpstreamCode] = {}
_TABLES = 200


def token_of(found: Any) -> str:
    """The token of some code in a digest over several."""
    quick: str = found.quick
    return quick or "parts " + text_digest(code_text(dict(found.parts)))


def tokens_digest(tokens: Iterable[str]) -> str:
    """One digest for several tokens."""
    return text_digest("\n".join(sorted(set(tokens))))


def entry_of(reference: str, names: list[str], found: Any) -> dict[str, Any]:
    """The code of a class or function as records keep it. names: of the payloads that it makes."""
    return {"class": reference, "names": names, "python": found.python, "quick": found.quick, "parts": dict(found.parts)}


def fingerprint_of(entry: Mapping[str, Any]) -> code.Fingerprint:
    """The fingerprint of the code in an entry."""
    return code.Fingerprint(entry["python"], entry["quick"], entry["parts"])


# payloads that are read


def direct(node: Node, store: Store) -> list[tuple[Any, Store]]:
    """The nearest persisted nodes upstream of `node`, also behind nodes that are not persisted, each with its store."""
    found: dict[Key, tuple[Any, Store]] = {}
    seen: set[Key] = set()
    stack = [(upstream, upstream._node_store or store) for upstream in node._node_upstream.values()]
    while stack:
        upstream, where = stack.pop()
        if upstream.key in seen:
            continue
        seen.add(upstream.key)
        if upstream.is_persisted:
            found[upstream.key] = (upstream, where)
        else:
            stack.extend((source, source._node_store or where) for source in upstream._node_upstream.values())
    return list(found.values())


def records_of(nodes: Iterable[tuple[Any, Store]]) -> dict[Key, Record]:
    """The sound records of these nodes, each store read once."""
    by_store: dict[str, tuple[Store, list[Any]]] = {}
    for node, store in nodes:
        by_store.setdefault(store.url, (store, []))[1].append(node)
    found: dict[Key, Record] = {}
    for store, some in by_store.values():
        data = records_at(store, [node.place.path + SUFFIX for node in some])
        for node in some:
            record = parsed(data.get(node.place.path + SUFFIX), node.key)
            if record is not None:
                found[node.key] = record
    return found


def parsed(data: bytes | None, key: Key) -> Record | None:
    """The record of `key` in `data`; None if there is none, it is damaged or untrusted, or it is of another key."""
    try:
        return Record.parse(data, key) if data is not None else None
    except (PayloadCorrupted, PayloadUntrusted):
        return None


class UpstreamFacts(NamedTuple):
    """Facts about the upstream of a node, for a process that has only stubs of it.

    hidden_contents: contents of payloads stored behind upstream that is not persisted. upstream_code: a digest of the code upstream of each
    direct upstream.
    """

    hidden_contents: dict[str, str]
    upstream_code: dict[str, str]


class Origin(NamedTuple):
    """Facts of a record about the upstream of its payload."""

    head: list[Any]
    code: list[dict[str, Any]]
    content: dict[str, dict[str, str]]


def given(node: Node, store: Store) -> tuple[UpstreamCode, UpstreamFacts]:
    """Facts that another process needs to write the record of `node`."""
    today = CurrentCode()
    sources = direct(node, store)
    own = {upstream.key for upstream in node._node_upstream.values()}
    behind = records_of([pair for pair in sources if pair[0].key not in own])
    contents = {str(key): content_of(record.head) for key, record in behind.items()}
    return today.table(node), UpstreamFacts(contents, {str(upstream.key): today.upstream(upstream) for upstream, _ in sources})


def origin_of(node: Node, store: Store, used: Mapping[Key, Record]) -> Origin | None:
    """The origin of a payload of `node` that is made now; None if nothing is upstream. used: the records of payloads loaded for it."""
    if not node._node_upstream:
        return None
    today = CurrentCode()
    sent: UpstreamFacts | None = node.__dict__.get("_node_given_origin")
    sources = direct(node, store)
    records = {source.key: used[source.key] for source, _ in sources if source.key in used}
    missing = [pair for pair in sources if pair[0].key not in records]
    if missing:
        records.update(records_of(missing))
    contents = dict(sent.hidden_contents) if sent is not None else {}
    contents.update({"/".join(key): content_of(record.head) for key, record in records.items()})
    table: UpstreamCode = node._node_given_table if sent is not None else today.table(node)
    old: list[dict[str, Any]] = []
    for source, _ in sources:
        record = records.get(source.key)
        upstream = (
            sent.upstream_code.get(str(source.key), "") if sent is not None else today.upstream(source) if source._node_upstream else ""
        )
        if record is not None and not _is_fresh(record, today.token(source), upstream) and not record.by_hand:
            old += _entries_of(record, source.payload_name)
    if old:
        table = _with(table, old)
    return Origin([table.digest, contents_digest(contents)], table.entries, {"direct": contents, "further": _further(records, contents)})


def merge_origins(now: Origin, earlier: Mapping[str, Any]) -> Origin:
    """The origin of a payload of which a part was made earlier, from upstream that has changed since: both origins together.

    earlier: ``content``, of the direct stored upstream, and ``code``, entries of everything upstream, as they were then.
    """
    before: dict[str, str] = earlier["content"]
    contents = {
        key: content if before.get(key, content) == content else f"{before[key]} {content}"
        for key, content in now.content["direct"].items()
    }
    table = _with(UpstreamCode(now.head[0], now.code), earlier["code"])
    return Origin([table.digest, contents_digest(contents)], table.entries, {**now.content, "direct": contents})


def origin_now(node: Node, store: Store, before: Record) -> Origin | None:
    """The origin with all code as it is now, even if other code made the payloads upstream; `before` is the record that it goes into."""
    if not node._node_upstream:
        return None
    records = records_of(direct(node, store))
    contents = {str(key): content_of(record.head) for key, record in records.items()}
    known = before.upstream_content
    further = {**known.get("further", {}), **known.get("direct", {}), **_further(records, contents)}
    further = {key: content for key, content in further.items() if key not in contents}
    table = CurrentCode().table(node)
    return Origin([table.digest, contents_digest(contents)], table.entries, {"direct": contents, "further": further})


def _is_fresh(record: Record, token: str, upstream: str) -> bool:
    """Tell whether the payload was made by the code as it is now, its own and that upstream."""
    own, from_ = record.head["code"], record.head.get("made_from")
    return (own is None or own["quick"] == token) and (from_ is None or from_[0] == upstream)


def _entries_of(record: Record, name: str) -> list[dict[str, Any]]:
    own = record.head["code"]
    first = [] if own is None else [{"class": record.class_reference, "names": [name], **own, "parts": record.code_parts}]
    return [*first, *record.upstream_code]


def _with(table: UpstreamCode, old: list[dict[str, Any]]) -> UpstreamCode:
    """`table`, with the old code of payloads that are served although it has changed since."""
    entries = list(table.entries)
    for entry in old:
        if not any(entry["class"] == each["class"] and entry["parts"] == each["parts"] for each in entries):
            entries.append({**entry, "old": True})
    return UpstreamCode(tokens_digest(token_of(fingerprint_of(entry)) for entry in entries), entries)


_further_of: dict[str, dict[str, str]] = {}


def _further(records: Mapping[Key, Record], direct_contents: Mapping[str, str]) -> dict[str, str]:
    """The contents of payloads further upstream, from the records of the direct upstream; of some if there are very many."""
    further: dict[str, str] = {}
    for record in records.values():
        if "made_from" not in record.head:
            continue
        if len(further) >= MAX_TABLE:
            break
        known = _further_of.get(record.attempt_token)
        if known is None:
            if len(_further_of) > 1000:
                _further_of.clear()
            content = record.upstream_content
            known = _further_of[record.attempt_token] = {**content.get("further", {}), **content.get("direct", {})}
        for key, digest in known.items():
            known_by_now = further.get(key, direct_contents.get(key))
            if known_by_now is None or known_by_now == digest:
                if key not in direct_contents and len(further) < MAX_TABLE:
                    further[key] = digest
            else:  # two versions of it were used, so neither alone is the origin
                further[key] = f"{known_by_now} {digest}"
    return further
