"""Stores in databases: items with their bytes; those of large items are in chunks that were sent before the item that names them."""

from __future__ import annotations

import atexit
import errno
import io
import os
import random
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from textwrap import shorten
from typing import Any, BinaryIO, ClassVar, Generic, NamedTuple, TypeVar, cast

from persistable.errors import StoreError, StoreFull, StoreUnavailable
from persistable.params.masking import masked
from persistable.stores.base import HIDDEN, BaseStore, Bytes, Stat, check_paths, check_prefix
from persistable.stores.chunked import Blocks, ChunkedUpload
from persistable.stores.connections import ConnectionRegistry, PickledWithoutConnections

PAGE = 10_000
"""Items in one page of a listing."""
AT_ONCE = 16 << 20
"""Bytes of the items in one statement, about."""
LAST = "\U0010ffff"
"""The last character of all: every text that begins with a path sorts before the path followed by this."""
_AFTER_ALL = LAST * 64
_THREADS = 4
_LONGEST_PAUSE = 1.0

Done = TypeVar("Done")
Each = TypeVar("Each")
UploadT = TypeVar("UploadT", bound=ChunkedUpload)


# ------------------------------------------------------------------ connections


class Server:
    """The connections of this process to one server, shared by all stores with equal settings."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.is_closed = False
        self.reached = False
        """Tell whether there was a connection before: a refused one may then be due to a restart of the server."""
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    def threads(self) -> ThreadPoolExecutor:
        """Threads for work in the background."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"persistable-{self.name}")
            return self._threads

    @abstractmethod
    def close(self) -> None:
        """Close the connections that are not in use."""


SomeServer = TypeVar("SomeServer", bound=Server)
_servers = ConnectionRegistry[Server]()


@atexit.register
def _close_all() -> None:
    for server in _servers.all():
        server.close()


ErrorText = tuple[type[StoreError], str]
"""The class of an error, and its message, in which ``{url}``, ``{where}`` and ``{reason}`` are filled in."""
UNREACHABLE: ErrorText = StoreUnavailable, "{url} cannot be reached ({reason}); check the address and the network, then try again"
FULL: ErrorText = StoreFull, "no room for {where} ({reason}); free some space on the server"
FAILED: ErrorText = StoreError, "{where} failed: {reason}"


def store_error(text: ErrorText, url: str, path: str, reason: str) -> StoreError:
    """The error with that text about `path` in the store at `url`; `reason` is the message of the driver."""
    kind, words = text
    short = shorten(masked(" ".join(reason.split())), 300, placeholder="...")
    return kind(words.format(url=url, where=f"{url} ({path})" if path else url, reason=short), url=url, path=path)


