"""Load the payload of one node from a store, and judge whether it may be used: its format, its code, its class."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from persistable import errors, events
from persistable.errors import (
    PayloadCorrupted,
    PayloadForeign,
    PayloadNotFound,
    PayloadUntrusted,
    PersistableError,
    StaleCodeWarning,
)
from persistable.fileio.base import FileIO
from persistable.nodes import code, upstream_digests
from persistable.nodes.own_code import code_of_node
from persistable.nodes.staleness import FRESH, Judge, Verdict, judged
from persistable.nodes.types import Node
from persistable.records import files
from persistable.records.chunks import Chunks
from persistable.records.items import Collected, Source, read_index
from persistable.records.key import Key
from persistable.records.record import SUFFIX, Record, host_name
from persistable.records.record_access import find_record, missing_file
from persistable.stores.base import Store, extended

NodeT = TypeVar("NodeT", bound=Node)


def load(
    node: Node,
    store: Store,
    *,
    verify: bool = True,
    writable: bool = True,
    whole: bool = True,
    part: Callable[[Record], Any] | None = None,
) -> tuple[Any, Record] | None:
    """The stored payload and its record; None if nothing is stored. Raises PayloadCorrupted, PayloadForeign.

    `whole`: False if the caller has checked already for changes upstream. `part`: reads a part of the payload instead; no event is emitted
    then.
    """
    has_receiver = part is None and events.has_receiver(node._node_logger)
    clock = time.perf_counter() if has_receiver else 0.0
    record = find_record(store, node.key if node._node_custom_path is None else node.place)  # `place` is a call
    while record is not None:
        check_code(node, store, record, whole)
        try:
            result = part(record) if part else read(store, record, format_of(node, record), verify=verify, writable=writable)
        except (FileNotFoundError, PayloadCorrupted) as error:
            if isinstance(error, PayloadCorrupted) and node.place.__class__ is Key:
                raise
            again = find_record(store, node.place)
            if again is not None and again.attempt_token == record.attempt_token:
                if isinstance(error, PayloadCorrupted):
                    raise
                if missing_file(store, again) is None:
                    continue  # moved to the trash and back
                raise PayloadCorrupted(
                    f"the payload of {node.key} is missing although its record is there ({error}); "
                    "generate it again, `load_generate` does so",
                    key=node.key,
                    expected=record.files[0].path if record.files else "files",
                    found="nothing",
                ) from error
            record = again  # replaced or deleted while we were reading
            continue
        if has_receiver:
            events.emit(events.Loaded(key=node.key, size=record.size, seconds=time.perf_counter() - clock), node._node_logger)
        return result, record
    return None


def read(store: Store, record: Record, io: FileIO[Any], *, verify: bool = True, writable: bool = True) -> Any:
    """The payload of `record`. Raises PayloadCorrupted, FileNotFoundError."""
    verify = verify or extended(store).trust is not None
    if "items" not in record.head:
        return files.read(store, record.key, record.head["files"], io, verify=verify, writable=writable)
    source = Source(store, record.key, io, verify, writable)
    items: Collected[Any] = Collected(source, read_index(store, record, verify))
    return items


def part(node: Node, store: Store, rows: slice | None, columns: Sequence[str] | None) -> Any:
    """Some rows and columns of the stored payload. Raises PayloadNotFound, PayloadCorrupted, PayloadForeign, FormatError."""

    def rows_of(record: Record) -> Any:
        return files.read_part(store, node.key, record.head["files"], format_of(node, record), rows, columns, chunks=chunks_of(record))

    loaded = load(node, store, part=rows_of)
    if loaded is None:
        raise PayloadNotFound(f"nothing is stored under {node.key} in {store.url}", key=node.key, nearest=None, differences={})
    return loaded[0]


def chunks_of(record: Record) -> Chunks | None:
    """The digests of chunks of a large payload, if it was written to a store that keeps no local files; else None."""
    return Chunks.from_json(record.to_dict().get("chunks")) if record.size > files.WHOLE else None


def format_of(node: Node, record: Record) -> FileIO[Any]:
    """The format that wrote the payload: the node's own if it is of that kind, so that its options apply.

    Else that of the record if a key that the store trusts has signed it, or one made of formats that the node declares or safe ones. Raises
    PayloadUntrusted.
    """
    own: FileIO[Any] = node._node_format()
    head = record.head
    spec, declared = head["io"], own.__dict__.get("_spec") or own.spec()
    if declared == spec and "schema" not in head:
        return own
    from persistable.fileio.trust import declared_format, with_schema

    if declared != spec and not _of_one_kind(spec, declared):
        own = declared_format(spec, own, record.key, record.trusted)
    return own if head.get("schema") is None else with_schema(own, head["schema"], record.key)


def refusal(node: Node, record: Record) -> PayloadUntrusted | PayloadCorrupted | None:
    """The error that the format of `record` raises in a load before the payload is read; None if there is none."""
    if record.head["io"] == node._node_format().spec():
        return None
    try:
        format_of(node, record)
    except (PayloadUntrusted, PayloadCorrupted) as error:
        return error
    return None


def refused(node: Node, verdict: Verdict) -> PersistableError:
    """The error that a load raises for a refused payload."""
    return verdict.barred if verdict.barred is not None else foreign(node, verdict)


def _of_one_kind(spec: Any, declared: dict[str, Any]) -> bool:
    """Tell whether the declared format reads files written by one of `spec`; a user's format may have moved to another module since."""
    name: Any = spec.get("io") if spec.__class__ is dict else None
    own: str = declared["io"]
    if not isinstance(name, str) or own in _MADE_OF_OTHERS:
        return False
    return name == own or (":" in own and name.rpartition(":")[2] == own.rpartition(":")[2])


