"""Names that are known at one place, and what is said of one that is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from persistable.errors import ConfigError
from persistable.params.building import nearest


def check_names(given: Iterable[str], accepted: Sequence[str], where: str, hint: str = "") -> None:
    """Raise ConfigError for the first of `given` that is not among `accepted`, suggesting the nearest."""
    for name in given:
        if name not in accepted:
            raise unknown(str(name), accepted, where, hint)


def unknown(name: str, accepted: Sequence[str], where: str, hint: str = "") -> ConfigError:
    """The error for a name that means nothing at `where`."""
    near = nearest(name, accepted)
    suggestion = f"did you mean {near!r}? " if near else ""
    known = f"Known there: {', '.join(accepted)}" if accepted else "Nothing is known there"
    place = f"{where}.{name}" if where and not where.endswith(": ") else f"{where}{name}"
    return ConfigError(f"{place} means nothing; {suggestion}{hint}{known}", where=place, accepted=list(accepted))
