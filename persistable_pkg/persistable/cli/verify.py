"""`persistable verify`: read all payloads, and compare them with their records."""

from __future__ import annotations

from typing import Any

from persistable.catalog.cleanup.verify import Verification
from persistable.cli.options import COMMON, CommonOptions
from persistable.cli.output import Column, note, progress, table, write, write_json
from persistable.cli.target import CommandContext
from persistable.cli.usage import as_bad_usage
from persistable.records.units import duration_in_words, size_in_words


def verify(*, recompute: float = 0.0, common: CommonOptions = COMMON) -> int:
    """Read all stored payloads and compare them with the sizes and digests in records. Exit status 1 if any is corrupt or missing.

    Parameters
    ----------
    recompute
        The fraction of all payloads, such as 0.01, that is also generated again and compared.
    """
    with as_bad_usage(ValueError):
        found = CommandContext(common).catalog.verify(recompute, progress("verified"))
    if common.json:
        write_json(_facts(found))
    else:
        _show(found)
    return 0 if found.ok else 1


def _facts(found: Verification) -> dict[str, Any]:
    bad = [
        {"key": None if entry.key is None else str(entry.key), "at": entry.at, "state": fault.state, "why": fault.why}
        for entry, fault in found.faults.items()
    ]
    again = [{"key": str(entry.key), "outcome": result.outcome, "why": result.why} for entry, result in found.reproductions.items()]
    return {
        "sound": len(found.sound), "corrupt": len(found.corrupt), "missing": len(found.missing), "untrusted": len(found.untrusted),
        "faults": bad, "orphans": found.orphans, "reproduced": again, "size": found.size, "seconds": found.seconds,
    }  # fmt: skip


def _show(found: Verification) -> None:
    rows = found.rows()
    if rows:
        table([Column("payload"), Column("state"), Column("why", long=True)], rows)
    made = sum(result.outcome != "impossible" for result in found.reproductions.values())
    again = f", {made} made again" if found.reproductions else ""
    refused = f", {len(found.untrusted)} untrusted" if found.untrusted else ""
    counts = f"{len(found.sound)} sound, {len(found.corrupt)} corrupt, {len(found.missing)} missing{refused}{again}"
    write(f"{counts} ({size_in_words(found.size)} in {duration_in_words(found.seconds)})")
    for entry, result in found.reproductions.items():
        if result.outcome == "impossible":
            note(f"not made again: {entry.key}: {result.why}")
    if found.orphans:
        note(f"files that no record names: {len(found.orphans)}, such as {found.orphans[0]}; `persistable gc` takes them")
