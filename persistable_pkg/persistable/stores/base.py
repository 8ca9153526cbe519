"""The protocol of stores: bytes at paths, visible only once they are complete.

A path is relative, ``/``-separated and made of checked parts (see `check_path`). A store knows nothing of payloads, formats or keys.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, Self, cast, runtime_checkable

from persistable.errors import InvalidName

if TYPE_CHECKING:
    from persistable.stores.layered.layer import Layer
    from persistable.stores.signing_keys import SigningKey

Bytes = bytes | bytearray | memoryview
MAX_PART_BYTES = 255
HIDDEN = ".persistable"  # the folder below the root that listings skip
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errors of a full disk: no space, no quota, or no larger files."""
# the form of nearly every path: one match finds it safe; any other path is checked part by part
_DEVICE = r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:[./\n]|\Z)"  # Windows opens a device for these, with any suffix
_SAFE_PART = rf"(?!{_DEVICE})[A-Za-z0-9_][A-Za-z0-9_\-.=+,@()]{{0,80}}(?<!\.)"
_SAFE = rf"(?:\.persistable/)?{_SAFE_PART}(?:/{_SAFE_PART})*+"
SAFE_PATH = re.compile(_SAFE, re.ASCII)
SAFE_PATHS = re.compile(rf"{_SAFE}(?:\n{_SAFE})*+", re.ASCII)
_DEVICE_NAME = re.compile(_DEVICE)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')


_SCANNED_AT_ONCE = 1000


COMMON_OPTIONS = ("claim_ttl", "claim_beat", "mmap")
"""The options that every store keeps as attributes."""
EVERYWHERE = (*COMMON_OPTIONS, "namespace", "sign", "trust")
"""The options that `open_store` takes for any store, besides ``readonly``."""


class Stat(NamedTuple):
    """Size in bytes, and a stamp that changes whenever the bytes do (None where the store cannot tell cheaply)."""

    size: int
    stamp: object | None


class Listed(NamedTuple):
    """The result of listings around some paths, see `BaseStore.list_around`.

    found: those of the paths that exist, and all paths that agree with one up to the first dot of the name; a folder ends in a slash.
    unknown: those of the paths that were not listed, because asking for each costs less.
    """

    found: dict[str, Stat]
    unknown: list[str]


