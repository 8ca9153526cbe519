"""Downstream and upstream of payloads: found from records alone, and removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from persistable.records import access, claims
from persistable.records.key import Key, Place
from persistable.records.listing import Entry, entries
from persistable.records.record import Record
from persistable.stores.base import Store


class Removal(NamedTuple):
    """One payload that is to be removed, or not.

    named: it was asked for, by itself or with others, and is not only made from what was. kept: why it will stay, in words; empty where it
    goes. itself: it was asked for by itself, so that it goes also where it was put in by hand.
    """

    place: Place
    size: int
    named: bool
    kept: str
    itself: bool


def dependants(store: Store, keys: Iterable[Key]) -> list[Entry]:
    """The stored payloads made from `keys`, at any remove, the farthest first; `keys` themselves are not in it.

    Every record is read. Payloads on the way that are not stored, or not any more, are bridged by what records say of their lineage.
    """
    held = _held(store)
    fed: dict[Key, list[Key]] = {}
    for key, sources in _sources(held):
        for source in sources:
            fed.setdefault(source, []).append(key)
    return [entry for key in reversed(_reached(keys, fed)) for entry in held.get(key, ())]


def lineage(store: Store, keys: Iterable[Key]) -> list[Entry]:
    """The stored payloads that `keys` were made from, at any remove, the farthest first; `keys` themselves are not in it."""
    held = _held(store)
    made_from: dict[Key, list[Key]] = {}
    for key, sources in _sources(held):
        made_from.setdefault(key, []).extend(sources)
    return [entry for key in reversed(_reached(keys, made_from)) for entry in held.get(key, ())]


def _held(store: Store) -> dict[Key, list[Entry]]:
    """All that is stored; one key may be so at several paths."""
    held: dict[Key, list[Entry]] = {}
    for entry in entries(store):
        held.setdefault(entry.key, []).append(entry)
    return held


def _sources(held: Mapping[Key, list[Entry]]) -> Iterator[tuple[Key, list[Key]]]:
    """Each node that records speak of, and what is directly upstream of it."""
    for key, found in held.items():
        record = next((entry.record for entry in found if entry.record is not None), None)
        if record is None:
            continue
        yield key, list(record.upstream.values())
        for path, facts in record.lineage.items():
            other = Key.parse(path)
            if other not in held:
                yield other, [Key.parse(source) for source in facts.get("upstream", {}).values()]


def _reached(starts: Iterable[Key], edges: Mapping[Key, list[Key]]) -> list[Key]:
    """All that `edges` lead to, without where they start, each once, and after whatever leads to it."""
    first = list(dict.fromkeys(starts))
    order: list[Key] = []
    done: set[Key] = set()
    stack = [(key, False) for key in reversed(first)]
    while stack:
        key, left = stack.pop()
        if left:
            order.append(key)
        elif key not in done:
            done.add(key)
            stack.append((key, True))
            stack.extend((other, False) for other in edges.get(key, ()) if other not in done)
    named = set(first)
    return [key for key in reversed(order) if key not in named]


def removals(store: Store, named: Iterable[Place], downstream: bool = False, groups: Iterable[Place] = ()) -> list[Removal]:
    """Removals that come with that of `named`, in the order to do it; with `downstream`, also what was made from it. Nothing is touched.

    `groups` are members of something that was named as a whole. Payloads put in by hand stay, unless they are `named` themselves; so does
    whatever is being generated.
    """
    asked = dict.fromkeys(groups, False) | dict.fromkeys(named, True)
    below = dependants(store, [place.key for place in asked]) if downstream else []
    found = [_removal(store, entry.place, False, asked=False) for entry in below]
    found += [_removal(store, place, itself, asked=True) for place, itself in asked.items()]
    return [removal for removal in found if removal is not None]


def _removal(store: Store, place: Place, itself: bool, *, asked: bool) -> Removal | None:
    found = access.peek(store, place)
    if found is None and access.find_failure(store, place) is None:
        return None
    record = None if isinstance(found, str) else found
    kept = _GENERATED if claims.holder_of(store, place.path) is not None else _by_hand(record, itself)
    return Removal(place, 0 if record is None else record.size, asked, kept, itself)


_GENERATED = "it is being generated"


def _by_hand(record: Record | None, itself: bool) -> str:
    return "it was put in by hand" if not itself and record is not None and record.made == "put" else ""


def remove(store: Store, removal: Removal) -> Removal:
    """Remove record, failure and payload under the claim on them, and say what was done: `kept` tells what stays after all.

    What is being generated by now stays, and so does what was put in by hand meanwhile. What is asked for again is generated again.
    """
    place = removal.place
    claim = (
        None if removal.kept else claims.take_over(store, place.path, claims.here()) or claims.take_over(store, place.path, claims.here())
    )  # one just let go
    if claim is None:
        return removal._replace(kept=removal.kept or _GENERATED)
    try:
        found = access.peek(store, place)
        kept = _by_hand(None if isinstance(found, str) else found, removal.itself)
        if not kept:
            access.delete(store, place)
        return removal._replace(kept=kept)
    finally:
        claim.release()
