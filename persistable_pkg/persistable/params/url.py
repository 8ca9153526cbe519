"""Check that a URL means the key that it spells: one that a library would read in another way is refused."""

from __future__ import annotations

from persistable.errors import StoreError
from persistable.params.masking import masked


def check_exact(url: str, place: str) -> None:
    """Raise StoreError unless `place`, which a file system made of `url`, is what is written there behind bucket or host."""
    scheme, _, rest = url.partition("://")
    if "::" in url or place.startswith(scheme + "://"):
        return  # several URLs in one: only fsspec can tell; or paths there are URLs
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
