"""`persistable gc` and `persistable restore`: move unneeded payloads to a trash, and restore them from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from persistable.catalog.cleanup.collection import Candidate, CleanupResult, Collection, in_words, notes
from persistable.cli.options import COMMON, CommonOptions, Flag, TargetArgument
from persistable.cli.output import Column, note, progress, table, write, write_json
from persistable.cli.target import CommandContext
from persistable.cli.usage import BadUsage, as_bad_usage
from persistable.errors import UnknownKey
from persistable.records.units import duration_in_words, size_in_words

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

Words = Annotated[tuple[TargetArgument, ...], Parameter(negative="", show_default=False)]


def gc(
    *,
    keep: Words = (),
    keep_targets: Flag = False,
    superseded: Flag = False,
    failed: Flag = False,
    older_than: str | None = None,
    name: str | None = None,
    max_size: str | None = None,
    apply: Flag = False,
    empty_trash: Flag = False,
    common: CommonOptions = COMMON,
) -> int:
    """Show the payloads that a cleanup would remove, and why; with --apply, move them to the trash, from which `restore` restores them.

    Leftovers of crashes are always removed. Payloads upstream of one that stays, pinned ones, and running ones are never removed.

    Parameters
    ----------
    keep
        A target, stage, key or name to keep, with its upstream; everything else is removed. May be given several times.
    keep_targets
        Keep all targets of the project.
    superseded
        Remove payloads that newer code or a newer version replaces.
    failed
        Remove failures.
    older_than
        Only payloads that are older: 30d, 12h, 2w, or a date. By itself a reason.
    name
        Only payloads of this name. By itself a reason.
    max_size
        Remove payloads, those with the most bytes per second of generation first, until no more than this remains: 10GB.
    apply
        Do it.
    empty_trash
        Delete the content of the trash for good; with --older-than, only payloads that have been there for longer.
    """
    here = CommandContext(common)
    catalog = here.catalog
    if empty_trash:
        if keep or keep_targets or superseded or failed or name or max_size or apply:
            raise BadUsage("--empty-trash takes no other option than --older-than: it removes what is in the trash already")
        return _empty(catalog, older_than, common)
    kept = _kept(here, keep, keep_targets)
    with as_bad_usage(ValueError):
        planned = catalog.gc(keep=kept, superseded=superseded, failed=failed, older_than=older_than, name=name, max_size=max_size)
    if not apply:
        _show(planned, common)
        return 0
    taken = planned.apply(progress("moved"))
    _answer(taken, common)
    return 1 if taken.left else 0


def _kept(here: CommandContext, words: tuple[str, ...], everything: bool) -> list[Any] | None:
    """The targets and keys that these words name; None without any option to keep some."""
    if not words and not everything:
        return None
    kept: list[Any] = []
    if everything:
        kept += [here.needed_project()[name] for name in here.needed_project().targets]
    names = here.catalog.names() if words else []
    for text in words:
        if not here.is_name(text) and text in names:
            kept.append(text)
            continue
        found = here.find(text)
        kept.append(found.place.key if found.place is not None else found.target)
    return kept


def _show(planned: Collection, common: CommonOptions) -> None:
    if common.json:
        write_json({**_facts(planned), "would_remove": [_row(item) for item in planned], "removed": []})
        return
    if planned:
        sizes = [(name, number, size_in_words(size)) for name, (number, size) in planned.sizes.items()]
        table([Column("name"), Column("items", right=True), Column("size", right=True)], sizes)
        write("")
        _table(list(planned))
    write(in_words(planned))
    for line in notes(planned):
        note(line)
    if planned:
        note("nothing was touched; --apply moves it to the trash")


def _table(items: list[Candidate]) -> None:
    rows = [(item.label, size_in_words(item.size), item.age, item.reason) for item in items]
    table([Column("payload"), Column("size", right=True), Column("age", right=True), Column("reason", long=True)], rows)


def _facts(planned: Collection) -> dict[str, Any]:
    by_name = {name: {"number": number, "size": size} for name, (number, size) in planned.sizes.items()}
    return {"size": planned.size, "names": by_name, "stays": planned.kept, "stays_in_place": planned.stays_in_place}


def _row(item: Candidate) -> dict[str, Any]:
    return {"key": item.key or None, "name": item.name or None, "label": item.label, "reason": item.reason, "size": item.size}


def _answer(taken: CleanupResult, common: CommonOptions) -> None:
    if common.json:
        left = [{**_row(kept.item), "why": kept.why} for kept in taken.left]
        write_json({"removed": [_row(item) for item in taken.items], "size": taken.size, "stamps": list(taken.stamps), "left": left})
        return
    write(f"moved {len(taken.items)} to the trash ({size_in_words(taken.size)}); `persistable restore` brings it back")
    for kept in taken.left:
        note(f"stays: {kept.item.label}: {kept.why}")
    if taken.items:
        note("space is freed by `persistable gc --empty-trash`")


def _empty(catalog: Catalog, older_than: str | None, common: CommonOptions) -> int:
    with as_bad_usage(ValueError):
        done = catalog.empty_trash(older_than)
    if common.json:
        write_json({"removed": done.number, "size": done.size, "left": [_left(kept) for kept in done.left]})
    else:
        write(f"removed {done.number} from the trash ({size_in_words(done.size)})")
        for kept in done.left:
            note(f"stays in the trash: {kept.item.label}: {kept.why}")
    return 0


def _left(kept: Any) -> dict[str, Any]:
    return {"key": kept.item.unit.key or None, "path": kept.item.label, "why": kept.why}


def restore(*items: str, show: Annotated[bool, Parameter(name="--list", negative="")] = False, common: CommonOptions = COMMON) -> int:
    """Restore payloads from the trash; those that were generated anew since stay there.

    Parameters
    ----------
    items
        Keys, beginnings of digests, names, or stamps of cleanups; without any, everything.
    show
        List the content of the trash, and stop.
    """
    catalog = CommandContext(common).catalog
    if show:
        _list(catalog, common)
        return 0
    with as_bad_usage(UnknownKey, hint="; `persistable restore --list` lists what there is"):
        done = catalog.restore(*items)
    if common.json:
        write_json({"restored": [each.unit.key or each.label for each in done.back], "left": [_left(kept) for kept in done.left]})
    else:
        write(f"restored {len(done.back)}")
        for kept in done.left:
            note(f"stays in the trash: {kept.item.label}: {kept.why}")
    return 1 if done.left else 0


def _list(catalog: Catalog, common: CommonOptions) -> None:
    import time

    found = list(catalog.trash())
    if common.json:
        rows = [
            {"key": each.unit.key or None, "path": each.label, "reason": each.unit.reason, "size": each.unit.size, "stamp": each.stamp}
            for each in found
        ]
        write_json(rows)
        return
    cells = [
        (each.label, size_in_words(each.unit.size), duration_in_words(max(0.0, time.time() - each.at)), each.stamp, each.unit.reason)
        for each in found
    ]
    if cells:
        table(
            [Column("payload"), Column("size", right=True), Column("taken", right=True), Column("stamp"), Column("reason", long=True)],
            cells,
        )
    write(f"{len(found)} in the trash ({size_in_words(sum(each.unit.size for each in found))})")
