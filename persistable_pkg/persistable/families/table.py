"""All members of a family, counted, listed in a table, and compared for the best, many members at a time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from persistable import events
from persistable.errors import FormatError, InputError, PayloadError, PayloadNotFound, UnknownParam
from persistable.families.columns import columns_of
from persistable.nodes import loading
from persistable.nodes.binding import bound_to
from persistable.nodes.node import Persistable
from persistable.nodes.prefetch import fetched
from persistable.nodes.staleness import Judge
from persistable.nodes.status import State, Status, states_of
from persistable.nodes.types import Node, given_logger, own_store, upstream_of
from persistable.records.bulk import format_in_records, heads, made_by, present
from persistable.records.files import SMALL

if TYPE_CHECKING:
    from persistable.families.bulk_keys import KeyChunks
    from persistable.families.family import Family

BATCH = 1000
"""Number of members that are looked up in one batch, and held in memory together."""
LARGEST_EXPANDED = 1_000_000
"""Bytes; a larger payload is no scalar, and no dict to expand to columns."""

_STORED = (Status.DONE, Status.STALE)


def survey(family: Family[Any]) -> Iterator[tuple[Any, Any, State]]:
    """Key, node, and state in its store, of each member."""
    members = zip(family, family.nodes, strict=True)
    while batch := list(itertools.islice(members, BATCH)):
        seen = states_of([node for _, node in batch])
        for (key, node), found in zip(batch, seen, strict=True):
            yield key, node, found


def counts(family: Family[Any]) -> Counter[Status]:
    """Count the members in each status."""
    key_chunks = family.key_chunks
    if key_chunks is None:
        return Counter(found.status for _, _, found in survey(family))
    found: Counter[Status] = Counter()
    store = key_chunks.store if key_chunks.store is not None else key_chunks.model.store
    own, format_ = made_by_all(key_chunks, store), format_in_records(key_chunks.model.payload_io)
    for numbers in key_chunks:
        bases = key_chunks.bases(numbers)
        there = present(store, bases, format_)
        if own and len(there) == len(bases) and set(there.values()) == {own}:
            found[Status.DONE] += len(bases)
            continue
        others = [number for number, base in zip(numbers, bases, strict=True) if not own or there.get(base) != own]
        found[Status.DONE] += len(bases) - len(others)
        found.update(seen.status for some in batched(others, BATCH) for seen in states_of([key_chunks.nodes[number] for number in some]))
    return +found


def made_by_all(key_chunks: KeyChunks, store: Any) -> bytes | None:
    """The `made_by` bytes of every record that is up to date; None if they are unknown, or differ among members."""
    return None if key_chunks.factory.upstream_families else made_by(Judge().expected(key_chunks.model, store))


def batched(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """`numbers` in batches."""
    return (numbers[first : first + size] for first in range(0, len(numbers), size))


def best(family: Family[Any], largest: bool, by: str | Callable[[Any], Any] | None) -> Any:
    """The member with the largest payload, or the smallest."""
    chosen: Any = None
    record: Any = None
    if not len(family):
        raise _incomplete(family)
    try:
        for number, (_, payload) in enumerate(payloads(family)):
            value = value_of(payload, by)
            if value == value and (chosen is None or (value > record if largest else value < record)):
                chosen, record = number, value
    except PayloadNotFound as error:
        raise _incomplete(family) from error
    if chosen is None:
        raise ValueError(f"every member of {family.name} is NaN, so none is the best")
    nodes: Sequence[Any] = family.nodes
    return nodes[chosen]


def _incomplete(family: Family[Any]) -> PayloadNotFound:
    states = counts(family)
    missing = len(family) - sum(states[status] for status in _STORED)
    words = ", ".join(f"{number} {status.value}" for status, number in states.items() if status not in _STORED)
    return PayloadNotFound(
        f"{missing} of {len(family)} members of {family.name} have no stored payload ({words or 'it has no members'}), "
        "so there is no best; run(family) first, or sel(...) those that are done",
        key=None,
    )


def value_of(payload: Any, by: bool | str | Callable[[Any], Any] | None) -> Any:
    """The value by which payloads are compared: `by` of it. Raises TypeError, UnknownParam."""
    if callable(by):
        return by(payload)
    if isinstance(by, str):
        entries: Any = payload
        try:
            return entries[by]
        except KeyError as error:
            known = list(map(str, entries))
            raise UnknownParam(f"a payload has no entry {by!r}; it has {', '.join(known)}", name=by, accepted=known) from error
    if not is_scalar(payload) or payload is None:
        raise TypeError(
            f"a payload of type {type(payload).__name__} has no order; say what to go by: by='name' of its entry, or by=function"
            " (y= of a plot)"
        )
    return payload.item() if hasattr(payload, "item") else payload


def is_scalar(payload: Any) -> bool:
    """Tell whether `payload` is a single value: a number, text, date or None."""
    import datetime as dt

    if payload is None or isinstance(payload, str | int | float | complex | bool | dt.date | dt.timedelta):
        return True
    return getattr(payload, "shape", None) == () and hasattr(payload, "item") and hasattr(payload, "dtype")


def frame(family: Family[Any], payload: bool | None) -> Any:
    """Make the table that `Family.to_frame` describes."""
    import pandas as pd

    table = _Table(family)
    for indices, row in zip(itertools.product(*map(range, family.shape)), _rows(family, payload), strict=True):
        table.add(indices, row, payload)
    return pd.DataFrame(table.columns(), copy=False)


class _Row(NamedTuple):
    """A member in a table. read: returns its payload, possibly read in a batch. is_input: it is read from outside the store."""

    key: str
    found: State
    read: Callable[[], Any]
    is_input: bool = False


def _rows(family: Family[Any], payload: bool | None) -> Iterator[_Row]:
    """All members in order, looked up and read in batches, without their nodes if their bytes suffice."""
    key_chunks, nodes = family.key_chunks, family.nodes
    quick = BulkPayloadReader(key_chunks) if key_chunks is not None and BulkPayloadReader.suits(key_chunks.model) else None
    for numbers in batched(range(len(nodes)), BATCH):
        sound: dict[int, Any] = {}
        if quick is not None:
            sound = quick.sound(numbers) if payload is False else quick.payloads(numbers, SMALL if payload else LARGEST_EXPANDED)
        keys = key_chunks.keys(numbers) if key_chunks is not None and sound else []
        others = [number for number in numbers if number not in sound]
        made = nodes[others[0] : others[-1] + 1] if len(others) == len(numbers) else [nodes[number] for number in others]
        stores = fetched(made) if made and payload is not False else []
        apart = iter(zip(made, states_of(made), stores or itertools.repeat(None), strict=bool(stores)))
        for place, number in enumerate(numbers):
            if number in sound:
                yield _Row(str(keys[place]), _SOUND, partial(_given, sound.pop(number)))
            else:
                node, found, store = next(apart)
                if found.status is Status.STALE and payload is not False:
                    loading.warn_stale(node, found.verdict)
                yield _Row(str(node.key), found, partial(load, node, store), node.is_external)


_SOUND = State(Status.DONE)


def _given(value: Any) -> Any:
    return value


def load(node: Node, store: Any) -> Any:
    """The payload of a member that was looked up in a batch; that of an input is read in place."""
    if node.is_external:
        return bound_to(node, own_store(node)).payload
    return loading.mark_upstream_checked(bound_to(node, store)).load().payload


class _Table:
    """Columns of equal length; a payload column is added with its first value."""

    def __init__(self, family: Family[Any]) -> None:
        self._axes = [
            (name, values, number)
            for number, axis in enumerate(family.axes)
            for column in axis.columns
            for name, values in columns_of(column, axis.columns[column]).items()
        ]
        self._fixed: dict[str, list[Any]] = {
            name: [] for name in ("key", *[f"axis {n}" for n, _ in enumerate(self._axes)], "status", "error")
        }
        self._found: dict[str, dict[int, Any]] = {}
        self._length = 0

    def add(self, indices: tuple[int, ...], member: _Row, payload: bool | None) -> None:
        found = member.found
        status = found.status
        error = f"{found.failure.error.rpartition('.')[2]}: {found.failure.message}" if found.failure is not None else None
        if status in _STORED and payload is not False:
            try:
                self._expand(member, payload)
            except (PayloadError, FormatError) as damage:
                status, error = Status.CORRUPT, str(damage)
            except InputError as change:
                status, error = Status.ABSENT, str(change)
        row = (member.key, *[values[indices[number]] for _, values, number in self._axes], status.value, error)
        for column, value in zip(self._fixed.values(), row, strict=True):
            column.append(value)
        self._length += 1

    def _expand(self, member: _Row, payload: bool | None) -> None:
        if not payload and (member.is_input or member.found.size > LARGEST_EXPANDED):
            return
        value = member.read()
        if value.__class__ is dict and not payload and all(isinstance(name, str) for name in value):
            for name, item in value.items():
                self._found.setdefault(name, {})[self._length] = item
        elif payload or is_scalar(value):
            self._found.setdefault("payload", {})[self._length] = value

    def columns(self) -> dict[str, Any]:
        """The columns by name; a name that is in use gets a prefix and a dot."""
        import pandas as pd

        made: dict[str, Any] = {"key": self._fixed["key"]}
        for place, (name, _, _) in enumerate(self._axes):
            made[f"axis.{name}" if name in ("key", "status", "error") else name] = pd.Series(self._fixed[f"axis {place}"])
        made |= {"status": self._fixed["status"], "error": pd.Series(self._fixed["error"], dtype=object)}
        for name, entries in self._found.items():
            column = pd.Series([entries.get(place) for place in range(self._length)], dtype=object)
            made[f"payload.{name}" if name in made else name] = column.infer_objects()
        return made


def payloads(family: Family[Any]) -> Iterator[tuple[Any, Any]]:
    """The pairs of `Family.payloads`."""
    key_chunks = family.key_chunks
    read = BulkPayloadReader(key_chunks) if key_chunks is not None and BulkPayloadReader.suits(key_chunks.model) else None
    members = zip(family, itertools.count())
    nodes = family.nodes
    while batch := list(itertools.islice(members, BATCH)):
        known = read.payloads([number for _, number in batch]) if read is not None else {}
        others = [number for _, number in batch if number not in known]
        known.update(zip(others, _loaded([nodes[number] for number in others]), strict=True))
        for key, number in batch:
            yield key, known.pop(number)


def _loaded(members: list[Any]) -> Iterator[Any]:
    loading.warn_stale_upstream([(node, node.store) for node in members if upstream_of(node)])
    for node, store in zip(members, fetched(members), strict=True):
        yield load(node, store)


class BulkPayloadReader:
    """Reads payloads of members without their nodes, for classes without hooks that check or change them."""

    def __init__(self, key_chunks: KeyChunks) -> None:
        self._key_chunks = key_chunks
        self._io = key_chunks.model.payload_io
        self._spec = format_in_records(key_chunks.model.payload_io)
        self._store: Any = key_chunks.store if key_chunks.store is not None else key_chunks.model.store
        self._made_by = made_by_all(key_chunks, self._store)

    @staticmethod
    def suits(model: Node) -> bool:
        """Tell whether no hook and no listener needs the node of each member."""
        bases = model.__class__.__mro__
        own: list[Any] = list(bases[: bases.index(Persistable)])
        return not any(hook in base.__dict__ for base in own for hook in ("_validate_payload", "_post_load")) and not events.has_receiver(
            given_logger(model)
        )

    def sound(self, numbers: Sequence[int]) -> dict[int, Any]:
        """The numbers of members that are stored and made by the current code, each mapped to None: no payload is read."""
        bases = self._key_chunks.bases(numbers)
        there = present(self._store, bases, self._spec) if self._made_by is not None else {}
        return {number: None for number, base in zip(numbers, bases, strict=True) if base in there and there[base] == self._made_by}

    def payloads(self, numbers: Sequence[int], largest: int = SMALL) -> dict[int, Any]:
        """The verified payloads, by number, of members that are small, sound, and made by the current code."""
        bases = self._key_chunks.bases(numbers)
        there = heads(self._store, bases, self._spec)
        largest = min(SMALL, largest)
        wanted = {base: head for base, head in there.items() if head.made_by == self._made_by and head.size <= largest}
        data = self._store.get_many([head.path for head in wanted.values() if head.data is None])
        found: dict[int, Any] = {}
        for number, base in zip(numbers, bases, strict=True):
            head = wanted.get(base)
            if head is None:
                continue
            raw = head.data if head.data is not None else data.get(head.path)
            if raw is not None and len(raw) == head.size and blake3(raw).hexdigest() == head.digest:
                found[number] = self._io.loads(bytearray(raw) if self._io.maps else raw)
        return found