@runtime_checkable
class Store(Protocol):
    """Bytes at paths. Picklable; usable from several threads; a context manager inside which it is the default store."""

    @property
    def url(self) -> str:
        """The URL of this store, without secrets; `open_store` of it gives an equal store, except for credentials."""
        ...

    def read(self, path: str) -> BinaryIO:
        """Open the item at `path` for streaming; close it after use. Raises FileNotFoundError where none is committed."""
        ...

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A stream whose bytes appear at `path`, replacing an item there, when the block ends without an exception."""
        ...

    def create(self, path: str, data: Bytes) -> bool:
        """Put `data` at `path` unless there is an item; True if this call created it. Atomic among processes and hosts."""
        ...

    def get(self, path: str) -> bytes:
        """All bytes at `path`. Raises FileNotFoundError."""
        ...

    def put(self, path: str, data: Bytes) -> None:
        """Put `data` at `path`, replacing an item there atomically."""
        ...

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes that `get` would give for each path that exists, in as few round trips as the store can."""
        ...

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        """`put` for each item, in as few round trips as the store can; each item is complete or absent."""
        ...

    def exists(self, path: str) -> bool:
        """Tell whether an item is committed at `path`."""
        ...

    def stat(self, path: str) -> Stat | None:
        """Size and stamp of the item committed at `path`; None where there is none."""
        ...

    def delete(self, path: str) -> bool:
        """Remove the item at `path`; True if there was one."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every committed path in the folder `prefix` and below, in no promised order; unfinished writes never show."""
        ...

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        """Every path that `list` shows, with its `stat`, in as few round trips as the store can."""
        ...

    def local_path(self, path: str) -> Path | None:
        """The local file of `path`, for stores that keep files, whether or not it exists yet; None elsewhere."""
        ...

    def close(self) -> None:
        """Release connections. The store opens them again when used."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


# the stores entered around the caller, outermost first, each with the generation whose code entered it; a tuple, so that each thread
# and each task changes only its own
_entered: ContextVar[tuple[tuple[Any, object], ...]] = ContextVar("persistable_entered_stores", default=())


def _no_generation() -> object:
    return None


_generation: Callable[[], object] = _no_generation


def set_generation_lookup(current: Callable[[], object]) -> None:
    """Set the function that returns the generation whose code the caller is in, or None: `nodes.generation` is above the stores."""
    global _generation
    _generation = current


Written = Mapping[str, tuple[Bytes, str]]
"""Bytes and stamps by path."""


def _no_observer(*_: object) -> None:
    return None


_write_observer: Callable[[BaseStore, Written], None] = _no_observer


def set_write_observer(note: Callable[[BaseStore, Written], None]) -> None:
    """Set the function that notes items put by this process where stamps are known at once: `records.record_cache` is above the stores."""
    global _write_observer
    _write_observer = note


def notify_of_writes(store: BaseStore, items: Written) -> None:
    """Note that these bytes have been put into `store`, and have these stamps now."""
    _write_observer(store, items)


def enclosing_store() -> Store | None:
    """The store of the innermost ``with open_store(...)`` around the caller, in this thread or task.

    Within the code of a node only stores entered by that code count: its own store is nearer than any around the call that ran it.
    """
    entered = _entered.get()
    if not entered:
        return None
    store: Store
    store, generation = entered[-1]
    return store if generation is _generation() else None


class Listing:
    """Calls that a store may answer from one listing; by default it asks for each path, since a listing costs no less."""

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        raise NotImplementedError(f"{type(self).__name__}.get_many")

    def stat(self, path: str) -> Stat | None:
        """Size and stamp of the item committed at `path`; None where there is none."""
        raise NotImplementedError(f"{type(self).__name__}.stat")

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        """The result of `stat` for each path that exists, in as few round trips as the store can."""
        return {path: found for path in paths if (found := self.stat(path)) is not None}

    def get_stamped(self, paths: Iterable[str]) -> dict[str, tuple[bytes, object | None]]:
        """The bytes at `paths` that are there, see `get_many`, each with its stamp, as `stat` gives it; by default None."""
        return {path: (data, None) for path, data in self.get_many(paths).items()}

    def list_around(self, paths: Iterable[str]) -> Listed:
        """The entries of a listing for `paths` and the paths beside them, where that costs less than asking for each; by default none."""
        return Listed({}, list(paths))


class BaseStore(Listing):
    """The common base of stores: equality by URL, the default store inside ``with``, and batch calls that work item by item."""

    batches: bool = False
    """True if many small changes cost much less in one call, so that changes are held back for a moment to be made together."""

    definite: bool = False
    """True if a call has no effect after its end, even by an exception; a server may still carry out a request then."""

    def __new__(cls, *_: Any, **options: Any) -> Self:
        if options:
            from persistable.stores.options import check_options

            check_options(cls.__name__, cls.__init__, options)
        return super().__new__(cls)

    @property
    def exclusive(self) -> bool:
        """True where at most one of several simultaneous `create` calls succeeds; else two processes may generate a payload at once."""
        return True

    in_memory: bool | None = None
    """True where written items are in the memory of this process only, False where other processes find them at the same URL.

    None, by default, where its class does not say: then its URL decides, and a store that other processes may reach is tested by one call
    from another process, which takes some seconds, once for each class and URL.
    """

    format_seen: Any = None
    """The store's format, as `records.store_format` has read it in this process; None before that read."""

    def info(self) -> dict[str, Any]:
        """Facts to check before relying on the store, for people and programs: never a secret."""
        from persistable.stores.reach import in_memory

        return {"store": type(self).__name__, "url": self.url, "exclusive": self.exclusive, "in_memory": in_memory(cast(Store, self))}

    claim_ttl: float | None = None
    """Seconds without a heartbeat after which a claim may be taken over; None for the usual. All that share a store use the same."""

    claim_beat: float | None = None
    """Seconds between two heartbeats of this process; None for a sixth of `claim_ttl`."""

    mmap: bool | None = None
    """True to map large payloads in files, False to read them; None to map them where that is safe: not on network file systems."""

    poll: float = 0.25
    """Seconds between two polls for the work of other processes, after a long wait: more where a poll is a request that costs."""

    layers: tuple[Layer, ...] = ()
    """The stores that it consists of, fast to slow; none for a store that holds the bytes itself."""

    @property
    def primary_store(self) -> Store:
        """The store that holds the claims and decides about commits: itself, unless it consists of several."""
        return self

    @property
    def deciding_store(self) -> Store:
        """The store that decides now about commits: the primary, or its stand-in while it is down."""
        return self.primary_store

    signer: SigningKey | None = None
    """The key that signs records made for this store; None where they are not signed."""

    trust: tuple[str, ...] | None = None
    """The public keys, one of which has to have signed a record (or that of a layer) to be read; None where no signature is required."""

    adopts: bool = False
    """True if files of this machine can be filled in place, by `new_file` and `adopt`. Else they are written by `write`."""

    if TYPE_CHECKING:

        @property
        def url(self) -> str: ...

    def read(self, path: str) -> BinaryIO:
        raise NotImplementedError(f"{type(self).__name__}.read")

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        raise NotImplementedError(f"{type(self).__name__}.write")

    def exists(self, path: str) -> bool:
        return self.stat(path) is not None

    def modified(self, path: str) -> float | None:
        """The time of the last write there, in seconds since 1970, by the clock of the storage; None where the store does not tell."""
        return None

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every committed path in the folder `prefix` and below, in no promised order. By default the paths of `scan`."""
        if type(self).scan is BaseStore.scan:
            raise NotImplementedError(f"{type(self).__name__}.list")
        return (path for path, _ in self.scan(prefix))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        """Every path that `list` shows, with its `stat`. By default by `stat_many`, up to a thousand paths at a time."""
        return _scanned(self, self.list(prefix))

    def get(self, path: str) -> bytes:
        raise NotImplementedError(f"{type(self).__name__}.get")

    def put(self, path: str, data: Bytes) -> None:
        raise NotImplementedError(f"{type(self).__name__}.put")

    def create(self, path: str, data: Bytes) -> bool:
        raise NotImplementedError(f"{type(self).__name__}.create")

    def delete(self, path: str) -> bool:
        raise NotImplementedError(f"{type(self).__name__}.delete")

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for path in paths:
            try:
                found[path] = self.get(path)
            except FileNotFoundError:
                pass
        return found

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        for path, data in items.items():
            self.put(path, data)

    def put_unreferenced(self, path: str, data: Bytes) -> None:
        """`put` at a path that nothing refers to yet, so that nobody reads it before the end of the call. By default `put`.

        It need not be atomic: a killed call may leave some of the bytes there.
        """
        self.put(path, data)

    def new_file(self, path: str) -> Path:
        """Create an empty file beside the place of `path`, to be filled in place and then passed to `adopt`, or deleted."""
        raise NotImplementedError(f"{type(self).__name__}.new_file")

    def adopt(self, source: str | os.PathLike[str], path: str) -> None:
        """Move a complete file, which is on the same file system, to `path`; after an error it is still where it was."""
        raise NotImplementedError(f"{type(self).__name__}.adopt")

    def read_range(self, path: str, first: int, last: int) -> bytes:
        """The bytes at `path` from `first` up to, not including, `last`; fewer where it ends before. By default by `read`."""
        with self.read(path) as file:
            file.seek(first)
            return file.read(max(0, last - first))

    def listing_stamp(self) -> str | None:
        """A text that changes whenever the listing of the whole store does, found without listing; None, by default, for no such text."""
        return None

    def get_with_colocated(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes at `paths` that are there, see `get_many`, and other items that were read along with these at no extra cost."""
        return self.get_many(paths)

    def create_fresh(self, items: Mapping[str, Bytes]) -> tuple[set[str], set[str]]:
        """Create as `create_many`; return the created paths, and those of them beside which there is surely no item of the same key.

        The key is the name up to its first dot. By default that is known of none, so that the caller has to look for such paths: one more
        call.
        """
        return self.create_many(items), set()

    def heal(self, path: str, sound: Callable[[BinaryIO], bool]) -> bool:
        """Remove the copies of the item at `path` that are not `sound`, if there is one that is; True if a copy was removed.

        For stores that keep several copies. By default nothing is removed: a damaged item is generated anew.
        """
        return False

    def clear_temporary(self, path: str) -> None:
        """Remove leftovers of killed writes of files whose names begin as `path`; the caller has to know that no process writes there.

        By default nothing is done: right where a killed write leaves nothing, or the service removes its leftovers.
        """

    def clear_sources(self, is_unused: Callable[[bytes], bool]) -> None:
        """Remove files that killed processes kept as sources to create others from, if `is_unused` of their bytes. By default: none."""

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        """`create` for each item, in as few round trips as the store can; the paths that were created by this call."""
        return {path for path, data in items.items() if self.create(path, data)}

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        """`put` for each item of each stage, no item before those of earlier stages, then `delete` for each path."""
        for stage in stages:
            self.put_many(stage)
        for path in delete:
            self.delete(path)

    def local_path(self, path: str) -> Path | None:
        check_path(path)
        return None

    def close(self) -> None:
        return None

    def pickled_options(self) -> dict[str, Any] | None:
        """The options of this object that are not in its URL, so that its pickle has to hold them; None where there are none."""
        return {name: self.__dict__[name] for name in COMMON_OPTIONS if name in self.__dict__} or None

    def __enter__(self) -> Self:
        _entered.set((*_entered.get(), (self, _generation())))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        entered = list(_entered.get())
        for i in range(len(entered) - 1, -1, -1):
            if entered[i][0] is self:
                del entered[i]
                break
        _entered.set(tuple(entered))
        if not any(store is self for store, _ in entered):  # entered twice: the outer block still uses the connections
            self.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BaseStore) and type(other) is type(self) and other.url == self.url

    def __hash__(self) -> int:
        return hash((type(self), self.url))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"


