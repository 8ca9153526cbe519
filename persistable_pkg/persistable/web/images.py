"""The images among payloads, as files that a browser shows."""

from __future__ import annotations

from persistable.errors import PersistableError
from persistable.fileio.figure import SavedFigure
from persistable.web.page import Site, entry_of
from persistable.web.trust import TooLarge, payload_of

_TYPES = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf", "jpeg": "image/jpeg", "gif": "image/gif"}
_STARTS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}
LARGEST = 20_000_000


def kind_of(data: bytes) -> str | None:
    """The kind of image in these bytes, such as ``"png"``; None for anything else."""
    return next((kind for start, kind in _STARTS.items() if data.startswith(start)), None)


def image_of(site: Site, words: list[str]) -> tuple[str, bytes] | None:
    """Media type and bytes of a payload that is an image in a format that is readable without its class; None for anything else."""
    try:
        entry = entry_of(site, words)
        payload = payload_of(site, entry, entry.record, largest=LARGEST)
    except (PersistableError, OSError, TooLarge):
        return None
    if isinstance(payload, SavedFigure):
        return _TYPES[payload.format], payload.data
    kind = kind_of(payload) if isinstance(payload, bytes) else None
    return None if kind is None else (_TYPES[kind], payload)
