"""Arrays and tables larger than memory, appended block by block to one file."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from persistable.errors import PayloadNotRepresentable, need
from persistable.fileio.base import FileIO
from persistable.fileio.journal import Differs, Growing, Journal
from persistable.fileio.numpy import contiguous_pieces, header_of
from persistable.fileio.tables import KEY, kind_of, to_table

_GROUP_ROWS, _GROUP_BYTES = 1 << 20, 1 << 26
"""Rows and bytes at which a row group is written, in a Parquet file of appended blocks."""
_MOST_ROWS = 1 << 62


class AppendedArray:
    """Rows of one array, as an npy file whose header is written last, into space reserved at the front."""

    def __init__(self, io: FileIO[Any], folder: Path) -> None:
        self._io = io
        self._journal = Journal(folder)
        self._file: Growing | None = None

    @property
    def rows(self) -> int:
        return self._journal.rows

    def append(self, block: Any) -> None:
        self._io.check(block)
        if not block.ndim:
            raise _refused(self._io, "a single number has no rows; append an array of one")
        from numpy.lib.format import dtype_to_descr

        journal = self._journal
        facts: dict[str, Any] = {"descr": repr(dtype_to_descr(block.dtype)), "shape": list(block.shape[1:])}
        facts["start"] = len(_header(facts, _MOST_ROWS))
        if journal.facts is None:
            journal.begin(facts)
        elif journal.facts != facts:
            raise _refused(self._io, f"its rows are {_words(facts)}, those before are {_words(journal.facts)}")
        if self._file is None:
            self._file = Growing(journal.path, at=journal.end)
        for piece in contiguous_pieces(block):
            self._file.write(piece)
        journal.add(len(block), self._file.tell(), self._file.checked())

    def seal(self) -> Path:
        self.close()
        journal = self._journal
        if journal.facts is None:
            raise _refused(self._io, "nothing was appended; append an empty array to set its dtype and shape")
        with journal.path.open("r+b") as file:
            file.write(_header(journal.facts, journal.rows, journal.facts["start"]))
            file.truncate(journal.end)
        return journal.path

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _header(facts: dict[str, Any], rows: int, room: int = 0) -> bytes:
    import ast

    from numpy.lib.format import descr_to_dtype

    return header_of(descr_to_dtype(ast.literal_eval(facts["descr"])), (rows, *facts["shape"]), False, room)


def _words(facts: dict[str, Any]) -> str:
    return f"of shape {tuple(facts['shape'])} and dtype {facts['descr']}"


class AppendedTable:
    """Rows of one table, as an Arrow file whose footer is written last. To resume after a kill, the existing batches are read once."""

    def __init__(self, io: FileIO[Any], folder: Path, compression: str | None = None) -> None:
        self._io = io
        self._name = type(io).__name__
        self._journal = Journal(folder)
        self._ipc = need("pyarrow.ipc", "pyarrow", "arrow", self._name)
        self._options = self._ipc.IpcWriteOptions(compression=compression)
        self._sink: Growing | None = None
        self._writer: Any = None
        if self._journal.facts is not None:
            self._reopen()

    @property
    def rows(self) -> int:
        return self._journal.rows

    @property
    def schema(self) -> Any:
        """The schema of all blocks."""
        pa = need("pyarrow", "pyarrow", "arrow", self._name)
        assert self._journal.facts is not None
        return pa.ipc.read_schema(pa.py_buffer(b64decode(self._journal.facts["schema"])))

    def append(self, block: Any) -> None:
        self._io.check(block)
        table = self._table(block)
        journal = self._journal
        if journal.facts is None:
            journal.begin({"schema": b64encode(table.schema.serialize().to_pybytes()).decode()})
        else:
            table = self._like_before(table)
        if self._sink is None:
            self._open()
        assert self._sink is not None
        try:
            self._writer.write_table(table, max_chunksize=_GROUP_ROWS)
        except need("pyarrow", "pyarrow", "arrow", self._name).ArrowInvalid as error:
            raise _refused(self._io, f"{error}; all blocks need the same categories") from error
        journal.add(table.num_rows, self._sink.tell(), self._sink.checked())

    def _open(self, there: int = 0) -> None:
        self._sink = Growing(self._journal.path, there)
        self._writer = self._ipc.new_file(self._sink, self.schema, options=self._options)

    def _reopen(self) -> None:
        """Pass the existing batches to a new writer, for its footer; rewrite the file if another pyarrow makes other bytes of them."""
        try:
            self._open(self._journal.end)
            for batch in self.batches():
                self._writer.write_batch(batch)
            assert self._sink is not None
            if self._sink.tell() != self._journal.end:
                raise Differs
            self._sink.checked()
        except (Differs, OSError):
            self.close()
            self._rewrite()

    def _rewrite(self) -> None:
        """Copy all batches into a new file, which replaces the old one."""
        old, facts = self._journal.path.with_name("old"), self._journal.facts
        assert facts is not None
        end = self._journal.end
        self._journal.path.replace(old)
        self._journal.forget()
        self._journal.begin(facts)
        self._open()
        assert self._sink is not None
        for batch in self.batches(old, end):
            self._writer.write_batch(batch)
            self._journal.add(batch.num_rows, self._sink.tell(), self._sink.checked())
        old.unlink()

    def batches(self, path: Path | None = None, end: int | None = None) -> Iterator[Any]:
        """The existing record batches, one by one: after its first eight bytes an Arrow file is a stream."""
        pa = need("pyarrow", "pyarrow", "arrow", self._name)
        with pa.memory_map(str(path or self._journal.path)) as file:
            whole = file.read_buffer()
            stop = self._journal.end if end is None else end
            with self._ipc.open_stream(whole.slice(8, stop - 8)) as reader:
                yield from reader

    def _table(self, block: Any) -> Any:
        """`block` as a table whose metadata is valid for all blocks together."""
        if kind_of(block) in ("pandas.DataFrame", "pandas.Series"):
            block = self._renumbered(block)
        table = to_table(block, self._name)
        metadata = dict(table.schema.metadata)
        facts = json.loads(metadata[KEY])
        facts.pop("freq", None)  # a frequency within each block need not hold across blocks
        return table.replace_schema_metadata({**metadata, KEY: json.dumps(facts).encode()}).unify_dictionaries()

    def _renumbered(self, block: Any) -> Any:
        """`block`, with a RangeIndex replaced by one from 0, since the rows of all blocks are numbered through."""
        import pandas as pd

        if not isinstance(block.index, pd.RangeIndex):
            return block
        if block.index.name is not None:
            raise _refused(self._io, f"the name of its index, {block.index.name!r}, would be lost; call reset_index() before")
        return block.set_axis(pd.RangeIndex(len(block)))

    def _like_before(self, table: Any) -> Any:
        before = self.schema
        if not table.schema.equals(before, check_metadata=False):
            raise _refused(self._io, f"its columns are {_columns(table.schema)}, those before are {_columns(before)}")
        mine, first = (json.loads(schema.metadata[KEY]) for schema in (table.schema, before))
        if mine != first:
            differs = [name for name in mine.keys() | first.keys() if mine.get(name) != first.get(name)]
            raise _refused(self._io, f"it differs from the blocks before in {', '.join(sorted(differs))}: {mine}, not {first}")
        return table.replace_schema_metadata(before.metadata)

    def seal(self) -> Path:
        if self._journal.facts is None:
            raise _refused(self._io, "nothing was appended; append an empty table to set its columns")
        assert self._sink is not None
        self._writer.close()
        end = self._sink.tell()
        self.close()
        with self._journal.path.open("r+b") as file:
            file.truncate(end)
        return self._journal.path

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
        self._sink = self._writer = None


class AppendedParquet(AppendedTable):
    """Rows of one table, as a Parquet file: collected in an Arrow file first, so that its row groups have a good size."""

    def __init__(self, io: FileIO[Any], folder: Path, compression: str) -> None:
        super().__init__(io, folder, compression="lz4")
        self._compression = compression
        self._target = folder / "whole.parquet"

    def seal(self) -> Path:
        parquet = need("pyarrow.parquet", "pyarrow", "arrow", self._name)
        super().seal()
        pa = need("pyarrow", "pyarrow", "arrow", self._name)
        with parquet.ParquetWriter(self._target, self.schema, compression=self._compression, write_page_checksum=True) as writer:
            waiting: list[Any] = []
            for batch in self.batches():
                waiting.append(batch)
                if sum(each.num_rows for each in waiting) >= _GROUP_ROWS or sum(each.nbytes for each in waiting) >= _GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(waiting, self.schema))
                    waiting.clear()
            writer.write_table(pa.Table.from_batches(waiting, self.schema))
        return self._target


def _columns(schema: Any) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _refused(io: FileIO[Any], reason: str) -> PayloadNotRepresentable:
    name = type(io).__name__
    return PayloadNotRepresentable(f"this block cannot be appended as {name}: {reason}", format=name, reason=reason)
