"""Writes of the same bytes into several layers at once; a layer that fails is dropped and the others continue."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from persistable.params.streams import write_all
from persistable.stores.base import Store, byte_view


class _Aborted(Exception):
    """Passed to the block of an unfinished write, to abort it."""


class Copies:
    """Unfinished writes of one path into layers. targets: (index, store, limit in bytes or None). failed: called with each error."""

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
        """The layers whose writes are still open."""
        return [index for index, _, _, _ in self._open]

    def drop(self, index: int, reason: OSError) -> None:
        """Abort the write into one layer, and report the error."""
        for each in [each for each in self._open if each[0] == index]:
            self._failed(index, self._drop(each, reason) or reason)

    def write(self, view: memoryview) -> None:
        """Write the bytes to every layer whose write is still open."""
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
        """Make the copies visible; the layers that have them."""
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
        """Abort all writes."""
        for each in list(self._open):
            self._drop(each)

    def _drop(self, each: Any, reason: Exception | None = None) -> OSError | None:
        """Abort one write; the error that the store raises instead of the given reason, if it does."""
        self._open.remove(each)
        reason = _Aborted() if reason is None else reason
        try:
            end(each[2], reason)
        except OSError as error:
            return error
        return None


def entered(block: AbstractContextManager[BinaryIO]) -> tuple[AbstractContextManager[BinaryIO], BinaryIO]:
    """Enter `block`; the block and its file."""
    return block, block.__enter__()


def end(block: AbstractContextManager[BinaryIO], error: BaseException | None) -> None:
    """Leave `block`, with `error` if there is one. Raises the error that leaving it raises."""
    block.__exit__(None if error is None else type(error), error, None if error is None else error.__traceback__)


class Tee(io.RawIOBase):
    """A write-only stream into a file and copies of it. Where the file fails, the copies continue, and `failed` is its error."""

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
        """Raise the error of the file, if it failed."""
        if self.failed is not None:
            raise self.failed

    def flush(self) -> None:
        if not self.closed and not self._file.closed and self.failed is None:
            self._file.flush()
