"""Where the layers of a store disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from persistable.stores.layer import Layer

_BATCH = 500
_RECORD = ".record.json"


class Difference(NamedTuple):
    """`path`, and what is there in each layer that has it or should: URL to words such as ``"1204 bytes, 5f0c…"`` or ``"absent"``."""

    path: str
    found: dict[str, str]


def compare(layers: Sequence[Layer], home: int, prefix: str, apart: Callable[[str], bool]) -> Iterator[Difference]:
    """Each path at which two layers differ, or that a layer faster than the home has and none from the home downward."""
    holders: dict[str, list[int]] = {}
    for index, layer in enumerate(layers):
        for path in layer.store.list(prefix):
            if not apart(path):
                holders.setdefault(path, []).append(index)
    paths = [path for path, having in sorted(holders.items()) if len(having) > 1 or having[0] < home]
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        looks = [_looks(layer, [path for path in batch if index in holders[path]]) for index, layer in enumerate(layers)]
        for path in batch:
            found = {layers[index].store.url: looks[index].get(path, "absent") for index in holders[path]}
            if holders[path][-1] < home:
                found[layers[home].store.url] = "absent"
            if len(set(found.values())) > 1:
                yield Difference(path, found)


def _looks(layer: Layer, paths: Sequence[str]) -> dict[str, str]:
    """What is to be compared, in words."""
    from blake3 import blake3

    records = layer.store.get_many([path for path in paths if path.endswith(_RECORD)])
    looks = {path: f"{len(data)} bytes, {blake3(data).hexdigest()[:16]}" for path, data in records.items()}
    for path in paths:
        if not path.endswith(_RECORD):
            found = layer.store.stat(path)
            if found is not None:
                looks[path] = f"{found.size} bytes"
    return looks
