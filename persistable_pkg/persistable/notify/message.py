"""The message about an event: a title, a few lines for people, and data for programs. Without secrets."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from persistable.events import Event, RunFinished
from persistable.params.secret import redact
from persistable.records.key import Key
from persistable.records.units import duration_in_words

FIRST = 10
"""Failures that a message lists at most; of the others it gives the number."""
LONGEST = 500
"""Characters of one error's text at most."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed node: its key, shortened for people, and the error's type and message."""

    key: str
    short: str
    error: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message. `title` is one line; `summary` and `failures` follow; `more` failures are not listed. `data` is all of it for programs."""

    title: str
    summary: str
    failures: tuple[Failure, ...]
    more: int
    failed: bool
    data: dict[str, Any]

    @property
    def lines(self) -> list[str]:
        """The body as plain text."""
        rest = [f"and {self.more} more"] if self.more else []
        return [self.summary, *(f"- {failure.short}: {failure.error}" for failure in self.failures), *rest]


def failed(event: Event) -> bool:
    """Tell whether this is the end of a run in which something failed."""
    return isinstance(event, RunFinished) and bool(event.failures or event.counts.get("failed"))


def message_of(event: Event, when: datetime) -> Message:
    """Compose the message about `event`, which happened at `when`."""
    host = socket.gethostname()
    about = {"event": type(event).__name__, "host": host, "time": when.isoformat(timespec="seconds")}
    if isinstance(event, RunFinished):
        return _of_run(event, host, about)
    facts = {name: _plain(fact) for name, fact in event.facts().items() if name != "node"}
    key = getattr(event, "key", None)
    title = f"{type(event).__name__} on {host}" if key is None else f"{type(event).__name__} on {host}: {_short(key)}"
    text = ", ".join(f"{name} {value}" for name, value in facts.items() if name != "key")
    return Message(redact(title), text, (), 0, type(event).__name__ == "Failed", {**about, **facts, "title": redact(title)})


def _of_run(event: RunFinished, host: str, about: dict[str, Any]) -> Message:
    listed = tuple(Failure(str(key), _short(key), _text(error)) for key, error in event.failures[:FIRST])
    number = max(len(event.failures), event.counts.get("failed", 0))
    bad = failed(event)
    title = f"Run failed on {host}: {number} {'node' if number == 1 else 'nodes'}" if bad else f"Run finished on {host}"
    counted = ", ".join(f"{count} {outcome}" for outcome, count in event.counts.items() if count) or "nothing to do"
    more = number - len(listed)
    data = {
        **about,
        "title": title,
        "failed": bad,
        "counts": dict(event.counts),
        "seconds": event.seconds,
        "failures": [{"key": failure.key, "error": failure.error} for failure in listed],
        "more_failures": more,
    }
    return Message(title, f"{counted} in {duration_in_words(event.seconds)}", listed, more, bad, data)


def _text(text: str) -> str:
    clean = redact(text)  # before it is cut: half a secret would not be found
    return clean if len(clean) <= LONGEST else clean[: LONGEST - 1] + "…"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(str(value))


def _short(key: Key) -> str:
    return f"{key.name}/{key.digest[:8]}"
