"""Read a store, a folder or an SQLite file, without persistable: ``python reader.py STORE`` lists and verifies all that is in it.

Written from docs/reference/format.md alone, and meant to be copied.
"""

import io
import json
import sqlite3
import struct
import sys
from pathlib import Path
from zlib import crc32

from blake3 import blake3


class Folder(dict):
    def __init__(self, root):
        super().__init__((path.relative_to(root).as_posix(), path) for path in Path(root).rglob("*") if path.is_file())

    def __getitem__(self, path):
        return super().__getitem__(path).read_bytes()


def sqlite_items(file):
    db = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    found = {}
    for number, paths, sizes, data in db.execute("SELECT id, paths, sizes, data FROM persistable_packs"):
        gone = {place for (place,) in db.execute("SELECT place FROM persistable_gone WHERE pack = ?", (number,))}
        names, start = paths.split("\n"), 0
        for place, (name, size) in enumerate(zip(names, struct.unpack_from(f"<{len(names)}H", sizes), strict=True)):
            found.update({} if place in gone else {name: data[start : start + size]})
            start += size
    found.update(db.execute("SELECT path, data FROM persistable_items"))
    return found


def records(store):
    told = json.loads(store[".persistable/store.json"]) if ".persistable/store.json" in store else {}
    assert told.get("min_reader", 1) == 1, f"format {told['format']}: a later reader is needed"
    for path in sorted(store):
        if path.endswith(".record.json"):
            body, _, check = store[path].rpartition(b',\n"checksum":"')
            assert check == b'%08x"}\n' % crc32(body), f"{path} is damaged"
            record = json.loads(store[path])
            assert record["record"] == 1, f"{path} is of a later format"
            placed = path.startswith(".persistable/placed/")
            assert placed or path == record["key"] + ".record.json", f"{path} is that of {record['key']}"
            yield record


def parts(store, files, folder=""):
    for part, path, size, digest in files:
        data = store[folder + path]
        assert len(data) == size and blake3(data).hexdigest() == digest, f"{folder + path} is not what the record names"
        yield part, data


def payload(record, found, schema=None):
    kind = record["io"]["io"]
    if kind == "NumpyFileIO" and not schema:
        return __import__("numpy").load(io.BytesIO(found[""]), allow_pickle=False)
    if kind == "ParquetFileIO":
        return __import__("pyarrow.parquet").parquet.read_table(io.BytesIO(found[""]), use_threads=False)
    return json.loads(found[""]) if kind == "JsonFileIO" else found


def payloads(store):
    for record in records(store):
        found = dict(parts(store, record["files"]))
        if "items" in record:
            lines = [json.loads(line) for line in found[""].splitlines()]
            folder = record["items"][0] + "/"
            yield record, [(key, payload(record, dict(parts(store, files, folder)), schema)) for key, files, schema in lines]
        else:
            yield record, payload(record, found, record.get("schema"))


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for record, loaded in payloads(Folder(place) if place.is_dir() else sqlite_items(place)):
        print(record["key"], record["io"]["io"], type(loaded).__name__, record["params"])
