"""The address of a collection in a MongoDB database: the settings of the driver, and a URL without secrets."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from persistable.errors import StoreError, need
from persistable.params.masking import masked
from persistable.stores.namespace import TABLE

_URL = re.compile(
    r"(?P<scheme>mongodb(?:\+srv)?)://(?:(?P<user>[^/@?]*)@)?(?P<hosts>[^/@?]+)/(?P<place>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL
)
_DATABASE = re.compile(r"[A-Za-z0-9_\-]{1,60}", re.ASCII)
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}", re.ASCII)
PIECE = 4 << 20
"""Bytes of one chunk of a large item, and of an item in its document, at most; MongoDB's limit is 16 MB."""


class Address(NamedTuple):
    """The location of a collection. server: a URL for the driver, without user and password. url: that of the store, without secrets."""

    server: str
    url: str
    user: str | None
    password: str | None
    database: str
    collection: str


def address_of(url: str) -> Address:
    """The address that `url` names. Raises StoreError, MissingExtra."""
    shown = masked(url)
    found = _URL.fullmatch(url)
    if found is None or (found["user"] is None and shown != url):
        raise StoreError(
            f"{shown} is no URL of a collection; write mongodb://host/database/collection, in a user and password with / : @ and ? "
            "percent-encoded, or give the password by the option password=",
            url=shown,
            path="",
        )
    database, _, collection = found["place"].strip("/").partition("/")
    collection = collection or TABLE
    for kind, name, allowed in (("database", database, _DATABASE), ("collection", collection, _COLLECTION)):
        if not allowed.fullmatch(name):
            message = f"{shown}: {name!r:.60} cannot be its {kind}; write mongodb://host/database/collection, in letters, digits, _ . and -"
            raise StoreError(message, url=shown, path="")
    user, mark, password = (found["user"] or "").partition(":")
    query = f"?{found['query']}" if found["query"] else ""
    server = f"{found['scheme']}://{found['hosts']}/{database}"
    _check(server + query, shown)
    front = f"{quote(unquote(user), safe='')}@" if user else ""
    own = f"{found['scheme']}://{front}{found['hosts']}/{database}/{collection}{query}"
    return Address(server + query, masked(own), unquote(user) or None, unquote(password) if mark else None, database, collection)


def _check(server: str, shown: str) -> None:
    need("pymongo", "pymongo", "mongo", shown)
    from pymongo.errors import ConfigurationError, InvalidURI
    from pymongo.uri_parser import parse_uri

    if server.startswith("mongodb+srv://"):
        return  # parsing would query DNS
    try:
        parse_uri(server, warn=False)
    except (ConfigurationError, InvalidURI, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{shown} is no URL of a collection ({masked(reason)}); correct it", url=shown, path="") from None
