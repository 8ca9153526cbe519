"""`Secret`: a value that lives in an environment variable and nowhere else, and the removal of such values from texts."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistable.errors import SecretMissing

if TYPE_CHECKING:
    import logging

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """Names an environment variable whose value is read where it is used, and never recorded.

    repr, str, pickles, params trees and keys hold the name of the variable, so a node with a `Secret` among its params has the same key
    whatever the value is. `template` says where the value goes: ``Secret("TOKEN", "Bearer {}")``; it is no secret itself.

    Raises ValueError for anything that cannot be the name of a variable; the value itself, given by mistake, is not repeated.
    """

    __module__ = "persistable"  # in records for ever, wherever the class is defined
    name: str
    template: str = "{}"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                "Secret takes the name of an environment variable (letters, digits and underscores) and was given something else; "
                "put the secret into a variable and pass its name"
            )
        if self.template.count("{}") != 1:
            raise ValueError(
                f"the template of Secret({self.name!r}) holds {self.template.count('{}')} places for the value; write one {{}}"
            )
        _values.setdefault(self.name, set())

    def reveal(self) -> str:
        """The value, in its template. Raises SecretMissing, naming the variable, where it is unset or empty."""
        value = os.environ.get(self.name)
        if not value:
            raise SecretMissing(
                f"the environment variable {self.name} is {'not set' if value is None else 'empty'} in process {os.getpid()}; "
                "set it where the secret is used: in this process, or in the workers of the run",
                name=self.name,
            )
        _values[self.name].add(value)
        return self.template.replace("{}", value)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})" if self.template == "{}" else f"Secret({self.name!r}, {self.template!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self.name, self.template)


def revealed(text: str | Secret) -> str:
    """`text` itself, or what the `Secret` stands for."""
    return text.reveal() if isinstance(text, Secret) else text


# ------------------------------------------------------------------ taking them out of texts

_values: dict[str, set[str]] = {}
"""Of each variable that a `Secret` of this process names: the values it was seen to have."""
_SHORTEST_PIECE = 8


def redact(text: str, *more: str) -> str:
    """`text` without the value of any `Secret` this process knows, nor any of `more`; ``***`` stands where they were.

    URLs are also taken out in pieces: libraries quote the path of a request, or the password, by itself. Values are found in the
    spellings they have inside URLs, JSON and Python literals.
    """
    names = {spelling: f"<{name}>" for name in list(_values) for value in _known(name) for spelling in _spellings(value)}
    names.update((spelling, "***") for value in more if value for spelling in _spellings(value) if spelling not in names)
    if not names:
        return text
    longest_first = sorted(names, key=lambda spelling: (-len(spelling), spelling))
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: names[found.group()], text)


def _known(name: str) -> set[str]:
    now = os.environ.get(name)
    # a worker may have read it where this process did not, and put it into the text of an error
    return _values[name] | {now} if now else _values[name]


def _spellings(value: str) -> set[str]:
    import json
    from base64 import b64encode
    from urllib.parse import quote, quote_plus

    found = {value}
    for piece in _pieces(value):
        found |= {piece, quote(piece, safe=""), quote_plus(piece), json.dumps(piece)[1:-1], repr(piece)[1:-1]}
    found.add(b64encode(value.encode("utf-8", "surrogatepass")).decode())
    return found


def _pieces(value: str) -> set[str]:
    """The value, and of a URL also what libraries show of it: the path, and each part long enough to be a secret."""
    from urllib.parse import unquote, urlsplit

    if "://" not in value:
        return {value}
    try:
        parts = urlsplit(value)
        address = {parts.hostname or ""} if parts.scheme in ("http", "https") or "." in (parts.hostname or "") else set[str]()
    except ValueError:
        return {value}
    user, _, host = parts.netloc.rpartition("@")
    path = value.partition("://")[2].removeprefix(parts.netloc)
    long = {piece for piece in (host, *re.split(r"[/?&=#,;]+", path)) if len(piece) >= _SHORTEST_PIECE}
    found = {value, user.partition(":")[2], path if len(path) > 1 else "", *long} - address - {host if parts.port else "", ""}
    return found | {unquote(piece) for piece in found}


@contextmanager
def redacted_logs(*loggers: str, more: tuple[str, ...] = ()) -> Generator[None]:
    """Inside the block, what these loggers (the name of each, no children) say is said without secrets, see `redact`."""
    import logging

    def clean(record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage(), *more), ()
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info), *more)
            record.exc_info = None
        return True

    targets = [logging.getLogger(name) for name in loggers]
    for target in targets:
        target.addFilter(clean)
    try:
        yield
    finally:
        for target in targets:
            target.removeFilter(clean)
