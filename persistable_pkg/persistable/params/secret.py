"""`Secret`: a value that is kept in an environment variable and nowhere else, and the removal of such values from texts."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import is_
from typing import TYPE_CHECKING, Any, TypeVar

from persistable.errors import RemoteError, SecretMissing
from persistable.params.credentials import is_named_credential
from persistable.params.masking import masked, unmasked

if TYPE_CHECKING:
    import logging

ErrorT = TypeVar("ErrorT", bound=BaseException)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """The name of an environment variable whose value is read where it is used, and never recorded.

    repr, str, pickles, params trees and keys hold the name of the variable, so the key of a node with a `Secret` among its params does not
    depend on the value. `template` is the text around the value: ``Secret("TOKEN", "Bearer {}")``; it is no secret itself.

    Raises ValueError for anything that cannot be the name of a variable; the value itself, given by mistake, is not repeated.
    """

    __module__ = "persistable"  # permanent in records, independent of the module that defines the class
    name: str
    """The name of the environment variable."""
    template: str = "{}"
    """The text that the value goes into, at ``{}``."""

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
    """Return `text` itself, or the value of the `Secret`."""
    return text.reveal() if isinstance(text, Secret) else text


# ------------------------------------------------------------------ taking them out of texts

_values: dict[str, set[str]] = {}
"""The values seen in each variable that a `Secret` of this process names."""


def add_secret(name: str, value: str) -> None:
    """Remove `value`, which is not from an environment variable, from texts from now on: ``<name>`` replaces it."""
    _values.setdefault(name, set()).add(value)


_SHORTEST_PIECE = 8
_SHORTEST_CODE = 6


def redact(text: str, *more: str) -> str:
    """`text` without the value of any `Secret` this process knows, nor any of `more`: ``<name>`` and ``***`` replace them.

    Values are found in the spellings they have inside URLs, JSON, HTML, shell scripts, Python literals and base64, and by parts that show
    alone: the secret parts of URLs, connections and JSON, and each of several lines. Secrets in any URL are removed too, see `masked`.
    """
    if not _values and not more:
        return masked(text)
    named = [(name, value) for name in list(_values) for value in sorted(_known(name))]
    pattern, names = _pattern((*named, *[("", value) for value in more if value]))
    return masked(pattern.sub(lambda found: names[found.group()], text) if names else text)


def _known(name: str) -> set[str]:
    now = os.environ.get(name)
    # a worker may have read it, although this process did not, and put it into the text of an error
    return _values[name] | {now} if now else _values[name]


@lru_cache(maxsize=16)
def _pattern(values: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    """The pattern of all spellings of these values, and the replacement of each."""
    names: dict[str, str] = {}
    for name, value in values:
        for spelling in _spellings(value):
            names.setdefault(spelling, f"<{name}>" if name else "***")
    longest_first = sorted(names, key=lambda spelling: (-len(spelling), spelling))
    return re.compile("|".join(map(re.escape, longest_first))), names


def _spellings(value: str) -> set[str]:
    import html
    import json
    import shlex
    from urllib.parse import quote, quote_plus

    found: set[str] = set()
    for piece in _pieces(value):
        quoted = {quote(piece, safe=""), quote(piece), quote_plus(piece)}
        quoted |= {quote(each, safe="") for each in quoted}
        found |= quoted | {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), each) for each in quoted}
        literals = {json.dumps(piece)[1:-1], json.dumps(piece, ensure_ascii=False)[1:-1], repr(piece)[1:-1], ascii(piece)[1:-1]}
        literals |= {repr(piece.encode("utf-8", "surrogatepass"))[2:-1], piece.replace("\\", "\\\\").replace("'", "\\'")}
        literals |= {each.replace("/", "\\/") for each in literals}
        found |= literals | {repr(each)[1:-1] for each in literals} | {json.dumps(each)[1:-1] for each in literals}
        found |= {piece, html.escape(piece), html.escape(piece, quote=False), shlex.quote(piece)}
        found |= _encoded(piece.encode("utf-8", "surrogatepass"))
    return found - {""}


def _encoded(data: bytes) -> set[str]:
    """The base64 of `data` at each position inside longer encoded text (``user:password``), and its hexadecimal; none that is too short."""
    from base64 import b64encode

    found = {data.hex(), data.hex().upper(), b64encode(data).decode()}
    for before in range(3):
        whole = b64encode(bytes(before) + data).decode()
        found.add(whole[(0, 2, 3)[before] : (before + len(data)) * 8 // 6])
    found |= {each.rstrip("=") for each in found}
    found |= {each.translate({43: "-", 47: "_"}) for each in found}
    return {each for each in found if len(each) >= _SHORTEST_CODE}


def _pieces(value: str) -> set[str]:
    """The value, and the parts of it that libraries show alone."""
    lines = {line.strip() for line in value.splitlines()} if "\n" in value else set[str]()
    scheme, _, rest = value.partition(" ")
    if scheme.lower() in ("basic", "bearer", "token"):
        lines.add(rest)
    behind: set[str] = set() if "://" in value or value.startswith("{") else {value.partition(":")[2]}
    found = lines | _inside(value) | behind
    return {value} | _pieces_of_url(value) | {piece for piece in found if len(piece) >= _SHORTEST_PIECE}


def _inside(value: str) -> set[str]:
    """The secret parts of a compound value: JSON, or a connection such as ``host=h;password=p``."""
    import json

    if value.lstrip().startswith("{"):
        try:
            return {line for text in _texts(json.loads(value)) for line in (text, *text.splitlines())}
        except ValueError:
            return set()
    return {part for name, part in re.findall(r"(\w+)=([^;\s]+)", value) if is_named_credential(name)}


def _texts(value: Any, name: str = "") -> Iterator[str]:
    several: Any = value
    if isinstance(value, str):
        if is_named_credential(name):
            yield value
    elif isinstance(value, dict):
        for key in several:
            yield from _texts(several[key], key)
    elif isinstance(value, list):
        for item in several:
            yield from _texts(item, name)


def _pieces_of_url(value: str) -> set[str]:
    """The password and path of a URL, and each part long enough to be a secret."""
    from urllib.parse import unquote, urlsplit

    if "://" not in value:
        return set()
    try:
        parts = urlsplit(value)
        address = {parts.hostname or ""} if parts.scheme in ("http", "https") or "." in (parts.hostname or "") else set[str]()
    except ValueError:
        return set()
    user, _, host = parts.netloc.rpartition("@")
    path = value.partition("://")[2].removeprefix(parts.netloc)
    long = {piece for piece in (host, *re.split(r"[/?&=#,;]+", path)) if len(piece) >= _SHORTEST_PIECE}
    found = {value, user.partition(":")[2], path if len(path) > 1 else "", *long} - address - {host if parts.port else "", ""}
    return found | {unquote(piece) for piece in found}


# ------------------------------------------------------------------ and out of errors


def clean(error: ErrorT) -> ErrorT | RemoteError:
    """Remove secrets from the message, notes, attributes, causes and members of `error`, in place, and return it.

    If its text still contains one, as a part of it cannot be changed, return a `RemoteError` in its place.
    """
    cleaned: Any = _cleaned(error, set()) if _values or _show_urls(error) else error
    return cleaned  # type: ignore[no-any-return]


def _show_urls(error: BaseException) -> bool:
    """Tell whether `error`, one of its causes or one of its members shows a URL with a secret."""
    seen: list[BaseException] = []
    pending = [error]
    while pending:
        each = pending.pop()
        if any(each is known for known in seen):
            continue
        seen.append(each)
        if unmasked(_text_of(each)):
            return True
        pending += [other for other in (each.__cause__, each.__context__) if other is not None]
        pending += getattr(each, "exceptions", ()) if issubclass(each.__class__, BaseExceptionGroup) else ()
    return False


def _cleaned(error: Any, seen: set[int]) -> Any:
    if id(error) in seen:
        return error
    seen.add(id(error))
    error.args = _replaced(error.args)
    for name in ("filename", "filename2", "strerror", "msg", "text"):  # of OSError, ImportError and SyntaxError
        if isinstance(getattr(error, name, None), str) and name not in vars(error):
            _set(error, name, redact(getattr(error, name)))
    attributes: dict[str, Any] = {**error.__dict__}
    for name, value in attributes.items():
        if _replaced(value) is not value:
            _set(error, name, _replaced(value))
    if error.__cause__ is not None:
        cause = _cleaned(error.__cause__, seen)
        if cause is not error.__cause__:
            error.__cause__ = cause
    if error.__context__ is not None:
        error.__context__ = _cleaned(error.__context__, seen)
    members: tuple[Any, ...] = getattr(error, "exceptions", ()) if issubclass(error.__class__, BaseExceptionGroup) else ()
    for member in members:
        _cleaned(member, seen)
    text = _text_of(error)
    return error if redact(text) == text else _stand_in(error)


def _set(error: BaseException, name: str, value: Any) -> None:
    with suppress(AttributeError, TypeError):  # then it stays in the text, which is checked in the end
        setattr(error, name, value)


def _replaced(value: Any) -> Any:
    """`value` with its texts redacted; itself where none holds a secret."""
    kind: Any = value.__class__
    again: Any = value
    several: Any = value
    if kind is str:
        again = redact(value)
    elif kind is bytes:
        again = redact(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    elif kind is list or kind is tuple:
        items: list[Any] = [_replaced(item) for item in several]
        again = several if all(map(is_, items, several)) else kind(items)
    elif kind is dict:
        names, items = [_replaced(name) for name in several], [_replaced(item) for item in several.values()]
        same = all(map(is_, names, several)) and all(map(is_, items, several.values()))
        again = several if same else kind(zip(names, items, strict=True))
    if kind in (str, bytes):
        return value if again == value else again
    return again


def message_of(error: BaseException) -> str:
    """The message of `error`, with its secrets; if its class fails to make one, a text that says so."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - any error that the class of a user's error raises
        return "<no message: its __str__ raises>"


