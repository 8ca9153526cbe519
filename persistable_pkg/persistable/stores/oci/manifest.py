"""The manifest of one file of a store: an OCI image manifest with an artifact type, whose layers hold the bytes of the file.

Every manifest has a random annotation, so that its digest is unique to one write, and deleting it never deletes that of another write.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, cast

from persistable.stores.base import is_path
from persistable.stores.record_file import RECORD

MEDIA = "application/vnd.oci.image.manifest.v1+json"
EMPTY = b"{}"
"""The content of the configuration, and of the layer of a manifest without blobs, as the specification requires."""
EMBEDDED = 16 << 10
"""Bytes up to which content is in the manifest too, so that one request reads it."""
LARGEST = 3 << 20
"""Bytes of a manifest that every registry accepts."""
_FILE, _RECORD, _DELETED = (f"application/vnd.persistable.{kind}.v1" for kind in ("file", "record", "deleted"))
_EMPTY_MEDIA = "application/vnd.oci.empty.v1+json"
_TITLE = "org.opencontainers.image.title"
_PATH, _CONTENT, _PART, _WRITE = (f"vnd.persistable.{name}" for name in ("path", "content", "part", "write"))


class Blob(NamedTuple):
    """Bytes that a registry stores by their digest. data: the bytes themselves, if they are in the manifest too."""

    digest: str
    size: int
    data: bytes | None = None


class Entry(NamedTuple):
    """A file, parsed from its manifest."""

    path: str
    blobs: tuple[Blob, ...]
    """The blobs that hold the bytes of the file, in order."""
    content: bytes | None
    """The bytes themselves, where they are in the manifest."""
    is_deleted: bool
    digest: str
    """The digest of the manifest, unique to each write."""

    @property
    def size(self) -> int:
        return len(self.content) if self.content is not None else sum(blob.size for blob in self.blobs)


def digest_of(data: bytes | memoryview) -> str:
    """The digest by which a registry stores these bytes."""
    return f"sha256:{sha256(data).hexdigest()}"


def write_file(path: str, blobs: Sequence[Blob], files: Iterable[tuple[str, Sequence[Blob]]] = ()) -> bytes:
    """The manifest of a file in `blobs`. files: path and blobs of other files that a client is to get with it."""
    layers = [_layer(blob, path if len(blobs) == 1 else None, number) for number, blob in enumerate(blobs)]
    layers += [_layer(each[0]._replace(data=None), other, None) for other, each in files if len(each) == 1]
    return _manifest(_RECORD if path.endswith(RECORD) else _FILE, path, layers)


def write_content(path: str, content: bytes) -> bytes:
    """The manifest of a small file whose content is in it, without a blob."""
    return _manifest(_FILE, path, [], **{_CONTENT: b64encode(content).decode()})


def write_deleted(path: str) -> bytes:
    """The manifest of a deleted file, for registries that do not delete."""
    return _manifest(_DELETED, path, [])


def read_entry(data: bytes) -> Entry | None:
    """The file of a manifest; None for one that is damaged or foreign."""
    try:
        facts: Any = json.loads(data)
        annotations, kind = facts["annotations"], facts["artifactType"]
        path: Any = annotations[_PATH]
        if kind not in (_FILE, _RECORD, _DELETED) or not isinstance(path, str) or not is_path(path):
            return None
        content = b64decode(annotations[_CONTENT], validate=True) if _CONTENT in annotations else None
        parts = [layer for layer in facts["layers"] if _PART in layer.get("annotations", {})]
        blobs = tuple(map(_blob, sorted(parts, key=_number)))
    except (ValueError, TypeError, LookupError, AttributeError, NotBase64, RecursionError):
        return None
    return Entry(path, blobs, content, kind == _DELETED, digest_of(data))


class Artifact(NamedTuple):
    """An artifact of any tool: its layers by their titles, or by their digests where they have none, and the digest of its manifest."""

    layers: dict[str, Blob]
    digest: str


def read_artifact(data: bytes) -> Artifact | None:
    """The artifact of a manifest; None for the manifest of a deleted file. Raises ValueError for anything else."""
    try:
        facts: Any = json.loads(data)
        if facts.get("artifactType") == _DELETED:
            return None
        layers = {layer.get("annotations", {}).get(_TITLE) or layer["digest"]: _blob(layer) for layer in facts["layers"]}
    except (TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"no manifest of an artifact ({type(error).__name__})") from None
    return Artifact(layers, digest_of(data))


def _number(layer: Any) -> int:
    return int(layer["annotations"][_PART])


def _blob(layer: Any) -> Blob:
    data = b64decode(layer["data"], validate=True) if "data" in layer else None
    digest, size = cast("tuple[str, int]", (layer["digest"], layer["size"]))
    if not digest.startswith("sha256:") or size.__class__ is not int or size < 0 or (data is not None and digest_of(data) != digest):
        raise ValueError("no descriptor")
    return Blob(digest, size, data)


def _layer(blob: Blob, title: str | None, part: int | None) -> dict[str, Any]:
    named = {_TITLE: title} if title is not None else {}
    numbered = {_PART: str(part)} if part is not None else {}
    embedded = {"data": b64encode(blob.data).decode()} if blob.data is not None else {}
    found = {"mediaType": "application/octet-stream", "digest": blob.digest, "size": blob.size}
    return {**found, "annotations": {**named, **numbered}, **embedded}


def _manifest(kind: str, path: str, layers: list[dict[str, Any]], **annotations: str) -> bytes:
    empty = {"mediaType": _EMPTY_MEDIA, "digest": digest_of(EMPTY), "size": len(EMPTY), "data": b64encode(EMPTY).decode()}
    facts = {
        "schemaVersion": 2,
        "mediaType": MEDIA,
        "artifactType": kind,
        "config": empty,
        "layers": layers or [empty],
        "annotations": {_PATH: path, **annotations, _WRITE: os.urandom(8).hex()},
    }
    return json.dumps(facts, separators=(",", ":")).encode()
