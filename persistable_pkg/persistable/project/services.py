"""The executor and the notifications of a project."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from concurrent import futures
from contextlib import contextmanager
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from persistable import executors
from persistable.params import extensions
from persistable.params.credentials import find_url_credential, is_credential, opaque
from persistable.params.secret import Secret
from persistable.project.annotations import parameters_of
from persistable.project.coerce import read, read_arguments
from persistable.project.scalars import check_names, config_error, unknown_name_error, wrong_value_error

# Tables hold values of every type, so pyright finds unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false


_NO_KINDS = ("Executor", "FuturesExecutor")
_WORKERS = ("max_workers", "num_cpus", "n_workers", "max_jobs", "slots")
"""The parameters of executors that the setting ``workers`` sets."""


def kinds() -> dict[str, str]:
    """Map the name in files, ``processes``, to that of the class, ``ProcessExecutor``; executors of other packages have one name."""
    found = {name: name for name in extensions.entries("executors")}
    found |= {name.removesuffix("Executor").lower(): name for name in executors.__all__ if name not in _NO_KINDS}
    usual = {"threads": found.pop("thread"), "processes": found.pop("process")}
    return {**found, **usual}


def check(given: Any, where: str) -> None:
    """Raise ConfigError unless `given` is an executor, or names a known kind, with options that it takes.

    Options that an executor passes on to a library are checked by the library, when it is imported.
    """
    if isinstance(given, futures.Executor) or hasattr(given, "submit_for"):
        return
    kind = given
    if isinstance(given, Mapping):
        table = cast("Mapping[str, Any]", given)
        if "kind" not in table:
            raise wrong_value_error(dict(table), where, f'a kind too, such as kind = "processes" ({", ".join(sorted(kinds()))})')
        kind = table["kind"]
    place = where if kind is given else f"{where}.kind"
    if not isinstance(kind, str):
        raise wrong_value_error(kind, place, f"one of {', '.join(sorted(kinds()))}, or a table with a kind")
    if kind not in kinds():
        raise unknown_name_error(kind, sorted(kinds()), f"{place}: ")
    if kind is not given:
        _call(given, None, where)


@contextmanager
def executor_for(given: Any, max_workers: int | None, where: str) -> Generator[Any]:
    """Resolve `given` to an executor; one that is made here is shut down here. Raises ConfigError for options it does not take."""
    check(given, where)
    if not isinstance(given, str | Mapping):
        yield given
        return
    cls, options = _call(given, max_workers, where)
    try:
        made = cls(**options)
    except (TypeError, ValueError) as error:
        raise config_error(where, error) from error
    with made:
        yield made


def _call(given: str | Mapping[str, Any], max_workers: int | None, where: str) -> tuple[Any, dict[str, Any]]:
    """The class and the arguments that make the executor."""
    table: dict[str, Any] = {"kind": given} if isinstance(given, str) else dict(given)
    name = kinds()[table.pop("kind")]
    cls: Any = getattr(executors, name) if name in executors.__all__ else extensions.load("executors", name)
    fields = parameters_of(cls, skip=int(isinstance(cls, type)))
    workers = next((name for name in _WORKERS if name in fields.kinds), None)
    if max_workers is not None and workers is not None:
        table.pop("workers", None)
        table[workers] = max_workers
    elif "workers" in table and workers is not None:
        table[workers] = table.pop("workers")
    if "address" in table and "client_or_address" in fields.kinds:
        table["client_or_address"] = table.pop("address")
    shown = {workers: "workers", "client_or_address": "address"}
    if not fields.open:
        check_names(
            {name: table[name] for name in table if name not in fields.kinds},
            ["kind", *[shown.get(name, name) for name in fields.kinds]],
            where,
        )
    return cls, {name: read(fields.kinds.get(name, Any), value, f"{where}.{shown.get(name, name)}") for name, value in table.items()}


_SECRET = ("secret", "template")
_COMMON = ("url", *_SECRET, "on")
# services where the path of the URL is the credential
_SECRET_PATHS = ("slack.com", "discord.com", "discordapp.com", "office.com", "zapier.com", "telegram.org", "ifttt.com", "pushcut.io")
_KINDS = {
    "slack": ("Slack", (*_COMMON, "timeout")),
    "webhook": ("Webhook", (*_COMMON, "timeout", "headers")),
    "apprise": ("Apprise", _COMMON),
}
_TRACKERS = {
    "mlflow": ("MLflow", ("experiment", "url", *_SECRET, "each")),
    "wandb": ("WandB", ("project", "entity", "mode", *_SECRET, "each")),
}


def hooks_of(given: Any, where: str) -> list[Any]:
    """The hooks of a table such as ``{ slack = { secret = "SLACK_URL" } }``; each entry may be a list of several.

    Raises ConfigError for unknown entries, and for a URL that contains a credential, since files are shared.
    """
    place = f"{where}notify"
    if not isinstance(given, Mapping):
        raise wrong_value_error(given, place, 'a table, such as { slack = { secret = "SLACK_URL" } }')
    table = cast("Mapping[str, Any]", given)
    check_names(table, [*_KINDS, *_TRACKERS], place)
    found: list[Any] = []
    for kind, entries in table.items():
        several: list[Any] = entries if isinstance(entries, list) else [entries]
        make = _tracker if kind in _TRACKERS else _hook
        found += [make(kind, entry, f"{place}.{kind}") for entry in several]
    return found


def _hook(kind: str, entry: Any, where: str) -> Any:
    from persistable import notify

    name, accepted = _KINDS[kind]
    if not isinstance(entry, str | Mapping):
        raise wrong_value_error(entry, where, 'a URL, or { secret = "NAME" } for one in an environment variable')
    facts = {"url": entry} if isinstance(entry, str) else dict(cast("Mapping[str, Any]", entry))
    check_names(facts, list(accepted), where)
    options: dict[str, Any] = {}
    if "on" in facts:
        options["on"] = read(Literal["failure", "always"], facts["on"], f"{where}.on")
    if "timeout" in facts:
        options["timeout"] = _seconds(facts["timeout"], f"{where}.timeout")
    if "headers" in facts:
        headers = cast("Mapping[str, Any]", facts["headers"])
        options["headers"] = {header: _header(value, f"{where}.headers.{header}") for header, value in headers.items()}
    return getattr(notify, name)(_receiver(kind, facts, where), **options)


def _tracker(kind: str, entry: Any, where: str) -> Any:
    from persistable import notify

    name, accepted = _TRACKERS[kind]
    if not isinstance(entry, Mapping):
        raise wrong_value_error(entry, where, f"a table of {', '.join(accepted)}")
    facts = dict(cast("Mapping[str, Any]", entry))
    check_names(facts, list(accepted), where)
    cls: Any = getattr(notify, name)
    options = read_arguments(cls, {name: fact for name, fact in facts.items() if name not in ("url", *_SECRET)}, where)
    if "url" in facts or (kind == "mlflow" and "secret" in facts):
        options["url"] = _receiver(kind, facts, where)
    elif "secret" in facts:
        options["api_key"] = _secret(facts, where)
    return cls(**options)


def _seconds(given: Any, where: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or given <= 0:
        raise wrong_value_error(given, where, "seconds, more than zero")
    return float(given)


def _receiver(kind: str, facts: Mapping[str, Any], where: str) -> str | Secret:
    if ("url" in facts) == ("secret" in facts):
        raise config_error(where, 'needs one of `url` and `secret`; a secret is { secret = "NAME" }', ["url", "secret"])
    if "secret" in facts:
        return _secret(facts, where)
    url: Any = facts["url"]
    if not isinstance(url, str):
        raise wrong_value_error(type(url).__name__, f"{where}.url", "text")
    if _gives_away(kind, url):
        raise config_error(
            where,
            "holds a URL with credentials, which any reader of the file could use; put it into an environment variable and write "
            f'{kind} = {{ secret = "{kind.upper()}_URL" }}',
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
    return find_url_credential(url) is not None or any(map(opaque, parts.path.split("/")))


def _header(given: Any, where: str) -> str | Secret:
    if isinstance(given, Mapping):
        facts = cast("Mapping[str, Any]", given)
        check_names(facts, list(_SECRET), where)
        if "secret" in facts:
            return _secret(facts, where)
    elif isinstance(given, str):
        header = where.rpartition(".")[2]
        if is_credential(header, given, in_request=True):
            raise config_error(
                where,
                "is a credential in plain text, which any reader of the file could use; put it into an environment variable "
                f'and write {header} = {{ secret = "NAME" }}',
                _SECRET,
            )
        return given
    raise wrong_value_error(type(given).__name__, where, 'text, or { secret = "NAME", template = "Bearer {}" }')


def _secret(facts: Mapping[str, Any], where: str) -> Secret:
    try:
        return Secret(facts["secret"], facts.get("template", "{}"))
    except (ValueError, TypeError) as error:
        raise config_error(where, error) from None
