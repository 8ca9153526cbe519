"""The bytes of payloads in stores: hashed while written, verified while read, mapped where possible."""

from __future__ import annotations

import errno
import io as streams
import os
import stat
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple, TypeVar, cast

from blake3 import blake3

from persistable.errors import CodeOfOtherPython, FormatError, MalformedFile, PayloadCorrupted, PayloadOfOtherPython, StoreError
from persistable.fileio.base import Allocation, FileIO, PartsFileIO
from persistable.fileio.lazy_check import PLAIN, SOME, check_content
from persistable.fileio.memory_maps import is_on_network, private_map, read_whole
from persistable.params.hashing import digest_of_file, max_threads
from persistable.params.streams import digest_rest, write_all
from persistable.records.chunks import Chunker, Chunks, checked
from persistable.records.key import Key
from persistable.records.record import FileFact
from persistable.stores.base import FULL, BaseStore, Stat, Store, extended
from persistable.stores.remote_errors import room_in

Result = TypeVar("Result")
SMALL = 1 << 20
"""Largest payload, in bytes, that is written and read in one call; larger ones are streamed or mapped (a map holds a descriptor)."""
WHOLE = 1 << 26
"""Largest file, in bytes, that is fetched from another machine as a whole, and verified, where only a part of it is asked for."""
_SLICE = 1 << 24
_CACHED = 1 << 22
"""Bytes that are read and hashed in turn: few enough to stay in the processor's cache until they are hashed."""
_LARGE = 1 << 25


class Written(NamedTuple):
    """The result of a write: the facts for the record, and the bytes themselves if they were few enough to keep."""

    files: tuple[FileFact, ...]
    data: bytes | None
    chunks: Chunks | None = None
    """Digests of the chunks of a single file that is large and not on this machine."""
    copy: BinaryIO | None = None
    """The bytes of such a file in a temporary one, so that they are read back without a fetch."""


def write(store: Store, path: str, io: FileIO[Any], payload: Any, allocation: Allocated | None = None) -> Written:
    """Write `payload` at `path`. No reader sees it until a record names it."""
    if isinstance(payload, ExistingFile):
        return payload.commit(store, path, io)
    kind = payload.__class__
    items = payload.values() if kind is dict else payload if kind is list or kind is tuple else (payload,)
    if not PLAIN.issuperset(map(type, islice(items, SOME))):
        check_content(payload, type(io).__name__)
    if io.__class__.check is not _NO_CHECK:
        io.check(payload)
    if allocation is not None and allocation.commit(payload, path):
        return Written((allocation.fact(path),), None)
    if isinstance(io, PartsFileIO):
        return Written(_write_parts(store, path, io, payload), None)
    writer = _Writer(store, path, copied=True)
    try:
        io.dump(payload, cast(BinaryIO, writer))
    except BaseException:
        writer.__exit__(*sys.exc_info())
        raise
    if writer.file is None:
        return writer.put()
    writer.__exit__(None, None, None)
    return writer.written()


def _write_parts(store: Store, folder: str, io: PartsFileIO[Any], payload: Any) -> tuple[FileFact, ...]:
    facts: list[FileFact] = []

    @contextmanager
    def create(part: str) -> Generator[BinaryIO]:
        path = f"{folder}/{part}"
        with _Writer(store, path) as writer:
            yield cast(BinaryIO, writer)
        facts.append(FileFact(part, path, writer.size, writer.hexdigest()))

    io.dump_parts(payload, create)
    return tuple(sorted(facts))


_NO_CHECK: Any = cast("Any", FileIO).check


