"""Resumption of an interrupted attempt by other code: the facts that are kept about it."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from persistable.errors import StaleCodeWarning
from persistable.nodes import code, loading, upstream_digests
from persistable.nodes.types import Node


def made_from(generation: Any) -> dict[str, Any] | None:
    """The origin of `generation`, as it is kept beside the rows or items made so far; None if nothing is upstream."""
    found = upstream_digests.origin_of(generation.node, generation.store, generation.used)
    if found is None:
        return None
    if generation.earlier is not None:
        found = upstream_digests.merge_origins(found, generation.earlier)
    return {"content": found.content["direct"], "code": found.code}


def compare_resumed(generation: Any, before: code.Fingerprint, earlier: Mapping[str, Any] | None, resumed_items: str) -> bool:
    """Tell whether code or upstream has changed since the attempt that is resumed; if so, warn, and keep both in `generation`.

    Its payload is stale from the start then. resumed_items: the rows or items resumed, in words. earlier: the value of `made_from` at that
    time.
    """
    change = code.compare(before, generation.code)
    mixed = not change.same and change.comparable
    if mixed:
        _say(
            generation,
            resumed_items,
            f"before the code changed ({change.describe()})",
            f"by code that has changed since ({change.describe()})",
        )
        generation.code = code.mixed(before, generation.code)
    now = made_from(generation)
    changed = _changed(generation.node, earlier, now) if now is not None and earlier is not None else []
    if changed:
        shown = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
        _say(generation, resumed_items, f"before something upstream changed ({shown})", f"from upstream that has changed since ({shown})")
        generation.earlier = earlier
    return mixed or bool(changed)


def _changed(node: Node, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys of upstream payloads with other bytes now, and, if some upstream is not stored, the changes of code."""
    before: dict[str, str] = earlier["content"]
    changed = [key for key, content in now["content"].items() if before.get(key, content) != content]
    if all(source.is_persisted or source.is_external for source in node._node_upstream.values()):
        return changed  # bytes decide
    for entry in earlier["code"]:
        after = [upstream_digests.fingerprint_of(each) for each in now["code"] if each["class"] == entry["class"]]
        compared = [code.compare(upstream_digests.fingerprint_of(entry), each) for each in after]
        if compared and all(change.comparable and not change.same for change in compared):
            changed.append(compared[0].describe())
    return changed


def _say(generation: Any, resumed_items: str, when: str, cause: str) -> None:
    notes, note = generation.notes, f"{resumed_items} were made {when}"
    notes["mixed"] = f"{notes['mixed']}; {note}" if "mixed" in notes else note
    warnings.warn(
        f"{resumed_items} of {generation.node.key} were made {cause}; they are kept, and the others are made by the code and from what is "
        "upstream as they are now, so the payload will be stale until it is generated anew or accepted. delete() makes the next attempt "
        "begin anew",
        StaleCodeWarning,
        stacklevel=loading.depth_of_user(),
    )
