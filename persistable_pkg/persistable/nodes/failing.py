"""Failed attempts: announced, and recorded beside the place of the payload."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistable import events
from persistable.nodes.label import name_node
from persistable.nodes.provenance import facts_of
from persistable.nodes.types import Node
from persistable.params.secret import message_of, redact
from persistable.records.failure import FAILED_SUFFIX, Failure
from persistable.records.record import host_name
from persistable.stores.base import Store

if TYPE_CHECKING:
    from persistable.nodes.generation import Generation


def fail(generation: Generation, error: BaseException, recorded: bool) -> None:
    """Announce a failed attempt, name its node in `error`, and, if `recorded`, write the failure to a file of its own."""
    node = generation.node
    announce(node, error, generation.attempt, generation.seconds())
    name_node(error, node)
    if not recorded:
        return
    try:
        took, params = generation.seconds(), generation.facts()["params"]
        output = generation.output_text()
        record_failure(node, generation.store, error, generation.attempt, generation.started, took, generation.notes, params, output)
    except Exception as second:  # noqa: BLE001 - the error of the node matters more than any of the store
        error.add_note(f"and the failure could not be recorded: {second}")


def announce(node: Node, error: BaseException, attempt: int, seconds: float) -> None:
    """Emit that an attempt at `node` has failed."""
    text = f"{type(error).__name__}: {message_of(error)}"
    events.emit(events.Failed(key=node.key, attempt=attempt, error=text, seconds=seconds, label=node.label), node._node_logger)


def record_failure(
    node: Node,
    store: Store,
    error: BaseException,
    attempt: int,
    started: float,
    seconds: float,
    notes: dict[str, Any] | None = None,
    params: Any = None,
    output: str = "",
) -> None:
    """Write the facts about a failed attempt to a file of its own, which the next commit removes. Frames of this package are left out."""
    import traceback

    from persistable.executors.tracebacks import trim

    trim(error)
    failure = Failure(
        key=node.key,
        error=f"{type(error).__module__}.{type(error).__qualname__}",
        message=redact(message_of(error)),
        traceback=redact("".join(traceback.format_exception(error))),
        attempt=attempt,
        params=params if params is not None else facts_of(node)["params"],
        host=host_name(),
        started=started,
        seconds=seconds,
        notes=notes or {},
        output=output,
    )
    store.put(node.place.path + FAILED_SUFFIX, failure.to_bytes())
