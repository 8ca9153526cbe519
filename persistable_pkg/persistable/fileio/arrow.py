"""Frames and tables as an Arrow IPC file (Feather version 2)."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from persistable.errors import need
from persistable.fileio.base import Buffer, BufferFileIO, Sink
from persistable.fileio.tables import from_table, to_table, why_not

if TYPE_CHECKING:
    from pathlib import Path

    from persistable.fileio.journal import Appending

_BATCH = 1 << 20
_FLAWS = (OSError, MemoryError, ValueError, LookupError, NotImplementedError, TypeError, AttributeError, RuntimeError)
"""Errors that pyarrow raises, besides its own, for incomplete bytes."""


class ArrowFileIO(BufferFileIO[Any]):
    """DataFrames and Series of pandas and polars, pyarrow Tables and RecordBatches; a payload is loaded as the type that was stored.

    Maps: pyarrow and polars use the file's bytes in place and never write them; pandas columns are copied, and so writable.
    As exact and strict as ParquetFileIO; takes more types, files are larger. `mmap=False` reads instead of mapping. Extra: arrow.
    """

    name: ClassVar[str] = "ArrowFileIO"
    needs = (("pyarrow", "pyarrow", "arrow"),)
    suffix = ".arrow"

    def check(self, payload: Any) -> None:
        need("pyarrow", "pyarrow", "arrow", "ArrowFileIO")
        if reason := why_not(payload, lambda piece: from_table(to_table(piece, "ArrowFileIO"), "ArrowFileIO")):
            self._refuse(reason)

    def dump(self, payload: Any, file: BinaryIO) -> None:
        ipc = need("pyarrow.ipc", "pyarrow", "arrow", "ArrowFileIO")
        table = to_table(payload, "ArrowFileIO")
        # one dictionary per column: the file format cannot replace one
        with ipc.new_file(Sink(file), table.schema) as writer:
            writer.write_table(table.unify_dictionaries(), max_chunksize=_BATCH)

    def load_part(self, file: Any, rows: slice | None, columns: Sequence[str] | None) -> Any:
        from persistable.fileio.partial import of_arrow

        return of_arrow(file, rows, columns)

    def appending(self, folder: Path) -> Appending | None:
        from persistable.fileio.append import AppendedTable

        return AppendedTable(self, folder)

    def loads(self, data: Buffer) -> Any:
        pa = need("pyarrow", "pyarrow", "arrow", "ArrowFileIO")
        ipc = need("pyarrow.ipc", "pyarrow", "arrow", "ArrowFileIO")
        try:
            table = ipc.open_file(pa.py_buffer(data)).read_all()
            table.validate(full=True)  # Arrow has no checksums; a wrong offset would be read out of bounds later. Numbers cost nothing
            return from_table(table, "ArrowFileIO")
        except (pa.ArrowException, *_FLAWS) as error:
            raise self._malformed(f"{type(error).__name__}: {error}") from error
