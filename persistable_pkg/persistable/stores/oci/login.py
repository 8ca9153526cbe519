"""Answers to the authentication challenges of a registry: a password, or a temporary token from its token server."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from persistable.errors import StoreError
from persistable.stores.oci.address import is_loopback
from persistable.stores.oci.credentials import Credentials

_ANY = ""  # the scope of a password, which has no limits of its own
_SHORTEST = 60.0
"""Seconds for which a token is valid, where its server does not say."""
_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"([^"]*)"|([^",\s]+))')


class _Challenge(NamedTuple):
    scheme: str
    parameters: dict[str, str]


class _Held(NamedTuple):
    header: str
    until: float


class Login:
    """The authorization headers for a registry, by scope."""

    def __init__(self, url: str, find: Callable[[], Credentials | None], client: Callable[[], Any]) -> None:
        self._url = url
        self._find = find
        self._client = client
        self._held: dict[str, _Held] = {}

    def header(self, scope: str) -> str | None:
        """The header that is valid for that scope; None before a challenge, and after it expired."""
        held = self._held.get(scope) or self._held.get(_ANY)
        return held.header if held is not None and time.monotonic() < held.until else None

    def answer(self, challenges: Sequence[str], scope: str) -> str | None:
        """The header that answers one of these challenges; None where none can be answered.

        Raises StoreError where the token server refuses, or must not get a password.
        """
        found = {challenge.scheme: challenge.parameters for challenge in map(_parsed, challenges)}
        if "bearer" in found:
            held = self._with_token(found["bearer"], scope)
        elif "basic" in found:
            credentials = self._find()
            if credentials is None or not credentials.user:
                return None
            scope, held = _ANY, _Held(_basic(credentials), float("inf"))
        else:
            return None
        self._held[scope] = held
        return held.header

    def _with_token(self, challenge: dict[str, str], scope: str) -> _Held:
        realm = challenge.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise self._refused("names a token server that is not reached by https, which gets no password")
        asked = {name: challenge[name] for name in ("service",) if name in challenge} | {"scope": challenge.get("scope", scope)}
        credentials = self._find()
        began = time.monotonic()
        response = self._ask(realm, asked, credentials)
        if response.status_code in (400, 401, 403):
            why = "refuses the credentials" if credentials is not None else "asks for credentials, and none were found"
            raise self._refused(f"has a token server that {why} ({response.status_code}); log in with `docker login`, or give auth=")
        try:
            facts: Any = response.json()
            token = str(facts.get("token") or facts["access_token"])
            seconds = float(facts.get("expires_in") or _SHORTEST)
        except (ValueError, TypeError, LookupError, AttributeError):
            raise self._refused(f"has a token server that gives no token ({response.status_code})") from None
        return _Held(f"Bearer {token}", began + seconds * 0.9)

    def _ask(self, realm: str, asked: dict[str, str], credentials: Credentials | None) -> Any:
        client = self._client()
        if credentials is not None and credentials.token:
            form = {**asked, "grant_type": "refresh_token", "client_id": "persistable", "refresh_token": credentials.token}
            return client.request("POST", realm, data=form, follow_redirects=False)
        headers = {"authorization": _basic(credentials)} if credentials is not None else {}
        return client.request("GET", realm, params=asked, headers=headers, follow_redirects=False)

    def _refused(self, why: str) -> StoreError:
        return StoreError(f"{self._url} {why}", url=self._url, path="")


def _basic(credentials: Credentials) -> str:
    return "Basic " + b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()


def _parsed(challenge: str) -> _Challenge:
    scheme, _, rest = challenge.strip().partition(" ")
    return _Challenge(scheme.lower(), {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)})
