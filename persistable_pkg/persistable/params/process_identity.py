"""This host and its processes: the facts that identify them, as far as the platform reports them."""

from __future__ import annotations

import os
import sys
from typing import Any


def host() -> str:
    """Return the host, boot and process namespace: two containers may share a host name but not their process ids."""
    import socket

    parts = [socket.gethostname()]
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            parts.append(file.read().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        parts += _boot()
    return " ".join(parts)


def fields_of(pid: int) -> list[str]:
    """Return the fields of a process in /proc after its name: state, parent, group, ...; none where there is no process, or no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return []


def started(pid: int) -> str:
    """Return the start time of a process, in its system's own measure; an empty text if there is none, or it has ended."""
    fields = fields_of(pid)
    return "" if not fields or fields[0] in "ZX" else fields[19]


def _boot() -> list[str]:
    """The name of this boot by sysctl, where there is one; else its time."""
    for name in (b"kern.bootsessionuuid", b"kern.boot_id"):  # macOS, FreeBSD
        if value := _sysctl(name):
            return [value.rstrip(b"\0").decode("ascii", "replace")]
    value = _sysctl(b"kern.boottime")
    return [str(int.from_bytes(value[:8], sys.byteorder))] if value else []


def _sysctl(name: bytes) -> bytes:
    """The value of that name; empty where there is none, or no sysctl."""
    import ctypes

    try:
        call: Any = ctypes.CDLL(None).sysctlbyname
    except (AttributeError, OSError, TypeError):
        return b""
    room = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t(len(room))
    return b"" if call(name, room, ctypes.byref(size), None, ctypes.c_size_t(0)) else room.raw[: size.value]
