"""The description of an exported folder or bundle as an RO-Crate 1.1: its files, and the generation that each payload came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

from persistable.catalog.entry import label
from persistable.records.record import Record
from persistable.stores.manifest import ManifestEntry

PATH = "ro-crate-metadata.json"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "https://w3id.org/ro/crate/1.1"
_AUTHOR = "#author"
_UNKNOWN = "application/octet-stream"
_MEDIA_TYPES = {
    ".arrow": "application/vnd.apache.arrow.file",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
    ".zst": "application/zstd",
}


class About(NamedTuple):
    """Facts of the whole crate. author, license (a URL): empty where none is given. published: seconds since 1970 in UTC."""

    name: str
    description: str
    author: str
    license: str
    published: float


CrateRecord = tuple[str, Record, tuple[str, ...]]
"""The path of a record, the record, and the paths of the exported files of its payload."""


def write_crate(
    about: About, files: Mapping[str, ManifestEntry], records: Callable[[], Iterator[CrateRecord]], write: Callable[[bytes], Any]
) -> None:
    """Pass the content of the description to `write`, piece by piece. files: all that are exported. records: iterates over the records."""
    write(f'{{"@context":{json.dumps(CONTEXT)},"@graph":['.encode())
    between = b""
    for entity in _entities(about, files, records):
        write(between + b"\n" + json.dumps(entity, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))
        between = b","
    write(b"\n]}\n")


def _entities(about: About, files: Mapping[str, ManifestEntry], records: Callable[[], Iterator[CrateRecord]]) -> Iterator[dict[str, Any]]:
    yield {"@id": PATH, "@type": "CreativeWork", "conformsTo": {"@id": PROFILE}, "about": {"@id": "./"}}
    made: dict[str, tuple[str, ...]] = {}
    classes: dict[str, None] = {}
    labels: dict[str, str] = {}
    for place, record, present in records():
        made[str(record.key)] = present
        classes[record.class_reference] = None
        words = label(record.key.name, record.params)
        labels[place] = f"Record of {words}"
        labels.update((path, words) for path in present)
    yield _root(about, files, made)
    if about.license:
        yield {"@id": about.license, "@type": "CreativeWork", "name": about.license}
    if about.author:
        yield {"@id": _AUTHOR, "@type": "Person", "name": about.author}
    for path, listed in files.items():
        yield {
            "@id": quote(path),
            "@type": "File",
            "name": labels.get(path, PurePosixPath(path).name),
            "contentSize": str(listed.size),
            "encodingFormat": _MEDIA_TYPES.get(PurePosixPath(path).suffix.lower(), _UNKNOWN),
            "identifier": f"blake3:{listed.digest}",
        }
    for _, record, present in records():
        yield _action(record, present, made)
    for reference in classes:
        yield {"@id": _code_id(reference), "@type": "SoftwareSourceCode", "name": reference, "programmingLanguage": "Python"}


def _root(about: About, files: Iterable[str], keys: Iterable[str]) -> dict[str, Any]:
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": about.name,
        "description": about.description,
        "datePublished": _time(about.published),
        **_links("hasPart", map(quote, files)),
        **_links("mentions", map(_key_id, keys)),
        **_links("author", [_AUTHOR] if about.author else []),
        **_links("license", [about.license] if about.license else []),
    }


def _links(name: str, targets: Iterable[str]) -> dict[str, Any]:
    """A property whose values are entities: one by itself, several in a list, absent where there is none."""
    found = [{"@id": target} for target in targets]
    return {name: found[0] if len(found) == 1 else found} if found else {}


def _action(record: Record, present: Iterable[str], made: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The generation of one payload: its input files, result files and code."""
    return {
        "@id": _key_id(str(record.key)),
        "@type": "CreateAction",
        "name": label(record.key.name, record.params),
        "startTime": _time(record.started),
        "endTime": _time(record.started + record.seconds),
        "instrument": {"@id": _code_id(record.class_reference)},
        **_links("object", [quote(path) for key in record.upstream.values() for path in made.get(str(key), ())]),
        **_links("result", map(quote, present)),
    }


def _key_id(key: str) -> str:
    return f"#{quote(key)}"


def _code_id(reference: str) -> str:
    return f"#code/{quote(reference)}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
