"""Google Cloud Storage, through gcsfs."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, BinaryIO

from persistable.stores.base import Bytes, Stat
from persistable.stores.filesystem import BLOCK, Ranges, Remote, Upload
from persistable.stores.remote_errors import kind_of

_PIECE = 16 << 20
_CREATION = "persistable-creation"  # metadata that tells one creation from every other


class GCS(Remote):
    """A bucket. Uploads are atomic; `create` is decided by the server (``ifGenerationMatch=0``)."""

    exclusive = True
    has_root = True

    def __init__(self, fs: Any, root: str) -> None:
        super().__init__(fs, root)
        self.bucket = root.partition("/")[0]

    def _key(self, place: str) -> str:
        return place[len(self.bucket) + 1 :]

    def _call(self, *arguments: Any, **more: Any) -> Any:
        return self.fs.call(*arguments, json_out=True, **more)

    def create(self, place: str, data: Bytes) -> bool:
        mark = os.urandom(16).hex()
        try:
            self.fs.pipe_file(place, bytes(data), mode="create", metadata={_CREATION: mark})
        except FileExistsError:
            return self._created(place, mark)
        return True

    def _created(self, place: str, mark: str) -> bool:
        """Tell whether the object there is ours: a request whose answer is lost is sent again, and then refused because of itself."""
        try:
            found = self._call("GET", "b/{}/o/{}", self.bucket, self._key(place))
        except FileNotFoundError:
            return False
        except Exception as error:
            if kind_of(error) != "denied":  # we may write and not read: then the refusal is all we know
                raise
            return False
        return bool(found.get("metadata", {}).get(_CREATION) == mark)

    def info(self, place: str) -> Stat | None:
        try:
            found = self._call("GET", "b/{}/o/{}", self.bucket, self._key(place))
        except FileNotFoundError:
            return None
        return _stat_of(found)

    def delete(self, place: str) -> bool:
        try:
            self.fs.rm_file(place)
        except FileNotFoundError:
            return False
        return True

    def scan(self, folder: str) -> Iterator[tuple[str, Stat]]:
        prefix = self._key(folder)
        more: dict[str, str] = {}
        while True:
            page = self._call("GET", "b/{}/o", self.bucket, prefix=prefix + "/" if prefix else "", **more)
            for entry in page.get("items", ()):
                yield f"{self.bucket}/{entry['name']}", _stat_of(entry)
            if not page.get("nextPageToken"):
                return
            more = {"pageToken": page["nextPageToken"]}

    def reader(self, place: str) -> BinaryIO:
        found = self.info(place)
        if found is None:
            raise FileNotFoundError(place)
        if found.size <= BLOCK:
            return io.BytesIO(self.get(place))
        generation = found.stamp

        def start(first: int, stop: int) -> Future[bytes]:
            fetch = self.fs._cat_file(place, start=first, end=stop, generation=generation)
            return asyncio.run_coroutine_threadsafe(fetch, self.fs.loop)

        return io.BufferedReader(Ranges(found.size, start), 1 << 18)

    def root_exists(self) -> bool:
        try:
            self._call("GET", "b/{}/o", self.bucket, maxResults=1)
        except FileNotFoundError:
            return False
        except Exception as error:
            if kind_of(error) != "denied":  # then all we know is that we may not ask
                raise
        return True

    def writer(self, place: str) -> Upload:
        return _Upload(self.fs, place)


def _stat_of(found: dict[str, Any]) -> Stat:
    return Stat(int(found["size"]), str(found["generation"]))


class _Upload(Upload):
    """One resumable upload; nothing is visible before its last piece."""

    def __init__(self, fs: Any, place: str) -> None:
        super().__init__(place)
        self._file = fs.open(place, "wb", block_size=_PIECE)

    def accept(self, data: memoryview) -> None:
        for start in range(0, len(data), _PIECE):
            self._file.write(bytes(data[start : start + _PIECE]))

    def commit(self) -> None:
        try:
            self._file.close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        try:
            self._file.discard()
        except Exception:  # noqa: BLE001
            pass  # the error that led here is the one to tell; what was sent is invisible
        self._file.closed = True  # or its finalizer would complete the upload
