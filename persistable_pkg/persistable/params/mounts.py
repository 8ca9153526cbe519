"""The kind of file system that a path is on, and whether that is a network file system."""

from __future__ import annotations

import os
import sys

_FUSE = ("ceph", "ceph-fuse", "davfs2", "gcsfuse", "glusterfs", "juicefs", "rclone", "s3fs", "smbnetfs", "sshfs")
_KINDS = (
    "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "orangefs", "smb2", "smb3", "smbfs", "webdav",
)  # fmt: skip
NETWORK = frozenset({*_KINDS, *[f"fuse.{name}" for name in _FUSE]})
"""Kinds of file systems whose files several machines may have open, by their names in ``/proc/mounts`` and on macOS."""


def network_of(path: str) -> str | None:
    """The kind of network file system of `path`, or of the nearest folder above it that exists.

    None for a local one, and where it is unknown.
    """
    if sys.platform == "win32":
        return _windows(path)
    place = os.path.realpath(path)
    while not os.path.exists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    kind = _mac(place) if sys.platform == "darwin" else kind_of(os.stat(place).st_dev)
    return kind if kind in NETWORK else None


def kind_of(device: int) -> str:
    """The kind of the file system mounted as `device`; "" where Linux does not list it."""
    try:
        wanted = f"{os.major(device)}:{os.minor(device)}"
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.split()
                if fields[2] == wanted:
                    return fields[fields.index("-") + 1]
    except (OSError, AttributeError, LookupError, ValueError):
        pass
    return ""


def _mac(place: str) -> str | None:
    """The name of the file system at `place`, which follows six numbers and some bytes in ``struct statfs``."""
    import ctypes

    try:
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(4096)
        if libc.statfs(os.fsencode(place), buffer) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return buffer.raw[72:88].split(b"\0")[0].decode("ascii", "replace")


def _windows(path: str) -> str | None:
    """``smbfs`` for a network share, given by its name or its drive letter."""
    drive = os.path.splitdrive(os.path.abspath(path))[0]
    if drive.startswith(("\\\\", "//")):
        return "smbfs"
    import ctypes

    remote = 4
    windll = getattr(ctypes, "windll", None)
    return "smbfs" if windll is not None and windll.kernel32.GetDriveTypeW(drive + "\\") == remote else None
