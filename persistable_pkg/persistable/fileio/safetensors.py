"""Named arrays in the safetensors format, which many tools read and which holds no code."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from persistable.errors import need
from persistable.fileio.base import Buffer, BufferFileIO
from persistable.fileio.json import encodable
from persistable.fileio.numpy import contiguous_pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8",
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_TENSORS = {
    "torch.bool": "BOOL", "torch.uint8": "U8", "torch.int8": "I8", "torch.uint16": "U16", "torch.int16": "I16", "torch.uint32": "U32",
    "torch.int32": "I32", "torch.uint64": "U64", "torch.int64": "I64", "torch.float16": "F16", "torch.bfloat16": "BF16",
    "torch.float32": "F32", "torch.float64": "F64", "torch.complex64": "C64", "torch.float8_e4m3fn": "F8_E4M3",
    "torch.float8_e5m2": "F8_E5M2",
}  # fmt: skip
_OWN = "persistable"
"""The entry in a file's metadata for ``tensors`` by name, or one ``tensor``. Files of other tools, without it, are loaded as arrays."""
_ALONE = "tensor"
_LONGEST_HEADER = 100_000_000  # the format's own limit


class SafetensorsFileIO(BufferFileIO[Any]):
    """A dict of names to plain arrays or to torch tensors, or one tensor. Mapped; the dict's order is kept, arrays load in C order.

    Takes bools and little-endian numbers; tensors on the CPU without gradients. Implemented here (the format is a header and bytes), so
    that only tensors need a package, torch; the safetensors package reads the files, in which tensors are marked as such.
    """

    name: ClassVar[str] = "SafetensorsFileIO"
    suffix = ".safetensors"

    def check(self, payload: Any) -> None:
        import numpy as np

        if _is_tensor(payload):
            payload = {_ALONE: payload}
        if type(payload) is not dict:
            self._refuse(f"it is a {type(payload).__name__}, not a dict of arrays or tensors, or a tensor")
        tensors = any(map(_is_tensor, payload.values()))
        for name, array in payload.items():
            if type(name) is not str or name == "__metadata__" or not encodable(name):
                self._refuse(f"{name!r} cannot name an array")
            if tensors and _is_tensor(array):
                if reason := _why_not_tensor(array):
                    self._refuse(f"{name!r} is a tensor that {reason}")
                continue
            if tensors or type(array) is not np.ndarray:
                self._refuse(
                    f"{name!r} is a {type(array).__name__}, not a {'torch.Tensor as others are' if tensors else 'plain numpy array'}"
                )
            if array.dtype.str not in _NAMES or array.dtype.metadata:
                self._refuse(f"{name!r} has the dtype {array.dtype!r}; safetensors has {', '.join(_DTYPES)}")

    def dump(self, payload: Any, file: BinaryIO) -> None:
        marks: dict[str, str] = {}
        if _is_tensor(payload):
            payload, marks = {_ALONE: payload}, {"format": "pt", _OWN: "tensor"}
        elif any(map(_is_tensor, payload.values())):
            marks = {"format": "pt", _OWN: "tensors"}
        kinds = {name: _TENSORS[str(array.dtype)] if marks else _NAMES[array.dtype.str] for name, array in payload.items()}
        shapes = {name: list(array.shape) for name, array in payload.items()}
        arrays: dict[str, NDArray[Any]] = {name: _bytes_of(array) for name, array in payload.items()} if marks else payload
        # widest first, so that every array is aligned without gaps, which the format forbids
        order = sorted(payload, key=lambda name: (-payload[name].itemsize, name))
        offsets: dict[str, list[int]] = {}
        end = 0
        for name in order:
            offsets[name] = [end, end := end + arrays[name].nbytes]
        header: dict[str, Any] = {"__metadata__": marks} if marks else {}
        header |= {name: {"dtype": kinds[name], "shape": shapes[name], "data_offsets": offsets[name]} for name in payload}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-(8 + len(text)) % 64)
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            for piece in contiguous_pieces(arrays[name]):
                file.write(piece)

    def loads(self, data: Buffer) -> Any:
        view = memoryview(data).cast("B")
        try:
            start = 8 + int.from_bytes(view[:8], "little")
            if len(view) < 8 or start > min(len(view), _LONGEST_HEADER):
                raise ValueError("its header is cut short")
            header = json.loads(bytes(view[8:start]))
            marks = header.pop("__metadata__", {})
            kept = marks.get(_OWN)
            make = _tensor if kept is not None else _array
            arrays = {name: make(view[start:], **words) for name, words in header.items()}
            covered = sum(array.nbytes for array in arrays.values())
            payload: Any = arrays[_ALONE] if kept == "tensor" else arrays
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise self._malformed(str(error)) from error
        if covered != len(view) - start:
            raise self._malformed(f"it has {len(view) - start} bytes of data, its header names {covered}")
        return payload


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and type(value) is torch.Tensor


def _why_not_tensor(tensor: Any) -> str:
    """The reason why a tensor would not be kept exactly; empty where it would."""
    if tensor.requires_grad or tensor.grad_fn is not None:
        return "has gradients; use .detach()"
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized or tensor.is_meta:
        return "is not dense; use .to_dense() or PickleFileIO"
    if tensor.device.type != "cpu":
        return f"is on {tensor.device}; use .cpu()"
    return "" if str(tensor.dtype) in _TENSORS else f"has the dtype {tensor.dtype}; safetensors has {', '.join(_TENSORS)}"


def _bytes_of(tensor: Any) -> NDArray[Any]:
    import torch  # type: ignore[import-not-found,unused-ignore]  # pyright: ignore[reportMissingImports]

    flat: NDArray[Any] = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat


def _tensor(data: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> Any:
    import numpy as np

    torch = need("torch", "torch", "", "SafetensorsFileIO")
    kind = getattr(torch, {name: kind for kind, name in _TENSORS.items()}[dtype].removeprefix("torch."))
    piece = _piece(data, kind.itemsize, shape, data_offsets)
    if not piece:
        return torch.empty(shape, dtype=kind)
    array = np.frombuffer(piece, np.uint8)
    flat = torch.from_numpy(array if array.flags.writeable else array.copy())  # torch does not support read-only memory
    return flat.view(kind).reshape(shape)


def _array(data: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> NDArray[Any]:
    import numpy as np

    kind = np.dtype(_DTYPES[dtype])
    piece = _piece(data, kind.itemsize, shape, data_offsets)
    array: NDArray[Any] = np.frombuffer(piece, kind) if piece else np.zeros(0, kind)
    return array.reshape(shape)


def _piece(data: memoryview, itemsize: int, shape: list[int], data_offsets: list[int]) -> memoryview:
    """The bytes of one array within those of all. Raises ValueError where its header is inconsistent."""
    first, last = data_offsets
    if min(shape, default=0) < 0 or not 0 <= first <= last <= len(data) or last - first != math.prod(shape) * itemsize:
        raise ValueError(f"an array at {data_offsets} of {len(data)} bytes, shape {shape}")
    return data[first:last]
