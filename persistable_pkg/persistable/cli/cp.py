"""`persistable cp`: copy payloads to another store."""

from __future__ import annotations

from typing import Any, cast

from persistable.catalog.cleanup.reachability import stored_upstream
from persistable.cli.options import COMMON, CommonOptions, Flag, TargetArgument
from persistable.cli.output import answer, key_and_path, note
from persistable.cli.target import CommandContext, NamedPayload, resolve_all
from persistable.cli.usage import BadUsage
from persistable.records import record_access
from persistable.records.copy import copy, in_conflict
from persistable.records.key import Place, Placed
from persistable.records.listing import Listed
from persistable.records.record import Record
from persistable.records.units import size_in_words
from persistable.stores.base import Store
from persistable.stores.layered.store import LayeredStore
from persistable.stores.open import open_store
from persistable.stores.signing_keys import TRUSTING


def cp(
    *payloads: TargetArgument,
    to: str = "",
    sync: Flag = False,
    upstream: Flag = False,
    force: Flag = False,
    sign: str | None = None,
    common: CommonOptions = COMMON,
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
        return _sync(CommandContext(common).store, common)
    if not to:
        raise BadUsage("cp takes --to, the path or URL of the other store, or --sync")
    if not payloads:
        raise BadUsage("cp takes the payloads to copy: targets, members of targets, or keys")
    here = CommandContext(common)
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
    done: dict[str, list[dict[str, Any]]] = {"copied": [], "there": [], "missing": [key_and_path(each.place) for each in missing]}
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
    record = record_access.peek(store, place)
    return Listed(place, record if isinstance(record, Record) else None)


def _sync(store: Store, common: CommonOptions) -> int:
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


def _to_copy(here: CommandContext, words: tuple[str, ...]) -> tuple[dict[str, tuple[Store, list[Listed]]], list[NamedPayload]]:
    """The payloads to copy, by the URL of their store, and those that are not stored."""
    found: dict[str, tuple[Store, dict[Place, Listed]]] = {}
    missing: list[NamedPayload] = []
    for text in words:
        for each in resolve_all(here, text)[0]:
            if each.node is not None and not each.node.is_persisted:
                continue
            record = record_access.peek(each.store, each.place)
            if record is None:
                missing.append(each)
            else:
                if record is record_access.UNTRUSTED:
                    record_access.find_record(each.store, each.place)  # raises the error with the reason
                found.setdefault(each.store.url, (each.store, {}))[1][each.place] = _entry(each.store, each.place)
    return {url: (store, list(entries.values())) for url, (store, entries) in found.items()}, missing
