"""The default format: any picklable payload in one file whose arrays can be mapped.

The container, all numbers little-endian:

    header   64 bytes: magic  8 bytes  93 50 45 52 53 49 53 54  (0x93 "PERSIST")
                       u16    version, 1
                       u16    flags; bit 0: compressed
                       u32    zero
                       u64    offset of the pickle stream
                       u64    its length
                       u64    offset of the buffer table
                       u64    number of its entries
                       u64    size of the whole container
                       u32    zero
                       u32    CRC-32 (zlib's) of header[0:60], stream and table, in this order
    stream   a protocol-5 pickle whose large buffers are out of band, in the order of the table
    table    per buffer: u64 offset, u64 length
    buffers  raw bytes

All offsets count from the start of the container. The usual order is the one above with no gap before the table, and each
buffer at the next multiple of 64; readers accept other offsets: a container filled in place has stream and table at its end.
The bytes of buffers have no checksum here: a record's digest covers them.

Compressed (flag bit 0): the header's stream and table are zero, its size is that of the container inside, and one zstd frame
with a checksum, holding that ordinary container, follows the header.
"""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import copyreg
import functools
import math
import os
import pickle
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, ClassVar, Literal
from zlib import crc32

from persistable.errors import FormatError, PayloadNotRepresentable, PersistableError, check_installed, need
from persistable.fileio import pickle_views
from persistable.fileio.base import Allocation, Buffer, BufferFileIO, careful

_MAGIC = b"\x93PERSIST"
_HEAD = struct.Struct("<8sHHIQQQQQI")
_CRC = struct.Struct("<I")
_ENTRY = struct.Struct("<QQ")
_SIZE = _HEAD.size + _CRC.size
_COMPRESSED = 1
_TINY = 1 << 16
_PLAIN_START = struct.pack("<8sHHIQ", _MAGIC, 1, 0, 0, _SIZE)
_PLAIN_REST = struct.Struct("<QQQQII")
_ALIGN = 64
_ZEROS = bytes(_ALIGN)


