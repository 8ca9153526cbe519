"""Check that a URL denotes the key that it spells: one that a library would read differently, or that lost a slash, is refused."""

from __future__ import annotations

import re

from persistable.errors import StoreError
from persistable.params.masking import masked


def check_exact(url: str, place: str) -> None:
    """Raise StoreError unless `place`, which a file system made of `url`, equals the text of the URL after bucket or host."""
    scheme, _, rest = url.partition("://")
    if "::" in url or place.startswith(scheme + "://"):
        return  # several URLs in one: only fsspec can read them; or paths there are URLs
    shown = masked(url)
    written = rest.partition("/")[2].strip("/")
    if not place.rstrip("/").endswith(written) or "?versionId=" in written:
        raise StoreError(
            f"{shown} would become {masked(place)!r} on {scheme}://, which is not what it spells; choose a name without ? and #",
            url=shown,
            path="",
        )
    for part in written.split("/"):
        if part in (".", ".."):
            message = f"{shown} has the part {part!r}, which some servers resolve and others keep; write the place itself"
            raise StoreError(message, url=shown, path="")


_LOST = re.compile(
    r"(abfss?|az|file|ftp|gc?s|https?|layered|memory|mongodb(?:\+srv)?|oci|postgres(?:ql)?|s3a?|sftp|smb|sqlite|ssh|webdav):(?:/(?!/)|$)",
    re.IGNORECASE,
)


def check_slashes(path: str) -> None:
    """Raise StoreError for a local path that was meant as a URL: ``Path("s3://bucket")`` is ``s3:/bucket``, a folder of this machine."""
    found = _LOST.match(path)
    if found is not None:
        shown = masked(path)
        raise StoreError(
            f"{shown!r} is a URL that has lost a slash, as in a pathlib.Path; give it as text, such as '{found[1]}://...', or as "
            f"'./{shown}' if a folder of that name is meant",
            url=shown,
            path="",
        )
