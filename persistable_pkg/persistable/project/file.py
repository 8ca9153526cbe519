"""``persistable.toml``: found, read, and where its relative paths lead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from persistable.project.scalars import refused
from persistable.stores.open import PROJECT_FILE, nearest_file


def find(path: str | os.PathLike[str] | None) -> Path:
    """The file that `path` means: itself, the one in that folder, or the nearest upward from here. Raises FileNotFoundError."""
    if path is None:
        found = nearest_file(os.getcwd())
        if found is None:
            raise FileNotFoundError(
                f"there is no {PROJECT_FILE} in {os.getcwd()} or above it; make one, or name a file: Project.load('folder/{PROJECT_FILE}')"
            )
        return Path(found)
    given = Path(path).expanduser().absolute()
    file = given / PROJECT_FILE if given.is_dir() else given
    if not file.is_file():
        raise FileNotFoundError(f"there is no project file {file}")
    return file


def read(file: Path) -> dict[str, Any]:
    """The tables in `file`. Raises ConfigError for what is no TOML."""
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise refused(shown(file), f"is not valid TOML: {error}") from error


def shown(file: Path) -> str:
    """The file as errors call it: from the current folder, if it is below that."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