class _Writer(streams.RawIOBase):
    """A write-only stream into a store that hashes all bytes. A small payload is kept in memory and committed in one call."""

    def __init__(self, store: Store, path: str, copied: bool = False) -> None:
        self._store = store
        self._path = path
        self._copied = copied
        self._kept: list[bytes] = []
        self.file: BinaryIO | None = None
        self._exit: Any = None
        self._hasher: Any = None
        self._chunker: Chunker | None = None
        self._copy: BinaryIO | None = None
        self.size = 0
        self.data: bytes | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def hexdigest(self) -> str:
        digest: str = self._hasher.hexdigest()
        return digest

    def put(self) -> Written:
        """Put the bytes that were kept into the store, in one call."""
        self.data = data = self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)
        store = self._store if isinstance(self._store, BaseStore) else extended(self._store)  # mostly without a call
        store.put_unreferenced(self._path, data)
        self._kept.clear()
        return Written((FileFact("", self._path, len(data), blake3(data).hexdigest()),), data)

    def written(self) -> Written:
        """The result of the write, for the record."""
        chunks = self._chunker.chunks() if self._chunker is not None and self.size > WHOLE else None
        return Written((FileFact("", self._path, self.size, self.hexdigest()),), self.data, chunks, self._copy)

    def write(self, data: Any) -> int:
        view = memoryview(data)
        length = view.nbytes
        if self.file is None:
            if self.size + length <= SMALL:
                self._kept.append(bytes(data))
                self.size += length
                return length
            self._open()
        self._stream(view if view.format == "B" and view.ndim == 1 else view.cast("B"))
        self.size += length
        return length

    def _open(self) -> None:
        self._hasher = blake3()
        if self._store.local_path(self._path) is None:
            self._chunker = Chunker()
            self._copy = _temporary() if self._copied else None
        self._exit = self._store.write(self._path)
        self.file = self._exit.__enter__()
        if self._kept:
            self._stream(memoryview(b"".join(self._kept)))

    def _stream(self, view: memoryview) -> None:
        assert self.file is not None
        if view.nbytes <= SMALL:
            self._hash(view)
            write_all(self.file, view)
            return
        if view.nbytes >= _LARGE:
            _reserve(self.file, view.nbytes)
        # hashing and copying to the page cache keep a core busy each; together they take no longer than the slower one
        hashing = threading.Thread(target=self._hash, args=(view,), name="persistable-hash")
        hashing.start()
        try:
            write_all(self.file, view)
        finally:
            hashing.join()

    def _hash(self, view: memoryview) -> None:
        self._hasher.update(view)
        if self._chunker is not None:
            self._chunker.update(view)
        if self._copy is not None:
            self._keep(view)

    def _keep(self, view: memoryview) -> None:
        """Add to the copy; drop it where there is no room for it."""
        assert self._copy is not None
        try:
            write_all(self._copy, view)
        except OSError:
            self._copy.close()
            self._copy = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.file is not None:
            self._exit.__exit__(kind, error, trace)
        elif error is None:
            self._hasher = blake3(self.put().data or b"")
        self._kept.clear()


def _reserve(file: Any, size: int) -> None:
    """Ask the file system for `size` more bytes at once: the write then takes two thirds of the time, and a full disk is noticed."""
    if sys.platform != "linux":
        return
    try:
        start, descriptor = file.tell(), file.fileno()
    except (AttributeError, OSError):
        return  # not a file of this machine
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    keep_size = 1  # the length of the file does not change
    if libc.fallocate(descriptor, keep_size, ctypes.c_int64(start), ctypes.c_int64(size)) != 0:
        reason = ctypes.get_errno()
        if reason in FULL:
            raise OSError(reason, os.strerror(reason))


