"""Google Cloud Storage, through gcsfs."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, BinaryIO

from persistable.stores.base import Stat
from persistable.stores.bucket import CREATION, Bucket
from persistable.stores.filesystem import BLOCK, FOLDER, Page, Ranges, Stamped, Upload
from persistable.stores.remote_errors import facts, kind_of

_PIECE = 16 << 20
_REQUEST = "_call"  # the coroutine function behind gcsfs's `call`
_DELETED = 100  # keys in one request


class GCS(Bucket):
    """A bucket through gcsfs; `create` asks for generation 0 (``ifGenerationMatch=0``)."""

    def __init__(self, fs: Any, root: str) -> None:
        super().__init__(fs, root)
        self._request = getattr(fs, _REQUEST)

    def _call(self, *arguments: Any, **more: Any) -> Any:
        return self.fs.call(*arguments, json_out=True, **more)

    async def _create(self, key: str, data: bytes) -> bool:
        mark = os.urandom(16).hex()
        try:
            await self.fs._pipe_file(f"{self.bucket}/{key}", data, mode="create", metadata={CREATION: mark})
        except FileExistsError:
            return await self._created(key, mark)
        except Exception as error:
            if facts(error).status == 412:
                return await self._created(key, mark)
            raise
        return True

    async def _created(self, key: str, mark: str) -> bool:
        """Tell whether the object there is ours: a request whose answer is lost is sent again, and then refused because of itself."""
        try:
            found = await self._request("GET", "b/{}/o/{}", self.bucket, key, json_out=True)
        except FileNotFoundError:
            return False
        except Exception as error:
            if kind_of(error) != "denied":  # we may write and not read: then the refusal is all we know
                raise
            return False
        return bool(found.get("metadata", {}).get(CREATION) == mark)

    def delete(self, place: str) -> bool:
        try:
            self.fs.rm_file(place)
        except FileNotFoundError:
            return False
        return True

    async def _fetch(self, key: str) -> Stamped:
        headers, data = await self._request("GET", self.fs.url(f"{self.bucket}/{key}"))
        return data, headers.get("X-Goog-Generation")

    async def _head(self, key: str) -> Stat:
        return _stat_of(await self._request("GET", "b/{}/o/{}", self.bucket, key, json_out=True))

    def delete_many(self, places: Sequence[str]) -> list[tuple[str, BaseException]]:
        some = [(list(places[first : first + _DELETED]),) for first in range(0, len(places), _DELETED)]
        answers = self.gather(self.fs._rm_files, some)
        done = {each for answer in answers if not isinstance(answer, BaseException) for each in answer if isinstance(each, str)}
        left = [place for place in places if place not in done]  # absent, for the most part: one alone tells which
        found = zip(left, self.gather(self.fs._rm_file, [(place,) for place in left]), strict=True)
        return [(place, each) for place, each in found if isinstance(each, BaseException) and not isinstance(each, FileNotFoundError)]

    def pages(self, folder: str, after: str) -> Iterator[Page]:
        more = {"startOffset": self.key_of(after)}
        token = True
        while token:
            page = self._call("GET", "b/{}/o", self.bucket, prefix=self.key_of(folder) + "/", delimiter="/", **more)
            found = {f"{self.bucket}/{entry['name']}": _stat_of(entry) for entry in page.get("items", ())}
            folders = {f"{self.bucket}/{name}": FOLDER for name in page.get("prefixes", ())}
            token = bool(page.get("nextPageToken"))
            more = {**more, "pageToken": page["nextPageToken"]} if token else more
            yield Page(found | folders, max(found | folders, default=None) if token else None)

    def scan(self, folder: str) -> Iterator[tuple[str, Stat]]:
        prefix = self.key_of(folder)
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

    def _look(self) -> None:
        self._call("GET", "b/{}/o", self.bucket, maxResults=1)

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
