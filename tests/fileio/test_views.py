"""Views of large memory are stored without what they are views of, once, and come back sharing what they shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from persistable.fileio import PickleFileIO

_HEAD = 2000
"""Bytes that names, shapes and the container may take."""


def _through(payload: Any) -> tuple[Any, int]:
    data = PickleFileIO().dumps(payload)
    return PickleFileIO().loads(bytearray(data)), len(data)


_MILLION = np.arange(1_000_000.0)
_TABLE = pa.table({"x": _MILLION, "s": [str(number) for number in range(1_000_000)]})


@pytest.mark.parametrize(
    "payload",
    [
        _TABLE.slice(500, 10),
        _TABLE.to_batches()[0].slice(500, 10),
        _TABLE.column("x").slice(500, 10),
        _TABLE.column("s").chunk(0).slice(500, 10),
        pl.DataFrame({"x": _MILLION})[500:510],
        pd.DataFrame({"x": _MILLION, "y": _MILLION}).iloc[500:510],
        pd.Series(_MILLION, dtype="float64[pyarrow]").iloc[500:510],
        bytes(memoryview(bytes(10**6))[:10]),
    ],
    ids=lambda payload: f"{type(payload).__module__.partition('.')[0]}.{type(payload).__name__}",
)
def test_a_slice_is_stored_without_the_rest(payload: Any) -> None:
    back, size = _through({"held": payload})
    assert size < 2 * _HEAD
    assert type(back["held"]) is type(payload)
    assert back["held"].equals(payload) if hasattr(payload, "equals") else back["held"] == payload


@pytest.mark.parametrize("view", [_MILLION[:10], _MILLION[::100_000], _MILLION[::-1][:10], _MILLION.reshape(1000, 1000)[:3, :3]])
def test_a_view_of_an_array_is_stored_without_its_base(view: Any) -> None:
    back, size = _through([view])
    assert size < _HEAD
    assert np.array_equal(back[0], view)


def test_no_rows_of_arrow_keep_their_types() -> None:
    for payload in (_TABLE.slice(0, 0), _TABLE.to_batches()[0].slice(0, 0), _TABLE.column("s").chunk(0).slice(0, 0)):
        back, size = _through(payload)
        assert size < 2 * _HEAD
        assert type(back) is type(payload)
        assert back.equals(payload)


def test_a_view_of_a_tensor_is_stored_without_its_base() -> None:
    torch: Any = pytest.importorskip("torch")
    large = torch.arange(1_000_000.0)
    for view in (
        large[:10],
        large[500:510],
        large[::100_000],
        large.reshape(1000, 1000)[:3, :3],
        large[:0],
        large[7],
        large[1:3].expand(4, 2),
    ):
        back, size = _through([view])
        assert size < _HEAD
        assert torch.equal(back[0], view)
        assert back[0].dtype == view.dtype


def test_views_of_one_tensor_are_stored_once_and_share_as_before() -> None:
    torch: Any = pytest.importorskip("torch")
    large = torch.arange(1_000_000.0)
    back, size = _through({"whole": large, "half": large[500_000:], "again": large.view(1000, 1000), "as ints": large.view(torch.int32)})
    assert size < 4_000_000 + _HEAD
    back["half"][0] = -1
    assert back["whole"][500_000] == -1
    assert back["again"][500, 0] == -1
    assert back["whole"].untyped_storage().data_ptr() == back["half"].untyped_storage().data_ptr()
    ends, size = _through([large[:10], large[5:15], large[-10:]])
    assert size < _HEAD
    ends[0][5] = -1
    assert ends[1][0] == -1


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "int8", "bool", "complex64", "float64", "uint8"])
def test_tensors_of_every_kind_come_back(kind: str) -> None:
    torch: Any = pytest.importorskip("torch")
    tensor = torch.arange(24).reshape(2, 3, 4).to(getattr(torch, kind))
    for view in (tensor, tensor.permute(2, 0, 1), tensor[1:], tensor[..., 1::2]):
        back, _ = _through(view)
        assert torch.equal(back, view)
        assert back.dtype == view.dtype
        assert back.stride() == view.stride()


def test_models_and_gradients_come_back_and_tied_weights_stay_tied() -> None:
    torch: Any = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    back, _ = _through(model)
    assert back[0].weight is back[1].weight
    assert back[0].weight.requires_grad
    assert all(torch.equal(mine, other) for mine, other in zip(model.parameters(), back.parameters(), strict=True))
    back(torch.ones(3)).sum().backward()
    leaf, _ = _through(torch.ones(2, requires_grad=True))
    assert leaf.requires_grad


def test_tensors_from_read_only_files_are_copies_that_may_be_changed() -> None:
    torch: Any = pytest.importorskip("torch")
    back = PickleFileIO().loads(memoryview(PickleFileIO().dumps(torch.zeros(4))).toreadonly())
    back[0] = 1
    assert back[0] == 1
