"""Published stores: a folder that `Catalog.export` has written, behind an http(s) URL of any static server, and zip archives there.

A file is one GET, a large one several of ranges where the server supports ranges. The manifest of the folder is its listing; it is
requested again, by its tag, after some seconds.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import quote
from zlib import crc32

from persistable.errors import StoreError, StoreUnavailable, need
from persistable.params.masking import masked
from persistable.params.secret import redact_log_record
from persistable.stores.base import Stat, check_path, check_prefix, in_folder
from persistable.stores.connections import PickledWithoutConnections
from persistable.stores.filesystem import BLOCK, Ranges
from persistable.stores.manifest import PATH, ManifestEntry, read_manifest
from persistable.stores.readonly import Unwritable
from persistable.stores.retries import TRANSIENT_STATUSES

CURRENT = 5.0
"""Seconds for which a manifest counts as current where a single file is looked up."""
TRIES = 4
_DELAY = 0.25
_GONE = frozenset({404, 410})
_SPOOL = 8 << 20
_PIECE = 1 << 20


class _Answer(NamedTuple):
    """Status, headers (names in lower case) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def tag(self) -> str:
        """The ETag, or the time of the last change; empty where the server sends neither."""
        return self.headers.get("etag") or self.headers.get("last-modified") or ""

    def range_from(self, first: int) -> bytes:
        """The bytes of the requested range that begins at `first`; none behind the end. Raises StoreError where it is another range."""
        if self.status == 416:
            return b""
        if not self.headers.get("content-range", "").startswith(f"bytes {first}-"):
            raise StoreError(f"the server gave another range than the one from {first}, which was asked for", url="", path="")
        return self.body

    @property
    def total(self) -> int:
        """The size in bytes of the whole file, of which this may be a range."""
        found = self.headers.get("content-range", "").rpartition("/")[2]
        return int(found) if self.status == 206 and found.isdecimal() else len(self.body)


class _Web(PickledWithoutConnections):
    """GET over http(s), with retries; its connections are those of this process alone."""

    not_pickled = ("_held",)

    def __init__(self, timeout: float) -> None:
        if not 0 < timeout < float("inf"):
            raise ValueError(f"timeout is {timeout!r}; give a number of seconds, such as 60")
        self.timeout = timeout
        self._reset()

    def _reset(self) -> None:
        self._held: tuple[int, Any] | None = None

    def client(self) -> Any:
        """The client of this process. Raises MissingExtra."""
        held = self._held
        if held is not None and held[0] == os.getpid():
            return held[1]
        httpx = need("httpx", "httpx", "http", "a store behind http(s)")
        headers = {"accept-encoding": "identity", "user-agent": "persistable"}
        client = httpx.Client(follow_redirects=True, timeout=self.timeout, headers=headers)
        self._held = os.getpid(), client
        logging.getLogger("httpx").addFilter(redact_log_record)  # added once, however often: that logger gets the URL of each request
        return client

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> _Answer:
        """The answer: a file, or that there is none or no change (304, 404, 410, 416). Raises StoreUnavailable, StoreError."""
        with self.stream(url, headers) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return _Answer(response.status_code, headers, self.body(response))

    def body(self, response: Any) -> bytes:
        """The body of an answer. Raises StoreUnavailable where it is cut off."""
        return b"".join(self.pieces(response))

    def pieces(self, response: Any) -> Iterator[bytes]:
        """The body of an answer, piece by piece. Raises StoreUnavailable where it is cut off."""
        import httpx

        try:
            yield from response.iter_bytes(_PIECE)
        except httpx.HTTPError as error:
            raise unreachable(str(response.url), f"its answer was cut off ({type(error).__name__})") from None

    @contextmanager
    def stream(self, url: str, headers: Mapping[str, str] | None = None) -> Generator[Any]:
        """The answer, its body not read yet."""
        import httpx

        client = self.client()
        for attempt in range(TRIES):
            problem: StoreError
            try:
                request = client.build_request("GET", url, headers=headers)
                response = client.send(request, stream=True)
            except httpx.InvalidURL:
                raise StoreError(f"{masked(url)} is no URL; correct it", url=masked(url), path="") from None
            except httpx.HTTPError as error:
                problem = unreachable(url, type(error).__name__)
            else:
                try:
                    if response.status_code not in TRANSIENT_STATUSES or attempt == TRIES - 1:
                        _check(url, response)
                        yield response
                        return
                finally:
                    response.close()
                problem = unreachable(url, f"it answers {response.status_code}")
            if attempt == TRIES - 1:
                raise problem
            time.sleep(_DELAY * 2**attempt)

    def close(self) -> None:
        """Close the connections; they are opened again when used."""
        held, self._held = self._held, None
        if held is not None and held[0] == os.getpid():
            held[1].close()


