"""Errors of a PostgreSQL server and of connections to it, as errors of stores."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Literal

from persistable.errors import StoreError, StoreReadOnly
from persistable.stores.database import FAILED, FULL, UNREACHABLE, ErrorText, store_error

if TYPE_CHECKING:
    import psycopg

Kind = Literal["unreachable", "busy", "no credentials", "refused", "no database", "full", "denied", "read only", "no schema", "other"]

# codes of https://www.postgresql.org/docs/current/errcodes-appendix.html: whole ones, and classes
_CODES: dict[str, Kind] = {
    "57P01": "unreachable", "57P02": "unreachable", "57P03": "unreachable", "57P05": "unreachable", "08": "unreachable",
    "40001": "busy", "40P01": "busy", "53300": "busy", "55P03": "busy",
    "53100": "full", "54000": "full", "42501": "denied", "25006": "read only",
    "28": "refused", "3D000": "no database", "3F000": "no schema",
}  # fmt: skip
# a failed connection has no code
_WORDS: dict[str, Kind] = {
    "the database system is": "unreachable", "too many clients": "busy", "connection slots": "busy",
    "no password supplied": "no credentials", "authentication failed": "refused", "pg_hba.conf": "refused",
    "is not permitted to log in": "refused", "permission denied for": "refused",
    "role \"": "refused", "database \"": "no database", "definition of service": "other", "certificate": "refused",
}  # fmt: skip


_TEXTS: dict[Kind, ErrorText] = {
    "unreachable": UNREACHABLE,
    "busy": UNREACHABLE,
    "no credentials": (StoreError, "{url}: it asks for a password ({reason}); give it by $PGPASSWORD, ~/.pgpass or the option password="),
    "refused": (StoreError, "{url}: it does not let this user in ({reason}); check user, password and database"),
    "no database": (StoreError, "{url}: there is no such database here ({reason}); make it, or correct the name"),
    "no schema": (StoreError, "{url}: there is no schema for its table ({reason}); make it, or name one by ?schema="),
    "full": FULL,
    "read only": (
        StoreReadOnly,
        "{where} may not be written by this user ({reason}); grant it CREATE on the schema, or all on the tables",
    ),
    "denied": (StoreError, "{where} may not be read by this user ({reason}); grant it SELECT on the tables"),
    "other": FAILED,
}


def kind_of(error: psycopg.Error) -> Kind:
    """The kind of an error, among the few that a caller can act on."""
    code = error.sqlstate
    if code is not None:
        return _CODES.get(code) or _CODES.get(code[:2]) or "other"
    connection, text = error.pgconn, str(error)
    if connection is not None and connection.needs_password:
        return "no credentials"
    for words, kind in _WORDS.items():
        if words in text:
            return kind
    if "FATAL" not in text:
        return "other" if type(error).__name__ == "ProgrammingError" else "unreachable"
    # a message in another language than English
    return "refused" if connection is not None and connection.used_password else "other"


def is_passing(error: psycopg.Error) -> bool:
    """Tell whether an error is transient: the server restarts or is out of connections, or another transaction conflicted."""
    return kind_of(error) in ("unreachable", "busy")


def explained(error: psycopg.Error, url: str, path: str, writing: bool) -> StoreError:
    """The StoreError for an error of psycopg."""
    kind = kind_of(error)
    return store_error(_TEXTS["read only" if kind == "denied" and writing else kind], url, path, str(error))


def too_long(url: str, path: str, most: int) -> StoreError:
    """The error for a path that is too long for an entry of an index."""
    message = f"the path {path[:60]}... is too long for {url}: {len(path.encode())} bytes, it takes {most}"
    error = StoreError(message, url=url, path=path)
    error.errno = errno.ENAMETOOLONG
    return error
