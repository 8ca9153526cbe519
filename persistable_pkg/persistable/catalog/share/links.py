"""Links in a folder: made, recognized and removed, without touching other files. Where links are impossible, copies are made."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from persistable.errors import StoreError
from persistable.stores.base import check_path

MARK = ".persistable-view.json"
"""The file that lists those links of a folder that belong to a view."""


class Links:
    """The links in one folder, listed in a file beside them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._mark = root / MARK

    def renew(self, targets: Mapping[str, Path], about: dict[str, Any], dry_run: bool) -> tuple[int, int, int]:
        """Make the links to `targets`, by path, and remove other links of earlier calls; return the numbers made, kept and removed.

        about: facts for the file that lists them. dry_run: only count. Raises StoreError, before anything is touched, where a file that no
        view has made is in the way.
        """
        before = self._before()
        for path in targets:
            link = self._root / path
            if os.path.lexists(link) and not (path in before and (_is_same(link, before[path]) or _leads_to(link, targets[path]))):
                raise self._foreign(f"{path} there was not made by a view")
            if not self._is_within(path):
                raise self._foreign(f"{path} would be behind a link that was not made by a view")
        stale = [path for path in before if path not in targets]
        new = {path: target for path, target in targets.items() if not _leads_to(self._root / path, target)}
        counts = len(new), len(targets) - len(new), len(stale)
        if dry_run or (not targets and not before):
            return counts
        self._root.mkdir(parents=True, exist_ok=True)
        links = {**before, **{path: before.get(path, _PLANNED) for path in targets}}
        self._write(about, links)  # first: after a kill, the next call knows these as the view's own
        for path in stale:
            self._remove(path, before[path])
        for path, target in new.items():
            links[path] = self._link(self._root / path, target)
        self._write(about, {path: links[path] for path in targets})
        return counts

    def _before(self) -> dict[str, list[Any]]:
        """The links of the last call. Raises StoreError for a folder that holds other files."""
        try:
            facts: Any = json.loads(self._mark.read_bytes())
            found: dict[str, list[Any]] = {check_path(path): list(kind) for path, kind in facts["links"].items()}
            return found
        except (FileNotFoundError, NotADirectoryError):
            if self._root.is_dir() and any(os.scandir(self._root)):
                raise self._foreign("it holds files that no view has made") from None
            if self._root.exists() and not self._root.is_dir():
                raise self._foreign("it is a file") from None
            return {}
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise self._foreign(f"its {MARK} is damaged") from error

    def _foreign(self, why: str) -> StoreError:
        return StoreError(f"no view is made in {self._root}: {why}; name an empty folder", url=str(self._root), path="")

    def _is_within(self, path: str) -> bool:
        """Tell whether no folder on the way to `path` is a link to elsewhere."""
        folder = self._root
        for part in path.split("/")[:-1]:
            folder = folder / part
            if folder.is_symlink():
                return False
        return True

    def _link(self, link: Path, target: Path) -> list[Any]:
        """Make one link, or a copy, in place of an existing one; return the facts by which it is recognized later."""
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f".{os.urandom(6).hex()}.tmp")
        try:
            kind = _made(temporary, link, target)
            os.replace(temporary, link)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return kind

    def _remove(self, path: str, kind: list[Any]) -> None:
        """Remove a link if it is still the one that was made, and folders that are empty then."""
        link = self._root / path
        if self._is_within(path) and _is_same(link, kind):
            link.unlink(missing_ok=True)
            for folder in link.parents:
                if folder == self._root:
                    break
                with suppress(OSError):
                    folder.rmdir()

    def _write(self, about: dict[str, Any], links: Mapping[str, list[Any]]) -> None:
        temporary = self._root / f".{os.urandom(6).hex()}.tmp"
        temporary.write_text(json.dumps({"view": 1, **about, "links": links}, indent=0))
        os.replace(temporary, self._mark)


_LINK, _FILE, _PLANNED = "link", "file", ["planned"]


def _made(temporary: Path, link: Path, target: Path) -> list[Any]:
    """Make `temporary`, which will be moved to `link`: a symbolic link, else a hard one, else a copy."""
    try:
        real = os.path.realpath(target)
        try:
            text = os.path.relpath(real, os.path.realpath(link.parent))
        except ValueError:  # on another drive
            text = real
        os.symlink(text, temporary)
        return [_LINK]
    except (OSError, NotImplementedError):  # not permitted to this user, or the file system has none
        pass
    try:
        os.link(target, temporary)
    except (OSError, NotImplementedError, AttributeError):
        shutil.copyfile(target, temporary)
        shutil.copystat(target, temporary)
    found = temporary.stat()
    return [_FILE, found.st_size, found.st_mtime_ns]


def _is_same(link: Path, kind: list[Any]) -> bool:
    """Tell whether the file at `link` is the one that was made there."""
    if link.is_symlink():
        return bool(kind[0] != _FILE)
    try:
        found = link.stat()
    except OSError:
        return False
    return list(kind) == [_FILE, found.st_size, found.st_mtime_ns]


def _leads_to(link: Path, target: Path) -> bool:
    """Tell whether `link` is a link to `target`, or a copy of it, already."""
    try:
        if link.is_symlink():
            return os.path.realpath(link) == os.path.realpath(target)
        there, wanted = link.stat(), target.stat()
    except OSError:
        return False
    if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
        return True
    return (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)
