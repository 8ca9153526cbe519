"""Acts of a catalog, cut off at any call of the store, or killed at any line."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from faults.faulty import FaultyLocal, FaultyMemory, FaultySQLite, Remote, failing
from faults.kill_points import child, count_lines, die_at_line

from persistable import Catalog, open_store
from persistable.records import heartbeat
from persistable.stores import LocalStore, MemoryStore, SQLiteStore, Store

KINDS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Store]]] = {
    "folder": (lambda folder: FaultyLocal(folder), lambda folder: LocalStore(folder)),  # noqa: PLW0108
    "sqlite": (lambda folder: FaultySQLite(folder / "a.db"), lambda folder: SQLiteStore(folder / "a.db")),
    "memory": (lambda folder: FaultyMemory(str(folder)), lambda folder: MemoryStore(str(folder))),
    "remote": (lambda folder: Remote(folder), lambda folder: Remote(folder)),  # noqa: PLW0108
}
"""The faulty and the sound store of a folder."""
Prepare = Callable[[Store], dict[str, bytes]]
"""Fills a store and returns the content that must not be lost."""
Begin = Callable[[Catalog], Callable[[], Any]]
"""Plans, and returns the act."""
Recovers = Callable[[Store, dict[str, bytes], int], None]
"""Checks a store after the act was cut off, and that what comes next goes on; the last argument is the number of the attempt."""


def cut_off_at_calls(tmp_path: Path, kind: str, fault: str, calls: Iterable[int], prepare: Prepare, begin: Begin, then: Recovers) -> int:
    """Let one call after the other fail, until the act is over before; return how often one did."""
    broken_one, sound_one = KINDS[kind]
    hits = 0
    for at in calls:
        folder = tmp_path / str(at)
        folder.mkdir()
        before = prepare(sound_one(folder))
        catalog = Catalog(broken_one(folder), index=None)
        act = begin(catalog)
        with failing(fault, at) as injected, suppress(OSError, KeyboardInterrupt):
            act()
        if not injected.hit:
            break
        hits += 1
        for claim in list(heartbeat.active):  # pyright: ignore[reportPrivateUsage] - as the heartbeat does, in a moment
            claim.give_up()
        catalog.close()
        then(sound_one(folder), before, at)
    return hits


def killed_at_lines(tmp_path: Path, url: str, points: int, first: float, prepare: Prepare, act: Any, then: Recovers) -> int:
    """Kill the act at random lines, from the part `first` of them on; return how often it was killed."""

    def place(number: int) -> str:
        (tmp_path / str(number)).mkdir(exist_ok=True)
        return str(tmp_path / str(number)) if url == "folder" else f"sqlite:///{tmp_path}/{number}/a.db"

    def prepared(number: int) -> dict[str, bytes]:
        with open_store(place(number)) as store:
            return prepare(store)

    def acted(number: int) -> int:
        act(Catalog(place(number), index=None))
        return 0

    prepared(0)
    lines = count_lines(lambda: acted(0))
    chance = random.Random(7)
    killed = 0
    for point in range(1, points + 1):
        before = prepared(point)
        at = chance.randrange(int(lines * first), lines)

        def dying(point: int = point, at: int = at) -> int:
            sys.settrace(die_at_line(at))
            return acted(point)

        killed += child(dying)[1] == signal.SIGKILL
        with open_store(place(point)) as store:
            then(store, before, point)
    return killed