def _check(url: str, response: Any) -> None:
    """Raise StoreError or StoreUnavailable for an answer that is neither a file nor its absence."""
    status: int = response.status_code
    if url.lower().startswith("https:") and response.url.scheme != "https":
        raise StoreError(
            f"{masked(url)} redirects to an unencrypted address; ask for that address if you trust it", url=masked(url), path=""
        )
    if status in (200, 206, 304, 416) or status in _GONE:
        return
    shown = masked(url)
    if status in (401, 403):
        raise StoreError(f"{shown} may not be read ({status}); ask for permission, or check the address", url=shown, path="")
    if status >= 500 or status in TRANSIENT_STATUSES:
        raise unreachable(url, f"it answers {status}")
    raise StoreError(f"{shown} answers {status}; check the address", url=shown, path="")


def unreachable(url: str, why: str) -> StoreUnavailable:
    """The error for a server that gives no answer."""
    shown = masked(url)
    return StoreUnavailable(f"{shown} cannot be had now: {why}; look whether the server can be reached, then try again", url=shown, path="")


class _Manifest(NamedTuple):
    """The listing, the tag of its answer, a stamp that changes with its content, and the time of its request."""

    files: dict[str, ManifestEntry]
    tag: str
    stamp: str
    at: float


class HTTPStore(PickledWithoutConnections, Unwritable):
    """The files below an http(s) URL, of a folder that `Catalog.export` has written.

    timeout: seconds to wait for the server. Needs ``persistable[http]``. Listing needs the manifest of the folder; StoreError where there
    is none. Names that begin with a dot have to be served too.
    """

    in_memory = False
    definite = True
    poll = 3.0
    not_pickled = ("_manifest",)
    why = "a published folder is only read; import_ it into a store of your own"

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        base, mark, query = url.partition("#")[0].partition("?")
        self._base, self._query = base.rstrip("/"), mark + query  # a signature, such as that of a container of Azure
        self._web = _Web(timeout)
        self._reset()

    def _reset(self) -> None:
        self._manifest: _Manifest | None = None

    @property
    def url(self) -> str:
        return masked(self._base + self._query)

    # the listing

    def _listed(self, *, anew: bool = False) -> dict[str, ManifestEntry]:
        """Every file by path; requested again, by its tag, where `anew` or the last request is older than `CURRENT`."""
        seen = self._manifest
        if seen is not None and not anew and time.monotonic() - seen.at < CURRENT:
            return seen.files
        answer = self._web.get(self._place(PATH), {"if-none-match": seen.tag} if seen is not None and seen.tag else {})
        if answer.status == 304 and seen is not None:
            self._manifest = seen._replace(at=time.monotonic())
            return seen.files
        if answer.status != 200:
            raise StoreError(
                f"{self.url} is no published folder: it has no {PATH}. Catalog.export writes one; its server has to give names that begin "
                "with a dot too",
                url=self.url,
                path=PATH,
            )
        files = read_manifest(answer.body, self.url)
        self._manifest = _Manifest(files, answer.headers.get("etag", ""), f"{len(answer.body)}:{crc32(answer.body)}", time.monotonic())
        return files

    def listing_stamp(self) -> str | None:
        self._listed(anew=True)
        return self._manifest.stamp if self._manifest is not None else None

    def stat(self, path: str) -> Stat | None:
        found = self._listed().get(check_path(path))
        return None if found is None else Stat(found.size, found.digest)

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        check_prefix(prefix)
        return ((path, Stat(*found)) for path, found in self._listed(anew=True).items() if in_folder(path, prefix))

    # bytes

    def get(self, path: str) -> bytes:
        answer = self._web.get(self._place(path))
        self._check(path, answer.status, answer.headers)
        return answer.body

    def read(self, path: str) -> BinaryIO:
        known = self._manifest.files.get(path) if self._manifest is not None else None
        if known is not None and known.size <= _SPOOL:
            return io.BytesIO(self.get(path))
        return opened(self._web, self._place(path), partial(self._check, path))

    def _place(self, path: str) -> str:
        return f"{self._base}/{quote(check_path(path))}{self._query}"

    def _check(self, path: str, status: int, headers: Mapping[str, str]) -> None:
        """Raise FileNotFoundError where there is no such file: some servers then answer 200 with a page for people."""
        is_page = headers.get("content-type", "").startswith("text/html") and not path.endswith((".html", ".htm"))
        if status in _GONE or (is_page and path not in self._listed()):
            raise FileNotFoundError(errno.ENOENT, "nothing is stored here", masked(self._place(path)))

    def close(self) -> None:
        self._web.close()


