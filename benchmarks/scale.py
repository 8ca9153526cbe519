"""Count what a run asks of its store, and what it keeps in memory, at several sizes, and tell how both grow.

    python benchmarks/scale.py                        1,000, 10,000 and 100,000 members (a quarter of an hour)
    python benchmarks/scale.py --sizes 100 1000       others

The store is one in memory that counts its calls, so the figures are those of the design and not of a service: each call about one file is
a request, and so is each page of 1,000 of a listing. One that batches takes any number of files in one request, as databases do. Memory
is measured apart, and up to 10,000 members only: it slows everything down, and batches are sized by time.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

os.environ["PERSISTABLE_CACHE"] = tempfile.mkdtemp(prefix="scale-")

from persistable import Catalog, run, step
from persistable.stores import MemoryStore
from persistable.stores.base import Bytes, Stat

PAGE = 1000
MEASURED = 10_000
"""Members up to which memory is measured."""


class Counting(MemoryStore):
    """A store in memory that counts requests, and passes for one that others reach: its index is a file."""

    in_memory = False

    def __init__(self, name: str, batches: bool) -> None:
        super().__init__(name)
        self.batches = batches
        self.requests: Counter[str] = Counter()
        self._within = 0

    @property
    def url(self) -> str:
        return f"counting://{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.batches)

    def _count(self, what: str) -> None:
        if not self._within:
            self.requests[what] += 1

    def get(self, path: str) -> bytes:
        self._count("get")
        return super().get(path)

    def put(self, path: str, data: Bytes) -> None:
        self._count("put")
        super().put(path, data)

    def create(self, path: str, data: Bytes) -> bool:
        self._count("create")
        return super().create(path, data)

    def exists(self, path: str) -> bool:
        self._count("stat")
        return super().exists(path)

    def stat(self, path: str) -> Stat | None:
        self._count("stat")
        return super().stat(path)

    def delete(self, path: str) -> bool:
        self._count("delete")
        return super().delete(path)

    def list(self, prefix: str = "") -> Iterator[str]:
        return self._paged(super().list(prefix))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return self._paged(super().scan(prefix))

    def _paged(self, items: Iterator[Any]) -> Iterator[Any]:
        self._count("list")
        for number, item in enumerate(items):
            if number and number % PAGE == 0:
                self._count("list")
            yield item

    def _as_one(self, what: str, call: Callable[[], Any]) -> Any:
        if not self.batches:
            return call()
        self._count(what)
        self._within += 1
        try:
            return call()
        finally:
            self._within -= 1

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        wanted = list(paths)
        found: dict[str, bytes] = self._as_one("get", lambda: super(Counting, self).get_many(wanted)) if wanted else {}
        return found

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        wanted = list(paths)
        found: dict[str, Stat] = self._as_one("stat", lambda: super(Counting, self).stat_many(wanted)) if wanted else {}
        return found

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        found: set[str] = self._as_one("create", lambda: super(Counting, self).create_many(items)) if items else set()
        return found

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        if items:
            self._as_one("put", lambda: super(Counting, self).put_many(items))

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        gone = list(delete)
        if gone or any(stages):
            self._as_one("change", lambda: super(Counting, self).change_many(*stages, delete=gone))


@step
def score(n: int) -> float:
    """A job that costs nothing."""
    return n / 7


class Seen(NamedTuple):
    """What one act took at one size."""

    requests: Counter[str]
    peak: int


def seen(store: Counting, traced: bool, act: Callable[[], object]) -> Seen:
    """Do it, and tell what it took. Memory is what Python objects took at the most, beyond those that were there and what is stored."""
    store.requests.clear()
    stored = sum(found.size + len(path) for path, found in MemoryStore.scan(store))
    if traced:
        tracemalloc.start()
    act()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stored = sum(found.size + len(path) for path, found in MemoryStore.scan(store)) - stored
    return Seen(Counter(store.requests), max(0, peak - stored))


def family_of(store: Counting, size: int) -> Any:
    """A family of that many members."""
    return score.over(n=range(size)).bind(store)


def measure(size: int, batches: bool, traced: bool = False) -> tuple[dict[str, Seen], dict[str, float]]:
    """Every act at that size, in the order in which they make sense; and bytes for each member, stored and of the index."""
    store = Counting(f"scale-{size}-{batches}-{traced}", batches)
    catalog = Catalog(store)
    found = {
        "a family, first run": seen(store, traced, lambda: run(family_of(store, size))),
        "a family, asked again": seen(store, traced, lambda: run(family_of(store, size))),
        "the catalog, first look": seen(store, traced, lambda: len(catalog.find())),
        "the catalog, next look": seen(store, traced, lambda: len(catalog.find())),
    }
    stored = sum(each.size for _, each in MemoryStore.scan(store)) / size
    index = sum(file.stat().st_size for file in Path(os.environ["PERSISTABLE_CACHE"]).rglob("*") if file.is_file()) / size
    for file in [file for file in Path(os.environ["PERSISTABLE_CACHE"]).rglob("*") if file.is_file()]:
        file.unlink()
    alone = Counting(f"scale-alone-{size}-{batches}-{traced}", batches)
    found["nodes that are no family, first run"] = seen(alone, traced, lambda: run(*[score.step(n).bind(alone) for n in range(size)]))
    found["nodes that are no family, asked again"] = seen(alone, traced, lambda: run(*[score.step(n).bind(alone) for n in range(size)]))
    return found, {"stored": stored, "index": index}


def slope(sizes: list[int], amounts: list[float]) -> float:
    """The exponent of growth between the two largest sizes: 1 is linear."""
    if len(sizes) < 2 or not amounts[-1] or not amounts[-2]:
        return 0.0
    return math.log(amounts[-1] / amounts[-2]) / math.log(sizes[-1] / sizes[-2])


def main() -> int:
    """Print the tables of the page on scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1000, 10_000, 100_000], metavar="N", help="numbers of members")
    sizes = sorted(parser.parse_args().sizes)
    for batches in (False, True):
        found = {size: measure(size, batches) for size in sizes}
        print(f"\n{'A store that takes many files in one request' if batches else 'A store of one file a request'}\n")
        print("| act | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent | at 10^6 | of which |")
        print("| --- |" + " --- |" * (len(sizes) + 3))
        for act in found[sizes[0]][0]:
            counts = [found[size][0][act].requests.total() for size in sizes]
            power = slope(sizes, [float(count) for count in counts])
            million = counts[-1] * (1e6 / sizes[-1]) ** power
            kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(found[sizes[-1]][0][act].requests.items()))
            print(f"| {act} | " + " | ".join(f"{count:,}" for count in counts) + f" | {power:.2f} | {million:,.0f} | {kinds} |")
        small = [size for size in sizes if size <= MEASURED]
        traced = {size: measure(size, batches, traced=True)[0] for size in small}
        print("\n| memory, MB at most | " + " | ".join(f"{size:,}" for size in small) + " | exponent | at 10^6 |")
        print("| --- |" + " --- |" * (len(small) + 2))
        for act in found[sizes[0]][0] if small else ():
            peaks = [traced[size][act].peak / 1e6 for size in small]
            power = slope(small, peaks)
            million = peaks[-1] * (1e6 / small[-1]) ** power
            print(f"| {act} | " + " | ".join(f"{peak:.1f}" for peak in peaks) + f" | {power:.2f} | {million:,.0f} |")
        told = found[sizes[-1]][1]
        print(f"\nFor each member: {told['stored']:.0f} bytes stored, {told['index']:.0f} bytes of index.")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
