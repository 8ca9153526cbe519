"""The files of one repository: each an artifact at the tag that spells its path."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import NamedTuple, TypeVar

from persistable.errors import StoreError
from persistable.stores.base import in_folder
from persistable.stores.layered.path_kinds import files_of
from persistable.stores.oci.blobs import Source, push
from persistable.stores.oci.manifest import (
    EMPTY,
    LARGEST,
    Blob,
    Entry,
    digest_of,
    read_entry,
    write_content,
    write_deleted,
    write_file,
)
from persistable.stores.oci.registry import Registry
from persistable.stores.oci.tags import DELETES_REFUSED, is_long, path_of, tag_of
from persistable.stores.record_file import RECORD

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")
AT_ONCE = 16
"""Requests in flight for one call about many files."""
_INLINE = 4 << 10  # bytes of a file that needs no blob
_WITH_RECORD = 1000  # files of a record at most, so that its manifest names them
_REMEMBERED = 4096
_LINKING = (0.0, 0.05, 0.25)  # seconds: while two clients upload the same blob, docker-registry does not find it for a moment


class TagListing(NamedTuple):
    """A parsed list of tags: paths, and unsure tags, whose manifests have to be read for the path or whether it is deleted."""

    paths: Sequence[str]
    unsure: Sequence[str]


class Artifacts:
    """Files by path, in one repository; paths are checked by the caller."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._pushed: dict[str, tuple[Blob, ...]] = {}  # the files written last, for the manifest of the record that names them
        self._marked = False

    def find(self, path: str) -> Entry | None:
        """The file at a path; None where there is none."""
        entry = self.at_tag(tag_of(path))
        return entry if entry is not None and not entry.is_deleted and entry.path == path else None

    def at_tag(self, tag: str) -> Entry | None:
        """The file of a tag, perhaps a deleted one; None where there is no such tag, or it is a foreign one."""
        manifest = self.registry.manifest(tag)
        return read_entry(manifest) if manifest is not None else None

    def list(self, prefix: str) -> TagListing:
        """The files in a folder, as far as their tags show."""
        tags = list(self.registry.tags())
        if DELETES_REFUSED in tags:
            return TagListing([], [tag for tag in tags if is_long(tag) or in_folder(path_of(tag) or "", prefix)])
        found = {path for tag in tags if (path := path_of(tag)) is not None and in_folder(path, prefix)}
        return TagListing(sorted(found), [tag for tag in tags if is_long(tag)])

    def put(self, path: str, source: Source) -> str:
        """Upload the bytes and set the tag; the digest of the manifest, which is unique to each write."""
        blobs = push(self.registry, source)
        manifest = write_file(path, blobs, self._named_by(path, source))
        if len(manifest) > LARGEST or not self._try_set(tag_of(path), manifest):
            manifest = write_file(path, blobs)  # one of the files that the record names is gone
            self._set(tag_of(path), manifest)
        while len(self._pushed) >= _REMEMBERED:
            self._pushed.pop(next(iter(self._pushed)), None)
        self._pushed[path] = blobs
        return digest_of(manifest)

    def put_alone(self, path: str, data: bytes) -> str:
        """Put a file as `put`, but in one request, without blobs, if it is small and no record."""
        if len(data) > _INLINE or path.endswith(RECORD):
            return self.put(path, Source.of(data))
        manifest = write_content(path, data)
        self._set(tag_of(path), manifest)
        return digest_of(manifest)

    def delete(self, path: str) -> bool:
        """Delete a file; where the registry refuses to, set its tag to a manifest of a deleted file. True if there was a file."""
        entry = self.find(path)
        if entry is None:
            return False
        if self.registry.delete_manifest(entry.digest) == "refused":
            if not self._marked:
                self._set(DELETES_REFUSED, write_deleted(DELETES_REFUSED))
                self._marked = True
            self._set(tag_of(path), write_deleted(path))
        return True

    def _named_by(self, path: str, source: Source) -> Sequence[tuple[str, tuple[Blob, ...]]]:
        """The files that a record names, as far as they are in the repository."""
        files = [name for name, _ in files_of(source.data) or ()] if path.endswith(RECORD) and source.data is not None else []
        if len(files) > _WITH_RECORD:
            return []
        known = {name: blobs for name in files if (blobs := self._pushed.get(name)) is not None}
        looked = at_once(self.find, [name for name in files if name not in known])
        known.update((name, entry.blobs) for name, entry in looked if entry is not None)
        return [(name, known[name]) for name in files if name in known]

    def _set(self, tag: str, manifest: bytes) -> None:
        if not self._try_set(tag, manifest):
            url = self.registry.url
            raise StoreError(f"{url} has lost a blob that was just uploaded to it; try again", url=url, path="")

    def _try_set(self, tag: str, manifest: bytes) -> bool:
        if self.registry.put_manifest(tag, manifest):
            return True
        for wait in _LINKING:
            sleep(wait)
            self.registry.push(digest_of(EMPTY), len(EMPTY), lambda: io.BytesIO(EMPTY))  # the first file of a repository
            if self.registry.put_manifest(tag, manifest):
                return True
        return False


def at_once(call: Callable[[ItemT], AnswerT], items: Iterable[ItemT]) -> Sequence[tuple[ItemT, AnswerT]]:
    """Call `call` for each item, some at a time; pairs of item and result. Raises the first error, after the running calls."""
    wanted = list(items)
    if len(wanted) < 2:
        return [(each, call(each)) for each in wanted]
    with ThreadPoolExecutor(min(AT_ONCE, len(wanted)), thread_name_prefix="persistable-oci") as pool:
        return list(zip(wanted, pool.map(call, wanted), strict=True))