class Allocated:
    """Arrays filled in place in a payload's own uncommitted file, which is moved into the store when the payload consists of them."""

    def __init__(self, store: Store, path: str, io: FileIO[Any]) -> None:
        local = store.local_path(path)
        self._store = extended(store)
        self._temp = self._store.new_file(path) if local is not None and self._store.adopts else None
        self._file: Allocation | None = io.allocation(str(self._temp)) if self._temp is not None else None
        self._size = 0
        self._digest = ""

    @property
    def in_place(self) -> bool:
        """Tell whether store and format support it."""
        return self._file is not None

    def array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new zeroed array in the file."""
        assert self._file is not None
        with room_in(self._store.url, f"in {self._store.url} for an array of shape {shape}"):
            return self._file.array(shape, dtype)

    def commit(self, payload: Any, path: str) -> bool:
        """Seal the file and move it to `path`; False where `payload` uses none of its arrays."""
        if self._file is None or self._temp is None or not self._file.seal(payload):
            return False
        self._size = os.path.getsize(self._temp)
        self._digest = digest_of_file(self._temp)
        self._store.adopt(self._temp, path)
        return True

    def fact(self, path: str) -> FileFact:
        """The fact for the record."""
        return FileFact("", path, self._size, self._digest)

    def discard(self) -> None:
        """Remove the file if it was not committed."""
        if self._temp is not None:
            self._temp.unlink(missing_ok=True)


class ExistingFile:
    """A result of `_generate_payload` in place of the payload: a file that contains it already, as its format would have written it.

    For a format of several files `path` is the folder that holds them. A large file is moved into a store on the same file system, and
    streamed into others; no file is ever in memory as a whole. The payload is then read from the file by its format.
    """

    __slots__ = ("path",)
    kept: ClassVar[bool] = False
    """True if the file must stay in its place until its owner removes it: then it is linked or copied, not moved."""
    copied: ClassVar[bool] = False
    """True if the file has an owner who may write to it: then it is always copied."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"InFile({str(self.path)!r})"

    def load(self, io: FileIO[Any]) -> Any:
        """Load the payload, without any store; the file is removed afterwards, a folder at the end of the process."""
        if not isinstance(io, PartsFileIO):
            loaded = io.load(self.path)
            self.path.unlink()
            return loaded
        import shutil

        root = folder_of_this_process() / "payload"
        shutil.move(self.path, root)
        return io.load(root)

    def commit(self, store: Store, path: str, io: FileIO[Any]) -> Written:
        """Move or copy it to `path` in the store."""
        if not isinstance(io, PartsFileIO):
            return _take_file(store, self.path, path, self.kept, self.copied)
        from persistable.fileio.folder import FolderFileIO

        if isinstance(io, FolderFileIO):
            io.check(self.path)
        facts: list[FileFact] = []
        for folder, _, names in os.walk(self.path):
            for name in names:
                file = Path(folder, name)
                part = file.relative_to(self.path).as_posix()
                taken = _take_file(store, file, f"{path}/{part}", copied=self.copied).files[0]
                facts.append(taken._replace(part=part))
        return Written(tuple(sorted(facts)), None)


class SharedFile(ExistingFile):
    """A file that stays in its place, and whose owner may write to it."""

    __slots__ = ()
    kept = True
    copied = True


def _take_file(store: Store, source: Path, path: str, kept: bool = False, copied: bool = False) -> Written:
    if source.stat().st_size <= SMALL:
        data = source.read_bytes()
        store.put(path, data)
        return Written((FileFact("", path, len(data), blake3(data).hexdigest()),), data)
    adopting = extended(store)
    adopted = _adopt(adopting, source, path, kept) if not copied and adopting.adopts and store.local_path(path) is not None else None
    if adopted is not None:
        return Written((adopted,), None)
    with _Writer(store, path) as writer, source.open("rb", buffering=0) as file:
        while piece := file.read(_SLICE):
            writer.write(piece)
    return writer.written()


def _adopt(store: BaseStore, source: Path, path: str, kept: bool) -> FileFact | None:
    """Make the file `source` the one at `path`, or, if `kept`, both by a link; None where only a copy is possible.

    No process may write to it any more.
    """
    found = source.lstat()
    if not kept and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1):
        return None  # a process could still write to it under its other name
    own = store.new_file(path)
    try:
        source.chmod(own.stat().st_mode)
        if kept:
            own.unlink()
            os.link(source, own)
        else:
            source.replace(own)
    except OSError:  # another file system, one without links, or another user's file
        own.unlink(missing_ok=True)
        return None
    try:
        digest = digest_of_file(own)
        store.adopt(own, path)
    except BaseException:
        own.unlink(missing_ok=True) if kept else own.replace(source)
        raise
    return FileFact("", path, found.st_size, digest)


