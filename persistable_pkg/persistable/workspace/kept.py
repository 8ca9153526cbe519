"""Payloads that are not stored, kept as long as an instance of a workflow: made once, and nobody's change reaches another."""

from __future__ import annotations

from typing import Any

from persistable.fileio.pickle import PickleFileIO


class Kept:
    """One payload. Each who asks gets a copy, unless it is something that cannot be copied."""

    def __init__(self, payload: Any) -> None:
        self._io = PickleFileIO()
        self._payload: Any = None
        self._data: bytes | None = None
        try:
            self._data = self._io.dumps(payload)
        except Exception:  # noqa: BLE001 - whatever somebody's object raises, it cannot be pickled
            self._payload = payload

    def read(self, writable: bool) -> Any:
        """The payload, its arrays writable or not."""
        if self._data is None:
            return self._payload
        return self._io.loads(bytearray(self._data) if writable else self._data)
