"""Datasets and arrays of xarray as Zarr, tensors of torch as safetensors: as they were given, or refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import strategies as st

from persistable import step
from persistable.errors import MissingExtra, PayloadNotRepresentable
from persistable.fileio import SafetensorsFileIO, ZarrFileIO, fileio_for
from persistable.testing import FileIOContract

_DAYS = pd.date_range("2000-01-01", periods=3, freq="D")


def _dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "warmth": (("time", "station"), np.arange(6, dtype="f4").reshape(3, 2), {"units": "K", "by": np.float32(0.1), "no": np.nan}),
            "until": ("time", _DAYS.to_numpy().astype("M8[s]")),
            "spell": ("time", np.array([1, 2, "NaT"], "m8[ms]")),
            "word": ("station", np.array(["é", ""], object)),
            "one": ((), np.complex64(1j)),
        },
        coords={"time": _DAYS, "station": ["a", "bb"], "height": ("station", np.array([1, 2], "u2")), "row": pd.RangeIndex(0, 4, 2)},
        attrs={"made": "here", "levels": np.array([1.5, 2.0]), "nested": {"a": [1, None]}},
    )  # fmt: skip


_PAYLOADS: dict[str, Any] = {
    "dataset": _dataset(),
    "empty dataset": xr.Dataset(),
    "array": _dataset()["warmth"],
    "array without a name": xr.DataArray(np.zeros((2, 0)), attrs={"x": [1]}),
    "text of pandas": xr.Dataset.from_dataframe(pd.DataFrame({"a": ["x", "y"]}, index=pd.Index(["p", "q"], name="s"))),
    "nanoseconds": xr.DataArray(_DAYS.to_numpy().astype("M8[ns]"), dims="x", name="t"),
    "no index": _dataset().drop_indexes("time"),
    "spans": xr.DataArray([1.0, 2.0], coords={"x": pd.timedelta_range("1h", periods=2, freq="h")}, dims="x"),
    "scalar coordinate": _dataset().isel(time=0),
}


@pytest.mark.parametrize("name", _PAYLOADS)
def test_what_is_labelled_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    given = _PAYLOADS[name]
    back = ZarrFileIO().loads(ZarrFileIO().dumps(given))
    assert type(back) is type(given) and back.identical(given) and list(back.coords) == list(given.coords)
    named, others = ({**each.coords, **getattr(each, "data_vars", {"": each})} for each in (back, given))
    for variable, other in zip(named.values(), others.values(), strict=True):
        assert variable.dtype == other.dtype and variable.dims == other.dims
        assert list(variable.attrs.items()) == list(other.attrs.items()) or "no" in variable.attrs
        assert [type(value) for value in variable.attrs.values()] == [type(value) for value in other.attrs.values()]
    assert list(back.attrs) == list(given.attrs)
    assert back.xindexes.keys() == given.xindexes.keys()
    for index in given.indexes:
        mine, other = back.indexes[index], given.indexes[index]
        assert mine.identical(other) and mine.dtype == other.dtype and getattr(mine, "freq", 0) == getattr(other, "freq", 0)


class TestLabelled(FileIOContract):
    samples = 5

    def io(self) -> ZarrFileIO:
        return ZarrFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.sampled_from(list(_PAYLOADS.values()))

    def equal(self, left: Any, right: Any) -> bool:
        return bool(left.identical(right))

    def refused(self) -> list[Any]:
        return [xr.DataArray([object()]), _dataset().stack(both=("time", "station"))]


def test_xarray_itself_reads_the_folder(tmp_path: Path) -> None:
    ZarrFileIO(chunks=[2, 2]).save(_dataset(), tmp_path / "x.zarr")
    opened = xr.open_zarr(tmp_path / "x.zarr", consolidated=False, chunks=None)
    xr.testing.assert_equal(opened.load().drop_vars("spell"), _dataset().drop_vars("spell"))
    assert opened["warmth"].attrs["units"] == "K" and opened.attrs["made"] == "here"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (_dataset().stack(both=("time", "station")), "MultiIndex"),
        (xr.DataArray([object()]), "other than text"),
        (xr.DataArray([1], coords={"x": pd.CategoricalIndex(["a"])}, dims="x"), "Categorical"),
        (xr.DataArray([1], coords={"x": pd.period_range("2000", periods=1)}, dims="x"), "Period"),
        (xr.Dataset(attrs={"coordinates": "x"}), "coordinates"),
        (xr.Dataset(attrs={"when": object()}), "'when'"),
        (xr.Dataset(attrs={"deep": [float("nan")]}), "'deep'"),
        (xr.Dataset({"a/b": 1}), "a/b"),
        (xr.Dataset({"a": ((1,), [1])}), "rename"),
        (xr.DataArray(_DAYS, dims="x", attrs={"units": "days"}), "units"),
    ],
    ids=range(10),
)
def test_what_would_not_come_back_is_refused(given: Any, reason: str) -> None:
    with pytest.raises(PayloadNotRepresentable, match=reason):
        ZarrFileIO().dumps(given)


@step(io="auto")
def warmth(n: int) -> xr.DataArray:
    return xr.DataArray(np.arange(float(n)), coords={"x": list(range(n))}, dims="x", name="warmth")


def test_a_step_that_returns_what_is_labelled_stores_zarr_and_says_before_work_that_zarr_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = warmth.step(3).bind(tmp_path)
    assert node.payload.identical(warmth(3)) and next(tmp_path.rglob("zarr.json"))
    assert warmth.step(3).bind(tmp_path).payload.identical(warmth(3))
    assert node.key == step(warmth.__wrapped__).step(3).key, "the format is no part of identity"

    from persistable.errors import missing
    from persistable.fileio import base

    worked: list[int] = []

    @step(io="auto")
    def watched(n: int) -> xr.Dataset:
        worked.append(n)
        return xr.Dataset()

    monkeypatch.setattr(base, "check_installed", lambda module, package, extra, user: (_ for _ in ()).throw(missing(package, extra, user)))
    assert fileio_for(xr.Dataset) == ZarrFileIO()  # whatever is installed
    with pytest.raises(MissingExtra, match=r"persistable\[zarr\]"):
        _ = watched.step(1).bind(tmp_path).payload
    assert not worked


class Tensor:
    __module__, __qualname__ = "torch", "Tensor"


def test_tensors_are_known_by_their_type_alone() -> None:
    assert fileio_for(Tensor) == fileio_for(dict[str, Tensor]) == SafetensorsFileIO()


def test_a_file_of_tensors_without_torch_is_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    header = b'{"__metadata__":{"persistable":"tensors"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match="pip install torch"):
        SafetensorsFileIO().loads(len(header).to_bytes(8, "little") + header + b"x")


def test_tensors_come_back_as_they_were_and_are_mapped(tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch")
    whole = torch.arange(24.0).reshape(2, 3, 4)
    given = {kind: whole.to(getattr(torch, kind)) for kind in ("float64", "bfloat16", "float16", "int8", "bool", "complex64")}
    given |= {
        "turned": whole.mT,
        "none": torch.empty(0, 3),
        "one": torch.tensor(2),
        "conj": (whole * 1j).to(torch.complex64).conj(),
    }
    for payload in (given, {"a": whole}):
        for back in (
            SafetensorsFileIO().loads(bytearray(SafetensorsFileIO().dumps(payload))),
            SafetensorsFileIO().loads(SafetensorsFileIO().dumps(payload)),
        ):
            assert list(back) == list(payload)
            for name, tensor in payload.items():
                assert type(back[name]) is torch.Tensor and back[name].dtype == tensor.dtype and torch.equal(back[name], tensor), name
    single = SafetensorsFileIO().loads(bytearray(SafetensorsFileIO().dumps(whole)))
    assert torch.equal(single, whole)
    for refused in (
        torch.nn.Parameter(whole),
        whole.clone().requires_grad_(),
        whole.to_sparse(),
        whole.to(torch.complex128),
        {"a": whole, "b": np.zeros(1)},
    ):
        with pytest.raises(PayloadNotRepresentable):
            SafetensorsFileIO().dumps(refused)

    SafetensorsFileIO().save(given, tmp_path / "x.safetensors")
    read = pytest.importorskip("safetensors.torch").load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in given.items())
