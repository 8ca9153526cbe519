"""numpy arrays as ``.npy``, the format of `numpy.save`."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import ast
import math
import os
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from persistable.fileio.base import Allocation, Buffer, BufferFileIO

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from persistable.fileio.journal import Appending

_MAGIC = b"\x93NUMPY"
_SLICE = 1 << 22
_LONGEST_HEADER = 1 << 20


class NumpyFileIO(BufferFileIO["NDArray[Any]"]):
    """One array. Mapped; C and Fortran order are kept, other layouts are loaded in C order.

    Refuses object and string-object dtypes, dtypes that npy cannot describe, and subclasses such as masked arrays. `mmap=False` reads it.
    """

    name: ClassVar[str] = "NumpyFileIO"
    suffix = ".npy"

    def check(self, payload: Any) -> None:
        import numpy as np

        if type(payload) is not np.ndarray:
            hint = "give numpy.asarray of it" if isinstance(payload, (np.ndarray, np.generic)) else "use PickleFileIO"
            self._refuse(f"it is a {type(payload).__name__}, not a plain numpy array; {hint}")
        if not _has_descr(payload.dtype):
            self._refuse(f"npy files cannot hold the dtype {payload.dtype!r}; use PickleFileIO")

    def dump(self, payload: NDArray[Any], file: BinaryIO) -> None:
        fortran = payload.flags.f_contiguous and not payload.flags.c_contiguous
        file.write(header_of(payload.dtype, payload.shape, fortran))
        for piece in contiguous_pieces(payload.T if fortran else payload):
            file.write(piece)

    def loads(self, data: Buffer) -> NDArray[Any]:
        import numpy as np

        try:
            dtype, shape, fortran, start = parse_header(memoryview(data).cast("B"))
        except (ValueError, TypeError, LookupError, SyntaxError, MemoryError, RecursionError, struct.error) as error:
            raise self._malformed(f"its header cannot be read: {error}") from error
        if dtype.hasobject:
            raise self._malformed("it holds pickled objects, which this format does not load; use PickleFileIO to write them")
        count = math.prod(shape)
        if start + count * dtype.itemsize != len(data):
            raise self._malformed(f"it has {len(data) - start} bytes of data, its header names {count * dtype.itemsize}")
        if not count * dtype.itemsize:
            return np.zeros(shape, dtype, order="F" if fortran else "C")
        array = np.frombuffer(data, dtype, count, start)
        return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)

    def load_part(self, file: Any, rows: slice | None, columns: Sequence[str] | None) -> Any:
        from persistable.fileio.partial import of_array

        return of_array(file, rows, columns)

    def allocation(self, path: str) -> Allocation | None:
        return _NumpyAllocation(path) if hasattr(os, "pwrite") else None

    def appending(self, folder: Path) -> Appending | None:
        from persistable.fileio.append import AppendedArray

        return AppendedArray(self, folder)


def _has_descr(dtype: Any) -> bool:
    from numpy.lib.format import descr_to_dtype, dtype_to_descr

    if dtype.hasobject or dtype.metadata or dtype.kind == "T":
        return False
    again = descr_to_dtype(dtype_to_descr(dtype))
    return bool(again == dtype and again.isalignedstruct == dtype.isalignedstruct and again.type is dtype.type)


def header_of(dtype: Any, shape: tuple[int, ...], fortran: bool, room: int = 0) -> bytes:
    """The header of an npy file, padded to at least `room` bytes."""
    from numpy.lib.format import dtype_to_descr

    words = {"descr": dtype_to_descr(dtype), "fortran_order": fortran, "shape": tuple(map(int, shape))}
    text = "{" + "".join(f"{name!r}: {value!r}, " for name, value in words.items()) + "}"
    version, encoded = (1, text.encode("latin1")) if text.isascii() else (3, text.encode())
    if version == 1 and len(encoded) > 0xFF00:
        version = 2
    size = struct.calcsize("<H" if version == 1 else "<I")
    length = len(_MAGIC) + 2 + size + len(encoded) + 1
    padding = max(-length % 64, room - length)  # data starts aligned, so that maps are aligned
    encoded += b" " * padding + b"\n"
    return _MAGIC + bytes((version, 0)) + len(encoded).to_bytes(size, "little") + encoded


def parse_header(view: memoryview) -> tuple[Any, tuple[int, ...], bool, int]:
    """dtype, shape, Fortran order and start of the data. Raises the errors of a parser."""
    from numpy.lib.format import descr_to_dtype

    if bytes(view[:6]) != _MAGIC:
        raise ValueError(f"it starts with {bytes(view[:6])!r}")
    version = view[6]
    if version not in (1, 2, 3):
        raise ValueError(f"npy version {version}")
    start = 10 if version == 1 else 12
    end = start + int.from_bytes(view[8:start], "little")
    if end > min(len(view), _LONGEST_HEADER):
        raise ValueError("it is cut short")
    words = ast.literal_eval(bytes(view[start:end]).decode("utf-8" if version == 3 else "latin1"))
    shape, fortran = words["shape"], words["fortran_order"]
    if set(words) != {"descr", "shape", "fortran_order"} or type(shape) is not tuple or type(fortran) is not bool:
        raise ValueError("it has other words than descr, shape and fortran_order")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"shape {shape}")
    return descr_to_dtype(words["descr"]), shape, fortran, end


def raw_view(array: Any) -> memoryview:
    """The bytes of a C-contiguous array."""
    return memoryview(array.reshape(-1).view("u1") if array.nbytes else b"")


def contiguous_pieces(array: Any) -> Iterator[memoryview]:
    """The bytes of `array` in C order; in another layout they are copied, at most 4 MB at a time."""
    import numpy as np

    if array.flags.c_contiguous or array.nbytes <= _SLICE:
        yield raw_view(np.ascontiguousarray(array))
        return
    step = _SLICE // max(1, math.prod(array.shape[1:]) * array.itemsize)
    for first in range(0, len(array), max(1, step)):
        yield from contiguous_pieces(array[first : first + step] if step else array[first])


class _NumpyAllocation:
    """An npy file with the first array in it, after its header; further arrays are in ordinary memory, since an npy file holds one."""

    def __init__(self, path: str) -> None:
        from persistable.fileio.allocation import GrowingFile

        self._file = GrowingFile(path, 0)
        self._array: Any = None

    def array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        import numpy as np

        from persistable.fileio.allocation import check_plain

        kind = np.dtype(dtype)
        check_plain(kind)
        size = math.prod(shape) * kind.itemsize
        if self._array is not None or not size or not _has_descr(kind):
            return np.zeros(shape, kind)
        header = header_of(kind, shape, False)
        mapped = self._file.grow(len(header) + size)
        self._array = np.frombuffer(mapped, kind, math.prod(shape), len(header)).reshape(shape)
        return self._array

    def seal(self, payload: Any) -> bool:
        mine = self._array
        if mine is None or type(payload) is not type(mine) or not payload.flags.c_contiguous:
            return False
        place = self._file.offset_of(raw_view(payload))
        if payload.dtype != mine.dtype or payload.shape != mine.shape or place != self._file.offset_of(raw_view(mine)):
            return False
        self._file.write_at(0, header_of(mine.dtype, mine.shape, False))
        self._file.part()
        self._file.close()
        return True

    def close(self) -> None:
        self._file.close()