class DatabaseConnector(Generic[SomeServer]):
    """The link of a store to its server, with retries. timeout: seconds to wait for a server that is no longer reachable."""

    trouble: ClassVar[type[Exception]]
    """The errors of the driver."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._held: tuple[int, SomeServer] | None = None
        self.was_reached = False

    @abstractmethod
    def _connect(self) -> tuple[object, Callable[[], SomeServer]]:
        """The settings of the connections, and the function that makes their server object."""

    @abstractmethod
    def _passes(self, error: Exception) -> bool:
        """Tell whether the error is transient: the same call may succeed a moment later."""

    @abstractmethod
    def _explained(self, error: Exception, path: str, writing: bool) -> StoreError:
        """The StoreError for an error of the driver."""

    def _at_once(self, server: SomeServer, error: Exception) -> bool:
        """Tell whether to retry without a pause, since the retry will surely use another connection."""
        return False

    def _before_pause(self, server: SomeServer) -> None:
        """Hook, called before each pause."""

    @property
    def server(self) -> SomeServer:
        held = self._held
        if held is None or held[0] != os.getpid() or held[1].is_closed:
            identity, make = self._connect()
            found = _servers.get((type(self), identity), make, lambda server: not server.is_closed)
            held = self._held = (os.getpid(), cast("SomeServer", found))
            held[1].reached = held[1].reached or self.was_reached
        return held[1]

    @property
    def reached(self) -> bool:
        """Tell whether the server was reached before, by this process or the one that pickled the store."""
        return self.was_reached or (self._held is not None and self._held[1].reached)

    def close(self) -> None:
        if self._held is not None and self._held[0] == os.getpid():
            self._held[1].close()

    def call_with_retries(self, act: Callable[[SomeServer], Done], path: str, writing: bool) -> Done:
        """Call `act`, again where the server became unreachable: `act` has to make sure that a repetition does no harm."""
        deadline, pause = 0.0, 0.02
        while True:
            server = self.server
            try:
                return act(server)
            except self.trouble as error:
                if self._at_once(server, error):
                    continue
                now = time.monotonic()
                deadline = deadline or now + self._timeout
                if not self._passes(error) or not server.reached or now + pause > deadline:
                    explained = self._explained(error, path, writing)
                    # where the server is unreachable, the traceback of its driver does not help
                    raise explained from (None if isinstance(explained, StoreUnavailable) else error)
                self._before_pause(server)
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE)


# ------------------------------------------------------------------ items


class ReplacedError(StoreError):
    """Raised where the chunks of a large item are gone, since it was replaced or deleted."""


class Item(NamedTuple):
    """An item from a lookup, with its bytes in `data`, or in chunks that are found by `body`."""

    size: int
    data: bytes
    body: Any


class DatabaseStore(PickledWithoutConnections, BaseStore, Generic[UploadT]):
    """The base of stores in databases: a subclass implements reading and writing of items and chunks, and a page of a listing."""

    batches = True
    in_memory = False
    poll = 0.5
    chunk: ClassVar[int]
    """Bytes of one chunk."""
    timeout: float
    _link: DatabaseConnector[Any]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "was_reached": self._link.reached}

    def __setstate__(self, state: dict[str, Any]) -> None:
        was_reached = state.pop("was_reached", False)
        super().__setstate__(state)
        self._link.was_reached = was_reached

    def close(self) -> None:
        self._link.close()

    # --- reading

    @abstractmethod
    def _items(self, paths: Iterable[str]) -> dict[str, Item]:
        """Look up items; those of `paths` that exist, by path."""

    @abstractmethod
    def _chunks(self, path: str, body: Any, start: int, stop: int) -> Sequence[bytes]:
        """The chunks from number `start` up to, not including, `stop` that are there."""

    @abstractmethod
    def _page(self, first: str, last: str, most: int) -> Sequence[tuple[str, Stat]]:
        """The first `most` items between two paths, by path."""

    def get(self, path: str) -> bytes:
        found = self.get_many([path])
        if path not in found:
            raise self._absent(path)
        return found[path]

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for path, (size, data, body) in self._items(paths).items():
            try:
                found[path] = data if body is None else self._part(path, body, 0, size)
            except ReplacedError:  # put anew since it was looked up
                with suppress(FileNotFoundError):
                    found[path] = self.get(path)
        return found

    def _item(self, path: str) -> Item:
        found = self._items([path])
        if path not in found:
            raise self._absent(path)
        return found[path]

    def read(self, path: str) -> BinaryIO:
        size, data, body = self._item(path)
        if body is None:
            return io.BytesIO(data)

        def start(first: int, stop: int) -> Future[bytes]:
            return self.threads().submit(self._part, path, body, first, stop)

        return io.BufferedReader(Blocks(size, start), 1 << 18)

    def read_range(self, path: str, first: int, last: int) -> bytes:
        size, data, body = self._item(path)
        last = min(last, size)
        if last <= first:
            return b""
        return data[first:last] if body is None else self._part(path, body, first, last)

    def _part(self, path: str, body: object, first: int, last: int) -> bytes:
        """The bytes of a large item from `first` up to, not including, `last`. Raises ReplacedError."""
        start = first // self.chunk
        found = self._chunks(path, body, start, -(-last // self.chunk))
        data = b"".join(found)[first - start * self.chunk : last - start * self.chunk]
        if len(data) != last - first:
            message = f"{self.url} ({path}) was replaced or deleted while it was being read; read it again"
            raise ReplacedError(message, url=self.url, path=path)
        return data

    def threads(self) -> ThreadPoolExecutor:
        """Threads for work in the background."""
        threads: ThreadPoolExecutor = self._link.server.threads()
        return threads

    def _absent(self, path: str) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, "nothing is stored here", f"{self.url} ({path})")

    def stat(self, path: str) -> Stat | None:
        return self.stat_many([path]).get(path)

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return self._scanned(check_prefix(prefix))

    def _scanned(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        # "0" follows "/", so that a folder is the range from one to the other; the hidden folder is cut out of the whole
        for first, last in [(f"{prefix}/", f"{prefix}0")] if prefix else [("", f"{HIDDEN}/"), (f"{HIDDEN}/{LAST}", _AFTER_ALL)]:
            page = self._page(first, last, PAGE)
            yield from page
            while len(page) == PAGE:  # by pages: no query stays open while the caller works
                page = self._page(page[-1][0], last, PAGE)
                yield from page

    # --- writing

    @abstractmethod
    def upload(self, path: str) -> UploadT:
        """Begin an upload to `path`."""

    @abstractmethod
    def commit(self, body: UploadT) -> None:
        """Make the chunks of `body` visible as the item at its path."""

    @abstractmethod
    def abort(self, body: UploadT, error: BaseException) -> None:
        """Discard the bytes of `body`, after that error."""

    def put(self, path: str, data: Bytes) -> None:
        self.put_many({path: data})

    def create(self, path: str, data: Bytes) -> bool:
        return bool(self.create_many({path: data}))

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        self._check_paths([path])
        return self._write(self.upload(path))

    @contextmanager
    def _write(self, body: UploadT) -> Generator[BinaryIO]:
        try:
            yield cast(BinaryIO, body)
            if body.is_small:
                self.put(body.place, body.rest())
            else:
                body.flush_all()
                self.commit(body)
        except BaseException as error:
            self.abort(body, error)
            raise

    def _check_paths(self, paths: Iterable[str]) -> Sequence[str]:
        return check_paths(paths)


def portions(items: Iterable[Each], size_of: Callable[[Each], int]) -> Iterator[list[Each]]:
    """Split `items` into batches that fit one statement."""
    portion: list[Each] = []
    size = 0
    for each in items:
        own = size_of(each)
        if portion and size + own > AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(each)
        size += own
    if portion:
        yield portion
