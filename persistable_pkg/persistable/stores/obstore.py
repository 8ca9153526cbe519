"""S3 through obstore, which communicates with the server outside of the interpreter: ``open_store(url, client="obstore")``."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from typing import Any, cast
from urllib.parse import unquote

import obstore
from fsspec.asyn import get_loop  # type: ignore[import-untyped]
from obstore.exceptions import BaseError, InvalidPathError
from obstore.store import S3Store

from persistable.stores.base import Stat
from persistable.stores.filesystem import FOLDER, Page, Parts, Result, Upload, foreign
from persistable.stores.remote_errors import kind_of
from persistable.stores.s3 import PAGE, PART, PARTS_AT_ONCE, S3, Opened, patiently

_ATTEMPTS = 3  # as with s3fs: no long wait for an absent server
_PATIENCE = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "1day"}  # a large part may take long, a silent server not
_STATUS, _CODE = re.compile(r"status code: (\d{3})"), re.compile(r"<Code>(\w+)</Code>")
_UPLOAD = re.compile(r"[?&]uploadId=([^&\s]+)")
_EMPTY_FOLDER = ".persistable/nobody"  # a folder that is always empty
_MOMENT, _ENDING = 0.01, 1.0  # seconds
_process: int | None = None


class Client:
    """The buckets at one endpoint. Options: those of s3fs with the same meaning, and ``region``, by default that of the environment."""

    async_impl = True

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        key: str | None = None,
        secret: str | None = None,
        token: str | None = None,
        anon: bool = False,
        region: str | None = None,
    ) -> None:
        given = {
            "endpoint": endpoint_url, "access_key_id": key, "secret_access_key": secret, "session_token": token,
            "region": region, "skip_signature": anon or None,
        }  # fmt: skip
        self._config: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._region = region
        self._for_s3fs = {"endpoint_url": endpoint_url, "key": key, "secret": secret, "token": token, "anon": anon}
        self._buckets: dict[str, S3Store] = {}
        self.loop = get_loop()

    def bucket(self, name: str) -> S3Store:
        """The bucket of that name, which is not contacted yet."""
        global _process
        if name not in self._buckets:
            if _process is None:
                atexit.register(_await_threads)
            _process = os.getpid()
            plain = str(self._config.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL", "")).startswith("http://")
            attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", _ATTEMPTS))
            self._buckets[name] = S3Store(
                name,
                config=cast(Any, self._config),
                client_options=cast(Any, {**_PATIENCE, "allow_http": plain}),
                retry_config={"max_retries": max(0, attempts - 1), "retry_timeout": timedelta(minutes=3)},
            )
        return self._buckets[name]

    def as_s3fs(self, **config: Any) -> Any:
        """The same endpoint through s3fs, where obstore lacks a call. config: options of botocore."""
        more = {"client_kwargs": {"region_name": self._region}} if self._region is not None else {}
        options = {"use_listings_cache": False, "skip_instance_cache": True, "config_kwargs": config}
        return foreign("s3fs").S3FileSystem(**self._for_s3fs, **more, **options)


def _await_threads() -> None:
    """Wait until no thread of obstore is in the interpreter to return an answer: it would abort a process that ends meanwhile."""
    end = time.monotonic() + _ENDING
    while True:
        time.sleep(_MOMENT)  # lets waiting threads in
        ours = {thread.ident for thread in threading.enumerate()}
        if time.monotonic() > end or sys._current_frames().keys() <= ours:  # pyright: ignore[reportPrivateUsage]
            return


def is_of_parent() -> bool:
    """Tell whether this process was forked from one that has used obstore: without its threads it cannot be used here."""
    return _process is not None and _process != os.getpid()


class Obstore(S3):
    """A bucket through obstore. Decisions of the server, and the handling of its answers, are as in `S3`."""

    def __init__(self, fs: Client, root: str) -> None:
        super().__init__(fs, root)
        self.store = fs.bucket(self.bucket)

    async def answer(self, request: Awaitable[Result]) -> Result:
        """The answer to a request. Raises its errors as classes that `remote_errors` recognizes."""
        try:
            return await request
        except (BaseError, FileNotFoundError) as error:
            raise _explained(error) from None

    # --- reading

    async def _open(self, key: str, span: tuple[int, int] | None = None, etag: str | None = None) -> Opened:
        options: Any = {} if span is None else {"range": span}
        if etag is not None:
            options["if_match"] = etag
        found = await patiently(lambda: self.answer(obstore.get_async(self.store, key, options=options)))

        async def body() -> bytes:
            return (await self.answer(found.bytes_async())).to_bytes()

        return Opened(found.meta["size"], _etag(found.meta), body, lambda: None)

    async def _head(self, key: str) -> Stat:
        found = await patiently(lambda: self.answer(obstore.head_async(self.store, key)))
        return Stat(found["size"], _etag(found))

    def modified(self, place: str) -> float | None:
        key = self.key_of(place)
        found = self.wait_for(patiently(lambda: self.answer(obstore.head_async(self.store, key))))
        return found["last_modified"].timestamp()

    async def _metadata(self, key: str) -> dict[str, str]:
        found = await patiently(lambda: self.answer(obstore.get_async(self.store, key)))
        return dict(found.attributes)

    def scan(self, folder: str) -> Iterator[tuple[str, Stat]]:
        for some in self._listed(self.key_of(folder)):
            yield from some.items()

    def pages(self, folder: str, after: str) -> Iterator[Page]:
        skip = len(folder) + 1
        for some in self._listed(self.key_of(folder), self.key_of(after)):
            last = max(some) if len(some) == PAGE else None
            files: dict[str, Stat] = {}
            for place, found in some.items():
                below = place.find("/", skip)
                files[place if below < 0 else place[: below + 1]] = found if below < 0 else FOLDER
            yield Page(files, last)

    def _listed(self, prefix: str, offset: str | None = None) -> Iterator[dict[str, Stat]]:
        """The objects whose keys begin with `prefix`, page by page, as stats by place."""
        # its other kinds of results need a package that may be missing
        stream = obstore.list(self.store, prefix or None, offset=offset, chunk_size=PAGE)  # pyright: ignore[reportUnknownMemberType]

        async def following() -> Sequence[Any] | None:
            try:
                return await anext(stream)
            except StopAsyncIteration:
                return None

        while (some := self.wait_for(self.answer(following()))) is not None:
            yield {f"{self.bucket}/{each['path']}": Stat(each["size"], _etag(each)) for each in some}
            if len(some) < PAGE:
                return

    def _look(self) -> None:
        try:
            next(self._listed(_EMPTY_FOLDER), None)
        except Exception as error:
            if kind_of(error) == "no root":
                raise FileNotFoundError(self.bucket) from error
            raise

    # --- writing

    async def _send(self, key: str, data: bytes, mark: Mapping[str, str] | None = None) -> str:
        attributes: Any = dict(mark) if mark is not None else None
        mode: Any = "create" if mark is not None else "overwrite"
        put = obstore.put_async
        request = partial(put, self.store, key, data, mode=mode, attributes=attributes, use_multipart=False)
        return _etag(await patiently(lambda: self.answer(request())))

    async def _remove(self, key: str) -> None:
        await self._delete([key])

    async def _delete(self, keys: Sequence[str]) -> list[tuple[str, BaseException]]:
        await patiently(lambda: self.answer(obstore.delete_async(self.store, keys)))
        return []

    def writer(self, place: str) -> Upload:
        return _Upload(self, place)


def _etag(found: Any) -> str:
    return str(found["e_tag"])


class _Upload(Parts):
    """An upload by one call that is fed parts. An exception in place of a part makes it abort; cancelling it would leave the parts."""

    def __init__(self, remote: Obstore, place: str) -> None:
        super().__init__(place, PART)
        self._remote = remote
        self._key = remote.key_of(place)
        self._putting: asyncio.Future[None] | None = None
        self._parts: asyncio.Queue[bytes | _UploadAborted | None] = asyncio.Queue(1)

    def send(self, part: bytes | _UploadAborted | None) -> None:
        self._remote.wait_for(self._feed(part))

    async def _feed(self, part: bytes | _UploadAborted | None) -> None:
        if self._putting is None:
            self._putting = asyncio.ensure_future(self._put())
        feeding = asyncio.ensure_future(self._parts.put(part))
        await asyncio.wait({self._putting, feeding}, return_when=asyncio.FIRST_COMPLETED)
        if self._putting.done():  # before its last part: it has failed
            feeding.cancel()
            await self._putting

    async def _put(self) -> None:
        store, given = self._remote.store, self._given()
        await self._remote.answer(obstore.put_async(store, self._key, given, chunk_size=PART, max_concurrency=PARTS_AT_ONCE))

    async def _given(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) is not None:
            if isinstance(part, _UploadAborted):
                raise part
            yield part

    async def _end(self) -> None:
        if self._putting is not None:
            await asyncio.shield(self._putting)

    def commit(self) -> None:
        if self._putting is None:
            self._remote.put(self.place, self.rest())
            return
        try:
            if self._buffer:
                self.send(self.rest())
            self.send(None)
            self._remote.wait_for(self._end())
        except BaseException as error:
            self.abort()
            self._abort_through_s3fs(error)
            raise

    def abort(self) -> None:
        """Abort the upload. Once it has all its parts it can only be waited for, and is complete then, as if its answer were late."""
        if self._putting is not None:
            with suppress(Exception):  # the error that led here is the one to report
                self.send(_UploadAborted())
            with suppress(Exception):
                self._remote.wait_for(self._end())

    def _abort_through_s3fs(self, error: BaseException) -> None:
        """Abort an upload whose last parts have failed, through s3fs: obstore leaves it open, and has no call for that."""
        found = _UPLOAD.search(str(error))
        if found is not None and find_spec("s3fs") is not None:
            with suppress(Exception):
                call = self._remote.fs.as_s3fs(connect_timeout=10).call_s3
                call("abort_multipart_upload", Bucket=self._remote.bucket, Key=self._key, UploadId=unquote(found[1]))


class _UploadAborted(Exception):
    """Raised in place of a part, to abort the upload: the parts sent are to be discarded."""


class _Answered(Exception):
    """An error that the server answered: its status, and its code in the form of botocore."""

    def __init__(self, text: str, status: int, code: str) -> None:
        super().__init__(text)
        self.status = status
        self.response = {"Error": {"Code": code}}


class _Unreadable(Exception):
    """Raised for a name that obstore refuses."""


class NoCredentialsError(Exception):
    """Neither options nor the environment have credentials."""


class CutOff(ConnectionError):
    """Raised where a connection ended before its answer did."""


def _explained(error: Exception) -> Exception:
    """The error with a status, a code or a class of its own: obstore has them in its text only."""
    text = str(error).partition("\n\nDebug source:")[0]
    status, code = _STATUS.search(text), _CODE.search(text)
    if isinstance(error, InvalidPathError):
        return _Unreadable(f"{text}; obstore cannot read a folder with such a name in it, open the store without client='obstore'")
    if status is not None:
        answered = _Answered(text, int(status[1]), code[1] if code is not None else "")
        return FileNotFoundError(text) if isinstance(error, FileNotFoundError) and kind_of(answered) == "missing" else answered
    if isinstance(error, FileNotFoundError):
        return error
    if "169.254.169.254" in text or "credential" in text:
        return NoCredentialsError(text)
    return CutOff(text) if "HTTP error" in text else error
