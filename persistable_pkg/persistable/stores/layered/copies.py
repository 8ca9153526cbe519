"""The same bytes on their way into several layers at once; a layer that fails drops out and the rest goes on."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from persistable.params.streams import write_all
from persistable.stores.base import Store, byte_view


class _Aborted(Exception):
    """Told to an unfinished write that will not be finished."""


class Copies:
    """Unfinished writes of one path into layers given as (index, store, most bytes it takes)."""

    def __init__(self, path: str, targets: Sequence[tuple[int, Store, int | None]], failed: Callable[[int, OSError], None]) -> None:
        self._failed = failed
        self._size = 0
        self._open: list[tuple[int, int | None, AbstractContextManager[BinaryIO], BinaryIO]] = []
        for index, store, limit in targets:
            try:
                block = store.write(path)
                self._open.append((index, limit, block, block.__enter__()))
            except OSError as error:
                failed(index, error)

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def targets(self) -> list[int]:
        """The layers that still take part."""
        return [index for index, _, _, _ in self._open]

    def drop(self, index: int, reason: OSError) -> None:
        """Let one layer take part no longer."""
        for each in [each for each in self._open if each[0] == index]:
            self._failed(index, self._drop(each, reason) or reason)

    def write(self, view: memoryview) -> None:
        """Give the bytes to every layer that still takes part."""
        self._size += view.nbytes
        for each in list(self._open):
            index, limit, _, file = each
            if limit is not None and self._size > limit:
                self._drop(each)
                continue
            try:
                write_all(file, view)
            except OSError as error:
                self._failed(index, self._drop(each, error) or error)

    def commit(self) -> list[int]:
        """Make them visible. The layers in which they are."""
        done: list[int] = []
        for index, _, block, _ in self._open:
            try:
                end(block, None)
                done.append(index)
            except OSError as error:
                self._failed(index, error)
        self._open.clear()
        return done

    def abort(self) -> None:
        """Leave nothing behind."""
        for each in list(self._open):
            self._drop(each)

    def _drop(self, each: Any, reason: Exception | None = None) -> OSError | None:
        """End one write without making it visible. What the store says of it, where it is more than the reason given."""
        self._open.remove(each)
        reason = _Aborted() if reason is None else reason
        try:
            end(each[2], reason)
        except OSError as error:
            return error
        return None


def entered(block: AbstractContextManager[BinaryIO]) -> tuple[AbstractContextManager[BinaryIO], BinaryIO]:
    """A block that has begun, and its file."""
    return block, block.__enter__()


def end(block: AbstractContextManager[BinaryIO], error: BaseException | None) -> None:
    """Leave `block`, with `error` if there is one. Raises the error that leaving it raises."""
    block.__exit__(None if error is None else type(error), error, None if error is None else error.__traceback__)


class Tee(io.RawIOBase):
    """A write-only stream into a file and into copies of it. Where the file fails, the copies go on; `failed` is its error then."""

    def __init__(self, file: BinaryIO, copies: Copies) -> None:
        self._file = file
        self._copies = copies
        self._size = 0
        self.failed: OSError | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        view = byte_view(data)
        if self.failed is None:
            try:
                write_all(self._file, view)
            except OSError as error:
                self.failed = error
        self._copies.write(view)
        if not self._copies:
            self.check()
        self._size += view.nbytes
        return view.nbytes

    def check(self) -> None:
        """Raise the error that the file met."""
        if self.failed is not None:
            raise self.failed

    def flush(self) -> None:
        if not self.closed and not self._file.closed and self.failed is None:
            self._file.flush()
