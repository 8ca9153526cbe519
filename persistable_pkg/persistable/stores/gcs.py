"""Google Cloud Storage, through gcsfs."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, BinaryIO

from persistable.stores.base import Bytes, Stat
from persistable.stores.filesystem import BLOCK, FOLDER, Page, Ranges, Remote, Stamped, Upload
from persistable.stores.remote_errors import facts, kind_of

_PIECE = 16 << 20
_REQUEST = "_call"  # the coroutine function behind gcsfs's `call`
_DELETED = 100  # keys in one request
_CREATION = "persistable-creation"  # metadata that tells one creation from every other


class GCS(Remote):
    """A bucket. Uploads are atomic; `create` is decided by the server (``ifGenerationMatch=0``)."""

    exclusive = True
    has_root = True
    batches = True

    def __init__(self, fs: Any, root: str) -> None:
        super().__init__(fs, root)
        self.bucket = root.partition("/")[0]
        self._request = getattr(fs, _REQUEST)

    def _key(self, place: str) -> str:
        return place[len(self.bucket) + 1 :]

    def _call(self, *arguments: Any, **more: Any) -> Any:
        return self.fs.call(*arguments, json_out=True, **more)

    def create(self, place: str, data: Bytes) -> bool:
        return self.wait_for(self._create(place, bytes(data)))

    def create_many(self, items: Mapping[str, Bytes]) -> list[bool | BaseException]:
        return self.gather(self._create, [(place, bytes(data)) for place, data in items.items()])

    async def _create(self, place: str, data: bytes) -> bool:
        mark = os.urandom(16).hex()
        try:
            await self.fs._pipe_file(place, data, mode="create", metadata={_CREATION: mark})
        except FileExistsError:
            return await self._created(place, mark)
        except Exception as error:
            if facts(error).status == 412:
                return await self._created(place, mark)
            raise
        return True

    async def _created(self, place: str, mark: str) -> bool:
        """Tell whether the object there is ours: a request whose answer is lost is sent again, and then refused because of itself."""
        try:
            found = await self._request("GET", "b/{}/o/{}", self.bucket, self._key(place), json_out=True)
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

    def get_many(self, places: list[str]) -> list[Stamped | BaseException]:
        return self.gather(self._fetch, [(place,) for place in places])

    async def _fetch(self, place: str) -> Stamped:
        headers, data = await self._request("GET", self.fs.url(place))
        return data, headers.get("X-Goog-Generation")

    def info_many(self, places: Sequence[str]) -> list[Stat | BaseException | None]:
        found = self.gather(self._head, [(self._key(place),) for place in places])
        return [None if isinstance(each, FileNotFoundError) else each for each in found]

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
        more = {"startOffset": self._key(after)}
        token = True
        while token:
            page = self._call("GET", "b/{}/o", self.bucket, prefix=self._key(folder) + "/", delimiter="/", **more)
            found = {f"{self.bucket}/{entry['name']}": _stat_of(entry) for entry in page.get("items", ())}
            folders = {f"{self.bucket}/{name}": FOLDER for name in page.get("prefixes", ())}
            token = bool(page.get("nextPageToken"))
            more = {**more, "pageToken": page["nextPageToken"]} if token else more
            yield Page(found | folders, max(found | folders, default=None) if token else None)

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
