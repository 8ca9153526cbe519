"""Errors of a MongoDB server and of connections to it, as errors of stores."""

from __future__ import annotations

import re
from typing import Literal

from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError, ServerSelectionTimeoutError

from persistable.errors import StoreError, StoreReadOnly
from persistable.stores.database import FAILED, FULL, UNREACHABLE, ErrorText, store_error

Kind = Literal["unreachable", "refused", "denied", "full", "other"]
# codes of https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_CODES: dict[int, Kind] = {
    18: "refused", 8000: "refused", 11: "refused", 13: "denied", 14031: "full", 12501: "full",
    6: "unreachable", 7: "unreachable", 89: "unreachable", 91: "unreachable", 189: "unreachable", 262: "unreachable", 9001: "unreachable",
    10107: "unreachable", 11600: "unreachable", 11602: "unreachable", 13435: "unreachable", 13436: "unreachable",
}  # fmt: skip
_DETAILS = re.compile(r" \(configured timeouts:.*|, Timeout: [\d.]+s, Topology Description:.*|, full error: .*", re.DOTALL)


_TEXTS: dict[Kind, ErrorText] = {
    "unreachable": UNREACHABLE,
    "refused": (StoreError, "{url}: it does not let this user in ({reason}); check user, password and ?authSource="),
    "full": FULL,
    "denied": (StoreError, "{where} may not be read by this user ({reason}); give it the role read on the database"),
    "other": FAILED,
}
_UNWRITABLE: ErrorText = StoreReadOnly, "{where} may not be written by this user ({reason}); give it the role readWrite on the database"


def kind_of(error: PyMongoError) -> Kind:
    """The kind of an error, among the few that a caller can act on."""
    if isinstance(error, OperationFailure):
        for code in (error.code or 0, *_write_errors(error)):
            if code in _CODES:
                return _CODES[code]
    return "unreachable" if isinstance(error, AutoReconnect | ServerSelectionTimeoutError) else "other"


def _write_errors(error: OperationFailure) -> list[int]:
    """The codes of the errors about single items."""
    details = error.details or {}
    return [int(each.get("code", 0)) for each in details.get("writeErrors", ())]


def duplicates(error: OperationFailure) -> set[int] | None:
    """The positions of items that existed already; None where there was another error."""
    codes = {int(each["index"]): int(each["code"]) for each in (error.details or {}).get("writeErrors", ())}
    return set(codes) if codes and set(codes.values()) == {11000} else None


def explained(error: PyMongoError, url: str, path: str, writing: bool) -> StoreError:
    """The StoreError for an error of the driver."""
    kind = kind_of(error)
    return store_error(
        _UNWRITABLE if kind == "denied" and writing else _TEXTS[kind], url, path, _DETAILS.sub("", str(error)) or type(error).__name__
    )
