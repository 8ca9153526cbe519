"""BLAKE3 for large data: the number of its threads, and the digest of a file.

Its threads are a pool of the process that made them. A forked child has none of them, and would block forever.
"""

from __future__ import annotations

import os

from blake3 import blake3

_threads: int = blake3.AUTO


def max_threads() -> int:
    """The argument for ``blake3(max_threads=...)`` for large data: as many as there are cores, or one in a forked process."""
    return _threads


def digest_of_file(path: str | os.PathLike[str]) -> str:
    """The BLAKE3 digest, hexadecimal, of a local file that does not change meanwhile, as it is mapped."""
    return blake3(max_threads=max_threads()).update_mmap(path).hexdigest()


def _after_fork() -> None:
    global _threads
    _threads = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
