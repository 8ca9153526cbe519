"""A store with many records: copies of one that was really made, each with params and a key of its own."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persistable import Persistable
from persistable.records.record import sealed

EACH = 1000
"""Values of `n`, so that about one record in a thousand has each of them; `seed` counts the rounds."""


@dataclass(frozen=True)
class FitParams:
    n: int
    seed: int
    alpha: float
    kind: str


class Fit(Persistable[bytes, FitParams]):
    def _generate_payload(self, **_: Any) -> bytes:
        return b"x" * 64


def params(number: int) -> dict[str, Any]:
    chance = random.Random(number)
    return {"n": number % EACH, "seed": number // EACH, "alpha": chance.random(), "kind": chance.choice(["svm", "forest", "net"])}


def files(folder: Path, first: int, stop: int) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of the records and payloads numbered so, half of them of another name."""
    node = Fit(folder / "one", **params(0)).generate()
    lines = node.record.to_bytes().split(b"\n")
    file, own = node.record.files[0].path, str(node.key).encode()
    tree = json.dumps(node.record.params, separators=(",", ":")).encode()
    for number in range(first, stop):
        key = f"{('fit', 'model')[number % 2]}/{hashlib.blake2b(b'%d' % number, digest_size=16).hexdigest()}"
        another = json.dumps(params(number), separators=(",", ":")).encode()
        rest = [line.replace(tree, another) for line in lines[1:-2]]
        body = b"\n".join([lines[0].replace(own, key.encode()), *rest])
        yield f"{key}.record.json", sealed(body.rstrip(b","))
        yield key + file[len(own.decode()) :], b"x" * 64


def fill(store: Any, folder: Path, size: int) -> None:
    """Put `size` records and payloads into `store`."""
    batch: dict[str, bytes] = {}
    for path, data in files(folder, 0, size):
        batch[path] = data
        if len(batch) >= 10_000:
            store.put_many(batch)
            batch.clear()
    store.put_many(batch)