# reading

_verified: dict[tuple[str, str, str], object] = {}
"""(store, path, digest) -> stamp of the file when its bytes were found to have that digest."""


def read(store: Store, key: Key, files: Sequence[Sequence[Any]], io: FileIO[Any], *, verify: bool = True, writable: bool = True) -> Any:
    """The payload in `files` (each as a `FileFact`), its arrays writable (copy-on-write where mapped) or read-only.

    Raises PayloadCorrupted, and FileNotFoundError where a file is gone. In a store that asks for signatures every digest is compared.
    """
    verify = verify or extended(store).trust is not None
    try:
        return _read(store, key, files, io, verify, writable)
    except PayloadCorrupted:
        if not drop_damaged_copies(store, files):
            raise
        return _read(store, key, files, io, verify, writable)


def read_back(store: Store, key: Key, written: Written, io: FileIO[Any], writable: bool) -> Any:
    """The payload that was just written, as `read` returns it, from a copy on this machine where there is one."""
    if written.copy is None:
        return read(store, key, written.files, io, verify=False, writable=writable)
    with written.copy as copy, _reading(key, io):
        copy.flush()
        copy.seek(0)
        return _loaded(copy, written.files[0].size, io, writable, _may_map(store, copy.fileno()))


def _retry_after_repair(store: Store, files: Sequence[Sequence[Any]], attempt: Callable[[], Result]) -> Result:
    """Return the result of `attempt`, tried again if the store had a damaged copy of these files and a sound one."""
    try:
        return attempt()
    except PayloadCorrupted:
        if not drop_damaged_copies(store, files):
            raise
        return attempt()


def drop_damaged_copies(store: Store, files: Sequence[Sequence[Any]]) -> bool:
    """Drop damaged copies of these files of which the store has sound ones too, and tell whether there were any."""
    dropped = [extended(store).heal(path, partial(_is, size, digest)) for _, path, size, digest in files]  # for each file
    return any(dropped)


def _is(size: int, digest: str, file: BinaryIO) -> bool:
    return digest_rest(file) == (digest, size)


def _read(store: Store, key: Key, files: Sequence[Sequence[Any]], io: FileIO[Any], verify: bool, writable: bool) -> Any:
    try:
        if isinstance(io, PartsFileIO):
            return io.load_parts(_StoredParts(store, key, tuple([FileFact(*file) for file in files]), verify))
        _, path, size, digest = files[0]
        if size > SMALL:
            return _read_large(store, key, FileFact(*files[0]), io, verify, writable)
        data = store.get(path)
        if len(data) != size or (verify and blake3(data).digest().hex() != digest):
            _expect(key, FileFact(*files[0]), len(data), blake3(data).hexdigest())
        return io.loads(bytearray(data) if writable and io.maps else data)
    except FormatError as error:
        _name_payload_in(error, key, io)
        raise


def read_part(
    store: Store,
    key: Key,
    files: Sequence[Sequence[Any]],
    io: FileIO[Any],
    rows: slice | None,
    columns: Sequence[str] | None,
    verify: bool = True,
    chunks: Chunks | None = None,
) -> Any:
    """Some rows and columns of the payload in `files`. Raises as `read` does, and FormatError.

    The file is compared with its digest as `read` does it. Of a large file on another machine only the needed chunks are read and
    compared; without digests of these, it is read and compared as a whole, once for a process.
    """
    verify = verify or extended(store).trust is not None
    if isinstance(io, PartsFileIO):
        return io.load_part(None, rows, columns)
    fact = FileFact(*files[0])
    found = store.stat(fact.path)
    if found is None:
        raise FileNotFoundError(fact.path)

    def attempt() -> Any:
        whole = verify and (fact.size <= WHOLE or store.local_path(fact.path) is not None)
        _expect(key, fact, found.size, None)
        by_chunks = not whole and verify and chunks is not None and chunks.are_of(fact.size)
        if verify and not whole and not by_chunks:
            _verify_afar(store, key, fact, found)
        with _reading(key, io), ExitStack() as stack:
            file: Any = stack.enter_context(_opened(store, key, fact) if whole else store.read(fact.path))
            if by_chunks:
                assert chunks is not None
                file = stack.enter_context(checked(file, chunks, fact.size, partial(_damaged_chunk, key, fact)))
            return io.load_part(file, rows, columns)

    return _retry_after_repair(store, files, attempt)


