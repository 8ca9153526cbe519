"""Errors of a MongoDB server and of the way to it, as errors of stores."""

from __future__ import annotations

import re
from textwrap import shorten
from typing import Literal

from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError, ServerSelectionTimeoutError

from persistable.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from persistable.params.masking import masked

Kind = Literal["unreachable", "refused", "denied", "full", "other"]
# codes of https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_CODES: dict[int, Kind] = {
    18: "refused", 8000: "refused", 11: "refused", 13: "denied", 14031: "full", 12501: "full",
    6: "unreachable", 7: "unreachable", 89: "unreachable", 91: "unreachable", 189: "unreachable", 262: "unreachable", 9001: "unreachable",
    10107: "unreachable", 11600: "unreachable", 11602: "unreachable", 13435: "unreachable", 13436: "unreachable",
}  # fmt: skip
_DETAILS = re.compile(r" \(configured timeouts:.*|, Timeout: [\d.]+s, Topology Description:.*|, full error: .*", re.DOTALL)


def kind_of(error: PyMongoError) -> Kind:
    """Which of the few cases that a caller can act on this is."""
    if isinstance(error, OperationFailure):
        for code in (error.code or 0, *_write_errors(error)):
            if code in _CODES:
                return _CODES[code]
    return "unreachable" if isinstance(error, AutoReconnect | ServerSelectionTimeoutError) else "other"


def _write_errors(error: OperationFailure) -> list[int]:
    """The codes of what went wrong with single items."""
    details = error.details or {}
    return [int(each.get("code", 0)) for each in details.get("writeErrors", ())]


def duplicates(error: OperationFailure) -> set[int] | None:
    """The positions of items that were there already; None where something else went wrong."""
    codes = {int(each["index"]): int(each["code"]) for each in (error.details or {}).get("writeErrors", ())}
    return set(codes) if codes and set(codes.values()) == {11000} else None


def explained(error: PyMongoError, url: str, path: str, writing: bool) -> StoreError:
    """The error of a store for one of the driver."""
    about = {"url": url, "path": path}
    where = f"{url} ({path})" if path else url
    reason = shorten(masked(" ".join(_DETAILS.sub("", str(error)).split())) or type(error).__name__, 300, placeholder="...")
    kind = kind_of(error)
    if kind == "unreachable":
        return StoreUnavailable(f"{url} cannot be reached ({reason}); check the address and the network, then try again", **about)
    if kind == "refused":
        return StoreError(f"{url}: it does not let this user in ({reason}); check user, password and ?authSource=", **about)
    if kind == "full":
        return StoreFull(f"no room for {where} ({reason}); free some space on the server", **about)
    if kind == "denied" and writing:
        return StoreReadOnly(f"{where} may not be written by this user ({reason}); give it the role readWrite on the database", **about)
    if kind == "denied":
        return StoreError(f"{where} may not be read by this user ({reason}); give it the role read on the database", **about)
    return StoreError(f"{where} failed: {reason}", **about)
