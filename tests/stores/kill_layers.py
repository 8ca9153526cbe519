"""Kill a process at random points while it writes through layers and while it fills the fast one, and look at both each time.

``python kill_layers.py FOLDER POINTS SEED``: prints how often each act was killed and how often it finished. Exits with 1 at the first
broken promise. Each act happens in a child forked from this process, so that nothing is remembered between them; all imports were made
before.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
sys.path.append(str(Path(__file__).parents[1]))

from kill_points import count_lines, die_at_line
from placed import stored_at

from persistable import Persistable
from persistable.errors import PayloadNotFound
from persistable.fileio import BytesFileIO
from persistable.nodes.binding import bound_to
from persistable.stores import LayeredStore, LocalStore, Store
from persistable.stores.layered.path_kinds import files_of

SMALL, LARGE = 2_000, 3_000_000
"""A payload written and copied in one call, and one that is streamed."""


class Torn(Persistable[bytes, None]):
    """What it is depends on `content`, so that it can be told which of several attempts is read."""

    io = BytesFileIO()
    content = (0, SMALL)

    def _generate_payload(self, **_: Any) -> bytes:
        number, size = Torn.content
        return number.to_bytes(4, "big") * (size // 4)


def number_in(payload: bytes) -> int:
    """Which attempt's it is. Exits where it is a mixture."""
    if len(payload) not in (SMALL, LARGE) or payload != payload[:4] * (len(payload) // 4):
        raise SystemExit(f"torn: {len(payload)} bytes")
    return int.from_bytes(payload[:4], "big")


def child(act: Callable[[], Any], wait: float = 45.0) -> tuple[int | None, bool]:
    """What `act` gives, a number, in a forked child, and whether it was killed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(write, str(act()).encode())
            status = 0
        except BaseException:  # noqa: BLE001 - a child says what went wrong and ends
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    deadline = time.monotonic() + wait
    while not (done := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise SystemExit(f"a child did not end within {wait} s")
        time.sleep(0.001)
    said = os.read(read, 100).decode()
    os.close(read)
    if os.WIFEXITED(done[1]) and os.WEXITSTATUS(done[1]):
        raise SystemExit("a child failed")
    return (int(said) if said.lstrip("-").isdigit() else None), os.WIFSIGNALED(done[1])


def dying(act: Callable[[], Any], lines: int) -> Callable[[], Any]:
    """`act`, ended as kill -9 does when so many lines of the library have run."""

    def killed() -> Any:
        sys.settrace(die_at_line(lines))
        return act()

    return killed


class Place:
    """A payload under its key, or at a path of its own, in a slow and a fast folder."""

    def __init__(self, root: Path, placed: bool) -> None:
        self.slow, self.fast = LocalStore(root / "slow"), LocalStore(root / "fast")
        self.placed = placed

    def node(self, store: Store) -> Any:
        node: Any = Torn(store)
        return bound_to(stored_at(node, "computed/torn.bin"), store) if self.placed else node

    def write(self) -> int:
        """Write through both layers."""
        self.node(LayeredStore(self.fast, self.slow)).generate()
        return 0

    def write_slow(self) -> int:
        """As somebody else does who has another fast layer, or none."""
        self.node(self.slow).generate()
        return 0

    def read(self) -> int:
        """Read through both layers, which fills the fast one; -1: nothing."""
        return self.found(LayeredStore(self.fast, self.slow))

    def read_slow(self) -> int:
        return self.found(self.slow)

    def read_fast(self) -> int:
        """As somebody who has only that folder."""
        return self.found(self.fast)

    def found(self, store: Store) -> int:
        try:
            return number_in(self.node(store).load().payload)
        except PayloadNotFound:
            return -1

    def whole(self) -> int:
        """Every record of a payload under its key has its files in the same layer."""
        for store in (self.slow, self.fast):
            for path in [path for path in store.list() if path.endswith(".record.json")]:
                for name, size in files_of(store.get(path)) or [("the record is damaged", -1)]:
                    found = store.stat(name)
                    if found is None or found.size != size:
                        raise SystemExit(f"{store.url}: {path} names {name} of {size} bytes, found {found}")
        return 0

    def forget(self) -> int:
        """Lose the fast layer."""
        for path in [*self.fast.list(), *self.fast.list(".persistable")]:
            self.fast.delete(path)
        return 0


def one_point(place: Place, number: int, chance: random.Random, size: int, lines: dict[str, int]) -> str:
    """Kill one act; what it was and how it ended."""
    Torn.content = (number, size)
    act = "write" if number % 2 else "fill"
    before, _ = child(place.read_slow)
    if act == "fill":  # somebody else replaces the payload, and the fast layer has nothing, or what was there before
        if place.placed and number % 4:
            child(place.read)
        else:
            child(place.forget)
        child(place.write_slow)
        before, _ = child(place.read_slow)
    at = chance.randrange(lines[act])
    _, by = child(dying(place.write if act == "write" else place.read, at))
    child(place.whole)
    after, _ = child(place.read)
    if after not in (before, number) or (act == "fill" and after != number):
        raise SystemExit(f"point {number}, {act} cut off after {at} lines: {before} before, {after} is read, {number} was meant")
    if place.placed and after != child(place.read_slow)[0]:
        raise SystemExit(f"point {number}, {act} cut off after {at} lines: {after} is read, which is not what the slow layer has")
    child(place.whole)
    alone, _ = child(place.read_fast)  # that read has filled it
    if alone != after:
        raise SystemExit(f"point {number}, {act} cut off after {at} lines: the fast layer alone has {alone}, both have {after}")
    Torn.content = (number, size)
    child(place.write)
    if child(place.read)[0] not in (number, after):
        raise SystemExit(f"point {number}: what is generated next is not what is read")
    return f"{act} {'killed' if by else 'finished'}"


def main(root: Path, points: int, seed: int) -> None:
    warnings.simplefilter("ignore")
    chance = random.Random(seed)
    seen: collections.Counter[str] = collections.Counter()
    for placed in (False, True):
        for size in (SMALL, LARGE):
            place = Place(root / f"{placed}-{size}", placed)
            Torn.content = (0, size)
            warm = Place(root / "warm", placed)  # imports what is needed
            for act in (warm.write, warm.forget, warm.read, warm.read_fast):
                act()
            lines = {"write": count_lines(place.write)}
            child(place.forget)
            lines["fill"] = count_lines(place.read)
            for number in range(1, points // 4 + 1):
                seen[f"{'placed' if placed else 'keyed'} {one_point(place, number, chance, size, lines)}"] += 1
    print(dict(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
