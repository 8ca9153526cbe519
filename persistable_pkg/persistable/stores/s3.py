"""S3 and servers with its protocol, through s3fs: one request where one is enough, many at once where that is faster."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, NamedTuple, cast

from persistable.stores.base import Bytes, Stat, byte_view
from persistable.stores.bucket import Bucket, again
from persistable.stores.filesystem import BLOCK, FOLDER, Page, Parts, Ranges, Result, Stamped, Upload, foreign
from persistable.stores.remote_errors import facts, is_transient

PART = 16 << 20  # bytes of one part of an upload
PARTS_AT_ONCE = 6  # also bounds the memory of an upload: six parts
_RANGE = 32 << 20
_RANGES_AT_ONCE = 6
_WHOLE = 48 << 20  # larger objects are fetched by ranges
_TRIES = 5
_BUSY = frozenset({429, 500, 502, 503, 504})
_DELETED = 1000  # keys in one request
PAGE = 1000  # objects in one answer to a listing


class S3(Bucket):
    """A bucket through s3fs; `create` requires that there is no object (``If-None-Match: *``)."""

    async def ask(self, method: str, **arguments: Any) -> Any:
        return await patiently(partial(self.fs._call_s3, method, Bucket=self.bucket, **arguments))

    # --- reading

    def get(self, place: str) -> bytes:
        return self.wait_for(self._fetch(self.key_of(place)))[0]

    async def _fetch(self, key: str) -> Stamped:
        # cut off in the middle, or replaced between two ranges: retry from the start
        return await again(partial(self._fetched, key), lambda error: is_transient(error) or facts(error).status == 412)

    async def _fetched(self, key: str) -> Stamped:
        opened = await self._open(key)
        if opened.size <= _WHOLE:
            return await opened.body(), opened.etag
        opened.drop()
        return await self._fetch_parts(key, opened.size, opened.etag), opened.etag

    async def _fetch_parts(self, key: str, size: int, etag: str) -> bytes:
        gate = asyncio.Semaphore(_RANGES_AT_ONCE)

        async def part(start: int) -> bytes:
            async with gate:
                return await self._range(key, start, min(start + _RANGE, size), etag)

        return b"".join(await asyncio.gather(*(part(start) for start in range(0, size, _RANGE))))

    async def _range(self, key: str, start: int, stop: int, etag: str) -> bytes:
        return await (await self._open(key, (start, stop), etag)).body()

    async def _open(self, key: str, span: tuple[int, int] | None = None, etag: str | None = None) -> Opened:
        """Begin to read an object, or that span of it; where `etag` is given, the server refuses unless the object still has it."""
        more = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span is not None else {}
        answer = await self.ask("get_object", Key=key, **more, **({"IfMatch": etag} if etag is not None else {}))
        size = int(answer["ContentRange"].rpartition("/")[2]) if span is not None else answer["ContentLength"]
        return Opened(size, answer["ETag"], partial(_body, answer), answer["Body"].close)

    def reader(self, place: str) -> BinaryIO:
        key = self.key_of(place)
        size, etag, beginning = self.wait_for(self._begin(key))
        if isinstance(beginning, bytes):
            return io.BytesIO(beginning)

        def start(first: int, stop: int) -> Future[bytes]:
            return asyncio.run_coroutine_threadsafe(self._range(key, first, stop, etag), self.fs.loop)

        return io.BufferedReader(Ranges(size, start, asyncio.run_coroutine_threadsafe(beginning, self.fs.loop)), 1 << 18)

    async def _begin(self, key: str) -> tuple[int, str, Any]:
        """Request size, tag and first block at once: small objects need no second request, nor can they change between two.

        The first block of a larger object is a coroutine, so that others can be requested before it has arrived.
        """

        async def begin() -> tuple[int, str, Any]:
            opened = await self._open(key, (0, BLOCK))
            return opened.size, opened.etag, await opened.body() if opened.size <= BLOCK else self._first(key, opened)

        try:
            return await again(begin, is_transient)
        except Exception as error:
            if facts(error).status != 416:
                raise
            return 0, "", b""  # there is no first byte

    async def _first(self, key: str, opened: Opened) -> bytes:
        try:
            return await opened.body()
        except Exception as error:
            if not is_transient(error):
                raise
            return await self._range(key, 0, BLOCK, opened.etag)

    async def _head(self, key: str) -> Stat:
        found = await self.ask("head_object", Key=key)
        return Stat(found["ContentLength"], found["ETag"])

    def _pages(self, prefix: str, delimiter: str = "", after: str = "") -> Iterator[Page]:
        about = {"Prefix": prefix, "MaxKeys": PAGE, **({"Delimiter": delimiter} if delimiter else {})}
        more: dict[str, str] | None = {"StartAfter": after} if after else {}
        while more is not None:
            page = self.wait_for(self.ask("list_objects_v2", **about, **more))
            found = {f"{self.bucket}/{entry['Key']}": Stat(entry["Size"], entry["ETag"]) for entry in page.get("Contents", ())}
            found |= {f"{self.bucket}/{entry['Prefix']}": FOLDER for entry in page.get("CommonPrefixes", ())}
            more = {"ContinuationToken": page["NextContinuationToken"]} if page.get("IsTruncated") else None
            yield Page(found, max(found, default=None) if more is not None else None)

    def _look(self) -> None:
        self.wait_for(self.ask("head_bucket"))

    # --- writing

    def put(self, place: str, data: Bytes) -> object | None:
        view = byte_view(data)
        if len(view) <= 2 * PART:
            return self.wait_for(self._send(self.key_of(place), bytes(data)))
        upload = self.writer(place)
        try:
            upload.write(view)
        except BaseException:
            upload.abort()
            raise
        upload.commit()
        return None

    def put_many(self, items: Mapping[str, Bytes]) -> list[object | BaseException | None]:
        small = {place: data for place, data in items.items() if byte_view(data).nbytes <= 2 * PART}
        done = dict(zip(small, self.gather(self._send, [(self.key_of(place), bytes(data)) for place, data in small.items()]), strict=True))
        return [done[place] if place in small else self.put(place, data) for place, data in items.items()]

    async def _send(self, key: str, data: bytes, mark: Mapping[str, str] | None = None) -> str:
        """Put an object and return its tag; with a mark, which becomes its metadata, only if there is none yet."""
        more = {"IfNoneMatch": "*", "Metadata": dict(mark)} if mark is not None else {}
        return str((await self.ask("put_object", Key=key, Body=data, **more))["ETag"])

    async def _send_new(self, key: str, data: bytes, mark: Mapping[str, str]) -> str:
        # one request for any size: some servers ignore the condition when the parts of an upload are joined
        return await again(partial(self._send, key, data, mark), _is_contended)

    async def _metadata(self, key: str) -> dict[str, str]:
        return cast(dict[str, str], (await self.ask("head_object", Key=key)).get("Metadata", {}))

    def delete(self, place: str) -> bool:
        if self.info(place) is None:
            return False
        self.wait_for(self._remove(self.key_of(place)))
        return True

    async def _remove(self, key: str) -> None:
        await self.ask("delete_object", Key=key)

    def delete_many(self, places: Sequence[str]) -> list[tuple[str, BaseException]]:
        some = [places[first : first + _DELETED] for first in range(0, len(places), _DELETED)]
        answers = self.gather(self._delete, [([self.key_of(place) for place in each],) for each in some])
        failed: list[tuple[str, BaseException]] = []
        for asked, answer in zip(some, answers, strict=True):
            if isinstance(answer, BaseException):
                failed += [(place, answer) for place in asked]
            else:
                failed += [(f"{self.bucket}/{key}", error) for key, error in answer]
        return failed

    async def _delete(self, keys: Sequence[str]) -> list[tuple[str, BaseException]]:
        """Delete objects in one request. The keys that could not be deleted, with their errors."""
        objects = [{"Key": key} for key in keys]
        answer = await self.ask("delete_objects", Delete={"Objects": objects, "Quiet": True})
        return [(each["Key"], _refused(each)) for each in answer.get("Errors", ())]

    def writer(self, place: str) -> Upload:
        return _Upload(self, place)


class Opened(NamedTuple):
    """An object that is being read. size: of the whole. body: reads the requested bytes. drop: called where they are not needed."""

    size: int
    etag: str
    body: Callable[[], Awaitable[bytes]]
    drop: Callable[[], object]


async def patiently(request: Callable[[], Awaitable[Result]]) -> Result:
    """The answer to a request, which is retried, after a random delay, where the server is busy.

    Clients retry too, but neither after 429 nor for long: a server refuses many of the requests that are sent at once.
    """
    return await again(request, lambda error: facts(error).status in _BUSY, lambda: random.uniform(0.1, 0.2))


def _is_contended(error: Exception) -> bool:
    """Tell whether another client is writing or deleting the object just now."""
    found = facts(error)
    return found.status == 409 or found.code == "ConditionalRequestConflict"


def _refused(answer: Mapping[str, str]) -> BaseException:
    """The error of one object of a batch that could not be deleted."""
    response = {"Error": {"Code": answer.get("Code", ""), "Message": answer.get("Message", "")}}
    error: BaseException = foreign("botocore.exceptions").ClientError(response, "DeleteObjects")
    return error


class _Upload(Parts):
    """An upload whose parts are sent while the caller writes on. A killed process leaves invisible parts, for a bucket's rule to remove."""

    def __init__(self, remote: S3, place: str) -> None:
        super().__init__(place, PART)
        self._remote = remote
        self._key = remote.key_of(place)
        self._begun: Future[str] | None = None
        self._sent: list[Future[Any]] = []

    def send(self, part: bytes) -> None:
        if self._begun is None:
            self._begun = self._start(self._begin())
        number = len(self._sent) + 1
        if number > PARTS_AT_ONCE:
            self._sent[number - PARTS_AT_ONCE - 1].result()
        self._sent.append(self._start(self._ask("upload_part", PartNumber=number, Body=part)))

    def _start(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(work, self._remote.fs.loop)

    async def _begin(self) -> str:
        return str((await self._remote.ask("create_multipart_upload", Key=self._key))["UploadId"])

    async def _ask(self, method: str, **arguments: Any) -> Any:
        assert self._begun is not None
        upload = await asyncio.shield(asyncio.wrap_future(self._begun))  # cancelling one part must not cancel the shared future
        return await self._remote.ask(method, Key=self._key, UploadId=upload, **arguments)

    def commit(self) -> None:
        if self._begun is None:
            self._remote.put(self.place, self.rest())
            return
        try:
            if self._buffer:
                self.send(self.rest())
            parts = [{"PartNumber": number, "ETag": sent.result()["ETag"]} for number, sent in enumerate(self._sent, 1)]
            self._sent.append(self._start(self._ask("complete_multipart_upload", MultipartUpload={"Parts": parts})))
            self._sent[-1].result()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        if self._begun is None:
            return
        for sent in self._sent:
            sent.cancel()
        with suppress(Exception):  # the error that led here is the one to report; the parts are invisible
            self._start(self._abandon()).result()
        self._begun = None

    async def _abandon(self) -> None:
        """Abort the upload, repeatedly until the server knows none: a part in transit may have outlived the first request."""
        for attempt in range(_TRIES):
            await self._ask("abort_multipart_upload")
            await asyncio.sleep(0.05 * 2**attempt)


async def _body(answer: Any) -> bytes:
    async with answer["Body"] as body:
        data: bytes = await body.read()
        return data