class PickleFileIO(BufferFileIO[Any]):
    """Any payload that pickle or cloudpickle accepts; arrays inside are mapped, not read.

    `mmap=False` reads instead of mapping. `compress="zstd"` at `level` makes smaller files that cannot be mapped (extra: zstd).
    Classes and functions of scripts and notebooks load as the current ones of that name, if these match (same fields, members,
    attributes), else from the definition stored with the payload.
    Loading runs code that the file names: load only files from sources you trust.
    """

    name: ClassVar[str] = "PickleFileIO"
    suffix = ".pickle"

    def __init__(self, mmap: bool = True, compress: Literal["zstd"] | None = None, level: int = 3) -> None:
        if compress not in (None, "zstd"):
            raise ValueError(f"compress is 'zstd' or None, not {compress!r}")
        super().__init__(mmap)
        self.compress = compress
        self.level = level

    def require(self) -> None:
        if self.compress:
            check_installed("zstandard", "zstandard", "zstd", "PickleFileIO")

    def dumps(self, payload: Any) -> bytes:
        if not self.compress:
            buffers: list[Any] = []
            try:
                stream = pickle.dumps(payload, 5, buffer_callback=buffers.append)
            except Exception:  # noqa: BLE001 - `dump` raises a better error
                return super().dumps(payload)
            if not buffers and (stream.find(_NAMES) < 0 or not _needs_care(stream)):
                return _plain(stream)
        return super().dumps(payload)

    @careful
    def dump(self, payload: Any, file: BinaryIO) -> None:
        stream, buffers = self.pickled(payload)
        if not (buffers or self.compress) and len(stream) == 1 and len(stream[0]) <= _TINY:
            file.write(_plain(stream[0]))
            return
        head, places, size = _layout(stream, buffers)
        if self.compress:
            from persistable.fileio.base import Sink

            outer = _HEAD.pack(_MAGIC, 1, _COMPRESSED, 0, 0, 0, 0, 0, size, 0)
            file.write(outer + _CRC.pack(crc32(outer)))
            zstd = need("zstandard", "zstandard", "zstd", type(self).__name__)
            compressor = zstd.ZstdCompressor(level=self.level, write_checksum=True)
            with compressor.stream_writer(Sink(file), size=size, closefd=False) as packed:
                _write(packed, head, buffers, places, size)
        else:
            _write(file, head, buffers, places, size)

    def loads(self, data: Buffer) -> Any:
        size = len(data)
        if _SIZE <= size <= _TINY and data[:24] == _PLAIN_START:  # a payload without buffers, like most tiny ones
            length, table, count, whole, _, crc = _PLAIN_REST.unpack_from(data, 24)
            stream = data[_SIZE:]
            if not count and whole == size == table and length == size - _SIZE and crc == crc32(stream, crc32(data[: _HEAD.size])):
                return self._unpickled(stream, ())
        try:
            magic, version, flags, _, start, length, table, count, size, _ = _HEAD.unpack_from(data)
            (crc,) = _CRC.unpack_from(data, _HEAD.size)
        except struct.error:
            raise self._malformed(f"{len(data)} bytes cannot hold its header") from None
        view = memoryview(data)
        if magic != _MAGIC or version != 1:
            raise self._malformed(f"it starts with {bytes(view[:8])!r}, version {version}")
        if flags & _COMPRESSED:
            if crc != crc32(view[: _HEAD.size]):
                raise self._malformed("its header does not match its checksum")
            return self.loads(self._decompressed(view, size))
        if size != view.nbytes or start + length > size or table + _ENTRY.size * count > size:
            raise self._malformed(f"{view.nbytes} bytes of {size} are there")
        stream = view[start : start + length]
        entries = view[table : table + _ENTRY.size * count]
        if crc != crc32(entries, crc32(stream, crc32(view[: _HEAD.size]))):
            raise self._malformed("its header, pickle stream or buffer table does not match their checksum")
        return self._unpickled(stream, self._buffers(view, entries) if count else ())

    def allocation(self, path: str) -> Allocation | None:
        if self.compress or not hasattr(os, "pwrite"):
            return None
        return _PickleAllocation(self, path)

    def pickled(self, payload: Any) -> tuple[_Pieces, list[Any]]:
        """Pickle `payload`: the stream, in pieces, and the buffers out of band. Tries C pickle, then cloudpickle."""
        try:
            stream, buffers = _pickle(payload, pickle.Pickler)
            for piece in stream:
                if type(piece) is bytes and b"main__" in piece:
                    break
            else:
                return stream, buffers
        except PayloadNotRepresentable:
            raise
        except Exception:  # noqa: BLE001 - cloudpickle accepts more, and its errors name the object
            pass
        from persistable.fileio.pickle_scripts import pickler_class

        try:
            return _pickle(payload, pickler_class())
        except (MemoryError, PersistableError):
            raise
        except Exception as error:  # noqa: BLE001 - the state methods of objects may raise any error
            self._refuse(f"{type(error).__name__}: {error}", error)

    def _buffers(self, view: memoryview, entries: memoryview) -> Iterator[memoryview]:
        size = view.nbytes
        for offset, length in _ENTRY.iter_unpack(entries):
            if offset + length > size:
                raise self._malformed(f"a buffer ends at {offset + length} of {size} bytes")
            yield view[offset : offset + length]

    def _unpickled(self, stream: Buffer, buffers: Iterable[memoryview]) -> Any:
        try:
            return pickle.loads(stream, buffers=buffers)
        except (pickle.UnpicklingError, EOFError, IndexError, struct.error) as error:
            raise self._malformed(f"{type(error).__name__}: {error}") from error
        except (AttributeError, ImportError) as error:
            raise FormatError(
                f"the payload was made with something that is not there now: {error}; install or import what defines it, "
                "or generate the payload again",
                format=type(self).__name__,
            ) from error
        except (MemoryError, PersistableError):
            raise
        except Exception as error:
            raise FormatError(
                f"an object in the payload cannot be made again: {type(error).__name__}: {error}; its class takes other arguments than its "
                "state has: give it __reduce__, or an __init__ that goes with its args, and generate the payload again",
                format=type(self).__name__,
            ) from error

    def _decompressed(self, view: memoryview, size: int) -> memoryview:
        zstd = need("zstandard", "zstandard", "zstd", type(self).__name__)
        frame = view[_SIZE:]
        try:
            if zstd.frame_content_size(frame) != size:
                raise self._malformed("its compressed part is not of the size its header names")
            whole = memoryview(bytearray(size))
            with zstd.ZstdDecompressor().stream_reader(frame, read_across_frames=False) as reader:
                at = 0
                while at < size and (count := reader.readinto(whole[at:])):
                    at += count
                complete = at == size and not reader.read(1)
        except zstd.ZstdError as error:
            raise self._malformed(f"its compressed part: {error}") from error
        if not complete:
            raise self._malformed("its compressed part is cut short")
        return whole.toreadonly() if view.readonly else whole


