"""Renaming of payload names, params and classes: all records that have them, and everything downstream, get new keys."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, NamedTuple

from persistable.catalog.cleanup import trash_files
from persistable.catalog.entry import label
from persistable.catalog.evolve import moves, rename_notes
from persistable.catalog.evolve.changes import Changes, ParamNameTaken
from persistable.catalog.evolve.identity import Forms, NodeFacts, ParamsForm, renamed
from persistable.catalog.evolve.renamed_record import RenameMapping
from persistable.catalog.evolve.renaming import Move, Progress, RenameResult, Renaming, UnrenamedRecord
from persistable.catalog.index.change_detection import stores_of
from persistable.catalog.index.rows import DONE, FAILED
from persistable.catalog.lookup import downstream_keys, roles_of
from persistable.errors import ParamsError, StoreReadOnly, UnknownKey
from persistable.records import claims, store_format
from persistable.records import commit as commits
from persistable.records.key import Key, Placed
from persistable.records.record import SUFFIX, Record
from persistable.stores.base import Store, extended

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

BATCH = 100
GENERATED = "it is being generated"
CHANGED = "it has changed since"
SIGNED = "it is signed, and this store has no key to sign it anew; open it with sign="
READ_ONLY = "it is in a layer that is only read"


class _At(NamedTuple):
    """A record or failure, as it is in the index."""

    part: int
    path: str
    at: str | None
    status: str


# ------------------------------------------------------------------ plan


def plan(catalog: Catalog, changes: Changes, selection: Any, where: str | None) -> Renaming:
    """The renaming by `changes` of the records that `Catalog.find` selects by the other arguments."""
    if not changes:
        raise ValueError("nothing is renamed; give name=(old, new), params={old: new} or classes={old: new}")
    found = _Plan(catalog, changes, selection, where)
    work = RenameMapping(changes, found.keys, found.own)
    stores = stores_of(catalog.store)

    def act(renaming: Renaming, progress: Progress | None) -> RenameResult:
        def successor(move: Move, old: Record) -> Record | str:
            signer = extended(stores[move.part][0]).signer
            return SIGNED if old.signature is not None and signer is None else work.renamed_record(old, move.new, signer)

        return _Application(catalog, renaming, successor, changes.to_json()).all(progress)

    return Renaming(catalog, changes.lines(), found.moves, found.left, act)


class _Plan:
    """The plan of a renaming. keys: new by old ones. own: the keys of nodes that are renamed themselves."""

    def __init__(self, catalog: Catalog, changes: Changes, selection: Any, where: str | None) -> None:
        self._catalog = catalog
        self._index = catalog.current()
        self._changes = changes
        self._stores = stores_of(catalog.store)
        self._forms = Forms(changes)
        self._why: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.own = self._selected(selection, where)
        order = list(_upstream_first(self._nodes([*self.own, *downstream_keys(self._index, self.own)])))
        self._at = self._records([node.key for node in order])
        for node in order:
            self._note_new_key(node)
        self._refuse_conflicts(order)
        self.moves = [move for node in order for move in self._moves(node)]
        self._read()
        self.left = [
            UnrenamedRecord(Key.parse(node.key), self._why[node.key]) for node in order if node.key in self._why and node.key in self._at
        ]

    # selection

    def _selected(self, selection: Any, where: str | None) -> set[str]:
        name = self._changes.name[0] if self._changes.name is not None else None
        if selection is not None or where is not None:
            entries = self._catalog.find(selection, where=where, name=None if isinstance(selection, str) else name)
            nodes: Iterable[NodeFacts] = self._nodes(
                list(dict.fromkeys(str(entry.key) for entry in entries if entry.key is not None))
            ).values()
        else:
            nodes = self._nodes(None, name).values()
        return {node.key for node in nodes if (name is None or node.name == name) and self._is_changed(node)}

    def _is_changed(self, node: NodeFacts) -> bool:
        changes = self._changes
        if changes.named(node.name) != node.name or changes.reference(node.reference) != node.reference:
            return True
        try:
            if changes.fields(node.params) != node.params or any(changes.role(role) != role for role in node.upstream):
                return True
        except ParamNameTaken:
            return True
        if not changes.classes:
            return False
        try:
            form = self._form(node)
            return renamed(node, form, changes, {}, True)[1] != form
        except ParamsError:
            return False

    def _nodes(self, keys: Sequence[str] | None, name: str | None = None) -> dict[str, NodeFacts]:
        """The descriptions of these keys, or of all nodes (of a name) in the index, stored or not."""
        within: tuple[str, tuple[str, ...]] = ("1", ())
        if keys is not None:
            within = (_AMONG, (json.dumps(keys),))
        elif name is not None:
            within = ("n.key >= ? AND n.key < ?", (f"{name}/", f"{name}0"))
        query = f"SELECT n.key, n.class, n.version, n.params FROM nodes n WHERE n.class IS NOT NULL AND {within[0]}"
        rows = self._index.rows(query, within[1])
        upstream = roles_of(self._index, [row[0] for row in rows])
        return {
            key: NodeFacts(key, reference, json.loads(version), json.loads(params or "{}"), upstream.get(key, {}))
            for key, reference, version, params in rows
        }

    def _records(self, keys: Sequence[str]) -> dict[str, list[_At]]:
        """The places of the records and failures of these keys."""
        query = (
            "SELECT n.key, f.part, f.path, r.file, r.at, r.status FROM records r JOIN nodes n ON n.id = r.node "
            f"JOIN folders f ON f.id = r.folder WHERE {_AMONG} ORDER BY f.part"
        )
        found: dict[str, list[_At]] = {}
        for key, part, folder, file, at, status in self._index.rows(query, (json.dumps(keys),)):
            found.setdefault(key, []).append(_At(part, f"{folder}/{file}" if folder else file, at or None, status))
        return found

    # new keys

    def _form(self, node: NodeFacts) -> ParamsForm:
        try:
            return self._forms.of(node)
        except ParamsError:
            record = self._record(node.key)
            reference = record.facts().get("params_class") if record is not None else None
            if not reference:
                raise
            return self._forms.of(node._replace(params_class=reference))

    def _record(self, key: str) -> Record | None:
        for each in self._records([key]).get(key, []):
            if each.status == DONE:
                data = self._stores[each.part][0].get_many([each.path]).get(each.path)
                return Record.parse(data) if data is not None else None
        return None

    def _note_new_key(self, node: NodeFacts) -> None:
        """Note the new key of a node, or the reason why it stays."""
        if why := _made_from(node.upstream.values(), self._why):
            self._why[node.key] = why
            return
        try:
            new, _ = renamed(node, self._form(node), self._changes, self.keys, node.key in self.own)
        except ParamNameTaken as error:
            self._why[node.key] = f"it has a param {error} already"
        except ParamsError as error:
            self._why[node.key] = str(error)
        else:
            self.keys[node.key] = new.key
            own = self._at.get(node.key, [])
            if own and all(self._stores[each.part][1] for each in own):
                self._why[node.key] = READ_ONLY

    def _refuse_conflicts(self, order: Sequence[NodeFacts]) -> None:
        """Exclude nodes whose new key another payload has, and everything downstream of them."""
        there = self._records(list(dict.fromkeys(new for old, new in self.keys.items() if new != old)))
        taken: dict[str, str] = {}
        for node in order:
            if node.key not in self._why and (why := _made_from(node.upstream.values(), self._why)):
                self._why[node.key] = why
            if node.key in self._why:
                continue
            new = self.keys[node.key]
            if new == node.key:
                continue
            if taken.setdefault(new, node.key) != node.key or (node.key in self._at and self._is_another(node.key, there.get(new, []))):
                self._why[node.key] = f"there is a payload under its new key {new} already"
        for key in self._why:
            self.keys.pop(key, None)

    def _is_another(self, key: str, there: list[_At]) -> bool:
        """Tell whether another payload than that of `key` is at its new key."""
        records = [each for each in there if each.status != FAILED and not each.at]
        own = self._record(key) if records else None
        return any(moves.is_another(self._stores[each.part][0], each.path, own) for each in records)

    # moves

    def _moves(self, node: NodeFacts) -> Iterator[Move]:
        if node.key in self._why:
            return
        for each in self._at.get(node.key, []):
            if self._stores[each.part][1] or each.status == FAILED:
                continue
            if each.status != DONE:
                self._why[node.key] = f"its record is {each.status}"
                continue
            new = Key.parse(self.keys[node.key])
            yield Move(Key.parse(node.key), new, label(node.name, node.params), node.key not in self.own, each.at, each.part)

    def _read(self) -> None:
        """Exclude signed records that this store could not sign anew."""
        for part, (store, _) in enumerate(self._stores):
            if extended(store).signer is not None:
                continue
            own = [move for move in self.moves if move.part == part]
            for some in _batches([_path(move.old, move.at) for move in own]):
                signed = {path for path, data in store.get_many(some).items() if b'"signature":{"by":' in data[-400:]}
                for move in [move for move in own if _path(move.old, move.at) in signed]:
                    self._why[str(move.old)] = SIGNED
        self._spread()

    def _spread(self) -> None:
        """Exclude everything downstream of a record that stays."""
        if not self._why:
            return
        nodes = self._nodes([str(move.old) for move in self.moves])
        for move in self.moves:
            key = str(move.old)
            if why := _made_from(nodes[key].upstream.values(), self._why):
                self._why.setdefault(key, why)
        self.moves = [move for move in self.moves if str(move.old) not in self._why]
        for key in self._why:
            self.keys.pop(key, None)


_AMONG = "n.key IN (SELECT value FROM json_each(?))"


def _batches(items: Sequence[Any], size: int = 1000) -> Iterator[list[Any]]:
    for first in range(0, len(items), size):
        yield list(items[first : first + size])


def _upstream_first(nodes: Mapping[str, NodeFacts]) -> Iterator[NodeFacts]:
    graph = {key: [above for above in node.upstream.values() if above in nodes] for key, node in nodes.items()}
    return (nodes[key] for key in TopologicalSorter(graph).static_order())


def _made_from(upstream: Iterable[str], stays: Container[str]) -> str:
    """The reason why a record stays: one upstream of it does. Empty where none does."""
    found = next((key for key in upstream if key in stays), None)
    return "" if found is None else f"it was made from {found[: found.rfind('/') + 9]}, which stays"


def _path(key: Key, at: str | None) -> str:
    return moves.place_of(key, at).path + SUFFIX


# ------------------------------------------------------------------ done


class _Application:
    """A running renaming. successor: returns the record that replaces another, or the reason why that stays."""

    def __init__(self, catalog: Catalog, renaming: Renaming, successor: Any, changes: Any, undone: str = "") -> None:
        self._catalog = catalog
        self._renaming = renaming
        self._successor = successor
        self._changes = changes
        self._undone = undone
        self._stamp = ""
        self._moved: list[tuple[Key, Key]] = []
        self._left: list[UnrenamedRecord] = []
        self._stays: set[str] = set()

    def all(self, progress: Progress | None) -> RenameResult:
        stores = stores_of(self._catalog.store)
        if all(readonly for _, readonly in stores):
            raise StoreReadOnly(
                f"{self._catalog.store.url} was opened with readonly=True, so nothing is renamed", url=self._catalog.store.url
            )
        done = number = 0
        for first in range(0, len(self._renaming), BATCH):
            some = self._renaming[first : first + BATCH]
            for part in sorted({move.part for move in some}):
                own = [move for move in some if move.part == part]
                self._some(stores[part][0], own, number)
                number += 1
            done += len(some)
            if progress is not None:
                progress(done, len(self._renaming))
        if any(old == new for old, new in self._moved):
            with self._catalog.index.refresh_lock():
                self._catalog.index.discard()  # it assumes that descriptions of keys never change, and holds classes too
        return RenameResult(self._catalog, self._stamp, self._moved, self._left)

    def _some(self, store: Store, some: Sequence[Move], number: int) -> None:
        store_format.before_writing(store)
        bases = {move: (moves.place_of(move.old, move.at), moves.place_of(move.new, move.at)) for move in some}
        wanted = {place.path for pair in bases.values() for place in pair}
        with trash_files.holding_claims(self._catalog.store, wanted, claims.current_frame()) as mine:
            pairs: list[tuple[Move, Record, Record]] = []
            for move in some:
                found = self._pair(store, move) if {place.path for place in bases[move]} <= mine else GENERATED
                if isinstance(found, str):
                    if found:
                        self._stays.add(str(move.old))
                        self._left.append(UnrenamedRecord(move.old, found))
                else:
                    pairs.append((move, *found))
            if not self._undone and pairs:
                self._stamp = self._stamp or trash_files.new_stamp()
                noted = [
                    rename_notes.Noted(_path(move.old, move.at), old.data, _path(move.new, move.at), new.checksum, move.at)
                    for move, old, new in pairs
                ]
                rename_notes.write(store, self._stamp, number, self._changes, noted)
            for move, old, new in pairs:
                moves.move(store, old, bases[move][0], new, bases[move][1])
                self._moved.append((move.old, move.new))

    def _pair(self, store: Store, move: Move) -> tuple[Record, Record] | str:
        """The current record and its successor; or the reason why it stays, "" where nothing is to be done."""
        place = moves.place_of(move.old, move.at)
        if isinstance(place, Placed):
            commits.complete_any(store, place)
        data = store.get_many([place.path + SUFFIX]).get(place.path + SUFFIX)
        if data is None:
            return self._absent(store, move)
        try:
            old = Record.parse(data).checked()
        except trash_files.UNREADABLE:
            return CHANGED
        if old.key != move.old:
            return CHANGED
        if why := _made_from(map(str, old.upstream.values()), self._stays):
            return why
        new = self._successor(move, old)
        if isinstance(new, str) or new.data == old.data:
            return new if isinstance(new, str) else ""
        if move.new != move.old and not move.at and moves.is_another(store, _path(move.new, move.at), old):
            return f"there is a payload under its new key {move.new} already"
        return old, new

    def _absent(self, store: Store, move: Move) -> str:
        path = _path(move.new, move.at)
        return "" if move.data is not None and store.get_many([path]).get(path) == move.data else CHANGED


# ------------------------------------------------------------------ undone


def undoing(catalog: Catalog, stamp: str) -> Renaming:
    """The plan that undoes a renaming. Raises UnknownKey for an unknown stamp."""
    stores = stores_of(catalog.store)
    found: list[Move] = []
    known: dict[str, None] = {}
    for part, (store, readonly) in enumerate(stores):
        if readonly:
            continue
        known.update(dict.fromkeys(rename_notes.stamps(store)))
        found += [move for noted in rename_notes.read(store, stamp) if (move := _back(store, part, noted)) is not None]
    if stamp not in known:
        hint = f"; known are {', '.join(list(known)[-5:])}" if known else "; nothing was renamed there"
        raise UnknownKey(f"{catalog.store.url} has no renaming {stamp!r} that could be undone{hint}", text=stamp, nearest=list(known)[-5:])

    def act(renaming: Renaming, progress: Progress | None) -> RenameResult:
        def former(move: Move, old: Record) -> Record | str:
            assert move.data is not None
            if old.data == move.data:
                return old
            return Record.parse(move.data, move.new) if old.checksum == move.check else CHANGED

        done = _Application(catalog, renaming, former, None, stamp).all(progress)
        if not done.left:
            for store, readonly in stores:
                if not readonly:
                    rename_notes.forget(store, stamp)
        return done

    return Renaming(catalog, [f"undo {stamp}"], found[::-1], [], act)


def _back(store: Store, part: int, noted: rename_notes.Noted) -> Move | None:
    """The move that restores a record; None where it never moved, or is restored already."""
    was = Record.parse(noted.data)
    path = noted.after
    data = store.get_many([path]).get(path)
    if data == noted.data or (data is None and store.get_many([noted.before]).get(noted.before) == noted.data):
        return None
    try:
        now = Record.parse(data).key if data is not None else Key.parse(path.removesuffix(SUFFIX))
    except trash_files.UNREADABLE:
        now = was.key
    return Move(now, was.key, label(was.key.name, was.params), False, noted.at, part, noted.data, noted.check)
