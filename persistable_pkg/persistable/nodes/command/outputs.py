"""Outputs of a script: one file, one folder, or several of either by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from persistable.errors import CommandFailed, ParamsError
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.fileio.bundle import BundleFileIO
from persistable.fileio.folder import FolderFileIO
from persistable.fileio.plain import BytesFileIO
from persistable.fileio.registry import fileio_for

FOLDER = "folder"


class Output(NamedTuple):
    """One output: `name` in the bundle ("" for an only output), the file name that the script sees, and its format."""

    name: str
    file: str
    io: FileIO[Any]

    @property
    def is_folder(self) -> bool:
        return isinstance(self.io, PartsFileIO)


class Outputs:
    """All outputs that a script must make.

    declared: None or ``"file"`` (one file), a file name such as ``"table.csv"``, ``"folder"``, or a mapping of names to these.
    io: the format, a FileIO, or one per name; None for that of the suffix, or bytes without a suffix.
    """

    def __init__(self, declared: Any, io: Any) -> None:
        if isinstance(declared, Mapping):
            names = cast("Mapping[str, Any]", declared)
            self.several = True
            formats: dict[str, Any] = dict(cast("Mapping[str, Any]", io)) if isinstance(io, Mapping) else {}
            if io is not None and not isinstance(io, Mapping):
                raise TypeError(f"Command has several outputs, so io maps their names to formats; it is {io!r}")
            unknown = sorted(formats.keys() - names.keys())
            if unknown:
                raise ParamsError(f"io of Command names {', '.join(unknown)}, which are none of its outputs: {', '.join(names)}")
            if not names:
                raise ParamsError("outputs of Command is empty; name at least one")
            self.all = [_output(name, kind, formats.get(name)) for name, kind in names.items()]
            if len({output.file for output in self.all}) < len(self.all):
                raise ParamsError(f"two outputs of Command have the same file name: {', '.join(output.file for output in self.all)}")
            self.io: FileIO[Any] = BundleFileIO({output.name: output.io for output in self.all})
        else:
            self.several = False
            self.all = [_output("", declared, io)]
            self.io = self.all[0].io

    def spec(self) -> Any:
        """The facts for identity: file names and formats; None for one file of bytes."""
        if not self.several and self.all[0] == Output("", "output", BytesFileIO()):
            return None
        specs = {output.name: [output.file, output.io.spec()] for output in self.all}
        return specs if self.several else specs[""]

    def paths(self, root: Path) -> Any:
        """The value of ``output`` in the template: a path, or paths by name."""
        if not self.several:
            return root / self.all[0].file
        return {output.name: root / output.file for output in self.all}

    def prepare(self, root: Path) -> None:
        """Create the folders that the script fills."""
        root.mkdir(parents=True)
        for output in self.all:
            if output.is_folder:
                (root / output.file).mkdir()

    def collect(self, root: Path) -> Path:
        """The file or folder with all outputs, in the layout that the format reads. Raises CommandFailed if an output is missing."""
        missing = [output.name or output.file for output in self.all if not _is_there(root / output.file, output.is_folder)]
        if missing:
            raise CommandFailed(
                f"the script ended well but did not make its output {', '.join(missing)}; "
                "write to the path that {{ output }} stands for",
                exitcode=0,
                missing=missing,
            )
        for output in self.all:
            if output.is_folder:
                _check_folder(root / output.file, output)
        if not self.several:
            return root / self.all[0].file
        bundle = root.with_name(root.name + "-bundle")
        bundle.mkdir()
        for output in self.all:
            (root / output.file).rename(bundle / f"{output.name}{output.io.suffix}")
        return bundle


def _output(name: str, kind: Any, io: Any) -> Output:
    if kind is None or kind == "file":
        file = name or "output"
        format_ = io or BytesFileIO()
        if isinstance(format_, FileIO) and format_ != BytesFileIO() and not isinstance(format_, PartsFileIO):
            file += cast("FileIO[Any]", format_).suffix
    elif kind == FOLDER:
        file, format_ = name or "output", io or FolderFileIO()
        if not isinstance(format_, PartsFileIO):
            raise TypeError(f"the output {file} of Command is a folder, and {format_!r} reads one file")
    elif isinstance(kind, FileIO):
        file, format_ = (name or "output") + kind.suffix, cast("FileIO[Any]", io or kind)
    elif isinstance(kind, str):
        if "/" in kind or "\\" in kind or kind in ("", ".", ".."):
            raise ParamsError(f"the output {kind!r} of Command is no plain file name; folders are made for it")
        file, format_ = kind, io or (fileio_for(kind) if "." in kind else BytesFileIO())
    else:
        raise TypeError(f'an output of Command is {kind!r}; give None, "folder", a file name, or a mapping of names to such')
    if not isinstance(format_, FileIO):
        raise TypeError(f"io of Command is {format_!r}; give a FileIO")
    return Output(name, file, cast("FileIO[Any]", format_))


def _is_there(path: Path, folder: bool) -> bool:
    return path.is_dir() if folder else path.is_file()


def _check_folder(path: Path, output: Output) -> None:
    """Raise CommandFailed for files that a store cannot hold."""
    if isinstance(output.io, FolderFileIO):
        output.io.check(path)
    elif any(below.is_symlink() for below in path.rglob("*")):
        raise CommandFailed(f"the script left a symlink in its output {output.name or output.file}; replace it by its target", exitcode=0)