def _verify_afar(store: Store, key: Key, fact: FileFact, found: Stat) -> None:
    """Read and compare the file as a whole, unless that was done before."""
    place = (store.url, fact.path, fact.digest)
    if _verified.get(place) != found:
        fetch(store, key, fact, None)
        _verified[place] = found


def _damaged_chunk(key: Key, fact: FileFact, at: int, expected: str, found: str) -> PayloadCorrupted:
    return PayloadCorrupted(
        f"the payload of {key} at {fact.path} is not what its record names: the digest of its bytes from {at} on is {found}, expected "
        f"{expected}; delete it or generate it again, `load_generate` does so",
        key=key,
        expected=expected,
        found=found,
    )


@contextmanager
def _reading(key: Key, io: FileIO[Any]) -> Generator[None]:
    """A block in which errors of a parser name the payload of `key`."""
    try:
        yield
    except FormatError as error:
        _name_payload_in(error, key, io)
        raise


def _name_payload_in(error: FormatError, key: Key, io: FileIO[Any]) -> None:
    """Make the error of a parser name the payload of `key`. Raises PayloadCorrupted for bytes that cannot be read here."""
    if isinstance(error, MalformedFile):
        raise PayloadCorrupted(
            f"the payload of {key} cannot be read: {error}; delete it or generate it again", key=key, expected=io.suffix, found=str(error)
        ) from error
    if isinstance(error, CodeOfOtherPython):
        raise PayloadOfOtherPython(
            f"the payload of {key}: {error}; generate it again, `load_generate` does so",
            key=key,
            expected=error.expected,
            found=error.found,
        ) from error
    error.__dict__.setdefault("key", key)
    if str(key) not in str(error):
        error.args = (f"the payload of {key}: {error}",)


@contextmanager
def opened(store: Store, key: Key, fact: FileFact) -> Generator[BinaryIO]:
    """A committed file, verified, open for reading. Raises as `read` does."""
    with ExitStack() as stack:
        yield _retry_after_repair(store, [fact], lambda: stack.enter_context(_opened(store, key, fact)))


@contextmanager
def _opened(store: Store, key: Key, fact: FileFact) -> Generator[BinaryIO]:
    if fact.size > SMALL:
        with _local_file(store, key, fact, verify=True) as file:
            yield file
        return
    small = streams.BytesIO()
    fetch(store, key, fact, small)
    small.seek(0)
    yield small


def verified_local_path(store: Store, key: Key, facts: Sequence[FileFact], io: FileIO[Any], folder: Path) -> Path:
    """The path of the committed bytes on this machine, verified: their file, or the folder of a format of several files.

    In place where the store keeps local files, which must not be changed. Else fetched into `folder`. Raises as `read` does.
    """
    if isinstance(io, PartsFileIO):
        return _retry_after_repair(store, facts, lambda: _StoredParts(store, key, tuple(facts), verify=True).folder())
    (fact,) = facts
    with opened(store, key, fact) as file:
        local = store.local_path(fact.path)
        if local is not None:
            return local
        target = folder / fact.path.rpartition("/")[2]
        with target.open("wb") as copy:
            while piece := file.read(_SLICE):
                copy.write(piece)
    return target