class HTTPFile(PickledWithoutConnections):
    """The bytes of a zip archive behind an http(s) URL, read by ranges; whole, once, where the server supports none."""

    is_near = False
    not_pickled = ("_whole", "_tag")

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        self._address = url.partition("#")[0]
        self.url = masked(self._address)
        self._web = _Web(timeout)
        self._reset()

    def _reset(self) -> None:
        self._whole: BinaryIO | None = None
        self._tag = ""

    def stamp(self) -> tuple[int, object]:
        """Size and tag of the file. Raises FileNotFoundError, StoreError, StoreUnavailable."""
        kept = self._whole is not None
        if kept and not self._tag.startswith('"'):
            return self._size(), self._tag  # the server can only send all of it
        answer = self._ask({"if-none-match": self._tag} if kept else {"range": "bytes=0-0"})
        if answer.status != 304:
            self._tag = answer.tag
        return (self._size() if self._whole is not None else answer.total), self._tag

    def read(self, first: int, last: int) -> bytes:
        """The bytes from `first` up to, not including, `last`. Raises StoreError where the file was replaced since the last `stamp`."""
        if last <= first:
            return b""
        if self._whole is None:
            answer = self._ask({"range": f"bytes={first}-{last - 1}"})
            if answer.tag != self._tag:
                raise StoreError(f"{self.url} was replaced while it was being read; open it again", url=self.url, path="")
            if answer.status in (206, 416):
                return answer.range_from(first)
        assert self._whole is not None
        return _bytes_of(self._whole, first, last)

    def _ask(self, headers: Mapping[str, str]) -> _Answer:
        """The answer; the whole file is kept in a temporary file where the server sends it instead of a range."""
        with self._web.stream(self._address, headers) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            if response.status_code in _GONE:
                raise FileNotFoundError(errno.ENOENT, "there is no such file", self.url)
            if response.status_code != 200:
                return _Answer(response.status_code, found, self._web.body(response))
            file = TemporaryFile(prefix="persistable-")  # noqa: SIM115 - it stays open for as long as this object is used
            for piece in self._web.pieces(response):
                file.write(piece)
            file.flush()
            self._whole = cast("BinaryIO", file)
            return _Answer(200, found, b"")

    def _size(self) -> int:
        assert self._whole is not None
        return os.fstat(self._whole.fileno()).st_size

    def close(self) -> None:
        """Release the connections."""
        self._web.close()


_lock = threading.Lock()


def _bytes_of(file: BinaryIO, first: int, last: int) -> bytes:
    """The bytes of a file from `first` up to, not including, `last`, for any thread, and for a child that shares the descriptor."""
    if not hasattr(os, "pread"):  # on Windows, where nothing is forked
        with _lock:
            file.seek(first)
            return file.read(last - first)
    pieces: list[bytes] = []
    while first < last and (piece := os.pread(file.fileno(), last - first, first)):
        pieces.append(piece)
        first += len(piece)
    return b"".join(pieces)


def opened(web: _Web, url: str, check: Callable[[int, Mapping[str, str]], None]) -> BinaryIO:
    """A stream of the file at `url`: by ranges, or, where the server supports none, of a copy that is downloaded at once."""
    headers = {"range": f"bytes=0-{BLOCK - 1}"}
    with web.stream(url, headers) as response:
        found = {name.lower(): value for name, value in response.headers.items()}
        check(response.status_code, found)
        if response.status_code == 416:  # there is no first byte
            return io.BytesIO()
        if response.status_code == 206:
            answer = _Answer(206, found, web.body(response))
            if answer.total <= len(answer.body):
                return io.BytesIO(answer.body)
            return io.BufferedReader(Ranges(answer.total, partial(_Block, web, url, answer.tag), answer.body), 1 << 18)
        spool = SpooledTemporaryFile[bytes](_SPOOL, prefix="persistable-")
        for piece in web.pieces(response):
            spool.write(piece)
        spool.seek(0)
        return cast("BinaryIO", spool)


class _Block:
    """A block of a file as a future, requested when its bytes are needed."""

    def __init__(self, web: _Web, url: str, tag: str, first: int, last: int) -> None:
        self._web = web
        self._url = url
        self._tag = tag
        self._first = first
        self._last = last

    def result(self) -> bytes:
        """The bytes from `first` up to, not including, `last`. Raises StoreError where the file was replaced."""
        answer = self._web.get(self._url, {"range": f"bytes={self._first}-{self._last - 1}"})
        if answer.status != 206 or answer.tag != self._tag or len(answer.body) != self._last - self._first:
            shown = masked(self._url)
            raise StoreError(f"{shown} was replaced or deleted while it was being read; read it again", url=shown, path="")
        return answer.body

    def cancel(self) -> None:
        return None
