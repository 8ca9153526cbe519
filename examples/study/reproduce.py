"""Restore the study from its records alone, and say whether it came out the same.

    python reproduce.py [RESULTS]    RESULTS: the folder of records, by default the one beside this file

Every payload is generated again, from the first on, and compared with the digest in its record. The exit status is 1 if any differs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from persistable import Catalog


def main(results: str | Path) -> int:
    """Reproduce the table, with everything upstream of it."""
    catalog = Catalog(results)
    (entry,) = catalog.find("table")
    found = catalog.reproduce(entry, recursive=True)
    for each in found.nodes:
        print(f"{each.outcome:<10} {each.label}")
    print(f"{found.outcome}: {entry.label}, made from {len(catalog.lineage(entry))} results")
    if found.outcome != "identical":
        print(found.why)
    return 0 if found.outcome in ("identical", "equal") else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or [Path(__file__).with_name("results")]))