_MADE_OF_OTHERS = ("BundleFileIO", "CompressedFileIO")


_warned: set[tuple[str, ...]] = set()


def check_code(node: Node, store: Store, record: Record, whole: bool = True) -> None:
    """Warn, once, if the code or something upstream has changed since; raise PayloadForeign if another class made the payload.

    `whole`: False if the caller has checked already for changes upstream.
    """
    made_by = record.head["code"]
    if whole and node._node_upstream and "_looked" not in node.__dict__:
        verdict = judged(node, store, record)
    elif made_by is None or (
        made_by["quick"] and (node.__dict__.get("_node_given_code") or node._node_own_code()).quick == made_by["quick"]
    ):
        return
    else:
        verdict = Judge().own(node, record)
    refuse_foreign(node, verdict)
    if verdict.causes and "_is_leaf" not in node.__dict__:  # else the process that sent the node here has warned
        warn_stale(node, verdict)


def mark_upstream_checked(node: NodeT) -> NodeT:
    """Mark `node` as one whose upstream the caller has compared already, so that a load does not, and return it."""
    node.__dict__["_looked"] = True
    return node


def warn_stale_upstream(nodes: Sequence[tuple[Any, Store]]) -> None:
    """Warn of stale stored payloads among these nodes, which are about to be used; raise PayloadForeign as `check_code` does."""
    for (node, _), verdict in zip(nodes, Judge().stored(nodes), strict=True):
        if verdict is not None and verdict is not FRESH:
            refuse_foreign(node, verdict)
            if verdict.causes:
                warn_stale(node, verdict)


def refuse_foreign(node: Node, verdict: Verdict) -> None:
    """Raise PayloadForeign if another class with other code has made the payload."""
    if verdict.foreign:
        raise foreign(node, verdict)


def foreign(node: Node, verdict: Verdict) -> PayloadForeign:
    """The error for a payload that another class with other code has made."""
    reference = code.class_reference(node.__class__)
    if verdict.foreign.startswith(f"{reference} of "):
        reference = f"{reference} of {code.project_of(node.__class__)}"
    return PayloadForeign(
        f"{node.key} was made by {verdict.foreign}, which is not the code of {reference} ({verdict.own}); if it is the same all the same, "
        "take it over with accept_code(reason); else give one of them another payload_name or version, or generate() it anew",
        key=node.key,
        made_by=verdict.foreign,
        asked_by=reference,
    )


def refuse_different_code(one: Node, other: Node) -> None:
    """Raise PayloadForeign if two nodes of one key are of classes with different code: the payload of one is not that of the other."""
    if code.compare(code_of_node(one), code_of_node(other)).same:
        return
    names = [code.class_reference(node.__class__) for node in (one, other)]
    who = " and ".join(names) if names[0] != names[1] else f"two classes that are both called {names[0]}"
    raise PayloadForeign(
        f"{one.key} is asked for by {who}, whose code is not the same; give one of them another payload_name or version, "
        "or make the difference a param",
        key=one.key,
        made_by=names[0],
        asked_by=names[1],
    )


def warn_stale(node: Node, verdict: Verdict) -> None:
    """Warn of the changes, once for each class and cause."""
    if not is_new(node, verdict):
        return
    made = "was made by code that has changed since" if verdict.own else "was made from upstream that has changed since"
    warnings.warn(
        f"{node.key} {made} ({verdict.describe()}); it is served as it is. Generate it again, "
        "raise `version` if the results differ, or call accept_code(reason) if they do not",
        StaleCodeWarning,
        stacklevel=depth_of_user(),
    )


def is_new(node: Node, verdict: Verdict) -> bool:
    """Tell whether any of the causes is new for this class, and mark them all as known."""
    reference = code.class_reference(node.__class__)
    known = len(_warned)
    _warned.update((reference, cause.by, cause.change or str(cause.key)) for cause in verdict.causes)
    return len(_warned) > known


def accept_code(node: Node, store: Store, reason: str) -> Record:
    """Write the present code, the node's own and that upstream, into its record, with the reason."""
    record = find_record(store, node.place)
    if record is None:
        raise PayloadNotFound(f"nothing is stored under {node.key}, so there is no record to accept code for", key=node.key)
    own = code_of_node(node)
    verdict = judged(node, store, record)
    accepted = {"reason": reason, "at": time.time(), "host": host_name(), "changed": verdict.describe()}
    head: dict[str, Any] = {"class": code.class_reference(node.__class__), "code": {"python": own.python, "quick": own.quick}}
    given = node.__dict__.get("_node_given_code")
    project = given.project if given is not None else code.project_of(node.__class__)
    details = {"code_parts": dict(own.parts), "project": project, "accepted": [*record.to_dict().get("accepted", []), accepted]}
    found = upstream_digests.origin_now(node, store, record)
    if found is not None:
        head["made_from"] = [*found.head, True]
        details.update(upstream_code=found.code, upstream_content=found.content, accepted_causes=[cause.mark for cause in verdict.causes])
    revised = record.revise(head, details, extended(store).signer)
    again = find_record(store, node.place)
    if again is None or again.attempt_token != record.attempt_token:
        return accept_code(node, store, reason)  # made anew, or removed, in the meantime
    store.put(node.place.path + SUFFIX, revised.to_bytes())
    return revised


def depth_of_user() -> int:
    """The depth in the stack of the first caller outside this package, as `stacklevel` of a warning."""
    import sys

    here = os.path.dirname(errors.__file__) + os.sep
    depth, frame = 1, sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        depth, frame = depth + 1, frame.f_back
    return depth
