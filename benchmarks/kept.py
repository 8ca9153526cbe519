"""Measure some mechanisms against doing without them: the figures of docs/design/kept-mechanisms.md.

    .venv/bin/python benchmarks/kept.py

Processor time, the least of several rounds, with and without taking turns.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from blake3 import blake3

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lines import tiny  # noqa: E402
from lines.steps import twice  # noqa: E402
from persistable import open_store, plan, run  # noqa: E402
from persistable.executors.processes.executor import ProcessExecutor  # noqa: E402
from persistable.families.bulk_keys import KeyChunks  # noqa: E402
from persistable.fileio import partial  # noqa: E402
from persistable.nodes import loading  # noqa: E402
from persistable.records.record import SUFFIX  # noqa: E402
from persistable.records.record_access import find_record  # noqa: E402
from persistable.runs import worker  # noqa: E402
from persistable.stores.local import LocalStore  # noqa: E402
from persistable.stores.record_file import SEAL_BYTES  # noqa: E402

MEMBERS = 2_000


def main() -> None:
    """Print each figure."""
    with tempfile.TemporaryDirectory(prefix="kept-") as folder:
        for measure in (steps_of_a_hit, payload_without_rename, members_without_nodes, memory_of_members, jobs_in_parts, rows_of_batches):
            measure(Path(folder))


def steps_of_a_hit(folder: Path) -> None:
    """A warm hit of a tiny payload and its steps, beside the bare calls that read as many files."""
    kind = tiny.ours()
    store = open_store(folder / "hit")
    node = kind(store, n=3).load_generate()
    record, io = node.record, node.payload_io
    paths = [str(store.local_path(path)) for path in (record.files[0].path, f"{node.key}{SUFFIX}")]
    plain = folder / "plain"
    plain.write_bytes(pickle.dumps(node.payload))

    def unpickled() -> None:
        with plain.open("rb") as file:
            pickle.load(file)

    def read() -> None:
        for path in paths:
            content(path)

    def judged() -> None:
        loading.check_code(node, store, record)
        loading.format_of(node, record)

    steps: dict[str, Callable[[], object]] = {
        "open and unpickle one file": unpickled,
        "the steps of a hit by bare calls": bare_hit(*paths),
        "a hit": lambda: kind(store, n=3).load().payload,
        "- the bytes of its two files, by bare calls": read,
        "- params checked, key made": lambda: kind(store, n=3),
        "- record read, checked and parsed": lambda: find_record(store, node.key),
        "- code and format compared": judged,
        "- payload read, its digest compared, unpickled": lambda: loading.read(store, record, io),
    }
    least = dict.fromkeys(steps, float("inf"))
    for _ in range(30):
        for name, act in steps.items():
            start = time.process_time()
            for _ in range(1_000):
                act()
            least[name] = min(least[name], time.process_time() - start)
    for name, seconds in least.items():
        print(f"{name}: {seconds * 1e3:.1f} us")


def content(path: str) -> bytes:
    """The bytes of a small file."""
    file = os.open(path, os.O_RDONLY)
    data = os.read(file, 1 << 16)
    os.read(file, 1)
    os.close(file)
    return data


@dataclass
class Bare:
    """Params that nothing looks at but `bare_hit`."""

    n: int
    k: float = 1.0


def bare_hit(payload_path: str, record_path: str) -> Callable[[], object]:
    """What a hit cannot do without, in one function: no store, no format, no hook, no event, no look at the code."""
    start = content(payload_path).index(pickle.PROTO)

    def hit() -> object:
        params = Bare(3)
        if type(params.n) is not int or type(params.k) is not float:
            raise TypeError(params)
        blake3(json.dumps({"k": params.k, "n": params.n}).encode()).hexdigest()
        record = content(record_path)
        if zlib.crc32(record[:-SEAL_BYTES]) != int(record[-11:-3], 16):
            raise ValueError(record)
        head = json.loads(record[: record.index(b"\n") - 1] + b"}")
        _, _, size, digest = head["files"][0]
        payload = content(payload_path)
        if len(payload) != size or blake3(payload).hexdigest() != digest:
            raise ValueError(payload)
        return pickle.loads(payload[start:])

    return hit


def payload_without_rename(folder: Path) -> None:
    """A miss of a tiny payload in a folder, whose file is written under its own name."""
    kind, store, numbers = tiny.ours(), open_store(folder / "miss"), count(10)
    own_name = LocalStore.put_unreferenced

    def miss() -> None:
        for _ in range(MEMBERS):
            kind(store, n=next(numbers)).load_generate()

    def renamed() -> None:
        LocalStore.put_unreferenced = LocalStore.put  # type: ignore[method-assign]
        try:
            miss()
        finally:
            LocalStore.put_unreferenced = own_name  # type: ignore[method-assign]

    show("miss, the file of the payload under its own name", "renamed", "us", 1e6 / MEMBERS, miss, renamed)


def members_without_nodes(folder: Path) -> None:
    """A family of tiny payloads on SQLite, per member."""
    kept = KeyChunks.direct_generator
    numbers = iter(range(100))

    def missing() -> None:
        run(twice.over(n=range(MEMBERS)).bind(open_store(f"sqlite:///{folder}/{next(numbers)}.db")))

    def by_nodes() -> None:
        KeyChunks.direct_generator = lambda *_: None  # type: ignore[method-assign]
        try:
            missing()
        finally:
            KeyChunks.direct_generator = kept  # type: ignore[method-assign]

    show("member of a family without nodes", "with nodes", "us", 1e6 / MEMBERS, missing, by_nodes)


def memory_of_members(folder: Path) -> None:
    """Nodes of a family and their places in a plan."""
    family = twice.over(n=range(10_000)).bind(folder / "data")
    tracemalloc.start()
    nodes = [family.nodes[number] for number in range(10_000)]
    made = tracemalloc.get_traced_memory()[0]
    made_plan = plan(nodes)
    both = tracemalloc.get_traced_memory()[0]
    del made_plan
    tracemalloc.stop()
    print(f"a node: {made / len(nodes):.0f} bytes; its place in a plan: {(both - made) / len(nodes):.0f} bytes")


def jobs_in_parts(folder: Path) -> None:
    """Jobs for another process, packed and unpacked, per job."""
    executor, store = ProcessExecutor(1), open_store(folder / "data")
    jobs = [worker.Job(twice.step(n).bind(store), store, None, 1, store, {}, None, False, "run") for n in range(MEMBERS)]

    def in_parts() -> None:
        packer = worker.Packer(executor)
        for data in [packer.pack(job) for job in jobs]:
            worker.unpacked_job(data)

    def whole() -> None:
        for data in [worker.Packer(executor).pack(job) for job in jobs]:
            worker._known = (b"", None, {})
            worker.unpacked_job(data)

    show("job packed in parts", "each whole", "us", 1e6 / MEMBERS, in_parts, whole)


def rows_of_batches(folder: Path) -> None:
    """Numbers of rows of 100 compressed record batches, and the bytes read for them."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import ipc

    path = folder / "table.arrow"
    batch = pa.record_batch([pa.array(np.arange(20_000.0)), pa.array(np.arange(20_000.0) * 2)], names=["a", "b"])
    with ipc.new_file(path, batch.schema, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        for _ in range(100):
            writer.write_batch(batch)

    def described(file: Any) -> None:
        partial._rows_of_batches(file)

    def read(file: Any) -> None:
        reader = ipc.open_file(pa.PythonFile(file, "r"))
        for number in range(reader.num_record_batches):
            reader.get_batch(number)

    bytes_read: list[int] = []
    for act in (described, read):
        with Counting(path) as file:
            act(file)
            bytes_read.append(file.count)
    show("rows of 100 batches", "batches read", "ms", 1e3, lambda: described(path.open("rb")), lambda: read(path.open("rb")))
    print(f"  bytes read of {os.path.getsize(path):,}: {bytes_read[0]:,} and {bytes_read[1]:,}")


class Counting(io.FileIO):
    """A file that counts the bytes read."""

    count = 0

    def readinto(self, buffer: Any) -> int | None:
        number = super().readinto(buffer)
        self.count += number or 0
        return number

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size)
        self.count += len(data or b"")
        return data or b""


def show(name: str, without: str, unit: str, scale: float, *acts: Callable[[], object]) -> None:
    """Print the least processor time of each of two acts."""
    least = [float("inf"), float("inf")]
    for _ in range(6):
        for number, act in enumerate(acts):
            start = time.process_time()
            act()
            least[number] = min(least[number], time.process_time() - start)
    print(f"{name}: {least[0] * scale:.1f} {unit}; {without}: {least[1] * scale:.1f} {unit}")


if __name__ == "__main__":
    main()