_NAMES = pickle.STACK_GLOBAL
"""Opcode in every pickle of this protocol that names a class or function. Searched by `find`: ``in`` internally raises an error first."""


def _needs_care(stream: bytes) -> bool:
    """Tell whether a pickle names a class or function for which `dump` has to be used instead."""
    # arrays need it for layout and read-only flags, names of __main__ and __mp_main__ for definitions; the others may be lazy
    return (
        b"main__" in stream or b"_reconstruct" in stream or b"builtins" in stream or b"itertools" in stream or b"polars" in stream
        or b"zarr" in stream or b"dask" in stream or b"pyarrow" in stream or b"xarray" in stream or b"torch" in stream
    )  # fmt: skip


class _Pieces(list[Any]):
    """A pickler's file that keeps the written pieces, so that large bytes and strings inside a payload are not copied."""

    write = list.append

    @property
    def size(self) -> int:
        return sum(map(len, self))


class _Deferred(bytearray):
    """A placeholder for an array that is not contiguous, writable and of a plain dtype; made contiguous piece by piece when written."""

    array: Any

    @property
    def nbytes(self) -> int:
        size: int = self.array.nbytes
        return size


def _pickle(payload: Any, pickler_class: Any) -> tuple[_Pieces, list[Any]]:
    stream = _Pieces()
    buffers: list[Any] = []

    def keep(buffer: pickle.PickleBuffer) -> None:
        view = buffer.raw()
        buffers.append(view.obj if type(view.obj) is _Deferred else view)

    torch: Any = sys.modules.get("torch")
    tensor: Any = getattr(torch, "Tensor", None)
    try:
        _dump(payload, pickler_class(stream, protocol=5, buffer_callback=keep), {} if tensor is None else {tensor: _found})
    except pickle_views.TensorFound:
        tensors = pickle_views.Tensors(torch)
        _dump(payload, pickler_class(_Nowhere(), protocol=5, buffer_callback=lambda _: None), {tensor: tensors.survey})
        tensors.merge()
        stream.clear()
        buffers.clear()
        _dump(payload, pickler_class(stream, protocol=5, buffer_callback=keep), {tensor: tensors.reduce})
    return stream, buffers


def _found(_: Any) -> Any:
    raise pickle_views.TensorFound


class _Nowhere:
    def write(self, data: Any) -> None:
        """Discard `data`."""


def _dump(payload: Any, pickler: Any, more: dict[Any, Any]) -> None:
    usual = copyreg.dispatch_table if type(pickler) is pickle.Pickler else type(pickler).dispatch_table
    table = _own_reducers(len(sys.modules), hasattr(sys.modules.get("numpy"), "recarray")).copy()
    for kind, reduce in usual.items():
        table.setdefault(kind, reduce)
    table.update(more)
    pickler.dispatch_table = table
    pickler.dump(payload)


@functools.lru_cache(1)
def _own_reducers(_: int, with_arrays: bool) -> dict[type, Any]:
    """The reducers of this format that replace a type's own, for types of imported modules; cached by the number of modules."""
    from persistable.fileio.lazy_check import refusing_reducers

    reducers = {**refusing_reducers("PickleFileIO"), **pickle_views.arrow_reducers()}
    if with_arrays:
        numpy: Any = sys.modules["numpy"]
        reducers.update(dict.fromkeys((numpy.memmap, numpy.matrix, numpy.recarray), _reduce_subclass))
        reducers[numpy.ndarray] = _reduce_array
    return reducers


def _reduce_array(array: Any) -> Any:
    """Reduce an array as numpy does, but put any layout out of band; read-only arrays load as writable as their buffer is."""
    if array.dtype.hasobject or not array.dtype.itemsize:
        return array.__reduce_ex__(5)
    flags = array.flags
    contiguous = flags.c_contiguous or flags.f_contiguous
    if contiguous and flags.writeable and array.dtype.kind in "biufcSU":  # numpy would pickle times and records in band
        return array.__reduce_ex__(5)
    import numpy as np

    rebuild = np.empty(0).__reduce_ex__(5)[0]
    order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    deferred = _Deferred(1)
    deferred.array = array.T if order == "F" else array
    return rebuild, (pickle.PickleBuffer(deferred), array.dtype, array.shape, order)


def _reduce_subclass(array: Any) -> Any:
    import numpy as np

    return np.ndarray.view, (array.view(np.ndarray), type(array))


