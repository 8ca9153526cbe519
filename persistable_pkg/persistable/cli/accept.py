"""`persistable accept`: mark payloads as unaffected by code changes."""

from __future__ import annotations

from typing import Any

from persistable.cli.options import COMMON, CommonOptions, TargetArgument
from persistable.cli.output import answer
from persistable.cli.target import CommandContext, resolve_all
from persistable.cli.usage import BadUsage
from persistable.stores.base import Store


def accept(*payloads: TargetArgument, reason: str, common: CommonOptions = COMMON) -> None:
    """Mark stale payloads as unaffected by their code changes: neither they nor payloads downstream are stale any more.

    For a target or stage, everything upstream is accepted as well; for a key, only its payload. A payload that another class with other
    code has made is accepted too.

    Parameters
    ----------
    payloads
        Targets, members of targets, stages, or keys.
    reason
        The reason, which is stored in each record.
    """
    from persistable.runs.accept import accept_all, accept_code

    if not payloads:
        raise BadUsage("accept takes the payloads to accept: targets, members of targets, stages, or keys")
    here = CommandContext(common)
    number = 0
    for text in payloads:
        found = here.find(text)
        if found.place is None:
            number += accept_code([pair[0] for pair in here.pairs(found.target)], reason=reason, store=here.store)
        else:
            number += accept_all(_by_key(here, text), reason)
    answer(common.json, {"accepted": number}, f"{number} accepted" if number else "nothing was stale")


def _by_key(here: CommandContext, text: str) -> list[tuple[Any, Store]]:
    members, _ = resolve_all(here, text)
    return [(member.node if member.node is not None else here.node_at(member.place), member.store) for member in members]
