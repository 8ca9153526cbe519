"""Files mapped as private memory, as long as there are enough descriptors."""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any

from persistable.params.mounts import kind_of

_NORESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
_TRACKS = sys.version_info < (3, 13)
"""True if a map always holds a descriptor of its own."""


def private_map(descriptor: int, size: int, writable: bool = True) -> mmap.mmap | None:
    """Map an open file as copy-on-write memory: writes to it never reach the file. None where it has to be read instead.

    That is so where descriptors run short, since a map may hold one for its lifetime: a quarter of them is left for other uses.
    """
    if _TRACKS and _next(descriptor) >= _most():
        return None
    options: dict[str, Any] = {} if _TRACKS else {"trackfd": False}
    try:
        if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
            return mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY, **options)
        # not reserved: private maps larger than memory are fine as long as few of their pages are written
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        return mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE | _NORESERVE, prot=protection, **options)
    except OSError:  # too many files or maps, or a file system without maps
        return None


_NETWORK = frozenset(
    ["9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "pvfs2", "smb3", "smbfs"]
)
_LOCAL_FUSE = frozenset(["fuseblk", "fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.ntfs-3g", "fuse.bindfs", "fuse.mergerfs"])
_on_network: dict[int, bool] = {}


def is_on_network(descriptor: int) -> bool:
    """Tell whether an open file is on a network file system, as far as Linux reports it.

    There another host may truncate a file that is mapped here, or the server may fail: a signal then kills a process that reads the map.
    """
    device = os.fstat(descriptor).st_dev
    found = _on_network.get(device)
    if found is None:
        found = _on_network[device] = _is_network(kind_of(device))
    return found


def _is_network(kind: str) -> bool:
    return kind in _NETWORK or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)


def _next(descriptor: int) -> int:
    """The number that the map's descriptor would get: the lowest free one."""
    try:
        another = os.dup(descriptor)
    except OSError:
        return sys.maxsize
    os.close(another)
    return another


def _most() -> int:
    """The first descriptor number from which on no maps are made."""
    try:
        import resource
    except ImportError:
        return sys.maxsize - 1
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize - 1 if limit == resource.RLIM_INFINITY else limit - max(limit // 4, 1)


def read_whole(descriptor: int, size: int) -> bytearray:
    """Read all bytes of an open file, from its beginning."""
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = os.preadv(descriptor, [view[at : at + (1 << 30)]], at) if hasattr(os, "preadv") else _read_at(descriptor, view, at)
        if not count:
            del view
            return data[:at]
        at += count
    return data


def _read_at(descriptor: int, view: memoryview, at: int) -> int:
    os.lseek(descriptor, at, os.SEEK_SET)
    piece = os.read(descriptor, min(len(view) - at, 1 << 24))
    view[at : at + len(piece)] = piece
    return len(piece)
