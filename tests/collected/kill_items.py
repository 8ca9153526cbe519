"""Kill a process that collects items, or appends, at random points, many times, and look at what is left each time.

``python kill_items.py URL POINTS SEED KIND``: prints how often each state was found. Exits with 1 at the first broken promise.
As in ``tests/faults/kill_points.py``, the parent never touches the store: every act happens in a child forked from it.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from kill_points import child, count_lines, die_at_line

from persistable import Persistable
from persistable.errors import PayloadNotFound
from persistable.fileio import FileIO, NumpyFileIO, PickleFileIO

ITEMS = 7
WHOLE = 1
ABSENT = 2
PARTIAL = 10
state: dict[str, Any] = {"attempt": 0, "log": ""}


def body(number: int) -> dict[str, Any]:
    return {"number": number, "blob": bytes([number]) * 20_000}


def note(number: int) -> None:
    """A side effect of making one item."""
    descriptor = os.open(state["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b"%d\n" % number)
    os.close(descriptor)


class Many(Persistable[Any, None]):
    io: FileIO[Any] = PickleFileIO()

    def _generate_payload(self, **_: Any) -> Iterator[tuple[str, Any]]:
        for number in range(ITEMS):
            if f"item {number}" not in self.committed:
                note(number)
                yield f"item {number}", body(number)


class Long(Persistable[Any, None]):
    io: FileIO[Any] = NumpyFileIO()

    def _generate_payload(self, **_: Any) -> Any:
        import numpy as np

        for number in range(self.appended // 10_000, ITEMS):
            note(number)
            self.append(np.full((10_000, 3), number, "i8"))
        return self.appended


def look_at_many(url: str) -> int:
    """1: all, sealed; 2: nothing; 10 + n: n items, not sealed. All that is there is whole."""
    node = Many(url)
    try:
        payload = node.load().payload
    except PayloadNotFound:
        there = list(node.committed)
        members = {key: node.members[key].payload for key in there}
        assert members == {f"item {number}": body(number) for number in range(len(there))}, "torn, or out of order"
        return PARTIAL + len(there) if there else ABSENT
    assert dict(payload) == {f"item {number}": body(number) for number in range(ITEMS)}, "torn"
    return WHOLE


def look_at_long(url: str) -> int:
    """As `look_at_many`; what is not committed does not show."""
    try:
        payload = Long(url).load().payload
    except PayloadNotFound:
        return ABSENT
    assert payload.shape == (ITEMS * 10_000, 3) and (payload[:, 1].reshape(ITEMS, -1) == [[number] for number in range(ITEMS)]).all()
    return WHOLE


KINDS: dict[str, tuple[type[Persistable[Any, Any]], Callable[[str], int]]] = {"items": (Many, look_at_many), "rows": (Long, look_at_long)}


def noted() -> list[int]:
    return [int(line) for line in Path(state["log"]).read_text().split()] if os.path.exists(state["log"]) else []


def main(url: str, points: int, seed: int, kind: str) -> None:
    chance = random.Random(seed)
    seen: collections.Counter[str] = collections.Counter()
    cls, look = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        state["log"] = f"{folder}/log"

        def generate() -> int:
            cls(url).generate()
            return 0

        def delete() -> int:
            cls(url).delete()
            return 0

        def found() -> int:
            return look(url)

        warm = f"{folder}/warm" if "://" not in url else f"sqlite:///{folder}/warm.db"
        cls(warm).generate()
        look(warm)
        cls(warm).delete()
        cls(warm).store.close()
        lines = count_lines(generate)
        for point in range(points):
            if point % 4 != 3:  # else it is generated again while the old one is there
                child(delete)
            before = child(found)[0]
            assert before in (WHOLE, ABSENT), f"point {point}: {before} before it began"
            Path(state["log"]).unlink(missing_ok=True)
            kills = chance.choice((1, 1, 2))
            for _ in range(kills):

                def killed(at: int = chance.randrange(lines)) -> int:
                    sys.settrace(die_at_line(at))
                    cls(url).generate()
                    return 0

                _, by = child(killed)
                assert by in (0, signal.SIGKILL)
            after = child(found)[0]
            if after not in ((WHOLE,) if before == WHOLE else (WHOLE, ABSENT, *range(PARTIAL, PARTIAL + ITEMS + 1))):
                raise SystemExit(f"point {point}: before {before}, after {after}")
            seen["partial" if after >= PARTIAL else {WHOLE: "whole", ABSENT: "absent"}[after]] += 1
            made = noted()
            if before == ABSENT and after != WHOLE:
                if child(generate) != (0, 0) or child(found)[0] != WHOLE:
                    raise SystemExit(f"point {point}: the next generation failed")
                again = noted()[len(made) :]
                done = range(after - PARTIAL) if after >= PARTIAL else range(0)
                if set(again) & set(done):
                    raise SystemExit(f"point {point}: {again} were made again although {list(done)} were committed")
                if len(noted()) > ITEMS + kills:
                    raise SystemExit(f"point {point}: {noted()} were made by {kills} killed attempts and one that was not")
                seen["gone on with"] += bool(len(again) < ITEMS)
    print(dict(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
