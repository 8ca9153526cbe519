"""`persistable rm` and `persistable cp`: remove payloads, and copy them to another store."""

from __future__ import annotations

import sys
from typing import Any, cast

from persistable.catalog.cleanup.reach import stored_downstream, stored_upstream
from persistable.cli.options import COMMON, Common, Flag, Word
from persistable.cli.output import Column, answer, note, table, write, write_json
from persistable.cli.target import Here, One, all_of
from persistable.cli.usage import BadUsage
from persistable.nodes.types import Node
from persistable.records import access
from persistable.records.amounts import size_in_words
from persistable.records.copy import copy, in_conflict
from persistable.records.key import Place, Placed
from persistable.records.listing import Listed
from persistable.records.record import Record
from persistable.records.removal import Removal, removals, remove
from persistable.stores.base import Store
from persistable.stores.keys import TRUSTING
from persistable.stores.layered.store import LayeredStore
from persistable.stores.open import open_store


def rm(*payloads: Word, downstream: Flag = False, dry_run: Flag = False, yes: Flag = False, common: Common = COMMON) -> int:
    """Remove payloads, after listing them. External inputs are never removed, payloads put in by hand only if they are named.

    Parameters
    ----------
    payloads
        Targets, members of targets, stages, or keys.
    downstream
        Also everything downstream of them, according to the records.
    dry_run
        Show the payloads that would be removed, and stop.
    yes
        Do not ask.
    """
    if not payloads:
        raise BadUsage("rm takes the payloads to remove: targets, members of targets, or keys")
    here = Here(common)
    found = _decided(here, payloads, downstream)
    going = [removal for _, removal in found if not removal.kept]
    if not common.json:
        _show(found)
    if dry_run or not going:
        _answer(common, found, done=False)
        return 0
    if not (yes or _agreed(going)):
        note("nothing was removed")
        return 1
    done = [(store, remove(store, removal)) for store, removal in found]
    _answer(common, done, done=True)
    late = [after for (_, before), (_, after) in zip(found, done, strict=True) if after.kept and not before.kept]
    for removal in late:
        note(f"not removed: {removal.place}: {removal.kept} by now")
    return 1 if late else 0


def _decided(here: Here, words: tuple[str, ...], downstream: bool) -> list[tuple[Store, Removal]]:
    """The removals, including those of payloads that are kept, in the order to execute them."""
    named: dict[str, tuple[Store, list[Place], list[Place]]] = {}
    for text in words:
        members, itself = all_of(here, text)
        for member in members:
            if member.node is not None and not member.node.is_persisted:
                _refuse_input(text, member.node, itself)
                continue
            _, own, group = named.setdefault(member.store.url, (member.store, [], []))
            (own if itself else group).append(member.place)
    found: list[tuple[Store, Removal]] = []
    for store, own, group in named.values():
        below = stored_downstream(here.catalog_of(store), [place.key for place in (*own, *group)]) if downstream else []
        found += [(store, removal) for removal in removals(store, own, group, below)]
    return found


def _refuse_input(text: str, node: Node, itself: bool) -> None:
    if node.is_external and itself:
        raise BadUsage(f"{text} is an input from elsewhere; rm never removes those")
    if itself:
        note(f"{text} is not persisted, so there is nothing to remove")


def _show(found: list[tuple[Store, Removal]]) -> None:
    if not found:
        note("none of it is stored")
        return
    rows = [
        (
            "keep" if removal.kept else "remove",
            f"{removal.place.name}/{removal.place.digest[:12]}",
            size_in_words(removal.size),
            removal.kept or ("" if removal.named else "made from it"),
        )
        for _, removal in found
    ]
    table([Column("action"), Column("payload"), Column("size", right=True), Column("why", long=True)], rows)