def _text_of(error: BaseException) -> str:
    try:
        return f"{error} {error!r}"
    except Exception:  # noqa: BLE001 - any error that the class of a user's error raises
        return ""


def _stand_in(error: BaseException) -> RemoteError:
    import traceback

    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    message = redact(message_of(error))
    text = redact("".join(traceback.format_exception(error)))
    stands = RemoteError(f"{kind}: {message}", error=kind, text=message, traceback=text)
    stands.__suppress_context__ = True
    return stands.with_traceback(error.__traceback__)


def redact_log_record(record: logging.LogRecord, *more: str) -> bool:
    """Remove secrets from a log record: a filter of loggers."""
    if _values or more or unmasked(record.getMessage()):
        import logging

        record.msg, record.args = redact(record.getMessage(), *more), ()
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info), *more)
            record.exc_info = None
    return True


@contextmanager
def redacted_logs(*loggers: str, more: tuple[str, ...] = ()) -> Generator[None]:
    """Inside the block, remove secrets from the records of these loggers (the name of each, no children), see `redact`."""
    import logging

    def without(record: logging.LogRecord) -> bool:
        return redact_log_record(record, *more)

    targets = [logging.getLogger(name) for name in loggers]
    for target in targets:
        target.addFilter(without)
    try:
        yield
    finally:
        for target in targets:
            target.removeFilter(without)
