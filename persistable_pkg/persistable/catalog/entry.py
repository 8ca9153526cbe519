"""One record, or a failure without one: its facts in the index, and access to the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from persistable.catalog.index.rows import CORRUPT, FAILED, UNTRUSTED
from persistable.errors import PayloadNotFound
from persistable.params.display import cut, in_words, is_of_nodes
from persistable.params.trees import from_tree
from persistable.records.key import Key, Place, Placed
from persistable.records.record import FileFact, Record

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog
    from persistable.nodes.node import Persistable
    from persistable.records.failure import Failure

COLUMNS = "n.key, n.class, n.version, n.params, r.name, r.at, r.status, r.size, r.seconds, r.created, r.host, r.made"
ABSENT = "absent"


class Entry:
    """One payload according to its record, whether or not its files are still there."""

    key: Key | None
    """The key; None where a damaged record at a custom path hides it."""
    name: str
    """The name of the payload."""
    version: Any
    """The version of the class or step; None where that is not known."""
    status: str
    """``"done"``, ``"corrupt"`` (the record is damaged), ``"untrusted"`` (no signer that the store trusts has signed it), ``"failed"`` (a
    failure without a record) or ``"absent"`` (upstream of an entry, but not stored)."""
    class_reference: str | None
    """The class or step that made it, ``module:qualname``."""
    made: str | None
    """``"generated"``, ``"put"`` by hand, or ``"adopted"`` from a file made elsewhere."""
    size: int | None
    """Bytes of its files."""
    seconds: float | None
    """Seconds that its generation took."""
    created: float | None
    """The time at which that ended, seconds since 1970 in UTC."""
    host: str | None
    """The machine that it was made on."""

    __slots__ = (
        "_at",
        "_catalog",
        "_params",
        "class_reference",
        "created",
        "host",
        "key",
        "made",
        "name",
        "seconds",
        "size",
        "status",
        "version",
    )

    def __init__(self, catalog: Catalog, row: tuple[Any, ...]) -> None:
        self._catalog = catalog
        key, self.class_reference, version, params, self.name, self._at, self.status = row[:7]
        self.key = Key(self.name, key[-32:]) if key is not None else None
        self.version = None if version is None else json.loads(version)
        self._params: str | None = params
        self.size, self.seconds, self.created, self.host, self.made = row[7:]

    @property
    def at(self) -> str | None:
        """The custom path of the payload in the store; None for one that is stored under its key."""
        return self._at or None

    @property
    def place(self) -> Place:
        """The place of the payload. Raises PayloadNotFound for a damaged record at a custom path."""
        if self.key is None:
            raise PayloadNotFound(f"the record of {self._at} is damaged, so its key is not known", key=None, nearest=None, differences={})
        return Placed(*self.key, to=self._at) if self._at else self.key

    @property
    def params(self) -> dict[str, Any]:
        """The node's own params by name, as Python values; a value that cannot be rebuilt from the record is left as recorded."""
        return {name: value_of(tree) for name, tree in self.params_tree.items()}

    @property
    def params_tree(self) -> dict[str, Any]:
        """The node's own params by name, as recorded."""
        found: dict[str, Any] = json.loads(self._params) if self._params else {}
        return found

    @property
    def record(self) -> Record:
        """The record, read from the store. Raises PayloadNotFound where there is none, PayloadCorrupted for a damaged one."""
        from persistable.records import record_access

        found = record_access.find_record(self._catalog.store, self.place) if self.status != ABSENT else None
        if found is None:
            gone = "its last attempt failed" if self.status == FAILED else f"there is no record of it in {self._catalog.store.url}"
            raise PayloadNotFound(f"{self.key}: {gone}", key=self.key, nearest=None, differences={})
        return found

    @property
    def failure(self) -> Failure | None:
        """The failure of its last attempt; None where that did not fail."""
        from persistable.records import record_access

        return record_access.find_failure(self._catalog.store, self.place)

    @property
    def files(self) -> tuple[FileFact, ...]:
        """The files of the payload: path in the store, size and digest."""
        return self.record.files

    @property
    def payload(self) -> Any:
        """The payload, loaded by its node, or, if that cannot be rebuilt, by a format that is safe. Raises PayloadUntrusted if none is."""
        from persistable.catalog.reproduce.nodes import payload

        return payload(self._catalog, self)

    def node(self) -> Persistable[Any, Any]:
        """The node, rebuilt from its record alone. Raises NotRebuildable, with the reason."""
        return self._catalog.node(self)

    @property
    def upstream(self) -> dict[str, Entry]:
        """The entries directly upstream, by role."""
        from persistable.catalog.lookup import upstream_of_all

        return upstream_of_all(self._catalog, [self])[0]

    @property
    def downstream(self) -> list[Entry]:
        """The entries directly downstream."""
        from persistable.catalog.lookup import downstream

        return downstream(self._catalog, self, levels=1)

    @property
    def label(self) -> str:
        """Name, params and direct upstream, as in code: ``outliers(k=2.0, points=points(n=100))``."""
        return label(self.name, self.params_tree, {} if self.key is None else self.upstream)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (other.key, other._at, other.status) == (self.key, self._at, self.status)

    def __hash__(self) -> int:
        return hash((self.key, self._at))

    def __repr__(self) -> str:
        note = f", {self.status}" if self.status in (CORRUPT, FAILED, UNTRUSTED, ABSENT) else ""
        return f"<Entry {self.label}, {self.key or self._at}{note}>"

    def _repr_html_(self) -> str:
        from persistable.catalog.entry_text import entry_html

        return entry_html(self)


def value_of(tree: Any) -> Any:
    """The value of a tree, or the tree itself if it cannot be converted."""
    if tree.__class__ is not dict and tree.__class__ is not list:
        return tree
    try:
        return from_tree(tree)
    except Exception:  # noqa: BLE001 - classes of users are imported and called
        return tree


def label(name: str, params: Mapping[str, Any], upstream: Mapping[str, Entry] = MappingProxyType({})) -> str:
    """``outliers(k=2.0, points=points(n=100))``, cut where it is long."""
    own = {each: tree for each, tree in params.items() if not upstream or not is_of_nodes(tree)}
    return f"{name}({params_and_sources(own, sources_in_words(upstream))})"


def params_and_sources(params: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    """``k=2.0, points=points(n=100)``, cut where it is long."""
    parts = [f"{name}={cut(in_words(tree, name))}" for name, tree in params.items()]
    return cut(", ".join([*parts, *(f"{role}={text}" for role, text in sources.items())]), 160)


def sources_in_words(upstream: Mapping[str, Entry]) -> dict[str, str]:
    """The name and params of the entries directly upstream, by role; of several in one role those of the first, and their number."""
    roles: dict[str, list[Entry]] = {}
    for role, entry in upstream.items():
        roles.setdefault(role.partition(".")[0], []).append(entry)
    first = {role: cut(label(entries[0].name, entries[0].params_tree)) for role, entries in roles.items()}
    return {role: first[role] if len(entries) == 1 else f"[{first[role]}, … {len(entries)} nodes]" for role, entries in roles.items()}
