"""Frames and tables as Parquet."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from persistable.errors import need
from persistable.fileio.base import FileIO, Sink
from persistable.fileio.tables import THREADS_FROM, from_table, kind_of, to_table, why_not

if TYPE_CHECKING:
    from pathlib import Path

    from persistable.fileio.journal import Appending


class ParquetFileIO(FileIO[Any]):
    """DataFrames and Series of pandas and polars, pyarrow Tables and RecordBatches; a payload is loaded as the type that was stored.

    Exact: index, dtypes, names, attrs and freq. Refuses payloads it cannot keep exactly: columns of mixed objects, duplicate names,
    subclasses.
    `compression` is "zstd", "snappy", "gzip", "lz4" or "none". A file made elsewhere loads as a pandas frame. Extra: arrow.
    """

    name: ClassVar[str] = "ParquetFileIO"
    needs = (("pyarrow", "pyarrow", "arrow"),)
    suffix = ".parquet"

    def __init__(self, compression: str = "zstd") -> None:
        self.compression = compression

    def check(self, payload: Any) -> None:
        pa = need("pyarrow", "pyarrow", "arrow", "ParquetFileIO")
        if kind_of(payload) in ("pyarrow.RecordBatch", "pyarrow.Table") and any(
            _has_dictionary(pa, field.type) for field in payload.schema
        ):
            self._refuse("it has dictionary columns, whose dictionaries Parquet makes anew; use ArrowFileIO")
        if reason := why_not(payload, lambda piece: self.load(self._file(piece))):
            self._refuse(reason)

    def dump(self, payload: Any, file: BinaryIO) -> None:
        parquet = need("pyarrow.parquet", "pyarrow", "arrow", "ParquetFileIO")
        table = to_table(payload, "ParquetFileIO")
        parquet.write_table(table, Sink(file), compression=self.compression, write_page_checksum=True)

    def load_part(self, file: Any, rows: slice | None, columns: Sequence[str] | None) -> Any:
        from persistable.fileio.partial import of_parquet

        return of_parquet(file, rows, columns)

    def appending(self, folder: Path) -> Appending | None:
        from persistable.fileio.append import AppendedParquet

        return AppendedParquet(self, folder, self.compression)

    def load(self, file: Any) -> Any:
        parquet = need("pyarrow.parquet", "pyarrow", "arrow", "ParquetFileIO")
        try:
            source = file if file.seekable() else io.BytesIO(file.read())
            stored = parquet.ParquetFile(source, page_checksum_verification=True)
            size = sum(stored.metadata.row_group(group).total_byte_size for group in range(stored.metadata.num_row_groups))
            table = stored.read(use_threads=size > THREADS_FROM)
            return from_table(table, "ParquetFileIO")
        except (OSError, MemoryError) as error:
            # pyarrow reports damaged pages as OSError without a number; errors of the system have one
            if getattr(error, "errno", None) is not None:
                raise
            raise self._malformed(str(error)) from error
        except (NotImplementedError, TypeError, AttributeError, RuntimeError) as error:
            raise self._malformed(f"{type(error).__name__}: {error}") from error

    def _file(self, payload: Any) -> io.BytesIO:
        file = io.BytesIO()
        self.dump(payload, file)
        file.seek(0)
        return file


def _has_dictionary(pa: Any, kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_has_dictionary(pa, kind.field(number).type) for number in range(kind.num_fields)) if pa.types.is_nested(kind) else False
