"""A directory tree as a payload."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from persistable.fileio.base import Parts, PartsFileIO
from persistable.fileio.parts import checked_name


class FolderFileIO(PartsFileIO[Path]):
    """The files of an existing folder. Loads as the Path of another folder with equal content: read it, never write into it.

    Refuses properties that plain files in a store cannot have: symlinks, empty folders, executable files, devices; also a tree
    without files. Times and permissions are not kept.
    """

    name: ClassVar[str] = "FolderFileIO"
    suffix = ".folder"

    def check(self, payload: Any) -> None:
        if not isinstance(payload, Path):
            self._refuse(f"it is a {type(payload).__name__}, not a pathlib.Path of a folder")
        if not payload.is_dir():
            self._refuse(f"{payload} is not an existing folder")
        if not [name for name, _ in self._walk(payload)]:
            self._refuse(f"{payload} holds no file")

    def dump_parts(self, payload: Path, create: Callable[[str], AbstractContextManager[BinaryIO]]) -> None:
        for name, path in self._walk(payload):
            with path.open("rb") as source, create(name) as target:
                shutil.copyfileobj(source, target, 1 << 20)

    def load_parts(self, parts: Parts) -> Path:
        for name in parts.names():
            checked_name(name)
        return parts.folder()

    def _walk(self, root: Path) -> Iterator[tuple[str, Path]]:
        """Name and path of every file, sorted. Refuses files and folders that a store cannot hold."""
        for folder, folders, files in os.walk(root):
            folders.sort()
            here = Path(folder)
            if not folders and not files and here != root:
                self._refuse(f"{here} is empty, and stores hold files only; put a file into it, or remove it")
            for name in folders:
                if (here / name).is_symlink():
                    self._refuse(f"{here / name} is a symlink; replace it by its target")
            for name in sorted(files):
                path = here / name
                self._check_file(path)
                relative = path.relative_to(root).as_posix()
                try:
                    yield checked_name(relative), path
                except ValueError as error:
                    self._refuse(str(error))

    def _check_file(self, path: Path) -> None:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            self._refuse(f"{path} is a symlink; replace it by its target")
        if not stat.S_ISREG(mode):
            self._refuse(f"{path} is not an ordinary file")
        if mode & stat.S_IXUSR and os.name == "posix":
            self._refuse(f"{path} is executable, which stores do not keep; chmod -x it, or pack the tree yourself and use BytesFileIO")
