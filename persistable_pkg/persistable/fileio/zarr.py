"""Chunked arrays, groups of them, and labelled arrays, as a folder of zarr version 3."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from persistable.errors import MissingExtra, need
from persistable.fileio.base import Parts, PartsFileIO
from persistable.fileio.lazy_check import check_content


class ZarrFileIO(PartsFileIO[Any]):
    """A plain array, a dict of names to arrays or such dicts, or a Dataset or DataArray of xarray. Extra: zarr; xarray.

    `chunks` is the shape of a chunk (None: zarr chooses); arrays of another number of dimensions are chunked by zarr.

    A folder rather than a zip: each chunk is a file of the store, so that zarr itself can open it there and read parts.
    Arrays are loaded completely, in C order, writable.
    """

    name: ClassVar[str] = "ZarrFileIO"
    needs = (("zarr", "zarr", "zarr"),)
    suffix = ".zarr"

    def __init__(self, chunks: list[int] | None = None) -> None:
        self.chunks = None if chunks is None else list(chunks)

    def check(self, payload: Any) -> None:
        if _is_labelled(payload):
            from persistable.fileio import xarray

            check_content(payload, "ZarrFileIO")
            if reason := xarray.why_not(payload, _is_no_name):
                self._refuse(reason)
        else:
            self._check(payload, "payload", top=True)

    def dump_parts(self, payload: Any, create: Callable[[str], AbstractContextManager[BinaryIO]]) -> None:
        import tempfile

        zarr = need("zarr", "zarr", "zarr", "ZarrFileIO")
        with tempfile.TemporaryDirectory(prefix="persistable-") as folder:
            self._write(zarr, zarr.storage.LocalStore(folder), "", payload)
            for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
                with path.open("rb") as source, create(path.relative_to(folder).as_posix()) as target:
                    shutil.copyfileobj(source, target, 1 << 20)

    def load_parts(self, parts: Parts) -> Any:
        zarr = need("zarr", "zarr", "zarr", "ZarrFileIO")
        store = zarr.storage.LocalStore(parts.folder(), read_only=True)
        try:
            return _read(zarr, zarr.open(store=store, mode="r", zarr_format=3))
        except (OSError, MemoryError, MissingExtra):
            raise
        except Exception as error:
            raise self._malformed(f"{type(error).__name__}: {error}") from error

    def _check(self, value: Any, path: str, top: bool = False) -> None:
        import numpy as np

        if type(value) is dict:
            for name, item in value.items():
                if _is_no_name(name):
                    self._refuse(f"{path} has the name {name!r}, which zarr does not take")
                self._check(item, f"{path}[{name!r}]")
            return
        if type(value) is not np.ndarray:
            self._refuse(f"{path} is a {type(value).__name__}, not a plain numpy array" + (" or a dict of them" if top else ""))
        if value.dtype.kind not in "biufc" or value.dtype.itemsize > 16 or value.dtype.char in "gG":
            self._refuse(f"{path} has the dtype {value.dtype!r}; zarr keeps bool, int, uint, float and complex exactly")
        if not value.dtype.isnative or value.dtype.metadata:
            self._refuse(f"{path} has the dtype {value.dtype!r}, whose byte order or metadata zarr does not keep; use NumpyFileIO")

    def _write(self, zarr: Any, store: Any, path: str, value: Any) -> None:
        if _is_labelled(value):
            from persistable.fileio import xarray

            xarray.write(zarr, store, value, self._chunks)
            return
        if isinstance(value, dict):
            zarr.create_group(store=store, path=path, zarr_format=3, attributes={"order": list(value)})
            for name, item in value.items():
                self._write(zarr, store, f"{path}/{name}".lstrip("/"), item)
            return
        array = zarr.create_array(store=store, name=path or None, shape=value.shape, dtype=value.dtype, chunks=self._chunks(value),
                                  zarr_format=3, config={"write_empty_chunks": True})  # fmt: skip
        array[...] = value

    def _chunks(self, value: Any) -> Any:
        return "auto" if self.chunks is None or len(self.chunks) != value.ndim else tuple(self.chunks)


def _is_labelled(value: Any) -> bool:
    """Tell whether `value` is a Dataset or DataArray of xarray."""
    module = sys.modules.get("xarray")
    return module is not None and type(value) in (module.Dataset, module.DataArray)


def _is_no_name(name: Any) -> bool:
    """Tell whether zarr refuses `name` for an array."""
    return type(name) is not str or not name or "/" in name or name in (".", "..", "zarr.json") or name.startswith("__")


def _read(zarr: Any, stored: Any) -> Any:
    if isinstance(stored, zarr.Group):
        if "persistable" in stored.attrs:
            from persistable.fileio import xarray

            return xarray.read(stored)
        names = list(stored.attrs["order"]) if "order" in stored.attrs else sorted(stored.keys())
        if any("/" in name or name in ("", ".", "..") for name in names):
            raise ValueError(f"its arrays are called {names}")
        return {name: _read(zarr, stored[name]) for name in names}
    import numpy as np

    return np.asarray(stored[...], dtype=stored.dtype)
