"""Formats: how a payload becomes bytes and the same bytes an equal payload. Nothing heavy is imported until a format is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistable.fileio.base import Allocation, FileIO, Parts, PartsFileIO

if TYPE_CHECKING:
    from persistable.fileio.arrow import ArrowFileIO
    from persistable.fileio.bundle import BundleFileIO
    from persistable.fileio.compressed import CompressedFileIO
    from persistable.fileio.csv import CsvFileIO
    from persistable.fileio.figure import FigureFileIO, SavedFigure
    from persistable.fileio.folder import FolderFileIO
    from persistable.fileio.json import JsonFileIO
    from persistable.fileio.numpy import NumpyFileIO
    from persistable.fileio.parquet import ParquetFileIO
    from persistable.fileio.pickle import PickleFileIO
    from persistable.fileio.plain import BytesFileIO, ScalarFileIO, TextFileIO
    from persistable.fileio.registry import fileio_for, fileio_from_spec, register_fileio
    from persistable.fileio.safetensors import SafetensorsFileIO
    from persistable.fileio.yaml import YamlFileIO
    from persistable.fileio.zarr import ZarrFileIO

__all__ = [
    "Allocation",
    "ArrowFileIO",
    "BundleFileIO",
    "BytesFileIO",
    "CompressedFileIO",
    "CsvFileIO",
    "FigureFileIO",
    "FileIO",
    "FolderFileIO",
    "JsonFileIO",
    "NumpyFileIO",
    "ParquetFileIO",
    "Parts",
    "PartsFileIO",
    "PickleFileIO",
    "SafetensorsFileIO",
    "SavedFigure",
    "ScalarFileIO",
    "TextFileIO",
    "YamlFileIO",
    "ZarrFileIO",
    "fileio_for",
    "fileio_from_spec",
    "register_fileio",
]

_CHOOSE = ("fileio_for", "fileio_from_spec", "register_fileio")


def __getattr__(name: str) -> Any:
    if name in ("caching", "code_of", "of_script"):  # named by pickles
        from persistable.fileio import pickle_scripts

        return getattr(pickle_scripts, name)
    if name in ("memory_of", "tensor_of", "arrow_of"):
        from persistable.fileio import pickle_views

        return getattr(pickle_views, name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from persistable.fileio import figure, registry

    value = getattr(registry, name) if name in _CHOOSE else figure.SavedFigure if name == "SavedFigure" else registry.format_class(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
