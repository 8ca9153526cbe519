"""Views of large memory in a pickle: only the reachable part of the memory is stored, once, and shared as before.

A slice of a torch tensor or of Arrow data would be pickled with all the memory that it is a part of, and two views of one tensor would
store it twice. Only modules that are already imported are looked at.
"""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from persistable.errors import need

_ALIGN = 16
"""Bytes of the widest element of a tensor."""
_ARROW_SLACK = 4096
"""Bytes; with fewer unreachable ones, a copy of the others is not worth it."""


class TensorFound(Exception):
    """Raised at the first tensor of a payload, which is then pickled again after a survey of all its tensors."""


class Tensors:
    """The tensors of one payload, and the pieces of memory that they are views of."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._met: list[Any] = []  # referenced, so that the memory of temporary tensors is not reused while pickling
        self._spans: dict[int, list[tuple[int, int]]] = {}
        self._pieces: dict[tuple[int, int], _Piece] = {}

    def survey(self, tensor: Any) -> Any:
        """Note `tensor`, as its reducer in a pickle that is discarded."""
        self._met.append(tensor)
        if not self._is_plain(tensor):
            return tensor.__reduce_ex__(5)
        if (span := _span(tensor)) is not None:
            self._spans.setdefault(tensor.untyped_storage().data_ptr(), []).append(span)
        return int, ()

    def merge(self) -> None:
        """Merge overlapping spans; other spans of the same storage stay separate."""
        for storage, spans in self._spans.items():
            merged: list[tuple[int, int]] = []
            for first, last in sorted(spans):
                if merged and first < merged[-1][1]:
                    merged[-1] = merged[-1][0], max(last, merged[-1][1])
                else:
                    merged.append((first, last))
            self._spans[storage] = merged

    def reduce(self, tensor: Any) -> Any:
        """The reduction of `tensor`: a piece of memory, which other tensors may share, and offset, shape and strides in it."""
        if not self._is_plain(tensor):
            return tensor.__reduce_ex__(5)
        self._met.append(tensor)
        kind, grad = tensor.dtype, tensor.requires_grad
        view = tensor.detach()
        span = _span(view)
        if span is None:
            return tensor_of, (_Piece(self._torch.empty(0, dtype=self._torch.uint8)), kind, 0, tuple(view.shape), view.stride(), grad)
        storage = view.untyped_storage().data_ptr()
        whole = next((each for each in self._spans.get(storage, ()) if each[0] <= span[0] and span[1] <= each[1]), span)
        if whole == span and span[1] - span[0] > 2 * view.numel() * view.itemsize:  # it has many unreachable elements
            view = view.contiguous()
            self._met.append(view)
            storage, span = view.untyped_storage().data_ptr(), _span(view) or span
            whole = span
        start = whole[0] // _ALIGN * _ALIGN
        piece = self._pieces.get((storage, start))
        if piece is None:
            raw = self._torch.empty(0, dtype=self._torch.uint8).set_(view.untyped_storage())
            piece = self._pieces[storage, start] = _Piece(raw[start : whole[1]])
        return tensor_of, (piece, kind, (span[0] - start) // view.itemsize, tuple(view.shape), view.stride(), grad)

    def _is_plain(self, tensor: Any) -> bool:
        """Tell whether a tensor is fully described by its bytes, without hooks or attributes."""
        if tensor.device.type != "cpu" or tensor.layout != self._torch.strided or tensor.is_quantized:
            return False
        return not (tensor.is_conj() or tensor.is_neg() or tensor._backward_hooks or tensor.__dict__)


class _Piece:
    """A piece of memory, pickled once for any number of tensors in it."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __reduce__(self) -> Any:
        return memory_of, (self._raw.numpy(),)


def _span(tensor: Any) -> tuple[int, int] | None:
    """The range of bytes of its storage that `tensor` reaches, as first and end; None if it has no elements."""
    if not tensor.numel():
        return None
    first = tensor.storage_offset()
    last = first + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)) + 1
    return first * tensor.itemsize, last * tensor.itemsize


def memory_of(array: Any) -> Any:
    """The bytes of an array as a tensor; a copy where they are read-only, which torch does not support."""
    import torch  # type: ignore[import-not-found,unused-ignore]  # pyright: ignore[reportMissingImports]

    return torch.from_numpy(array if array.flags.writeable else array.copy())


def tensor_of(memory: Any, kind: Any, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], grad: bool) -> Any:
    """A tensor over the storage of `memory`."""
    import torch  # pyright: ignore[reportMissingImports]

    return torch.empty(0, dtype=kind).set_(memory.untyped_storage(), offset, shape, stride).requires_grad_(grad)


def arrow_of(kind: str, stream: Any) -> Any:
    """Read a table, batch, chunked array or array from an Arrow stream."""
    pa = need("pyarrow", "pyarrow", "arrow", "PickleFileIO")

    table = pa.ipc.open_stream(stream).read_all()
    if kind == "Table":
        return table
    if kind == "RecordBatch":
        return table.combine_chunks().to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema=table.schema)
    column = table.column(0)
    if kind == "ChunkedArray":
        return column
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


for _function in (memory_of, tensor_of, arrow_of):
    _function.__module__ = "persistable.fileio"  # in pickles forever, wherever they are defined


def arrow_reducers() -> dict[type, Callable[[Any], Any]]:
    """The reducers of a pickler that store slices of Arrow data without the rest of the data. Empty where pyarrow is not imported."""
    pa: Any = sys.modules.get("pyarrow")
    if pa is None or not hasattr(pa, "Table"):
        return {}
    kinds = [
        kind for kind in vars(pa.lib).values() if isinstance(kind, type) and issubclass(kind, pa.Array) and kind is not pa.ExtensionArray
    ]
    return dict.fromkeys([pa.Table, pa.RecordBatch, pa.ChunkedArray, *kinds], _reduce_arrow)


def _reduce_arrow(data: Any) -> Any:
    pa = need("pyarrow", "pyarrow", "arrow", "PickleFileIO")

    try:
        spare = data.get_total_buffer_size() - data.nbytes
    except (NotImplementedError, TypeError, ValueError):
        spare = 0
    if spare <= max(_ARROW_SLACK, data.nbytes):
        return data.__reduce_ex__(5)
    kind = type(data).__name__
    table = data
    if kind == "RecordBatch":
        table = pa.Table.from_batches([data])
    elif kind != "Table":
        table = pa.table({"data": data})
    sink = pa.BufferOutputStream()
    try:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    except (pa.ArrowException, NotImplementedError):
        return data.__reduce_ex__(5)
    return arrow_of, (kind, sink.getvalue())
