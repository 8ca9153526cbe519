"""Adapters of `ObjectStore` to kinds of fsspec file systems. Places here are full paths in that file system.

`Remote` serves object stores in general, where an upload appears whole or not at all; `Files` serves file systems that behave like a disk
(sftp, smb, webdav), where bytes are written under another name and moved. S3 and GCS have modules of their own.
"""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from importlib import import_module
from itertools import count
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

from persistable.params.streams import SeekableReader
from persistable.stores.base import Bytes, Stat, byte_view, is_temporary
from persistable.stores.remote_errors import kind_of

AT_ONCE = 32  # requests in flight for a batch
BLOCK = 16 << 20  # bytes of one ranged read
_SPOOL = 8 << 20
_THREADS = 16
_LOOK = 1.0
Result = TypeVar("Result")
Stamped = tuple[bytes, object | None]
# the facts that differ between two contents of one place, as the various file systems call them
_STAMPS = ("ETag", "etag", "generation", "version_id", "content_md5", "checksum", "ino", "created")
Guard = Callable[[], AbstractContextManager[None]]  # turns errors of the file system into ours
_memory_lock = threading.Lock()
_counter = count()


class Remote:
    """An object store: an upload is visible when it is complete."""

    exclusive = False  # whether the server decides which `create` succeeds
    batches = False  # whether many requests are in flight at once, and folders are listed by pages
    has_root = False  # whether there is a bucket that must exist beforehand

    def __init__(self, fs: Any, root: str) -> None:
        self.fs = fs
        self.root = root
        self.loop = getattr(fs, "loop", None)  # held so that a forked child keeps it, see `object`
        self.asynchronous = bool(getattr(fs, "async_impl", False))

    def get(self, place: str) -> bytes:
        return cast(bytes, self.fs.cat_file(place))

    def get_range(self, place: str, first: int, last: int) -> bytes:
        """The bytes from `first` up to, not including, `last`."""
        return cast(bytes, self.fs.cat_file(place, start=first, end=last))

    def get_many(self, places: list[str]) -> list[Stamped | BaseException]:
        """The bytes with their stamp (None where the answer has none), or the error, for each place."""
        asked = [(place,) for place in places]
        found = self.gather(self.fs._cat_file, asked) if self.asynchronous else [_tried(self.get, *each) for each in asked]
        return [each if isinstance(each, BaseException) else (each, None) for each in found]

    def put(self, place: str, data: Bytes) -> object | None:
        """Put `data`. The value is its stamp, as `info` gives it, or None where the answer has none."""
        self.fs.pipe_file(place, bytes(data))
        return None

    def put_many(self, items: Mapping[str, Bytes]) -> list[object | BaseException | None]:
        """The result of `put` for each item, or its error."""
        if not self.asynchronous:
            return [self.put(place, data) for place, data in items.items()]
        done = self.gather(self.fs._pipe_file, [(place, bytes(data)) for place, data in items.items()])
        return [each if isinstance(each, BaseException) else None for each in done]

    def create(self, place: str, data: Bytes) -> bool:
        if self.info(place) is not None:
            return False
        try:
            self.fs.pipe_file(place, bytes(data), mode="create")
        except TypeError:  # no such mode: two simultaneous callers may both succeed
            self.put(place, data)
        except FileExistsError:
            return False
        return True

    def info(self, place: str) -> Stat | None:
        self.fs.invalidate_cache(place)
        try:
            found = self.fs.info(place)
        except FileNotFoundError:
            return None
        if found.get("type") == "directory":
            return None
        return stat_of(found)

    def modified(self, place: str) -> float | None:
        """The time of the last write of a file, in seconds since 1970, by the clock of the server; None where it reports none."""
        self.fs.invalidate_cache(place)
        return time_in(self.fs.info(place))

    def delete(self, place: str) -> bool:
        if self.info(place) is None:
            return False
        self.fs.rm_file(place)
        return True

    def scan(self, folder: str) -> Iterator[tuple[str, Stat]]:
        """Every file in `folder` and below, with its `info`, in no promised order; none where there is no such folder."""
        self.fs.invalidate_cache()
        for place, facts in self.fs.find(folder, withdirs=False, detail=True).items():
            found = stat_of(facts) if facts.get("size") is not None else self.info(place)
            if found is not None:
                yield place, found

    def reader(self, place: str) -> BinaryIO:
        found = self.info(place)
        if found is None:
            raise FileNotFoundError(place)
        if self.fs.protocol == "memory" or found.size <= BLOCK:
            return io.BytesIO(self.get(place))
        return cast(BinaryIO, self.fs.open(place, "rb", block_size=BLOCK))

    def writer(self, place: str) -> Upload:
        return SpooledUpload(self, place)

    def clear_temporary(self, place: str) -> None:
        """Remove leftovers of killed writes of files whose names begin so. Here there are none, or the service removes them."""

    def root_exists(self) -> bool:
        return True

    # --- many at once

    def create_many(self, items: Mapping[str, Bytes]) -> list[bool | BaseException]:
        """The result of `create` for each item, or its error. Only where `batches` is True."""
        raise NotImplementedError(f"{type(self).__name__}.create_many")

    def info_many(self, places: Sequence[str]) -> list[Stat | BaseException | None]:
        """The result of `info` for each place, or its error."""
        if not self.asynchronous:
            return [self.info(place) for place in places]
        # each thread waits for an answer on the file system's own loop, where the requests are in flight together
        with ThreadPoolExecutor(min(_THREADS, max(1, len(places))), thread_name_prefix="persistable-stat") as pool:
            return list(pool.map(self.info, places))

    def delete_many(self, places: Sequence[str]) -> list[tuple[str, BaseException]]:
        """Delete the places. The errors by place; every other place is empty afterwards."""
        for place in places:
            self.delete(place)
        return []

    def pages(self, folder: str, after: str) -> Iterator[Page]:
        """The files directly in `folder` whose places come after `after`, by name, one request per page.

        Called only where `batches` is True.
        """
        raise NotImplementedError(f"{type(self).__name__}.pages")

    def gather(self, call: Callable[..., Coroutine[Any, Any, Any]], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Call `call` with each of the arguments on the file system's loop, `AT_ONCE` at a time. The results; of a failed call its error.

        An exception that ends the wait early, an interrupt too, cancels the calls in flight; the server may still carry out their requests.
        """
        given = list(arguments)
        answers: list[Any] = [None] * len(given)

        async def work(left: Iterator[tuple[int, tuple[Any, ...]]]) -> None:
            for number, each in left:
                try:
                    answers[number] = await call(*each)
                except Exception as error:  # noqa: BLE001 - the caller distinguishes kinds of errors
                    answers[number] = error

        async def run() -> None:
            left = iter(list(enumerate(given)))
            await asyncio.gather(*[work(left) for _ in range(min(AT_ONCE, len(given)))])

        self.wait_for(run())
        return answers

    def wait_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work` on the file system's loop; it is cancelled where the wait ends early."""
        future = asyncio.run_coroutine_threadsafe(work, self.fs.loop)
        try:
            while True:
                try:
                    return future.result(_LOOK)  # so that an interrupt is raised on every platform
                except TimeoutError:
                    if future.done():
                        raise
        except BaseException:
            future.cancel()
            raise


FOLDER = Stat(0, None)
"""Stat of a folder in a page."""


class Page(NamedTuple):
    """Some files and folders of a folder, by place. last: the place up to which all are known; None at the end of the folder."""

    files: dict[str, Stat]
    last: str | None


class Memory(Remote):
    """fsspec's own memory file system: exclusive within this process, the only one that sees it."""

    exclusive = True

    def create(self, place: str, data: Bytes) -> bool:
        with _memory_lock:
            if self.info(place) is not None:
                return False
            self.put(place, data)
            return True

    def scan(self, folder: str) -> Iterator[tuple[str, Stat]]:
        for place, _ in super().scan(folder):
            found = self.info(place)  # its listing formats times differently
            if found is not None:
                yield place, found

    def put(self, place: str, data: Bytes) -> None:
        # pipe_file makes an empty file first and then fills it, which others can see
        foreign("fsspec.implementations.memory").MemoryFile(self.fs, self.fs._strip_protocol(place), bytes(data)).commit()


class Files(Remote):
    """A file system like a disk: bytes are written to a temporary file and moved into place."""

    def __init__(self, fs: Any, root: str, scheme: str) -> None:
        super().__init__(fs, root)
        self._renames = scheme in ("sftp", "ssh")  # a rename can be exclusive
        self.exclusive = scheme in ("file", "local", "sftp", "ssh", "smb")

    def get(self, place: str) -> bytes:
        try:
            return super().get(place)
        except Exception as error:
            if isinstance(error, FileNotFoundError) or self.info(place) is not None:
                raise
            raise FileNotFoundError(place) from error  # a folder, which some libraries report by an error of their own

    def get_many(self, places: list[str]) -> list[Stamped | BaseException]:
        found = super().get_many(places)
        for number, answer in enumerate(found):
            if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                if kind_of(answer) == "unreachable":
                    raise answer  # the other places are unreachable too
                if self.info(places[number]) is None:
                    found[number] = FileNotFoundError(places[number])
        return found

    def put(self, place: str, data: Bytes) -> None:
        temporary = temporary_path_for(place)
        try:
            self._fill(temporary, lambda name: self.fs.pipe_file(name, bytes(data)))
            self.move(temporary, place)
        except BaseException:
            self.discard(temporary)
            raise

    def put_many(self, items: Mapping[str, Bytes]) -> list[object | BaseException | None]:
        for place, data in items.items():
            self.put(place, data)
        return [None] * len(items)

    def create(self, place: str, data: Bytes) -> bool:
        if self._renames:
            return self._create_by_rename(place, data)
        try:
            # others may see the file before its bytes are in it
            def exclusively(name: str) -> None:
                with self.fs.open(name, "xb") as file:
                    file.write(bytes(data))

            self._fill(place, exclusively)
        except FileExistsError:
            return False
        except (ValueError, NotImplementedError):
            if self.info(place) is not None:
                return False
            self.put(place, data)
        return True

    def _create_by_rename(self, place: str, data: Bytes) -> bool:
        # the plain SFTP rename, unlike the POSIX one, refuses to replace: exclusive, and the file is whole when it appears
        if self.info(place) is not None:
            return False
        temporary = temporary_path_for(place)
        try:
            self._fill(temporary, lambda name: self.fs.pipe_file(name, bytes(data)))
            try:
                self._plain_rename(temporary, place)
            except Exception:
                if self.info(place) is None:
                    raise
                return False
            return True
        finally:
            self.discard(temporary)

    def _plain_rename(self, old: str, new: str) -> None:
        async def rename() -> None:
            async with self.fs._pool.get() as channel:
                await channel.rename(old, new)

        if self.asynchronous:
            self.wait_for(rename())
        else:
            self.fs.ftp.rename(old, new)

    def info(self, place: str) -> Stat | None:
        try:
            return super().info(place)
        except NotADirectoryError:
            return None

    def scan(self, folder: str) -> Iterator[tuple[str, Stat]]:
        pending = [folder]
        while pending:
            try:
                self.fs.invalidate_cache()
                entries = self.fs.ls(pending.pop(), detail=True)
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                name = str(entry["name"]).rstrip("/")
                if entry["type"] == "directory":
                    pending.append(name)
                elif not is_temporary(name.rpartition("/")[2]):
                    yield name, stat_of(entry)

    def reader(self, place: str) -> BinaryIO:
        if self.info(place) is None:
            raise FileNotFoundError(place)
        return cast(BinaryIO, self.fs.open(place, "rb"))

    def writer(self, place: str) -> Upload:
        return FileUpload(self, place)

    def move(self, old: str, new: str) -> None:
        try:
            self.fs.mv(old, new)
        except FileExistsError:  # where a move does not replace, there is a moment without a file
            self.fs.rm_file(new)
            self.fs.mv(old, new)

    def discard(self, temporary: str) -> None:
        try:
            self.fs.rm_file(temporary)
        except Exception:  # noqa: BLE001
            pass  # not there, or the connection is lost: it is never listed

    def clear_temporary(self, place: str) -> None:
        folder, _, beginning = place.rpartition("/")
        self.fs.invalidate_cache()
        try:
            names = [str(name) for name in self.fs.ls(folder, detail=False)]
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            own = name.rpartition("/")[2]
            if is_temporary(own) and own.startswith(f".{beginning[:50]}"):
                self.discard(name)

    def _fill(self, place: str, fill: Callable[[str], None]) -> None:
        try:
            fill(place)
        except FileNotFoundError:
            self.fs.makedirs(place.rpartition("/")[0], exist_ok=True)
            fill(place)

    def open_new(self, place: str) -> Any:
        opened: list[Any] = []
        self._fill(place, lambda name: opened.append(self.fs.open(name, "wb")))
        return opened[0]


class Upload(io.BufferedIOBase):
    """A stream whose bytes appear at `place` only by `commit`. Closing it does nothing but refuse further writes."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place
        self.size = 0
        self.guard: Guard = nullcontext

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("write to a closed stream")
        view = byte_view(data)
        with self.guard():
            self.accept(view)
        self.size += len(view)
        return len(view)

    def accept(self, data: memoryview) -> None:
        raise NotImplementedError(f"{type(self).__name__}.accept")

    @contextmanager
    def sending(self) -> Generator[BinaryIO]:
        """Commit the upload when the block ends without an exception; else abort it."""
        try:
            yield cast(BinaryIO, self)
        except BaseException:
            self.abort()
            raise
        with self.guard():
            self.commit()

    def commit(self) -> None:
        raise NotImplementedError(f"{type(self).__name__}.commit")

    def abort(self) -> None:
        raise NotImplementedError(f"{type(self).__name__}.abort")


class Parts(Upload):
    """An upload that is cut into parts of `part` bytes. The last part, which may be the only one, is not sent but kept."""

    def __init__(self, place: str, part: int) -> None:
        super().__init__(place)
        self._part = part
        self._buffer = bytearray()

    def accept(self, data: memoryview) -> None:
        while len(self._buffer) + len(data) > self._part:  # a part that is just full may be the last
            room = self._part - len(self._buffer)
            part = b"".join((self._buffer, data[:room]))
            self._buffer.clear()
            data = data[room:]
            self.send(part)
        self._buffer += data

    def send(self, part: bytes) -> None:
        """Send the next part, or start sending it."""
        raise NotImplementedError(f"{type(self).__name__}.send")

    def rest(self) -> bytes:
        """The bytes not sent yet."""
        return bytes(self._buffer)


class SpooledUpload(Upload):
    """An upload that is kept in memory, then in an unnamed temporary file, and sent in one request."""

    def __init__(self, remote: Remote, place: str) -> None:
        super().__init__(place)
        self._remote = remote
        self._spool = SpooledTemporaryFile[bytes](_SPOOL)

    def accept(self, data: memoryview) -> None:
        self._spool.write(data)

    def commit(self) -> None:
        with self._spool as spool:
            spool.seek(0)
            self._remote.put(self.place, spool.read())

    def abort(self) -> None:
        self._spool.close()


class FileUpload(Upload):
    """An upload that is written to a file beside the target, and moved."""

    def __init__(self, remote: Files, place: str) -> None:
        super().__init__(place)
        self._remote = remote
        self._temporary = temporary_path_for(place)
        self._file = remote.open_new(self._temporary)

    def accept(self, data: memoryview) -> None:
        for start in range(0, len(data), BLOCK):
            self._file.write(bytes(data[start : start + BLOCK]))

    def commit(self) -> None:
        try:
            self._file.close()
            self._remote.move(self._temporary, self.place)
        except BaseException:
            self._remote.discard(self._temporary)
            raise

    def abort(self) -> None:
        try:
            self._file.close()
        finally:
            self._remote.discard(self._temporary)


class Ranges(SeekableReader):
    """A stream of one object, read by ranges. ``start(first, stop)`` gives a future of those bytes; it must fail once it was replaced.

    In sequential reading, the next blocks are prefetched while the caller works on this one. `beginning`: the first block, or its future.
    """

    block = BLOCK
    """Bytes of a block."""
    ahead = 6
    """Blocks that are prefetched."""
    span = 3
    """Blocks in one request, in sequential reading."""
    ahead_from = 1
    """The first block at which others are prefetched: a reader of the beginning may seek elsewhere afterwards."""

    def __init__(self, size: int, start: Callable[[int, int], Any], beginning: Any = b"") -> None:
        super().__init__(size)
        self._start = start
        self._beginning = beginning if isinstance(beginning, bytes) else b""
        self.guard: Guard = nullcontext
        self._blocks: dict[int, Span] = {} if isinstance(beginning, bytes) else {0: Span(beginning, 0)}
        self._last = -1

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        number = self._at // self.block
        with self.guard():
            self._plan(number)
            if number or not self._beginning:
                data, first = self._blocks[number].future.result(), self._blocks[number].first * self.block
            else:
                data, first = self._beginning, 0
        view = memoryview(buffer).cast("B")
        skip = self._at - first
        piece = memoryview(data)[skip : skip + len(view)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _plan(self, number: int) -> None:
        """Request a block, and those after it in sequential reading, some of them in one request."""
        ahead = self.ahead if number >= self.ahead_from and number in (self._last, self._last + 1) else 0
        self._last = number
        for known in [known for known in self._blocks if not number <= known <= number + self.ahead + self.span]:
            self._drop(known)
        missing = [block for block in range(number, number + ahead + 1) if self._is_missing(block)]
        while missing:
            first, count = missing[0], 1
            while ahead and first and count < self.span and self._is_missing(first + count):
                count += 1
            span = Span(self._start(first * self.block, min((first + count) * self.block, self._size)), first)
            self._blocks.update(dict.fromkeys(range(first, first + count), span))
            missing = [block for block in missing if block >= first + count]

    def _is_missing(self, block: int) -> bool:
        return block * self.block < self._size and block not in self._blocks and bool(block or not self._beginning)

    def _drop(self, block: int) -> None:
        span = self._blocks.pop(block)
        if span not in self._blocks.values():
            span.future.cancel()

    def close(self) -> None:
        for span in self._blocks.values():
            span.future.cancel()
        self._blocks.clear()
        super().close()


def _tried(call: Callable[..., Result], *given: Any) -> Result | BaseException:
    """The result of a call, or its error, by which the caller distinguishes an absent file from a broken one."""
    try:
        return call(*given)
    except Exception as error:  # noqa: BLE001 - of any library
        return error


class Span(NamedTuple):
    """Blocks that are read in one request. first: the number of the first."""

    future: Any
    first: int


def stat_of(found: Mapping[str, Any]) -> Stat:
    """Size and stamp from the facts of one file that a file system reports."""
    stamp = tuple(str(found[name]) for name in _STAMPS if found.get(name) is not None)
    return Stat(int(found["size"]), (*stamp, str(found.get("mtime", ""))) if stamp else None)


_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


def time_in(found: Mapping[str, Any]) -> float | None:
    """The time of the last write, in seconds since 1970, from the facts of one file; None where that is not among them."""
    stamp = next((found[name] for name in _TIMES if found.get(name) is not None), None)
    if isinstance(stamp, str):
        try:
            stamp = datetime.fromisoformat(stamp)
        except ValueError:
            return None
    return stamp.timestamp() if isinstance(stamp, datetime) else stamp


def foreign(module: str) -> Any:
    """A module of fsspec, which has no types, imported when it is needed."""
    return import_module(module)


def temporary_path_for(place: str) -> str:
    """A name for an unfinished write of `place`, unique among processes and hosts."""
    folder, _, name = place.rpartition("/")
    return f"{folder}/.{name[:50]}.{os.urandom(6).hex()}{next(_counter):x}.tmp"