def _plain(stream: bytes) -> bytes:
    """The container of a payload without buffers, made fast: tiny payloads take only microseconds."""
    size = len(stream)
    head = _HEAD.pack(_MAGIC, 1, 0, 0, _SIZE, size, _SIZE + size, 0, _SIZE + size, 0)
    return b"".join((head, _CRC.pack(crc32(stream, crc32(head))), stream))


def _layout(stream: _Pieces, buffers: list[Any]) -> tuple[list[Any], list[int], int]:
    """The bytes before the buffers, the start of each buffer, and the size of the container."""
    start, length = _SIZE, stream.size
    end = table = start + length
    places: list[int] = []
    entries = b""
    if buffers:
        end += _ENTRY.size * len(buffers)
        numbers: list[int] = []
        for buffer in buffers:
            size = buffer.nbytes
            end = -(-end // _ALIGN) * _ALIGN
            places.append(end)
            numbers += (end, size)
            end += size
        entries = struct.pack(f"<{len(numbers)}Q", *numbers)
    return [_header(start, length, table, len(buffers), end, stream, entries), *stream, entries], places, end


def _header(start: int, length: int, table: int, count: int, size: int, stream: _Pieces, entries: bytes) -> bytes:
    head = _HEAD.pack(_MAGIC, 1, 0, 0, start, length, table, count, size, 0)
    crc = crc32(head)
    for piece in stream:
        crc = crc32(piece, crc)
    return head + _CRC.pack(crc32(entries, crc))


def _write(file: Any, head: list[Any], buffers: list[Any], places: list[int], size: int) -> None:
    """Write the container front to back, small pieces joined, large ones as they are."""
    small: list[Any] = []
    held = at = 0
    for piece in _pieces(head, buffers, places):
        length = piece.nbytes if type(piece) is memoryview else len(piece)
        at += length
        if length <= 1 << 16:
            small.append(piece)
            held += length
            if held < 1 << 20:
                continue
        if small:
            file.write(b"".join(small))
            small, held = [], 0
        if length > 1 << 16:
            file.write(piece)
    if small:
        file.write(b"".join(small))
    assert at == size


def _pieces(head: list[Any], buffers: list[Any], places: list[int]) -> Iterator[Any]:
    at = 0
    for piece in head:
        at += len(piece)
        yield piece
    for buffer, place in zip(buffers, places, strict=True):
        if place > at:
            yield _ZEROS[: place - at]
        yield from _raw(buffer)
        at = place + buffer.nbytes


def _raw(buffer: Any) -> Iterator[memoryview]:
    if type(buffer) is not _Deferred:
        return iter((buffer,))
    from persistable.fileio.numpy import contiguous_pieces

    return contiguous_pieces(buffer.array)


class _PickleAllocation:
    """A container filled in place: arrays first, stream and table last, the header in the end."""

    def __init__(self, io: PickleFileIO, path: str) -> None:
        from persistable.fileio.allocation import PAGE, GrowingFile

        self._io = io
        self._file = GrowingFile(path, PAGE)

    def array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        import numpy as np

        from persistable.fileio.allocation import check_plain

        kind = np.dtype(dtype)
        check_plain(kind)
        size = math.prod(shape) * kind.itemsize
        return np.frombuffer(self._file.grow(size), kind).reshape(shape) if size else np.zeros(shape, kind)

    def seal(self, payload: Any) -> bool:
        file = self._file
        stream, buffers = self._io.pickled(payload)
        places = [file.offset_of(_address_view(buffer)) for buffer in buffers]
        if not any(place is not None for place in places):
            return False
        numbers: list[int] = []
        for buffer, held in zip(buffers, places, strict=True):
            place = held
            if place is None:
                place = end = -(-file.size // _ALIGN) * _ALIGN
                for piece in _raw(buffer):
                    end = file.write_at(end, piece)
            numbers += (place, buffer.nbytes)
        entries = struct.pack(f"<{len(numbers)}Q", *numbers)
        start = file.size
        table = start
        for piece in stream:
            table = file.write_at(table, piece)
        end = file.write_at(table, entries)
        file.write_at(0, _header(start, table - start, table, len(buffers), end, stream, entries))
        file.part()
        file.close()
        return True

    def close(self) -> None:
        self._file.close()


def _address_view(buffer: Any) -> memoryview:
    """The memory of a buffer if it is contiguous, else an empty view."""
    if type(buffer) is not _Deferred:
        view: memoryview = buffer
        return view
    from persistable.fileio.numpy import raw_view

    return raw_view(buffer.array) if buffer.array.flags.c_contiguous else memoryview(b"")
