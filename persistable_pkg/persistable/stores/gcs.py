"""Google Cloud Storage, through gcsfs."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, BinaryIO, cast

from persistable.stores.base import Stat
from persistable.stores.bucket import Bucket
from persistable.stores.filesystem import BLOCK, FOLDER, Page, Ranges, Stamped, Upload

_PIECE = 16 << 20
_REQUEST = "_call"  # the coroutine function behind gcsfs's `call`
_DELETED = 100  # keys in one request


class GCS(Bucket):
    """A bucket through gcsfs; `create` requires generation 0 (``ifGenerationMatch=0``)."""

    def __init__(self, fs: Any, root: str) -> None:
        super().__init__(fs, root)
        self._request = getattr(fs, _REQUEST)

    def _call(self, *arguments: Any, **more: Any) -> Any:
        return self.fs.call(*arguments, json_out=True, **more)

    async def _send_new(self, key: str, data: bytes, mark: Mapping[str, str]) -> object:
        return await self.fs._pipe_file(f"{self.bucket}/{key}", data, mode="create", metadata=dict(mark))

    async def _metadata(self, key: str) -> Mapping[str, str]:
        found: dict[str, Any] = await self._request("GET", "b/{}/o/{}", self.bucket, key, json_out=True)
        return cast("Mapping[str, str]", found.get("metadata", {}))

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
        left = [place for place in places if place not in done]  # most of them absent: a request for each alone shows which
        found = zip(left, self.gather(self.fs._rm_file, [(place,) for place in left]), strict=True)
        return [(place, each) for place, each in found if isinstance(each, BaseException) and not isinstance(each, FileNotFoundError)]

    def _pages(self, prefix: str, delimiter: str = "", after: str = "") -> Iterator[Page]:
        about = {"prefix": prefix, **({"delimiter": delimiter} if delimiter else {}), **({"startOffset": after} if after else {})}
        more: dict[str, str] | None = {}
        while more is not None:
            page = self._call("GET", "b/{}/o", self.bucket, **about, **more)
            found = {f"{self.bucket}/{entry['name']}": _stat_of(entry) for entry in page.get("items", ())}
            found |= {f"{self.bucket}/{name}": FOLDER for name in page.get("prefixes", ())}
            more = {"pageToken": page["nextPageToken"]} if page.get("nextPageToken") else None
            yield Page(found, max(found, default=None) if more is not None else None)

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
    """A resumable upload; nothing is visible before its last piece."""

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
            pass  # the error that led here is the one to report; the bytes sent are invisible
        self._file.closed = True  # or its finalizer would complete the upload
