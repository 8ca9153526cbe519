"""The folder of this machine for files that can be rebuilt."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from blake3 import blake3


def cache_folder() -> Path:
    """``$PERSISTABLE_CACHE``, else a folder in the user's cache folder."""
    named = os.environ.get("PERSISTABLE_CACHE")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "persistable"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "persistable"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "persistable"


def file_of(kind: str, url: str) -> Path:
    """The file in the cache folder of that kind, about the store at `url`."""
    return cache_folder() / kind / f"{blake3(url.encode()).hexdigest(length=12)}.db"
