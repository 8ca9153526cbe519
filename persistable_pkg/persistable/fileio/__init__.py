"""Formats: conversions of a payload to bytes and of these to an equal payload. Nothing heavy is imported until a format is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persistable import lazily
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

HOMES = {
    "arrow": ("ArrowFileIO",),
    "bundle": ("BundleFileIO",),
    "compressed": ("CompressedFileIO",),
    "csv": ("CsvFileIO",),
    "figure": ("FigureFileIO", "SavedFigure"),
    "folder": ("FolderFileIO",),
    "json": ("JsonFileIO",),
    "numpy": ("NumpyFileIO",),
    "parquet": ("ParquetFileIO",),
    "pickle": ("PickleFileIO",),
    "pickle_scripts": ("caching", "code_of", "of_script"),  # named by pickles
    "pickle_views": ("arrow_of", "memory_of", "tensor_of"),  # these too
    "plain": ("BytesFileIO", "ScalarFileIO", "TextFileIO"),
    "registry": ("fileio_for", "fileio_from_spec", "register_fileio"),
    "safetensors": ("SafetensorsFileIO",),
    "yaml": ("YamlFileIO",),
    "zarr": ("ZarrFileIO",),
}
"""Public names by their module."""

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, HOMES)