for _name, _call in vars(BaseStore).items():
    if callable(_call) and _call.__doc__ is None:  # so that `help` of each store documents its calls
        _call.__doc__ = getattr(getattr(Store, _name, None), "__doc__", None)


def _scanned(store: BaseStore, paths: Iterator[str]) -> Iterator[tuple[str, Stat]]:
    while some := tuple(islice(paths, _SCANNED_AT_ONCE)):
        yield from store.stat_many(some).items()


def extended(store: Store) -> BaseStore:
    """`store` with all calls of BaseStore: the store itself, or a `ForwardingStore` over it where its class is no BaseStore."""
    if isinstance(store, BaseStore):
        return store
    from persistable.stores.forwarding import ForwardingStore

    return ForwardingStore(store)


def stat_many(store: Store, paths: Iterable[str]) -> dict[str, Stat]:
    """The result of `stat` for each path that exists, in one call where the store has one for that."""
    return extended(store).stat_many(paths)


def byte_view(data: Bytes) -> memoryview:
    """`data` as a flat view of bytes, copied only where it is not contiguous."""
    view = memoryview(data)
    if view.ndim == 1 and view.itemsize == 1 and view.c_contiguous:
        return view
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def stem_of(path: str) -> str:
    """`path` up to the first dot of its last name: the common beginning of all paths that belong to one key."""
    folder, slash, name = path.rstrip("/").rpartition("/")
    return folder + slash + name.partition(".")[0]


