"""`Failure`: the failure of the last attempt at a payload, in a file of its own next to the place of its record."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

from persistable.records.key import Key
from persistable.stores.record_file import FAILED

FAILED_SUFFIX = FAILED


class Failure(NamedTuple):
    """The failure of a generation that raised, in a file of its own that the next commit removes."""

    key: Key
    error: str
    message: str
    traceback: str
    attempt: int
    params: dict[str, Any]
    host: str
    started: float
    seconds: float
    notes: dict[str, Any] = {}  # noqa: RUF012 - a field of a tuple, never written to
    output: str = ""
    """The end of the text that the generating code printed and logged."""

    @property
    def text(self) -> str:
        """Type and message of the error: ``ValueError: no samples``."""
        return f"{self.error.removeprefix('builtins.')}: {self.message}"

    def to_bytes(self) -> bytes:
        """The content of the file."""
        return (json.dumps({**self._asdict(), "key": str(self.key)}, indent=1) + "\n").encode()

    @staticmethod
    def key_in(data: bytes) -> str | None:
        """Return the key of the payload whose failure is in `data`; None where it cannot be read."""
        key: Any = _object_in(data).get("key")
        return key if isinstance(key, str) else None

    @classmethod
    def parse(cls, data: bytes, key: Key) -> Failure:
        """Parse the failure in `data`; one that cannot be read is still a failure, with unknown facts."""
        facts = _object_in(data)
        texts, numbers = ("error", "message", "traceback", "host"), ("started", "seconds")
        sound = all(isinstance(facts.get(name), str) for name in texts) and all(type(facts.get(name)) in (int, float) for name in numbers)
        sound = sound and type(facts.get("attempt")) is int and isinstance(facts.get("params"), dict)
        if not sound or not 0 < facts["attempt"] < 1 << 31:
            return cls(key, "unknown", "the failure's own file is damaged", "", 1, {}, "", 0.0, 0.0)
        notes = facts.get("notes")
        known = {name: facts[name] for name in (*texts, *numbers, "attempt", "params")}
        output = facts.get("output")
        return cls(
            key,
            **known,
            notes=cast("dict[str, Any]", notes) if isinstance(notes, dict) else {},
            output=output if isinstance(output, str) else "",
        )


def _object_in(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; an empty one where there is none."""
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
