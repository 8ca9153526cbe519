"""`persistable rm`: remove payloads."""

from __future__ import annotations

import sys

from persistable.catalog.cleanup.reachability import stored_downstream
from persistable.cli.options import COMMON, CommonOptions, Flag, TargetArgument
from persistable.cli.output import Column, key_and_path, note, table, write, write_json
from persistable.cli.target import CommandContext, resolve_all
from persistable.cli.usage import BadUsage
from persistable.nodes.types import Node
from persistable.records.key import Place
from persistable.records.removal import Removal, removals, remove
from persistable.records.units import size_in_words
from persistable.stores.base import Store


def rm(
    *payloads: TargetArgument, downstream: Flag = False, dry_run: Flag = False, yes: Flag = False, common: CommonOptions = COMMON
) -> int:
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
    here = CommandContext(common)
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


def _decided(here: CommandContext, words: tuple[str, ...], downstream: bool) -> list[tuple[Store, Removal]]:
    """The removals, including those of payloads that are kept, in the order to execute them."""
    named: dict[str, tuple[Store, list[Place], list[Place]]] = {}
    for text in words:
        members, itself = resolve_all(here, text)
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
            removal.kept or ("" if removal.requested else "made from it"),
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


def _answer(common: CommonOptions, found: list[tuple[Store, Removal]], done: bool) -> None:
    going = [removal for _, removal in found if not removal.kept]
    if common.json:
        kept = [{**key_and_path(removal.place), "why": removal.kept} for _, removal in found if removal.kept]
        gone = [{**key_and_path(removal.place), "size": removal.size} for removal in going]
        write_json({"removed": gone if done else [], "would_remove": [] if done else gone, "kept": kept})
    elif found:
        size = size_in_words(sum(removal.size for removal in going))
        write(f"{'removed' if done else 'would remove'} {len(going)} ({size})")
