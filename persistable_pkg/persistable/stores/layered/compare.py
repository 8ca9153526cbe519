"""Comparison of layers: paths at which they differ, and damaged copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from persistable.params.streams import digest_rest
from persistable.stores.base import extended
from persistable.stores.layered.layer import Layer
from persistable.stores.layered.path_kinds import primary_only
from persistable.stores.record_file import RECORD

_BATCH = 500


class Difference(NamedTuple):
    """A path at which two layers differ."""

    path: str
    """The path."""
    found: dict[str, str]
    """The state in each layer that has the path or should: URL to a text such as ``"1204 bytes, 5f0c…"`` or ``"absent"``."""


def compare(layers: Sequence[Layer], primary: int, prefix: str, contents: bool) -> Iterator[Difference]:
    """Each path at which two layers differ, or that only layers faster than the primary have.

    Files that are no records are compared by their size, and by their bytes if `contents`.
    """
    holders: dict[str, dict[int, int]] = {}  # path to layers that have it, each with its size
    for index, layer in enumerate(layers):
        for path, stat in extended(layer.store).scan(prefix):
            if not primary_only(path):
                holders.setdefault(path, {})[index] = stat.size
    paths = [path for path, having in sorted(holders.items()) if len(having) > 1 or min(having) < primary]
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        sizes = [{path: holders[path][index] for path in batch if index in holders[path]} for index in range(len(layers))]
        looks = [_looks(layer, sizes[index], contents) for index, layer in enumerate(layers)]
        for path in batch:
            found = {layers[index].store.url: looks[index].get(path, "absent") for index in holders[path]}
            if max(holders[path]) < primary:
                found[layers[primary].store.url] = "absent"
            if len(set(found.values())) > 1:
                yield Difference(path, found)


def _looks(layer: Layer, sizes: Mapping[str, int], contents: bool) -> dict[str, str]:
    """The state of each path in a layer, as text to be compared."""
    from blake3 import blake3

    records = layer.store.get_many([path for path in sizes if path.endswith(RECORD)])
    looks = {path: f"{len(data)} bytes, {blake3(data).hexdigest()[:16]}" for path, data in records.items()}
    for path, size in sizes.items():
        if not path.endswith(RECORD):
            looks[path] = f"{size} bytes" + (f", {_digest(layer, path)}" if contents else "")
    return looks


def _digest(layer: Layer, path: str) -> str:
    with layer.store.read(path) as file:
        return digest_rest(file)[0][:16]


def damaged_in(
    layers: Sequence[Layer], order: Iterable[int], path: str, sound: Callable[[BinaryIO], bool], failed: Callable[[int, OSError], object]
) -> tuple[str | None, list[int]]:
    """URL of the first layer with a `sound` copy of `path`, None where there is none, and the layers before it with a damaged one."""
    damaged: list[int] = []
    for index in order:
        store = layers[index].store
        try:
            with store.read(path) as file:
                if sound(file):
                    return store.url, damaged
        except FileNotFoundError:
            continue
        except OSError as error:
            failed(index, error)
            continue
        damaged.append(index)
    return None, damaged
