"""Measure this package and its peers side by side, and write the table.

    python benchmarks/run.py                  everything (about twenty-five minutes), into benchmarks/RESULTS.md
    python benchmarks/run.py --quick          smaller and shorter, printed only
    python benchmarks/run.py --only hit miss  some lines, printed only

The first call makes benchmarks/.venv and installs the peers there, in the versions of peers.txt.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from environment import facts, prepare  # noqa: E402
from harness import OURS, Result, measure  # noqa: E402
from lines import all_lines  # noqa: E402
from report import report, summary  # noqa: E402


def main() -> int:
    """Run what was asked for; 1 if one of our own calls failed."""
    names = [line.name for line in all_lines()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer and shorter rounds: rough figures in two minutes")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"only these lines: {', '.join(names)}")
    parser.add_argument("--folder", type=Path, help="where to store while measuring (default: a new folder among the temporary ones)")
    parser.add_argument("--write", type=Path, help="where to write the report (default for a full run: benchmarks/RESULTS.md)")
    asked = parser.parse_args()
    prepare()
    target = asked.write or (None if asked.quick or asked.only else HERE / "RESULTS.md")
    measured: list[tuple[object, list[Result]]] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as folder:
        about = facts(Path(folder), asked.quick)
        for line in all_lines():
            if asked.only and line.name not in asked.only:
                continue
            say(f"{line.name}: {line.title} [{line.unit}]")
            results = list(measure(line, Path(folder), asked.quick, say))
            measured.append((line, results))
    command = f"python benchmarks/run.py --only {' '.join(asked.only)}" if asked.only else "make bench"
    text = report(measured, about, asked.quick, command)
    print("\n" + summary(measured, asked.quick))
    if target is not None:
        target.write_text(text)
    return 1 if any(result.trouble for _, results in measured for result in results if result.contender.role == OURS) else 0


def say(text: str) -> None:
    """Show progress."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