def _read_large(store: Store, key: Key, fact: FileFact, io: FileIO[Any], verify: bool, writable: bool) -> Any:
    try:
        return _read_file(store, key, fact, io, verify, writable)
    except OSError as error:
        if error.errno != errno.ESTALE or isinstance(error, StoreError):
            raise
        return _read_file(store, key, fact, io, verify, writable)  # replaced on another host meanwhile, so opened anew


def _read_file(store: Store, key: Key, fact: FileFact, io: FileIO[Any], verify: bool, writable: bool) -> Any:
    if extended(store).trust is not None:
        from persistable.fileio.trust import is_safe

        if not is_safe(io):
            held = streams.BytesIO()  # not mapped, nor read twice: later changes of the file have no effect
            fetch(store, key, fact, held)
            return io.loads(held.getbuffer() if writable else held.getbuffer().toreadonly())
    with _local_file(store, key, fact, verify, maps=_maps(io)) as file:
        return _loaded(file, fact.size, io, writable, _may_map(store, file.fileno()))


def _maps(io: FileIO[Any]) -> bool:
    """Tell whether a payload of this format is returned as a map of its file, where that may be mapped."""
    return bool(io.maps and getattr(io, "mmap", True))


def _loaded(file: BinaryIO, size: int, io: FileIO[Any], writable: bool, may_map: bool) -> Any:
    """The payload in an open local file of that size, mapped where it may be."""
    if not _maps(io):
        return io.load(file)
    mapped = private_map(file.fileno(), size, writable) if may_map else None
    if mapped is not None:
        return io.loads(memoryview(mapped))
    whole = memoryview(read_whole(file.fileno(), size))
    return io.loads(whole if writable else whole.toreadonly())


def _may_map(store: Store, descriptor: int) -> bool:
    """Tell whether a payload may be mapped: by the setting of the store, else if the file is on a disk of this machine."""
    whole = extended(store)
    settings = [whole.mmap, *[extended(layer.store).mmap for layer in whole.layers]]
    if False in settings:
        return False
    return True in settings or not is_on_network(descriptor)


@contextmanager
def _local_file(store: Store, key: Key, fact: FileFact, verify: bool, maps: bool = False) -> Generator[BinaryIO]:
    """The payload's bytes as an open local file, verified: in place, or fetched into a temporary one. `maps`: it is to be mapped."""
    local = store.local_path(fact.path)
    if local is None or not local.exists():  # a layer other than the one that is a folder may have it
        import tempfile

        with tempfile.TemporaryFile(prefix="persistable-") as file:
            with room_in(store.url, f"among temporary files in {tempfile.gettempdir()} for {fact.path} of {fact.size} bytes", fact.path):
                fetch(store, key, fact, file)
                file.flush()
            file.seek(0)
            yield file
        return
    with open(local, "rb", buffering=0) as raw:
        _expect(key, fact, os.fstat(raw.fileno()).st_size, None)
        if verify:
            _verify(store, key, fact, raw, maps and _may_map(store, raw.fileno()))
        yield raw


def _verify(store: Store, key: Key, fact: FileFact, raw: Any, mapped: bool = False) -> None:
    import time

    status = os.fstat(raw.fileno())
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    place = (store.url, fact.path, fact.digest)
    if _verified.get(place) == stamp:
        return
    _expect(key, fact, *_digest(raw, status.st_size, mapped))
    if time.time_ns() - status.st_ctime_ns > 2_000_000_000:  # a change within one tick of the file's clock would not show in its stamp
        _verified[place] = stamp


def _digest(raw: Any, length: int, mapped: bool) -> tuple[int, str]:
    """Size and digest of an open file. It is mapped only if the payload is a map too: a file truncated meanwhile ends the process."""
    hasher, size = blake3(max_threads=max_threads()), 0
    if mapped and (whole := private_map(raw.fileno(), length, writable=False)) is not None:
        with whole:
            return length, hasher.update(whole).hexdigest()
    room = memoryview(bytearray(min(_CACHED, length)))
    while count := raw.readinto(room):
        hasher.update(room[:count])
        size += count
    raw.seek(0)
    return size, hasher.hexdigest()


