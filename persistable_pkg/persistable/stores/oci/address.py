"""Parsing of ``oci://registry/repository``: the server, its protocol, and the name of the repository there."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from persistable.errors import StoreError
from persistable.params.masking import masked

_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_LONGEST_NAME = 255
_ELSEWHERE = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
"""Registries whose API is at another host than the usual name."""


class Address(NamedTuple):
    """A repository of a registry."""

    host: str
    """The registry as in the URL, in lower case, with its port."""
    repository: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse ``oci://registry/repository``. Raises StoreError, which does not repeat a password."""
        rest = url.partition("://")[2]
        host, _, repository = rest.partition("/")
        if "@" in host:
            shown = f"oci://***@{host.rpartition('@')[2]}/{repository}"
            raise _refused(
                masked(shown),
                "has a user or password in it, which logs and records would show; log in with `docker login`, or give "
                'auth=Secret("NAME"), the name of an environment variable that holds user:password',
            )
        shown = masked(url)
        if not _HOST.fullmatch(host):
            raise _refused(shown, "names no registry; write oci://registry/repository")
        repository = repository.rstrip("/")
        if not repository:
            raise _refused(shown, "names no repository; write oci://registry/repository")
        if re.search(r"[:@?#]", repository):
            raise _refused(shown, "names a tag, a digest or more; a store is a whole repository: write oci://registry/repository")
        if not _NAME.fullmatch(repository) or len(host) + 1 + len(repository) > _LONGEST_NAME:
            raise _refused(
                shown,
                "names no repository that a registry can have: lower-case letters and digits, with single . _ or - between them, / "
                f"between parts, {_LONGEST_NAME} characters at most with the registry",
            )
        return cls(host.lower(), repository)

    @property
    def url(self) -> str:
        """The URL of the store."""
        return f"oci://{self.host}/{self.repository}"

    @property
    def is_loopback(self) -> bool:
        """Tell whether the registry is on this machine, so that it needs no encryption."""
        return is_loopback(urlsplit(f"//{self.host}").hostname or "")

    @property
    def api(self) -> str:
        """The base URL of the registry's API: http on this machine, https everywhere else."""
        return f"{'http' if self.is_loopback else 'https'}://{_ELSEWHERE.get(self.host, self.host)}"


def is_loopback(host: str) -> bool:
    """Tell whether a host, without its port, is this machine by its name or address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _refused(shown: str, why: str) -> StoreError:
    return StoreError(f"{shown} {why}", url=shown, path="")
