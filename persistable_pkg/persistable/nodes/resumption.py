"""An attempt that was cut off and is resumed by other code: what is kept of that."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from persistable.errors import StaleCodeWarning
from persistable.nodes import code, loading, origin
from persistable.nodes.types import Node


def made_from(generation: Any) -> dict[str, Any] | None:
    """The origin of `generation`, as it is kept beside what it has made so far; None where nothing is upstream."""
    found = origin.origin_of(generation.node, generation.store, generation.used)
    if found is None:
        return None
    if generation.earlier is not None:
        found = origin.joined(found, generation.earlier)
    return {"content": found.content["direct"], "code": found.code}


def going_on(generation: Any, before: code.Fingerprint, earlier: Mapping[str, Any] | None, what: str) -> bool:
    """Tell whether the code, or what is upstream, has changed since `what` was made: then it is said, and `generation` is made from both.

    Its payload is stale from the first. earlier: what `made_from` has said then.
    """
    change = code.compare(before, generation.code)
    mixed = not change.same and change.comparable
    if mixed:
        _say(generation, what, f"before the code changed ({change.describe()})", f"by code that has changed since ({change.describe()})")
        generation.code = code.mixed(before, generation.code)
    now = made_from(generation)
    changed = _changed(generation.node, earlier, now) if now is not None and earlier is not None else []
    if changed:
        shown = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
        _say(generation, what, f"before something upstream changed ({shown})", f"from what has changed since ({shown})")
        generation.earlier = earlier
    return mixed or bool(changed)


def _changed(node: Node, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys of what has other bytes now, and the classes of what is not stored and has other code."""
    before: dict[str, str] = earlier["content"]
    changed = [key for key, content in now["content"].items() if before.get(key, content) != content]
    if all(source.is_persisted or source.is_external for source in node._node_upstream.values()):
        return changed  # bytes decide
    for entry in earlier["code"]:
        after = [origin.fingerprint_of(each) for each in now["code"] if each["class"] == entry["class"]]
        compared = [code.compare(origin.fingerprint_of(entry), each) for each in after]
        if compared and all(change.comparable and not change.same for change in compared):
            changed.append(compared[0].describe())
    return changed


def _say(generation: Any, what: str, when: str, how: str) -> None:
    notes, note = generation.notes, f"{what} were made {when}"
    notes["mixed"] = f"{notes['mixed']}; {note}" if "mixed" in notes else note
    warnings.warn(
        f"{what} of {generation.node.key} were made {how}; they are kept, and the others are made by the code and from what is upstream as "
        "they are now, so the payload will be stale until it is generated anew or accepted. delete() makes the next attempt begin anew",
        StaleCodeWarning,
        stacklevel=loading.depth_of_user(),
    )
