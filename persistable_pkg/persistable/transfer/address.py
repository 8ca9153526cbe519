"""URLs that say where secrets go and never hold one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from persistable.credentials import given_under, of_url
from persistable.errors import ParamsError, UnknownParam
from persistable.secret import Secret

_PLACE = re.compile(r"\{([^{}]*)\}")
_OURS = frozenset({"range", "if-range", "if-none-match", "if-modified-since", "host", "content-length"})


def check_address(user: str, url: Any, secrets: Mapping[str, Any]) -> None:
    """Raise unless every ``{place}`` of `url` behind the host has its `Secret`, and each of those its place.

    ParamsError for a credential in the URL, UnknownParam for places and secrets that do not fit; neither repeats a credential.
    """
    if not isinstance(url, str):
        raise TypeError(f"{user} takes a URL as a string, not {type(url).__name__}")
    scheme, found, rest = url.partition("://")
    if not found or not scheme or not rest:
        raise ParamsError(f"{user} was given {_without_user(url)!r}, which is no URL; write it with its scheme, such as https://host/path")
    host = urlsplit(url).netloc
    if "@" in host and (":" in host.rpartition("@")[0] or scheme in ("http", "https")):
        raise ParamsError(
            f"the URL {_without_user(url)} given to {user} holds a user or password in front of the host, which records and logs would "
            "show; put it into an environment variable and pass that as a Secret"
        )
    found_there = of_url(url)
    if found_there is not None:
        raise ParamsError(
            f"{found_there} in the URL given to {user} is a credential in plain text, which keys, records and logs would show; "
            f"put it into an environment variable and pass Secret('NAME_OF_THE_VARIABLE'){_ways.get(user, '')}"
        )
    if _PLACE.search(host):
        raise ParamsError(f"the URL {_without_user(url)} has a place for a secret in its host; secrets go into the path, query or headers")
    for name, secret in secrets.items():
        if not isinstance(secret, Secret):
            raise TypeError(f"secrets[{name!r}] of {user} is a {type(secret).__name__}; pass Secret('NAME_OF_A_VARIABLE'), never the value")
    places = set(_PLACE.findall(url))
    for name in sorted(places - secrets.keys()):
        known = ", ".join(secrets) or "none"
        raise UnknownParam(
            f"the URL {url} has a place {{{name}}} that no secret fills (there are: {known}); "
            f"give secrets={{{name!r}: Secret(...)}}, or write braces as %7B and %7D",
            name=name,
            accepted=list(secrets),
        )
    for name in sorted(secrets.keys() - places):
        raise UnknownParam(f"the URL {url} has no place {{{name}}} for the secret of that name", name=name, accepted=sorted(places))


_ways = {
    "HttpGet": ", for which the URL has a place: ?token={token} and secrets={'token': Secret(...)}",
    "Source": " among headers=",
    "Upload": " among options=",
}


def filled(url: str, secrets: Mapping[str, Secret]) -> str:
    """`url` with the secrets in their places, for use at once. Raises SecretMissing."""
    return _PLACE.sub(lambda place: quote(secrets[place[1]].reveal(), safe=""), url)


def check_headers(user: str, headers: Mapping[str, Any]) -> None:
    """Raise ParamsError for a header that is a credential by its name but given as plain text, which records would show."""
    for name, value in headers.items():
        if not isinstance(value, str | Secret):
            raise TypeError(f"the header {name} of {user} is a {type(value).__name__}; give a string or a Secret")
        if name.lower() in _OURS:
            raise ParamsError(f"{user} sets the header {name} itself; leave it out")
        if isinstance(value, str) and given_under(name, value, in_request=True):
            raise ParamsError(
                f"the header {name} of {user} is plain text, which records would show; put it into an environment variable "
                'and pass Secret("NAME"), or Secret("NAME", "Bearer {}")'
            )


def _without_user(url: str) -> str:
    scheme, found, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{found}{host.rpartition('@')[2]}{slash}{path}" if found else "a string"
