"""Owners of claims: the facts that identify a process, and whether it still runs.

Linux reports when a process began, so that a later one with the same number is not mistaken for it. Where the platform does not report it,
the process of that number may be another: then the heartbeat decides.
"""

from __future__ import annotations

import json
import os
from typing import Any, Literal, cast
from zlib import crc32

from blake3 import blake3

from persistable.params.process_identity import fields_of, host

State = Literal["lives", "dead", "unknown"]

_me: dict[str, Any] = {}
written = b""
"""The bytes that `mine` returned; empty before its first call."""
_WINDOWS = os.name == "nt"


def mine() -> bytes:
    """The bytes that this process writes into its claims; the same bytes each time."""
    global written
    if not written:
        _me.update(host=host(), pid=os.getpid(), start=_start_of(os.getpid()), token=os.urandom(8).hex())
        written = _checked(json.dumps(_me).encode())
    return written


def _identity() -> dict[str, Any]:
    mine()
    return _me


def token() -> str:
    """The token that identifies this process."""
    name: str = _identity()["token"]
    return name


def process_name() -> str:
    """Host, number and start of this process, as part of a file's name."""
    me = _identity()
    return f"{_short(me['host'])}-{me['pid']}-{me['start'] or 0}"


def is_dead_name(name: str) -> bool:
    """Tell whether the process of that `process_name` is known to be gone; False for a text that is no such name."""
    host, _, rest = name.partition("-")
    pid, _, start = rest.partition("-")
    if host != _short(_identity()["host"]) or not (pid.isdecimal() and start.isdecimal()):
        return False
    return _state_here({"pid": int(pid), "start": None if start == "0" else start}) == "dead"


def is_dead(owner: bytes) -> bool:
    """Tell whether an owner is known to be gone; False for a claim that cannot be read."""
    return state_of(facts_of(owner)) == "dead"


def state_of(facts: dict[str, Any]) -> State:
    """The state of an owner, as seen from here: unknown on another host, while stopped, and where it may be another process by now."""
    return _state_here(facts) if facts.get("host") == _identity()["host"] else "unknown"


def _state_here(facts: dict[str, Any]) -> State:
    pid, start = facts.get("pid"), facts.get("start")
    if not isinstance(pid, int):
        return "dead"
    fields = fields_of(pid)
    if not fields:
        there = _is_there(pid) and not os.path.exists("/proc/self/stat")  # else it is the number of a thread
        return "unknown" if there else "dead"
    if fields[0] in ("Z", "X") or start not in (None, fields[19]):
        return "dead"
    return "unknown" if start is None or fields[0] in ("T", "t") else "lives"


def _is_there(pid: int) -> bool:
    """Tell whether there is a process of that number."""
    if _WINDOWS:
        return _is_there_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _is_there_on_windows(pid: int) -> bool:
    import ctypes  # os.kill(pid, 0) sends Ctrl-C there

    here: Any = ctypes  # the rest exists on Windows only
    kernel = here.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return bool(here.get_last_error() != 87)  # ERROR_INVALID_PARAMETER: no such process; others may not be asked
    status = ctypes.c_ulong()
    succeeded = kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(status))
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return not succeeded or status.value == 259  # STILL_ACTIVE


def _start_of(pid: int) -> str | None:
    """The start time of the process, to distinguish it from a later one of the same number; None where the platform does not report it."""
    fields = fields_of(pid)
    return fields[19] if fields else None


def _short(host: str) -> str:
    return blake3(host.encode()).hexdigest(length=8)


_CHECK = b', "check": "'
_LARGEST = 4096


def _checked(facts: bytes) -> bytes:
    """A claim of these facts, with a checksum of them at its end."""
    return b'%b%b%08x"}' % (facts[:-1], _CHECK, crc32(facts[:-1]))


def is_damaged(content: bytes) -> bool:
    """Tell whether `content` is no sound claim."""
    return not facts_of(content)


def was_mine(content: bytes) -> bool:
    """Tell whether `content` is a claim of this process in which a few bytes, or its end, have been damaged."""
    ours = mine()
    if not is_damaged(content):
        return False
    return ours.startswith(content) or (len(ours) == len(content) and sum(map(int.__ne__, ours, content)) <= 8)


def facts_of(content: bytes) -> dict[str, Any]:
    """The facts of a claim about its owner; empty where it is damaged."""
    if len(content) > _LARGEST:
        return {}
    body, found, check = content.rpartition(_CHECK)
    if found and check != b'%08x"}' % crc32(body):
        return {}
    try:
        facts: Any = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(facts, dict):
        return {}
    known = cast("dict[str, Any]", facts)
    host, pid, start, token = (known.get(name) for name in ("host", "pid", "start", "token"))
    sound = isinstance(host, str) and type(pid) is int and 0 < pid < 1 << 32 and isinstance(start, str | None) and isinstance(token, str)
    return known if sound else {}


def _after_fork() -> None:
    global written
    written = b""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
