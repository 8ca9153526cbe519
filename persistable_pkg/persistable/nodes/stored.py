"""Access of a node to its store: to parts of its payload, its record and status, and its items as they are committed."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from persistable.fileio.base import FileIO
from persistable.nodes import generation, loading
from persistable.nodes.binding import bound_to
from persistable.nodes.types import Node
from persistable.records import record_access, scratch
from persistable.records.record import Record
from persistable.stores.base import Store

if TYPE_CHECKING:
    import persistable
    from persistable.nodes.explain import Explanation
    from persistable.nodes.status import Status

PayloadT = TypeVar("PayloadT")


def _check_part(rows: Any, columns: Any) -> None:
    """Raise TypeError or ValueError for invalid rows or columns: a reader would report them as errors of the file."""
    if rows is not None and not isinstance(rows, slice):
        raise TypeError(f"rows of part() is {rows!r:.60}; give a slice, such as slice(0, 10)")
    if isinstance(columns, str):
        raise TypeError(f"columns of part() is {columns!r:.60}; give a list of names")
    try:
        range(0)[rows or slice(None)]
    except (TypeError, ValueError) as error:
        raise type(error)(f"rows of part() is {rows!r}: {error}") from None


class Stored(Generic[PayloadT]):
    """The methods and properties of a node that use its store."""

    def part(self: Node, rows: slice | None = None, columns: Sequence[str] | None = None) -> PayloadT:
        """Some rows and columns of the payload, without reading the others; generated first, if it is not stored.

        For arrays (`NumpyFileIO`) and tables (`ArrowFileIO`, `ParquetFileIO`), on every store: if it keeps files or answers range requests,
        little else is read. Raises PayloadCorrupted, and FormatError for other formats.
        """
        _check_part(rows, columns)
        self._node_check_params()
        store = self._node_use()
        if not record_access.is_there(store, self.place):
            generation.generate(bound_to(self, store), store, {}, seen=(None,), writable=False, read=False)
        found: PayloadT = loading.part(self, store, rows, columns)
        return found

    def follow(self: Node, timeout: float | None = None) -> Iterator[tuple[Any, Any]]:
        """``(key, payload)`` of each item, as soon as it is committed, by another thread or process.

        Begins with the committed ones, and ends when all are sealed. Nothing is generated here. Raises UpstreamFailed when the generation
        fails, WorkerDied when its process has ended without finishing, and TimedOut after `timeout` seconds without a new item (None:
        never).
        """
        from persistable.nodes.follow import follow

        return follow(self, self._node_use(), timeout)

    @property
    def members(self: Node) -> persistable.Family[Any]:
        """The items that a generating function yields, as a family. ``summary.over(node.members)`` has one node for each.

        Before they are sealed, the members are the items committed at the time of the listing; `run` of anything made from it
        generates this node first.
        """
        import persistable

        return persistable.Item.all_of(cast("Any", self))

    @property
    def store(self: Node) -> Store:
        """The store in use: the node's own, else that of the enclosing block or generation, else of its last run, else the default."""
        return self._node_use()

    @property
    def persist_filepath(self: Node) -> Path:
        """The path of the payload in its store, without suffix. In a store that is no local folder: the path inside it."""
        path_inside = self.key.path if self._node_custom_path is None else self._node_custom_path
        path = self._node_use().local_path(path_inside)
        return path if path is not None else Path(path_inside)

    @property
    def payload_io(self: Node) -> FileIO[PayloadT]:
        """The FileIO in use."""
        io: FileIO[PayloadT] = self._node_format()
        return io

    @property
    def record(self: Node) -> Record | None:
        """The committed record; None if nothing is stored. Raises PayloadCorrupted for a damaged one."""
        return record_access.find_record(self._node_use(), self.place)

    @property
    def status(self: Node) -> Status:
        """The status of this payload in its store."""
        from persistable.nodes.status import states_in

        return states_in([(self, self._node_use())])[0].status

    def exists(self: Node) -> bool:
        """Tell whether a payload is stored, judged by its record and the sizes of its files."""
        store = self._node_use()
        if self.is_external:
            return not self._node_look()
        record = record_access.find_record(store, self.place)
        return record is not None and record_access.missing_file(store, record) is None

    def delete(self: Node) -> bool:
        """Remove the payload, its record and a recorded failure from the store; True if there was anything. The payload in memory stays."""
        store = self._node_use()
        scratch.forget_appended(store, self.place)
        return record_access.delete(store, self.place)

    def explain(self: Node) -> Explanation:
        """The action of `payload` and its reasons: status, changes by function and node, and on a miss the nearest stored payload."""
        from persistable.nodes.explain import explain

        return explain(self, self._node_use())

    def accept_code(self: Node, reason: str) -> Record:
        """Record that changes of the code do not matter: the stored payload is no longer stale. `reason` is kept in the record."""
        return loading.accept_code(self, self._node_use(), reason)
