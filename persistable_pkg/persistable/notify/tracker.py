"""The base of hooks that keep a run of an experiment tracker for each target of a run: its facts, and the queue of reports."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from persistable.errors import PersistableError
from persistable.events import Event, Performed, RunStarted, replace_events
from persistable.executors.resources import Retry
from persistable.notify.delivery import DeliveryQueue, NotSent
from persistable.notify.hook import QueueingHook
from persistable.params.display import leaves_in_words
from persistable.params.masking import masked
from persistable.params.secret import redact

if TYPE_CHECKING:
    from persistable.nodes.types import Node
    from persistable.records.record import Record

Each = Literal["target", "node"]
"""``"target"``: a tracked run for each target that the run made or that failed; ``"node"``: for each node."""
MOST_PARAMS = 1000
"""Params reported of one node at most; a lineage of many diamonds has far more."""
LARGEST = 1 << 20
"""Largest payload, in bytes, that is read for its numbers."""
LONGEST_QUEUE = 10_000
"""Nodes that wait for a tracker at most."""
PATIENCE = 60.0
"""Seconds that the end of the process waits for reports that are not yet sent."""
_ONCE = Retry(attempts=1)  # the libraries of both trackers try again by themselves


@dataclass(frozen=True, slots=True)
class Tracked:
    """One node as a tracker keeps it.

    label: the node in words. group: the same for all nodes of one run. status: ``"done"``, ``"failed"`` or ``"skipped"``. started, seconds:
    of its generation. params: dotted, upstream below its role. metrics: the numbers of its payload, dotted. links: key, store, class.
    """

    name: str
    label: str
    group: str
    status: str
    error: str
    started: float
    seconds: float
    params: dict[str, Any]
    metrics: dict[str, float]
    links: dict[str, str]
    commit: str | None

    @property
    def failed(self) -> bool:
        """True for a node that failed or was skipped."""
        return self.status != "done"

    @property
    def note(self) -> str:
        """Label and status or error, and the command that shows the payload."""
        found = "" if self.failed else f"\n\n    persistable show {self.links['persistable.key']} --store {self.links['persistable.store']}"
        return redact(f"{self.label}: {self.error or self.status}{found}")


class Tracker(QueueingHook):
    """Base of the hooks. Subclasses implement `_track` for one node, and ``__repr__``, their name in warnings."""

    wants_nodes = True
    """True: events for this hook contain their nodes."""

    def __init__(self, each: Each) -> None:
        if each not in ("target", "node"):  # pyright: ignore[reportUnnecessaryContains]
            raise ValueError(f"each={each!r} is unknown; give 'target' or 'node'")
        self._each = each
        self._group = _new_group()
        super().__init__()

    def _make_queues(self) -> list[DeliveryQueue[Any]]:
        return [DeliveryQueue(repr(self), _ONCE, self._tell, LONGEST_QUEUE, PATIENCE)]

    def __call__(self, event: Event) -> None:
        """Queue the report about a node that a run is done with."""
        if isinstance(event, RunStarted):
            self._group = _new_group()
        elif isinstance(event, Performed) and event.outcome != "reused" and (event.is_target or self._each == "node"):
            self._queue((event, self._group, time.time()))

    def _tell(self, report: tuple[Performed, str, float]) -> None:
        tracked = tracked_of(*report)
        if tracked is not None:
            self._track(tracked)

    def _track(self, tracked: Tracked) -> None:
        raise NotImplementedError(f"{type(self).__name__} must implement _track")


def _new_group() -> str:
    return os.urandom(4).hex()


def tracked_of(event: Performed, group: str, ended: float) -> Tracked | None:
    """Describe the node of `event` for a tracker, from its record and payload; None where the node is not known."""
    node = event.node
    if node is None:
        return None
    record = node.record if node.is_persisted and event.outcome == "done" else None
    return Tracked(
        name=node.payload_name,
        label=node.label,
        group=group,
        status=event.outcome,
        error=event.error,
        started=ended - event.seconds if record is None else record.started,
        seconds=event.seconds if record is None else record.seconds,
        params={
            path: redact(value) if isinstance(value, str) else value
            for path, value in islice(leaves_in_words(node.params_tree), MOST_PARAMS)
        },
        metrics={} if record is None or record.size > LARGEST else dict(numbers_in(_payload(node))),
        links=_links(node, record),
        commit=None if record is None else record.git_commit,
    )


def _links(node: Node, record: Record | None) -> dict[str, str]:
    links = {"persistable.key": str(node.key)}
    if node.is_persisted:
        links["persistable.store"] = masked(node.store.url)
    if record is not None:
        links["persistable.class"] = record.class_reference
    return links


def _payload(node: Node) -> Any:
    """Load the payload, without events. Raises NotSent where it cannot be read."""
    try:
        with replace_events(lambda _: None):
            return node.load().payload
    except PersistableError as error:
        raise NotSent(f"the payload of {node.key} could not be read: {error}") from None


def numbers_in(payload: object, path: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a payload by dotted path: itself, as ``value``, or those of a dict, at any depth."""
    if isinstance(payload, Mapping):
        for name, item in cast("Mapping[object, object]", payload).items():
            yield from numbers_in(item, f"{path}.{name}" if path else str(name))
    elif (number := _number(payload)) is not None:
        yield path or "value", number


def _number(value: Any) -> float | None:
    """A bool, int or float, of Python or of a library, as a float; None for any other value."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, bool | int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
