"""Count the instructions of the hit, miss and key paths: repeatable where seconds are not.

    python benchmarks/instructions.py            count, and write benchmarks/INSTRUCTIONS.md
    python benchmarks/instructions.py --check    count, and fail where a path takes 5 % more than the file says

Each path runs under ``valgrind --tool=callgrind`` twice, with a different number of calls; the difference is what the calls alone cost.
Without valgrind nothing is counted, and it says so.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from environment import prepare  # noqa: E402
from harness import PYTHON  # noqa: E402

TARGET = HERE / "INSTRUCTIONS.md"
SLACK = 1.05
FEW, MANY = 100, 300
PATHS = {  # name: (line, contender, size, what it is)
    "hit": ("hit", "persistable", 100, "Tiny(folder, n=3).load().payload"),
    "hit, the limit": ("hit", "open + unpickle", 100, "open, pickle.load"),
    "miss": ("miss", "persistable", 100, "Tiny(folder, n=n).load_generate()"),
    "miss, the limit": ("miss", "one temp file + rename", 100, "open, write, os.replace"),
    "key of a ladder of 6 diamonds": ("key-ladder", "persistable", 6, "19 nodes made, the last one's key"),
    "key of a 5 MiB array": ("key-array", "persistable", 5 << 20, "Node(folder, array=array).key"),
    "first use": ("", "first use", 0, "from persistable import Persistable, PersistableParams"),
}
CODE = """
import sys
sys.path.insert(0, {here!r})
from harness import Job
from lines import find_line
contender = next(one for one in find_line({line!r}).contenders if one.name == {contender!r})
operation = contender.setup(Job({folder!r}, {size}))
operation = operation[0] if isinstance(operation, tuple) else operation
for _ in range(50): operation()
for _ in range({count}): operation()
"""


def main() -> int:
    """Count all paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    check = parser.parse_args().check
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed, so no instructions were counted")
        return 0
    prepare()
    counts = {}
    for name, (line, contender, size, _) in PATHS.items():
        counts[name] = _importing() if not line else _of_path(line, contender, size)
        print(f"{name:<32} {counts[name]:>14,}", flush=True)
    if check:
        return _compare(counts)
    TARGET.write_text(_page(counts))
    return 0


def _of_path(line: str, contender: str, size: int) -> int:
    few, many = (2, 4) if size > 1 << 20 else (FEW, MANY)
    totals = []
    for count in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            code = CODE.format(here=str(HERE), line=line, contender=contender, folder=folder, size=size, count=count)
            totals.append(_instructions(code))
    return (totals[1] - totals[0]) // (many - few)


def _importing() -> int:
    return _instructions("from persistable import Persistable, PersistableParams") - _instructions("pass")


def _instructions(code: str) -> int:
    """Of a whole process. One core for BLAKE3, so that it does not depend on how threads took turns."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": "", "RAYON_NUM_THREADS": "1"}
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(PYTHON), "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", ran.stderr)
    if ran.returncode or found is None:
        raise SystemExit(f"valgrind could not count: {ran.stderr[-2000:]}")
    return int(found[1])


def _page(counts: dict[str, int]) -> str:
    rows = [f"| {name} | `{PATHS[name][3]}` | {count:,} |" for name, count in counts.items()]
    return "\n".join(
        [
            "# Instructions",
            "",
            "Written by `python benchmarks/instructions.py`; `--check` fails where a path takes 5 % more than this. Counted by callgrind,",
            "so the same in a busy hour as in a quiet one; the kernel's share is not in it.",
            f"{platform.machine()}, Python {platform.python_version()}.",
            "",
            "| path | call | instructions per call |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _compare(counts: dict[str, int]) -> int:
    kept = {
        match[1]: int(match[2].replace(",", "")) for match in re.finditer(r"^\| (.+?) \| `.*?` \| ([\d,]+) \|$", TARGET.read_text(), re.M)
    }
    worse = [name for name, count in counts.items() if count > kept.get(name, count) * SLACK]
    for name in worse:
        print(f"{name} takes {counts[name] / kept[name]:.2f} times the instructions it took: {counts[name]:,} instead of {kept[name]:,}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
