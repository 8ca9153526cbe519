"""`persistable lineage`, `diff`, `reproduce` and `rebuild`: queries of the records of payloads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from persistable.catalog.entry import label
from persistable.catalog.entry_json import row_of
from persistable.cli.options import COMMON, CommonOptions, Flag, TargetArgument
from persistable.cli.output import Column, answer, note, printable, progress, table, write_json
from persistable.cli.target import CommandContext, NamedPayload, resolve_one

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog
    from persistable.catalog.entry import Entry


def _entry(here: CommandContext, text: str) -> tuple[Catalog, Entry]:
    found: NamedPayload = resolve_one(here, text)
    catalog = here.catalog_of(found.store)
    return catalog, catalog[found.key]


def lineage(payload: TargetArgument, /, *, downstream: Flag = False, common: CommonOptions = COMMON) -> None:
    """List everything upstream of a payload, nearest first.

    Parameters
    ----------
    payload
        A target or member of one, a key or the beginning of one, or a file of it.
    downstream
        Instead list everything stored downstream of it.
    """
    catalog, entry = _entry(CommandContext(common), payload)
    found = catalog.downstream(entry) if downstream else catalog.lineage(entry)
    if common.json:
        write_json([row_of(each, label(each.name, each.params_tree)) for each in found])
        return
    if found:
        rows = [(each.status, each.key, label(each.name, each.params_tree)) for each in found]
        table([Column("status"), Column("key"), Column("payload", long=True)], rows)
    else:
        note(f"nothing stored was made from {entry.key}" if downstream else f"nothing is upstream of {entry.key}")


def diff(
    a: TargetArgument,
    b: TargetArgument,
    /,
    *,
    no_payloads: Flag = False,
    rtol: float = 0.0,
    atol: float = 0.0,
    common: CommonOptions = COMMON,
) -> None:
    """Show how two stored payloads differ: params, also those upstream, code, versions, facts, and the payloads themselves.

    Parameters
    ----------
    a
        A target or member of one, a key or the beginning of one, or a file of it.
    b
        The other payload, named in the same way.
    no_payloads
        Read no payload.
    rtol
        Numbers in payloads count as equal up to this relative difference.
    atol
        Numbers in payloads count as equal up to this absolute difference.
    """
    here = CommandContext(common)
    catalog, first = _entry(here, a)
    found = catalog.diff(first, _entry(here, b)[1], payloads=not no_payloads, rtol=rtol, atol=atol)
    answer(common.json, found.to_dict(), printable(str(found), lines=True))


def reproduce(
    payload: TargetArgument, /, *, recursive: Flag = False, rtol: float = 0.0, atol: float = 0.0, common: CommonOptions = COMMON
) -> int:
    """Generate a stored payload again, from its record alone and without storing it, and compare. Exit status 1 if it differs.

    Parameters
    ----------
    payload
        A target or member of one, a key or the beginning of one, or a file of it.
    recursive
        Begin at the sources: generate everything upstream again, too, and name the first that differs.
    rtol
        Numbers count as equal up to this relative difference.
    atol
        Numbers count as equal up to this absolute difference.
    """
    catalog, entry = _entry(CommandContext(common), payload)
    found = catalog.reproduce(entry, recursive=recursive, rtol=rtol, atol=atol, progress=sys.stderr.isatty())
    first = None if found.first is None else str(found.first)
    facts = {"key": str(entry.key), "outcome": found.outcome, "first": first, "why": found.why}
    answer(common.json, facts, printable(str(found), lines=True))
    return 0 if found.outcome in ("identical", "equal") else 1


def rebuild(*, common: CommonOptions = COMMON) -> None:
    """Rebuild the index of the records in the store. It is updated automatically: use this if it may be wrong."""
    here = CommandContext(common)
    here.catalog.rebuild(progress("read"))
    number = len(here.catalog)
    answer(common.json, {"store": here.store.url, "records": number}, f"{number} records in {here.store.url}")
