"""Errors in how the command was called, and the nearest correct call."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from persistable.errors import PersistableError

SHOWN = 12


@contextmanager
def as_bad_usage(*errors: type[Exception], hint: str = "") -> Generator[None]:
    """Raise BadUsage instead of these errors of the block, with the same message and a hint: they are about the words of the command."""
    try:
        yield
    except errors as error:
        text = error.args[0] if isinstance(error, LookupError) and error.args else error
        raise BadUsage(f"{text}{hint}") from error


class BadUsage(PersistableError, ValueError):
    """The words of the command are invalid. Its exit status is 2."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: ``did you mean points?``, or the known names."""
    from difflib import get_close_matches

    names = list(known)
    folded = {text.casefold(): text for text in names}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if close:
        return f"did you mean {folded[close[0]]}?"
    if not names:
        return "there are none"
    return f"there are {', '.join(names[:SHOWN])}" + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
