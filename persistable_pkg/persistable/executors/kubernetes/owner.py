"""Owner of a driver: its process, recorded in the cluster with a heartbeat, so that its end is noticed."""

from __future__ import annotations

import json
import os

from persistable.params.process_identity import host, started

HEARTBEAT = 20.0
"""Seconds between two renewals."""
_GONE = 6 * HEARTBEAT


def owner_now(server_time: float) -> str:
    """Return the record of this process at a time of the server's clock, which all drivers share."""
    return json.dumps({"host": host(), "pid": os.getpid(), "began": started(os.getpid()), "seen": round(server_time, 1)})


def is_gone(owner: str, server_time: float) -> bool:
    """Tell whether that process has ended: immediately on its own host, elsewhere after missing heartbeats."""
    try:
        found = json.loads(owner)
        owner_host, pid, began, seen = found["host"], int(found["pid"]), found["began"], float(found["seen"])
    except (ValueError, KeyError, TypeError):
        return False  # perhaps of a later version
    if server_time - seen > _GONE:
        return True
    return bool(owner_host == host() and began and started(pid) != began and started(os.getpid()))
