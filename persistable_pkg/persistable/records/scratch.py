"""Scratch folders, in which a generation keeps checkpoints that survive a kill, until its commit.

In a store that is a folder they are in its hidden folder. For other stores, and those that sign payloads, they are on this machine, in a
folder that only this user can have filled: its content decides what becomes a payload. Among temporary files another user may have made
one of that name before, so it is used only if it is this user's own and closed to others; else one below the user's home is used.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from persistable.errors import StoreError
from persistable.records.key import Key, Place
from persistable.stores.base import HIDDEN, Store, extended
from persistable.stores.reach import in_memory


def scratch_folder(store: Store, place: Place) -> Path:
    """The folder in which a generation at `place` keeps its checkpoints; not made yet, except for this user's own folder above it."""
    path = place.path if isinstance(place, Key) else f"{place.to}/{place.digest}"
    local = _in_store(store, path)
    return local if local is not None else _here(store) / path


def scratch_elsewhere(store: Store) -> Path | None:
    """The folder on this machine with the checkpoints of all generations in `store`; None where they are in it, or none is usable."""
    try:
        return None if _in_store(store, "any") is not None else _here(store)
    except StoreError:
        return None


def _in_store(store: Store, path: str) -> Path | None:
    signs = extended(store).signer is not None  # then not where others may write: the payloads are signed
    return store.local_path(f"{HIDDEN}/scratch/{path}") if not signs else None


def _here(store: Store) -> Path:
    from blake3 import blake3

    where = f"{store.url} of {os.getpid()}" if in_memory(store) else store.url
    return own_folder() / blake3(where.encode()).hexdigest()[:16]


def forget_appended(store: Store, place: Place) -> None:
    """Remove the rows that an attempt at `place` that was cut off has appended: the next one begins anew."""
    try:
        folder = scratch_folder(store, place) / "appended"
    except StoreError:
        return  # then nothing was appended
    if folder.exists():
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def own_folder() -> Path:
    """A folder of this machine that is this user's own, the same each time. Raises StoreError where none is usable."""
    import tempfile

    user = str(os.geteuid()) if hasattr(os, "geteuid") else "user"
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if os.path.isabs(state) else Path(os.path.expanduser("~"), ".local", "state")
    candidates = [Path(tempfile.gettempdir(), f"persistable-{user}"), home / "persistable" / "scratch"]
    for folder in candidates:
        if _is_own(folder):
            return folder
    raise StoreError(
        f"no folder for checkpoints: {' and '.join(map(str, candidates))} cannot be made, or are another user's or open to others; "
        "set TMPDIR or XDG_STATE_HOME to a folder of your own",
        url="",
        path=str(candidates[0]),
    )


def _is_own(folder: Path) -> bool:
    """Tell whether the folder exists, made if need be, and no other user can have put a file into it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        found = folder.lstat()  # not the target of a link
        if not stat.S_ISDIR(found.st_mode):
            return False
        if not hasattr(os, "geteuid"):
            return True
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            return False
        if found.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError:
        return False
    return True
