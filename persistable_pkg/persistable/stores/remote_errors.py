"""Errors of remote services and of full disks, of any library, as errors of stores."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, cast

from persistable.errors import StoreError, StoreFull
from persistable.stores.base import FULL

Kind = Literal["missing", "no root", "denied", "no credentials", "unreachable", "full", "changed", "unsupported", "other"]

_ROOT = {"NoSuchBucket", "InvalidBucketName"}
_DENIED = {
    "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidSecurity", "InvalidToken", "SignatureDoesNotMatch",
    "PermissionDenied", "HostKeyNotVerifiable", "ClientAuthenticationError", "SFTPPermissionDenied",
}  # fmt: skip
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "TokenRetrievalError", "ProfileNotFound"}
_UNREACHABLE = {
    "ClientConnectionError", "ClientConnectorError", "ClientOSError", "ConnectTimeoutError", "ConnectionClosedError", "ConnectionLost",
    "DisconnectError", "EndpointConnectionError", "FSTimeoutError", "HTTPClientError", "ProxyError", "ReadTimeoutError", "RequestException",
    "ServerTimeoutError", "SFTPConnectionLost", "SFTPNoConnection", "ServiceRequestError", "TransportError", "gaierror",
}  # fmt: skip
_CUT_OFF = {"ClientPayloadError", "CutOff", "IncompleteRead", "IncompleteReadError", "ResponseStreamingError", "ServerDisconnectedError"}
_FULL = {"QuotaExceeded", "StorageFull", "EntityTooLarge", "SFTPNoSpaceOnFilesystem", "SFTPQuotaExceeded", "InsufficientCapacity"}
_NETWORK_NUMBERS = {errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EPIPE}


class Facts(NamedTuple):
    """The first HTTP status and error code found in an error and its causes, and the names of all their classes."""

    status: int | None
    code: str
    names: frozenset[str]


def facts(error: BaseException) -> Facts:
    """Search `error`, its causes and its context for the answer of the server."""
    status: int | None = None
    code = ""
    names: set[str] = set()
    for found in _chain(error):
        names.update(kind.__name__ for kind in type(found).__mro__)
        response: Any = getattr(found, "response", None)
        if isinstance(response, dict):
            answer = cast(dict[str, Any], response)
            code = code or str(answer.get("Error", {}).get("Code", ""))
            status = status or answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        for name in ("status", "code", "status_code"):
            number = getattr(found, name, None)
            if status is None and isinstance(number, int) and 400 <= number < 600:
                status = number
        if status is None and str(found).startswith("Forbidden"):  # gcsfs keeps no number for this one
            status = 403
    return Facts(status, code, frozenset(names))


def is_of_name(error: BaseException) -> bool:
    """Tell whether the error is due to a name that is too long for the store, and not to the store."""
    return any(getattr(found, "errno", None) == errno.ENAMETOOLONG for found in _chain(error)) or facts(error).code == "KeyTooLongError"


def kind_of(error: BaseException) -> Kind:
    """The kind of an error, among the few that a caller can act on."""
    found = facts(error)
    words = found.names | {found.code}
    numbers = {each.errno for each in _chain(error) if isinstance(each, OSError)}
    if words & _ROOT:
        return "no root"
    if words & _NO_CREDENTIALS:
        return "no credentials"
    if words & _FULL or numbers & FULL or found.status == 507:
        return "full"
    if found.status in (401, 403) or words & _DENIED or isinstance(error, PermissionError):
        return "denied"
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError) or found.status == 404:
        return "missing"
    if words & (_UNREACHABLE | _CUT_OFF) or numbers & _NETWORK_NUMBERS or (found.status or 0) >= 500:
        return "unreachable"
    if isinstance(error, ConnectionError | TimeoutError):
        return "unreachable"
    if found.status == 412:
        return "changed"
    if isinstance(error, NotImplementedError):
        return "unsupported"
    return "other"


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may succeed at once: the answer was cut off."""
    return bool(facts(error).names & _CUT_OFF)


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    pending: BaseException | None = error
    while pending is not None and pending not in chain and len(chain) < 20:
        chain.append(pending)
        pending = pending.__cause__ or (None if pending.__suppress_context__ else pending.__context__)
    return chain


@contextmanager
def room_in(url: str, purpose: str, path: str = "") -> Generator[None]:
    """Raise StoreFull for an error of a full disk in a block that writes for the store at `url`. purpose: ``in /tmp for 3 bytes``."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StoreError) or error.errno not in FULL:
            raise
        reason = error.strerror or error
        raise StoreFull(f"no room {purpose} ({reason}); free some space or raise the quota, then try again", url=url, path=path) from error