def _agreed(going: list[Removal]) -> bool:
    """Ask for confirmation, and tell whether the answer is yes. Raises BadUsage without a terminal."""
    count = f"{len(going)} payload{'s' if len(going) > 1 else ''} ({size_in_words(sum(removal.size for removal in going))})"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadUsage(f"{count} would be removed, and there is no terminal to ask in; say --yes, or --dry-run to only look")
    sys.stderr.write(f"Remove {count}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _answer(common: Common, found: list[tuple[Store, Removal]], done: bool) -> None:
    going = [removal for _, removal in found if not removal.kept]
    if common.json:
        kept = [{**_named(removal.place), "why": removal.kept} for _, removal in found if removal.kept]
        gone = [{**_named(removal.place), "size": removal.size} for removal in going]
        write_json({"removed": gone if done else [], "would_remove": [] if done else gone, "kept": kept})
    elif found:
        size = size_in_words(sum(removal.size for removal in going))
        write(f"{'removed' if done else 'would remove'} {len(going)} ({size})")


def _named(place: Place) -> dict[str, Any]:
    return {"key": str(place.key), "at": place.to if isinstance(place, Placed) else None}


# copied


def cp(
    *payloads: Word,
    to: str = "",
    sync: Flag = False,
    upstream: Flag = False,
    force: Flag = False,
    sign: str | None = None,
    common: Common = COMMON,
) -> int:
    """Copy payloads and their records to another store. Those that are there already are not copied again; bytes are verified.

    Parameters
    ----------
    payloads
        Targets, members of targets, stages, or keys.
    to
        The path or URL of the other store.
    sync
        Instead: copy to the slowest layer of the store the files that were written while it was down.
    upstream
        Also everything upstream of them that is stored.
    force
        Overwrite other files at the same custom paths.
    sign
        Sign the copies of unsigned records with this private key: its file, or env:NAME. By this you vouch for them.
    """
    if sync:
        if payloads or to:
            raise BadUsage("cp --sync takes neither payloads nor --to: it is about the layers of the store itself")
        return _sync(Here(common).store, common)
    if not to:
        raise BadUsage("cp takes --to, the path or URL of the other store, or --sync")
    if not payloads:
        raise BadUsage("cp takes the payloads to copy: targets, members of targets, or keys")
    here = Here(common)
    target = open_store(to, sign=sign) if sign is not None else open_store(to)
    sources, missing = _to_copy(here, payloads)
    copies: list[tuple[Store, list[Listed]]] = []
    for source, entries in sources.values():
        if source.url.partition(TRUSTING)[0] == target.url.partition(TRUSTING)[0]:
            raise BadUsage(f"--to {to}: that is the store they are in")
        above = stored_upstream(here.catalog_of(source), [entry.key for entry in entries]) if upstream else []
        copies.append((source, [*(_entry(source, place) for place in above), *entries]))
    if not force:
        _check_free([entry for _, entries in copies for entry in entries], target, to)
    done: dict[str, list[dict[str, Any]]] = {"copied": [], "there": [], "missing": [_named(each.place) for each in missing]}
    size = 0
    for source, entries in copies:
        for copied in copy(entries, source, target, sign=sign is not None):
            done["there" if copied.there else "copied"].append({"key": str(copied.key), "size": copied.size})
            size += copied.size
    answer(common.json, done, f"copied {len(done['copied'])} ({size_in_words(size)}), {len(done['there'])} there already")
    for each in missing:
        note(f"not stored, so not copied: {each.key}")
    return 1 if missing else 0


def _entry(store: Store, place: Place) -> Listed:
    record = access.peek(store, place)
    return Listed(place, record if isinstance(record, Record) else None)


def _sync(store: Store, common: Common) -> int:
    """Copy to the slowest layer the files that are kept for it."""
    if not isinstance(store, LayeredStore):
        raise BadUsage(f"{store.url} has no layers, so there is nothing to bring from one to the other")
    paths = list(store.sync())
    answer(common.json, {"synced": paths}, f"brought {len(paths)} files")
    return 0


def _check_free(entries: list[Listed], target: Store, to: str) -> None:
    """Raise BadUsage if a copy would overwrite a file of another payload."""
    others = [cast("Placed", entry.place).to for entry in in_conflict(entries, target)]
    if others:
        some = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        raise BadUsage(f"--to {to} has other files at {some}; nothing was copied. --force writes over them")


def _to_copy(here: Here, words: tuple[str, ...]) -> tuple[dict[str, tuple[Store, list[Listed]]], list[One]]:
    """The payloads to copy, by the URL of their store, and those that are not stored."""
    found: dict[str, tuple[Store, dict[Place, Listed]]] = {}
    missing: list[One] = []
    for text in words:
        for each in all_of(here, text)[0]:
            if each.node is not None and not each.node.is_persisted:
                continue
            record = access.peek(each.store, each.place)
            if record is None:
                missing.append(each)
            else:
                if record is access.UNTRUSTED:
                    access.find_record(each.store, each.place)  # raises the error with the reason
                found.setdefault(each.store.url, (each.store, {}))[1][each.place] = _entry(each.store, each.place)
    return {url: (store, list(entries.values())) for url, (store, entries) in found.items()}, missing
