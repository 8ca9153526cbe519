"""The public names are where the documentation says they are."""

from __future__ import annotations

import importlib

import pytest

SURFACE = {
    "persistable": ["Persistable", "PersistableParams", "untracked", "omit_when", "formerly", "Key", "Record", "Status", "open_store"],
    "persistable.fileio": [
        *("FileIO", "PickleFileIO", "NumpyFileIO", "ParquetFileIO", "ArrowFileIO", "CsvFileIO", "JsonFileIO", "YamlFileIO", "TextFileIO"),
        *("BytesFileIO", "SafetensorsFileIO", "ZarrFileIO", "FigureFileIO", "FolderFileIO", "BundleFileIO", "CompressedFileIO"),
        *("fileio_for", "register_fileio"),
    ],
    "persistable.stores": ["open_store", "Store", "LocalStore", "ObjectStore", "MemoryStore", "SQLiteStore"],
    "persistable.testing": ["StoreContract", "FileIOContract", "strategies"],
    "persistable.errors": ["PersistableError", "PayloadNotFound", "PayloadCorrupted", "PayloadUntrusted", "PayloadForeign"],
    "persistable.events": ["Started", "Progressed", "Persisted", "Loaded", "Retried", "Failed", "Skipped", "Hook", "subscribe"],
    "persistable.executors.resources": ["Retry", "Resources"],
}


@pytest.mark.parametrize("module", SURFACE)
def test_every_public_name_is_there_listed_and_nothing_else_is(module: str) -> None:
    found = importlib.import_module(module)
    for name in SURFACE[module]:
        assert getattr(found, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        found.nonsense
    if module in ("persistable", "persistable.fileio", "persistable.stores", "persistable.testing"):
        assert set(SURFACE[module]) <= set(found.__all__)