def in_folder(path: str, prefix: str) -> bool:
    """Tell whether a listing of the folder `prefix` shows `path`: no unfinished writes, nor the hidden folder unless asked for."""
    if not (path.startswith(prefix + "/") if prefix else not (path + "/").startswith(HIDDEN + "/")):
        return False
    return not is_temporary(path.rpartition("/")[2])


def is_temporary(name: str) -> bool:
    """Tell whether a name is one of those reserved for unfinished writes, which no payload can have."""
    return name.startswith(".") and name.endswith(".tmp")


def check_prefix(prefix: str) -> str:
    """`prefix` itself, if it is empty or names a folder; else InvalidName."""
    return check_path(prefix) if prefix else prefix


def check_path(path: str) -> str:
    """`path` itself, if every part is a name that exists on every platform and stays inside its folder; else InvalidName."""
    if SAFE_PATH.fullmatch(path) is None:
        for part in path.split("/"):
            check_name(part)
    return path


def is_path(path: str) -> bool:
    """Tell whether `path` is valid, see `check_path`: a store has put nothing at a path that is not."""
    try:
        check_path(path)
    except InvalidName:
        return False
    return True


def check_paths(paths: Iterable[str]) -> list[str]:
    """All of `paths`, each as `check_path` gives it."""
    found = list(paths)
    listed = "\n".join(found)
    if SAFE_PATHS.fullmatch(listed) is None or listed.count("\n") != len(found) - 1:
        for path in found:
            check_path(path)
    return found


def check_name(name: str) -> str:
    """`name` itself, if it may be one part of a path; else InvalidName, saying why."""
    reason = _why_not(name)
    if reason:
        shown = name if len(name) <= 60 else name[:57] + "..."
        raise InvalidName(f"{shown!r} cannot be part of a path: {reason}; choose another name", name=name)
    return name


def _why_not(name: str) -> str:
    if not name:
        return "it is empty"
    if "/" in name or "\\" in name:
        return "it contains a separator"
    if name in (".", ".."):
        return "it names a folder above or this one"
    found = _FORBIDDEN.search(name)
    if found:
        return f"it contains {found.group()!r}"
    if is_temporary(name):
        return "names that start with a dot and end in .tmp are kept for unfinished writes"
    if name[-1] in ". ":
        return "it ends in a dot or a space"
    if _DEVICE_NAME.match(name):
        return "Windows takes it for a device"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it contains half a surrogate pair"
    return f"it is {size} bytes long, the limit is {MAX_PART_BYTES}" if size > MAX_PART_BYTES else ""
