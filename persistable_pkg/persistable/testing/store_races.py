"""Functions that the processes of `StoreContract` run; apart from it, so that they start without pytest and Hypothesis."""

from __future__ import annotations

from persistable.stores.base import Store
from persistable.testing.races import Gate


def values() -> list[bytes]:
    """Contents that are told apart by their bytes and their sizes."""
    return [bytes([65 + number]) * size for number, size in enumerate((10, 70_000, 300_000, 1))]


def contend(number: int, gate: Gate, store: Store, rounds: int) -> list[bool]:
    """Which of the claims this process got."""
    store.exists("warm")  # connect before the race
    won: list[bool] = []
    for turn in range(rounds):
        gate.wait()
        won.append(store.create(f"claims/{turn}", b"owner %d" % number))
    return won


def replace_and_read(number: int, gate: Gate, store: Store, rounds: int) -> list[str]:
    """The contents read that nobody wrote."""
    wholes = values()
    gate.wait()
    problems: list[str] = []
    for _ in range(rounds):
        store.put("x", wholes[number])
        found = store.get("x")
        if found not in wholes:
            problems.append(f"{len(found)} bytes, {found[:3]!r}...{found[-3:]!r}")
    return problems


def visit(_number: int, _gate: Gate | None, store: Store) -> tuple[bytes, list[str], bool]:
    """Read, list, write and create as another process."""
    found, listed = store.get("a/x"), list(store.list("a"))
    store.put("a/y", b"there")
    return found, listed, not store.create("a/y", b"there")


def write_and_wait(_number: int, gate: Gate, store: Store, path: str) -> None:
    """Write a part, and wait to be killed."""
    with store.write(path) as file:
        file.write(b"n" * 3_000_000)
        file.flush()
        gate.wait()
