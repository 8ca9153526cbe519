"""`persistable pin`: protect payloads from cleanups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persistable.cli.options import COMMON, CommonOptions, Flag, TargetArgument
from persistable.cli.output import Column, answer, note, table, write_json
from persistable.cli.target import CommandContext, resolve_one
from persistable.cli.usage import BadUsage, as_bad_usage
from persistable.errors import UnknownKey
from persistable.records.key import Key

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog


def pin(
    payload: TargetArgument | None = None,
    reason: str | None = None,
    /,
    *,
    remove: Flag = False,
    common: CommonOptions = COMMON,
) -> int:
    """Pin a payload: gc removes neither it nor anything upstream of it. Without a payload, list the pins.

    Parameters
    ----------
    payload
        A target, a member of one, or a key.
    reason
        The reason, as text.
    remove
        Remove the pin.
    """
    here = CommandContext(common)
    catalog = here.catalog
    if payload is None:
        if remove:
            raise BadUsage("pin --remove takes the payload whose pin is to be removed; `persistable pin` lists the pins")
        return _list(catalog, common)
    key = _key(here, payload)
    if remove:
        gone = catalog.unpin(key)
        answer(common.json, {"key": str(key), "removed": gone}, f"{key} is not pinned any more" if gone else f"{key} was not pinned")
        return 0
    if not reason:
        raise BadUsage(f'pin takes the reason as well: persistable pin {payload} "figure 3 of the paper"')
    with as_bad_usage(UnknownKey, hint="; only what is stored can be pinned"):
        made = catalog.pin(key, reason)
    answer(common.json, _row(*made), f"pinned {made.key}: {made.reason}")
    return 0


def _key(here: CommandContext, text: str) -> Key:
    try:
        return Key.parse(text)  # stored or not
    except ValueError:
        return resolve_one(here, text).key


def _list(catalog: Catalog, common: CommonOptions) -> int:
    found = catalog.pins()
    if common.json:
        write_json([_row(*each) for each in found])
        return 0
    if found:
        from datetime import datetime

        days = ["?" if each.at is None else datetime.fromtimestamp(each.at).astimezone().strftime("%Y-%m-%d") for each in found]
        rows = [(str(each.key), day, each.reason) for each, day in zip(found, days, strict=True)]
        table([Column("key"), Column("since"), Column("reason", long=True)], rows)
    else:
        note("nothing is pinned")
    return 0


def _row(key: Key, reason: str, at: float | None, host: str) -> dict[str, object]:
    return {"key": str(key), "reason": reason, "at": at, "host": host}