def fetch(store: Store, key: Key, fact: FileFact, into: BinaryIO | None) -> None:
    """Read a committed file whole, write it `into` a stream, and compare it with `fact`. Raises PayloadCorrupted, FileNotFoundError."""
    with store.read(fact.path) as source:
        digest, size = digest_rest(source, into, _SLICE)
    _expect(key, fact, size, digest)


def _expect(key: Key, fact: FileFact, size: int, digest: str | None) -> None:
    if size != fact.size:
        found, expected, what = f"{size} bytes", f"{fact.size} bytes", "its size"
    elif digest is not None and digest != fact.digest:
        found, expected, what = digest, fact.digest, "its digest"
    else:
        return
    raise PayloadCorrupted(
        f"the payload of {key} at {fact.path} is not what its record names: {what} is {found}, expected {expected}; "
        "delete it or generate it again, `load_generate` does so",
        key=key,
        expected=expected,
        found=found,
    )


def _check_names(key: Key, files: tuple[FileFact, ...]) -> None:
    """Raise PayloadCorrupted unless all parts are in one folder of the store, under their own names: these become paths here."""
    from persistable.fileio.parts import checked_name

    folders: set[str] = set()
    for fact in files:
        try:
            name = checked_name(fact.part)
        except (ValueError, TypeError, AttributeError):
            name = "\0"
        if not fact.path.endswith(f"/{name}"):
            raise PayloadCorrupted(
                f"the record of {key} has a part {fact.part!r} at {fact.path!r}, which is no name for one; generate it again",
                key=key,
                expected="a relative name at the end of its path",
                found=repr(fact.part),
            )
        folders.add(fact.path.removesuffix(name))
    if len(folders) > 1:
        raise PayloadCorrupted(
            f"the parts of {key} lie in {len(folders)} folders; generate it again",
            key=key,
            expected="one folder",
            found=str(sorted(folders)),
        )


class _StoredParts:
    """The committed files of one payload, for a format that keeps several."""

    def __init__(self, store: Store, key: Key, files: tuple[FileFact, ...], verify: bool) -> None:
        _check_names(key, files)
        self._store = store
        self._key = key
        self._facts = {fact.part: fact for fact in files}
        self._verify = verify

    def names(self) -> list[str]:
        return sorted(self._facts)

    def open(self, name: str) -> BinaryIO:
        fact = self._facts[name]
        if not self._verify:
            return self._store.read(fact.path)
        file = streams.BytesIO() if fact.size <= SMALL else _temporary()
        fetch(self._store, self._key, fact, file)
        file.seek(0)
        return file

    def folder(self) -> Path:
        """The path on this machine. `_check_names` has ensured that it is one folder with all parts below it."""
        root = Path()
        for name, fact in self._facts.items():
            local = self._store.local_path(fact.path)
            if local is None:
                return self._download()
            if self._verify:
                with local.open("rb", buffering=0) as raw:
                    fetch(self._store, self._key, fact, None) if fact.size <= SMALL else _verify(self._store, self._key, fact, raw)
            root = local
            for _ in name.split("/"):
                root = root.parent
        return root

    def _download(self) -> Path:
        root = folder_of_this_process()
        for name, fact in self._facts.items():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                fetch(self._store, self._key, fact, file)
            target.chmod(0o444)
        return root


def folder_of_this_process() -> Path:
    """Make a folder on this machine that exists until the process ends: a Path does not show when it is no longer needed."""
    import atexit
    import shutil
    import tempfile

    root = Path(tempfile.mkdtemp(prefix="persistable-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


def _temporary() -> Any:
    import tempfile

    return tempfile.TemporaryFile(prefix="persistable-")
