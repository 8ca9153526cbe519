"""Links between pages: absolute on the server, relative between the files of an exported site."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from typing import NamedTuple
from urllib.parse import quote, urlencode

from blake3 import blake3

INDEX = "index"
"""The path of the first page."""
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]{1,100}")


class Address(NamedTuple):
    """The location of a page: its path, such as ``payload/NAME/DIGEST``, and its query, by name."""

    path: str
    query: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, path: str, **query: object) -> Address:
        """The address with this query; empty values are left out."""
        return cls(path, tuple(sorted((name, str(value)) for name, value in query.items() if value not in (None, ""))))


class ServerLinks(NamedTuple):
    """Links of one page, whose address is `here`, on the server. is_static: False; True for the links of an exported site."""

    here: Address
    is_static: bool = False

    def to(self, path: str, **query: object) -> str:
        """The link to a page; empty where there is no such page."""
        return url_of(Address.of(path, **query))

    def as_json(self) -> str:
        """The link to the same page as JSON."""
        return url_of(self.here._replace(path=self.here.path + ".json"))

    def asset(self, name: str) -> str:
        """The link to a file that pages need."""
        return f"/static/{name}"

    def image(self, key: str) -> str:
        """The link to a payload that is an image."""
        return f"/image/{quote(key)}"


class StaticLinks(NamedTuple):
    """Links of one page, whose address is `here`, to other files of an exported site. known: the pages of that site."""

    here: Address
    known: Container[Address]
    is_static: bool = True

    def to(self, path: str, **query: object) -> str:
        wanted = Address.of(path, **query)
        return self._from_here(file_of(wanted)) if wanted in self.known else ""

    def as_json(self) -> str:
        return self._from_here(file_of(self.here, ".json"))

    def asset(self, name: str) -> str:
        return self._from_here(f"static/{name}")

    def image(self, key: str) -> str:
        return self._from_here(f"image/{key}")

    def _from_here(self, file: str) -> str:
        return quote(os.path.relpath(file, os.path.dirname(file_of(self.here)) or ".").replace(os.sep, "/"))


Links = ServerLinks | StaticLinks


def url_of(address: Address) -> str:
    """The URL of a page on the server, without host."""
    path = "" if address.path == INDEX else quote(address.path)
    return f"/{path}" + (f"?{urlencode(address.query)}" if address.query else "")


def file_of(address: Address, ending: str = ".html") -> str:
    """The file of a page in an exported site. Its name is made of checked names, digests and plain words alone, and is not too long."""
    words = [address.path]
    for name, value in address.query:
        words.append(f"{name}={value if _PLAIN.fullmatch(value) else blake3(value.encode()).hexdigest(length=8)}")
    return ",".join(words) + ending
