"""Named arrays in the safetensors format, which everybody can read and nobody can run."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from persistable.fileio.base import Buffer, FileIO, read_all
from persistable.fileio.json import encodable
from persistable.fileio.numpy import contiguous_pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8",
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_LONGEST_HEADER = 100_000_000  # the format's own limit


class SafetensorsFileIO(FileIO["dict[str, NDArray[Any]]"]):
    """A dict of names to plain arrays of bools or little-endian numbers. Maps; the dict's order is kept, arrays come back in C order.

    Written and read here (the format is a header and bytes), so it needs no package; files are those of the safetensors package.
    """

    name: ClassVar[str] = "SafetensorsFileIO"
    suffix = ".safetensors"
    maps = True

    def __init__(self, mmap: bool = True) -> None:
        self.mmap = mmap

    def check(self, payload: Any) -> None:
        import numpy as np

        if type(payload) is not dict:
            self._refuse(f"it is a {type(payload).__name__}, not a dict of arrays")
        for name, array in payload.items():
            if type(name) is not str or name == "__metadata__" or not encodable(name):
                self._refuse(f"{name!r} cannot name an array")
            if type(array) is not np.ndarray:
                self._refuse(f"{name!r} is a {type(array).__name__}, not a plain numpy array")
            if array.dtype.str not in _NAMES or array.dtype.metadata:
                self._refuse(f"{name!r} has the dtype {array.dtype!r}; safetensors has {', '.join(_DTYPES)}")

    def dump(self, payload: dict[str, NDArray[Any]], file: BinaryIO) -> None:
        # widest first, so that every array is aligned without gaps, which the format forbids
        order = sorted(payload, key=lambda name: (-payload[name].itemsize, name))
        offsets: dict[str, list[int]] = {}
        end = 0
        for name in order:
            offsets[name] = [end, end := end + payload[name].nbytes]
        header = {
            name: {"dtype": _NAMES[array.dtype.str], "shape": list(array.shape), "data_offsets": offsets[name]}
            for name, array in payload.items()
        }
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-(8 + len(text)) % 64)
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            for piece in contiguous_pieces(payload[name]):
                file.write(piece)

    def load(self, file: Any) -> dict[str, NDArray[Any]]:
        return self.loads(read_all(file))

    def loads(self, data: Buffer) -> dict[str, NDArray[Any]]:
        view = memoryview(data).cast("B")
        try:
            start = 8 + int.from_bytes(view[:8], "little")
            if len(view) < 8 or start > min(len(view), _LONGEST_HEADER):
                raise ValueError("its header is cut short")
            header = json.loads(bytes(view[8:start]))
            header.pop("__metadata__", None)
            arrays = {name: _array(view[start:], **words) for name, words in header.items()}
            covered = sum(array.nbytes for array in arrays.values())
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise self._malformed(str(error)) from error
        if covered != len(view) - start:
            raise self._malformed(f"it has {len(view) - start} bytes of data, its header names {covered}")
        return arrays


def _array(data: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> NDArray[Any]:
    import numpy as np

    first, last = data_offsets
    kind = np.dtype(_DTYPES[dtype])
    count = math.prod(shape)
    if min(shape, default=0) < 0 or not 0 <= first <= last <= len(data) or last - first != count * kind.itemsize:
        raise ValueError(f"an array at {data_offsets} of {len(data)} bytes, shape {shape}")
    array: NDArray[Any] = np.frombuffer(data[first:last], kind, count) if count else np.zeros(0, kind)
    return array.reshape(shape)
