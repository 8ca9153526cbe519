"""The heartbeat of claims: one thread of the process while it has claims, which also releases claims left by interrupts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from persistable.stores.base import Store, extended

TTL = 60.0
"""Seconds a heartbeat may stand still before others take over."""
now: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
"""Seconds on a clock that also runs while the machine sleeps, where there is one."""
_LOOK = 0.4


def ttl_of(store: Store) -> float:
    """Seconds a heartbeat in this store may stand still before others take over."""
    whole = extended(store)
    return whole.claim_ttl or extended(whole.primary_store).claim_ttl or TTL


def beat_of(store: Store) -> float:
    """Seconds between two beats of a claim in this store."""
    whole = extended(store)
    primary = extended(whole.primary_store)
    return whole.claim_beat or primary.claim_beat or (whole.claim_ttl or primary.claim_ttl or TTL) / 6


class Beating(Protocol):
    """The claims of one caller, as the heartbeat sees them."""

    @property
    def beat_every(self) -> float: ...

    def is_over(self) -> bool: ...

    def give_up(self) -> None: ...

    def is_due(self) -> bool: ...

    def beat(self) -> None: ...

    def is_on(self, store: Store, base: str) -> bool: ...


active: set[Beating] = set()
"""All claims that this process holds or requests."""
thread: threading.Thread | None = None
_guard = threading.Lock()


def start() -> None:
    """Start the thread unless it runs."""
    global thread
    with _guard:
        if thread is None or not thread.is_alive():
            thread = threading.Thread(target=_beat_on, name="persistable-heartbeat", daemon=True)
            thread.start()


def _beat_on() -> None:
    global thread
    idle = 0.0
    while True:
        pause = min([_LOOK, TTL / 6, *[claim.beat_every for claim in list(active)]])
        time.sleep(pause)
        idle = 0.0 if active else idle + pause
        for claim in list(active):
            try:
                if claim.is_over():
                    claim.give_up()
                elif claim.is_due():
                    claim.beat()
            except Exception:  # noqa: BLE001 - the store may recover; if not, others rightly take over
                continue
        if idle > TTL / 3:
            with _guard:
                if not active:
                    thread = None
                    return


def _after_fork() -> None:
    global thread, _guard
    thread, _guard = None, threading.Lock()
    active.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
