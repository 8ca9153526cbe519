"""Scalar values, read from text or TOML values, and checks of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, cast
from uuid import UUID

from persistable.errors import ConfigError
from persistable.params.building import did_you_mean


class UntypedText(str):
    """Text from an environment variable or ``--set``, of a type that only the field determines."""

    __slots__ = ("source",)
    source: str

    def __new__(cls, text: str, source: str) -> UntypedText:
        """Make the text; `source` is its place in errors."""
        made = super().__new__(cls, text)
        made.source = source
        return made


def place_of(value: Any, where: str) -> str:
    """The place at which `value` was written: an environment variable, a ``--set``, or else `where`."""
    while isinstance(value, Mapping):
        value = next(iter(cast("Mapping[str, Any]", value).values()), None)
    return value.source if isinstance(value, UntypedText) else where


def check_names(given: Mapping[str, Any], accepted: Sequence[str], where: str, hint: str = "") -> None:
    """Raise ConfigError for the first name in `given` that is not among `accepted`, suggesting the nearest."""
    for name, value in given.items():
        if name not in accepted:
            source = place_of(value, "")
            raise unknown_name_error(str(name), accepted, f"{source}: " if source else where, hint)


def unknown_name_error(name: str, accepted: Sequence[str], where: str, hint: str = "") -> ConfigError:
    """The error for an unknown name at `where`."""
    suggestion = did_you_mean(name, accepted, "{} ")
    known = f"Known there: {', '.join(accepted)}" if accepted else "Nothing is known there"
    place = f"{where}.{name}" if where and not where.endswith(": ") else f"{where}{name}"
    return config_error(place, f"is unknown{'; ' if suggestion or hint else '. '}{suggestion}{hint}{known}", accepted)


_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def config_error(where: str, why: object, accepted: Iterable[str] = ()) -> ConfigError:
    """The error whose message is the place, followed by the reason: text, or another error."""
    colon = ":" if isinstance(why, Exception) else ""
    return ConfigError(f"{where}{colon} {why}", where=where, accepted=list(accepted))


def wrong_value_error(raw: Any, where: str, wanted: str, accepted: Iterable[str] = ()) -> ConfigError:
    """The error for a value that is not as `wanted`."""
    shown = repr(str(raw)) if isinstance(raw, str) else repr(raw)
    return config_error(where, f"is {shown:.80}; give {wanted}", accepted)


def number_of(kind: Any, raw: Any, where: str) -> Any:
    """Read an int, float or complex; never with a loss, and never from a bool."""
    words = {int: "a whole number", float: "a number", complex: "a number, such as 1+2j"}[kind]
    if isinstance(raw, str):
        try:
            return kind(str(raw))
        except ValueError:
            try:
                return int(raw, 0) if kind is int else kind(raw.replace(" ", ""))
            except ValueError:
                raise wrong_value_error(raw, where, words) from None
    accepted = {int: (int,), float: (int, float), complex: (int, float, complex)}[kind]
    if isinstance(raw, bool) or not isinstance(raw, accepted):
        raise wrong_value_error(raw, where, words)
    return raw if type(raw) is kind else kind(raw)


def _truth(raw: Any, where: str) -> bool:
    if isinstance(raw, str):
        word = raw.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    elif isinstance(raw, bool):
        return raw
    raise wrong_value_error(raw, where, "true or false")


def _text(raw: Any, where: str) -> str:
    if isinstance(raw, str):
        return str(raw)
    raise wrong_value_error(raw, where, "text")


def _bytes(raw: Any, where: str) -> bytes:
    if isinstance(raw, bytes):
        return raw
    return _text(raw, where).encode()


def _nothing(raw: Any, where: str) -> None:
    if raw is None or (isinstance(raw, str) and raw.lower() in ("none", "null")):
        return
    raise wrong_value_error(raw, where, "null, or leave it out")


def _parsed(kind: Any, words: str, *also: type) -> Callable[[Any, str], Any]:
    """Make a reader of values of `kind`: it parses text, and converts values of the types `also` through their text."""

    def parse(raw: Any, where: str) -> Any:
        if type(raw) is kind:
            return raw
        if isinstance(raw, (str, *also)) and not isinstance(raw, bool):
            try:
                return getattr(kind, "fromisoformat", kind)(str(raw))
            except (ValueError, ArithmeticError):
                pass
        raise wrong_value_error(raw, where, words)

    return parse


_DURATION = re.compile(r"(?:(-?\d+) days?,? ?)?(?:(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?)?")


def _duration(raw: Any, where: str) -> timedelta:
    if isinstance(raw, timedelta):
        return raw
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return timedelta(seconds=raw)
    if isinstance(raw, str):
        found = _DURATION.fullmatch(raw.strip())
        if found and found[0]:
            days, hours, minutes, seconds = [part or "0" for part in found.groups()]
            return timedelta(days=int(days), hours=int(hours), minutes=int(minutes), seconds=float(seconds))
        try:
            return timedelta(seconds=float(raw))
        except ValueError:
            pass
    raise wrong_value_error(raw, where, "seconds, or a time such as 1:30:00")


def _pattern(raw: Any, where: str) -> re.Pattern[str]:
    if isinstance(raw, re.Pattern):
        return raw  # pyright: ignore[reportUnknownVariableType]
    try:
        return re.compile(_text(raw, where))
    except re.error as error:
        raise config_error(where, f"is {raw!r:.60}, which is no pattern: {error}") from error


def _path(raw: Any, where: str) -> PurePath:
    return raw if isinstance(raw, PurePath) else Path(_text(raw, where))


SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    bool: _truth,
    int: lambda raw, where: number_of(int, raw, where),
    float: lambda raw, where: number_of(float, raw, where),
    complex: lambda raw, where: number_of(complex, raw, where),
    str: _text,
    bytes: _bytes,
    type(None): _nothing,
    Path: _path,
    PurePath: _path,
    date: _parsed(date, "a date, such as 2024-01-31"),
    datetime: _parsed(datetime, "a date and time, such as 2024-01-31T12:00:00"),
    time: _parsed(time, "a time, such as 12:00:00"),
    timedelta: _duration,
    Decimal: _parsed(Decimal, "a decimal number", int, float),
    Fraction: _parsed(Fraction, "a fraction, such as 1/3", int, float),
    UUID: _parsed(UUID, "a UUID"),
    re.Pattern: _pattern,
}
"""The reader of each type, called with the value and its place. Each raises ConfigError."""
