"""Notifications from the ``[notify]`` table."""

# Tables hold values of every type, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from persistable.credentials import given_under, of_url, opaque
from persistable.errors import ConfigError
from persistable.project.leaves import wrong
from persistable.project.names import check_names
from persistable.secret import Secret

_SECRET = ("secret", "template")
_COMMON = ("url", *_SECRET, "on")
# whoever knows the path may post
_SECRET_PATHS = ("slack.com", "discord.com", "discordapp.com", "office.com", "zapier.com", "telegram.org", "ifttt.com", "pushcut.io")
_KINDS = {
    "slack": ("Slack", (*_COMMON, "timeout")),
    "webhook": ("Webhook", (*_COMMON, "timeout", "headers")),
    "apprise": ("Apprise", _COMMON),
}


def hooks_of(given: Any, where: str) -> list[Any]:
    """The hooks that ``{ slack = { secret = "SLACK_URL" } }`` means; each entry may be a list of several.

    Raises ConfigError for what is unknown, and for a URL that is a secret itself: the file would give it away.
    """
    place = f"{where}notify"
    if not isinstance(given, Mapping):
        raise wrong(given, place, 'a table, such as { slack = { secret = "SLACK_URL" } }')
    table = cast("Mapping[str, Any]", given)
    check_names(table, list(_KINDS), place)
    found: list[Any] = []
    for kind, entries in table.items():
        several: list[Any] = entries if isinstance(entries, list) else [entries]
        found += [_hook(kind, entry, f"{place}.{kind}") for entry in several]
    return found


def _hook(kind: str, entry: Any, where: str) -> Any:
    from persistable import notify

    name, accepted = _KINDS[kind]
    if not isinstance(entry, str | Mapping):
        raise wrong(entry, where, 'a URL, or { secret = "NAME" } for one in an environment variable')
    facts = {"url": entry} if isinstance(entry, str) else dict(cast("Mapping[str, Any]", entry))
    check_names(facts, list(accepted), where)
    options: dict[str, Any] = {}
    if "on" in facts:
        if facts["on"] not in ("failure", "always"):
            raise wrong(facts["on"], f"{where}.on", "'failure' or 'always'")
        options["on"] = facts["on"]
    if "timeout" in facts:
        options["timeout"] = _seconds(facts["timeout"], f"{where}.timeout")
    if "headers" in facts:
        headers = cast("Mapping[str, Any]", facts["headers"])
        options["headers"] = {header: _header(value, f"{where}.headers.{header}") for header, value in headers.items()}
    return getattr(notify, name)(_receiver(kind, facts, where), **options)


def _seconds(given: Any, where: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or given <= 0:
        raise wrong(given, where, "seconds, more than zero")
    return float(given)


def _receiver(kind: str, facts: Mapping[str, Any], where: str) -> str | Secret:
    if ("url" in facts) == ("secret" in facts):
        raise ConfigError(
            f'{where} needs one of `url` and `secret`; a secret is {{ secret = "NAME" }}', where=where, accepted=["url", "secret"]
        )
    if "secret" in facts:
        return _secret(facts, where)
    url: Any = facts["url"]
    if not isinstance(url, str):
        raise wrong(type(url).__name__, f"{where}.url", "text")
    if _gives_away(kind, url):
        raise ConfigError(
            f"{where} holds a URL with credentials, which whoever reads the file could use; put it into an environment variable and write "
            f'{kind} = {{ secret = "{kind.upper()}_URL" }}',
            where=where,
            accepted=[],
        )
    return url


def _gives_away(kind: str, url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    host = parts.hostname or ""
    if any(host == service or host.endswith(f".{service}") for service in _SECRET_PATHS) or (kind == "apprise" and bool(parts.username)):
        return True
    return of_url(url) is not None or any(map(opaque, parts.path.split("/")))


def _header(given: Any, where: str) -> str | Secret:
    if isinstance(given, Mapping):
        facts = cast("Mapping[str, Any]", given)
        check_names(facts, list(_SECRET), where)
        if "secret" in facts:
            return _secret(facts, where)
    elif isinstance(given, str):
        header = where.rpartition(".")[2]
        if given_under(header, given, in_request=True):
            raise ConfigError(
                f"{where} is a credential in plain text, which whoever reads the file could use; put it into an environment variable "
                f'and write {header} = {{ secret = "NAME" }}',
                where=where,
                accepted=list(_SECRET),
            )
        return given
    raise wrong(type(given).__name__, where, 'text, or { secret = "NAME", template = "Bearer {}" }')


def _secret(facts: Mapping[str, Any], where: str) -> Secret:
    try:
        return Secret(facts["secret"], facts.get("template", "{}"))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}", where=where, accepted=[]) from None
