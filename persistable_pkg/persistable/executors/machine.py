"""Resources of this machine, the check of requests against them, and the end of a process group."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress

from persistable.errors import Infeasible
from persistable.executors.resources import Resources
from persistable.params.process_identity import fields_of

_MEMBERSHIP, _ROOT = "/proc/self/cgroup", "/sys/fs/cgroup"


def cpus() -> int:
    """Return the number of CPUs that this process may use, which a container or ``taskset`` may limit."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(there or 1, _quota())))


@functools.cache
def _quota() -> float:
    """The CPU time per second to which control groups limit this process, such as those of a container with ``--cpus``."""
    return min(cpu_quotas(), default=math.inf)


@functools.cache
def memory() -> int | None:
    """Return the bytes of memory that this process may use, which a container may limit; None if the system does not report it."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return min([physical, *memory_limits()])


def memory_limits(membership: str = _MEMBERSHIP, root: str = _ROOT) -> Iterator[int]:
    """Limits of memory of this process's control group and its ancestors."""
    for text in _of_groups("memory", "memory.max", "memory.limit_in_bytes", membership, root):
        with suppress(ValueError):  # "max" is no number
            yield int(text)


def cpu_quotas(membership: str = _MEMBERSHIP, root: str = _ROOT) -> Iterator[float]:
    """CPUs that this process's control group and its ancestors may use."""
    quotas = _of_groups("cpu", "cpu.max", "cpu.cfs_quota_us", membership, root)
    periods = _of_groups("cpu", "cpu.max", "cpu.cfs_period_us", membership, root)
    for quota, period in zip(quotas, periods, strict=False):
        with suppress(ValueError, ZeroDivisionError):
            share = int(quota.split()[0]) / int(period.split()[-1])
            if share > 0:  # -1: no limit
                yield share


def _of_groups(controller: str, name: str, name_in_1: str, membership: str, root: str) -> Iterator[str]:
    """The content of a controller's file in this process's control group and its ancestors; version 1 has another file name."""
    try:
        with open(membership, encoding="utf-8") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return
    for number, controllers, path in groups:
        if number != "0" and controller not in controllers.split(","):
            continue
        folder, file_name = (root, name) if number == "0" else (f"{root}/{controller}", name_in_1)
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):  # in a container only the root of the hierarchy may exist
            with suppress(OSError, UnicodeDecodeError), open("/".join([folder, *parts[:depth], file_name]), encoding="ascii") as file:
                yield file.read()


def await_group(group: int, seconds: float) -> None:
    """Wait until none of the killed processes of a group runs any more, at most for `seconds`."""
    end = time.monotonic() + seconds
    while _runs(group) and time.monotonic() < end:
        time.sleep(0.002)


def _runs(group: int) -> bool:
    """Tell whether a process of that group runs, according to /proc; a zombie does not count."""
    try:
        os.killpg(group, 0)
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return False
    return any(len(fields) > 2 and fields[0] not in "ZX" and fields[2] == str(group) for fields in map(fields_of, pids))


def check(resources: Resources | None) -> None:
    """Raise Infeasible if one task asks for more CPUs or memory than this machine has.

    GPUs are not checked, since the driver to query is unknown; counters and time are checked by the caller.
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
        text = " and ".join(f"{wanted[name]:g} {name} (this machine has {available[name]:g})" for name in short)
        raise Infeasible(
            f"a task asks for {text}; lower its Resources, or run it on an executor that has them", wanted=wanted, available=available
        )
