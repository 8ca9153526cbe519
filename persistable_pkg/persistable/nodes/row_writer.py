"""Writer of a payload that grows by rows while it is generated, and may be larger than memory."""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from persistable.errors import FormatError
from persistable.fileio.base import FileIO
from persistable.fileio.journal import checked, sound
from persistable.nodes import code
from persistable.nodes.resumption import compare_resumed, made_from
from persistable.records import files, record_access
from persistable.records.record import Record
from persistable.records.rescue import rescue
from persistable.stores.remote_errors import room_in

_SEALED, _CODE = "sealed", "code.json"


class Appended(int):
    """The number of rows so far. As the return value of a generating function, it means the payload of these rows."""


class AppendedFile(files.ExistingFile):
    """The complete file. It stays at its path until the commit, so that a kill before that costs no row."""

    __slots__ = ()
    kept = True


class RowWriter:
    """Takes the rows of one generation; `folder` survives a killed attempt."""

    def __init__(self, generation: Any, io: FileIO[Any], folder: Path) -> None:
        self._folder = folder
        self._store, self._key = generation.store, generation.node.key
        self._token: str | None = generation.token if generation.claim is not None else None
        if self._token is not None:
            _forget_sealed(generation, folder)
        growing = io.appending(folder)
        if growing is None:
            name = type(io).__name__
            raise FormatError(
                f"{name} cannot be appended to; arrays can with io=NumpyFileIO(), tables with io=ParquetFileIO() or io=ArrowFileIO()",
                format=name,
            )
        self._growing = growing
        if self._token is not None:
            _go_on(generation, folder, growing.rows)
        self.used = growing.rows > 0
        """True once a block was appended, even one without rows, or if an earlier attempt has left rows."""

    @property
    def rows(self) -> Appended:
        """The number of rows that survive a kill."""
        return Appended(self._growing.rows)

    def append(self, block: Any) -> None:
        """Add rows."""
        try:
            with self._room():
                self._growing.append(block)
        except Exception as error:
            if self._token is not None:
                rescue(self._store, self._key, block, error, f"rows-{self.rows}")
                error.add_note(f"{int(self.rows)} rows before it are in {self._folder}, and are continued")
            raise
        self.used = True

    def whole(self) -> AppendedFile:
        """Seal the file of all rows, and return it."""
        with self._room():
            file = AppendedFile(self._growing.seal())
        if self._token is not None:
            (self._folder / _SEALED).write_bytes(checked(self._token.encode()))
        return file

    def _room(self) -> AbstractContextManager[None]:
        return room_in(self._store.url, f"in {self._folder} for more rows of {self._key}, on their way into {self._store.url}")

    def close(self) -> None:
        """Release the file."""
        self._growing.close()


def _go_on(generation: Any, folder: Path, rows: int) -> None:
    """Note the code that appends, after a comparison with that of an interrupted attempt, if that has left rows."""
    note = folder / _CODE
    if rows:
        try:
            noted = json.loads(note.read_bytes())
            before, earlier = code.Fingerprint.from_json(noted), noted.get("made_from")
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return  # unknown
        if not compare_resumed(generation, before, earlier, f"{rows} rows"):
            return
    own = generation.code
    temporary = note.with_suffix(".new")
    facts = {**code.Fingerprint(own.python, own.quick, dict(own.parts)).to_json(), "made_from": made_from(generation)}
    temporary.write_text(json.dumps(facts))
    temporary.replace(note)


def _forget_sealed(generation: Any, folder: Path) -> None:
    """Remove the rows of an attempt that was killed after its commit, so that they are not resumed."""
    mark = folder / _SEALED
    if not mark.exists():
        return
    found = record_access.peek(generation.store, generation.node.place)
    token = sound(mark.read_bytes().removesuffix(b"\n"))
    if token is None or (isinstance(found, Record) and found.attempt_token.encode() == token):  # a damaged mark does not tell
        shutil.rmtree(folder)
    else:
        mark.unlink()
