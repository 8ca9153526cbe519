"""Columns of frames and tables of any library: items that their dtype does not describe, as numbers, texts and masks."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from persistable.params.numpy import CHUNK_BYTES
from persistable.params.reduced_values import Blob, blob


def numbers(array: Any) -> Blob:
    """The items of a 1-D array of numbers, booleans, times or durations. Unlike in a plain array, all NaNs are equal."""
    return blob(_chunks(array), array.nbytes)


def _chunks(array: Any) -> Iterator[Any]:
    step = max(1, CHUNK_BYTES // max(1, array.itemsize))
    for start in range(0, len(array), step):
        chunk = np.ascontiguousarray(array[start : start + step])
        if chunk.dtype.kind in "fc":
            chunk = _one_nan(chunk)
        yield chunk.view(np.uint8).data


def _one_nan(chunk: Any) -> Any:
    parts = chunk.view(chunk.real.dtype) if chunk.dtype.kind == "c" else chunk
    nan = np.isnan(parts)
    if nan.any():
        parts = parts.copy()
        parts[nan] = np.nan
    return parts


def masked(array: Any, missing: Any) -> tuple[Blob, Blob]:
    """Items and mask of a 1-D array; items under the mask become zeros."""
    missing = np.asarray(missing, dtype=bool)
    if missing.any():
        array = np.where(missing, np.zeros((), array.dtype), array)
    return numbers(array), numbers(missing)
