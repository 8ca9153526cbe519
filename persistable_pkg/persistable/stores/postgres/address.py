"""The address of a table in a PostgreSQL database: the settings of libpq, and a URL without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from persistable.errors import StoreError, need
from persistable.params.masking import masked, unmasked
from persistable.stores.namespace import TABLE

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,43}", re.ASCII)  # PostgreSQL cuts names at 63 bytes, and other tables are named after it
_SECRETS = ("password", "sslpassword")
_IN_FRONT = ("user", "host", "port", "dbname")


class Address(NamedTuple):
    """The location of a table. settings: for libpq, without secrets. secrets: those that the URL had.

    schema: None for that of the search path. named: the table as given, None where it was left out.
    """

    settings: Mapping[str, str]
    secrets: Mapping[str, str]
    schema: str | None
    table: str
    named: str | None = None

    @property
    def url(self) -> str:
        """The URL, without secrets."""
        hosts, ports = (self.settings.get(name, "").split(",") for name in ("host", "port"))
        places = hosts if len(ports) < 2 and not ports[0] else zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False)
        options = {name: value for name, value in sorted(self.settings.items()) if name not in _IN_FRONT}
        if any(host.startswith("/") for host in hosts):
            options |= {name: self.settings[name] for name in ("host", "port") if name in self.settings}
            places = []
        front = ",".join(_host(place) if isinstance(place, str) else f"{_host(place[0])}:{place[1]}" for place in places)
        user = f"{quote(self.settings['user'], safe='')}@" if "user" in self.settings else ""
        own = {"schema": self.schema} if self.schema is not None else {}
        query = urlencode({**options, **own, **({"table": self.table} if self.table != TABLE else {})}, safe="/:", quote_via=quote)
        return f"postgresql://{user}{front}/{quote(self.settings.get('dbname', ''), safe='')}{'?' if query else ''}{query}"


def address_of(url: str, schema: str | None = None, table: str | None = None) -> Address:
    """The address that `url` and these options name. Raises StoreError, MissingExtra."""
    shown = masked(url)
    place, _, query = url.partition("?")
    pairs = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))  # libpq takes no + for a space
    schema, named = pairs.pop("schema", schema), pairs.pop("table", table)
    table = named or TABLE
    for kind, name in (("schema", schema), ("table", table)):
        if name is not None and not _NAME.fullmatch(name):
            raise StoreError(
                f"{shown}: {name!r:.60} cannot be its {kind}; a name has up to 44 letters, digits and _ . -, and begins with a letter or _",
                url=shown,
                path="",
            )
    need("psycopg", "psycopg", "postgres", shown)
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    _, _, rest = place.partition("://")
    try:
        found = conninfo_to_dict(f"postgresql://{rest}{'?' if pairs else ''}{urlencode(pairs, quote_via=quote)}")
    except psycopg.ProgrammingError as error:
        reason = "" if unmasked(url) else f" ({' '.join(str(error).split())})"
        raise StoreError(
            f"{shown} is no URL of a database{reason}; write postgresql://user@host:port/database", url=shown, path=""
        ) from None
    settings = {name: str(value) for name, value in found.items() if value is not None}
    if not all(port.isdecimal() for port in settings.get("port", "0").split(",") if port):
        raise StoreError(
            f"{shown} has a port that is no number; in a URL, percent-encode / : @ and ? of a user and password, or give the password by "
            "$PGPASSWORD, ~/.pgpass or the option password=",
            url=shown,
            path="",
        )
    secrets = {name: settings.pop(name) for name in _SECRETS if name in settings}
    return Address(settings, secrets, schema, table, named)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
