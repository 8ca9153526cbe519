"""Resources of this machine, and whether a task can ever have what it asks for here; and when its processes began."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import suppress

from persistable.errors import Infeasible
from persistable.executors.resources import Resources


def cpus() -> int:
    """Return the number of CPUs this process may use, which in a container or under ``taskset`` is less than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


@functools.cache
def memory() -> int | None:
    """Return the bytes of memory this process may use, which in a container is less than there are; None where the system does not say."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return min([physical, *cgroup_limits()])


def cgroup_limits(membership: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> Iterator[int]:
    """Limits of memory of this process's control group and of those above it, in either version of Linux control groups."""
    try:
        with open(membership, encoding="utf-8") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return
    for number, controllers, path in groups:
        if number != "0" and "memory" not in controllers.split(","):
            continue
        folder, name = (root, "memory.max") if number == "0" else (f"{root}/memory", "memory.limit_in_bytes")
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):  # in a container only the root of what it sees may be there
            with suppress(OSError, ValueError), open("/".join([folder, *parts[:depth], name]), encoding="ascii") as file:
                yield int(file.read())  # "max" is no number


def started(pid: int) -> str:
    """Return when a process was started, in its system's own measure; an empty text if there is none, or it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def check(resources: Resources | None) -> None:
    """Raise Infeasible if one task asks for more CPUs or memory than this machine has.

    GPUs are not looked at, since whose driver to ask is unknown; counters and time are the caller's business.
    """
    if resources is None:
        return
    available: dict[str, float] = {"cpus": cpus()}
    wanted: dict[str, float] = {"cpus": resources.cpus}
    total = memory() if resources.memory is not None else None
    if resources.memory is not None and total is not None:
        available["memory"], wanted["memory"] = total, resources.memory
    short = [name for name, amount in wanted.items() if amount > available[name]]
    if short:
        told = " and ".join(f"{wanted[name]:g} {name} (this machine has {available[name]:g})" for name in short)
        raise Infeasible(
            f"a task asks for {told}; lower its Resources, or run it on an executor that has them", wanted=wanted, available=available
        )
