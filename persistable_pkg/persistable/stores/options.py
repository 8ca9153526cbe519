"""The options of stores: one that none takes is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from persistable.errors import UnknownParam

# what file systems take beyond the names in their signatures
_OF_ANY = frozenset(
    ["asynchronous", "batch_size", "dircache", "endpoint_url", "key", "listings_expiry_time", "loop", "max_paths", "secret", "token"]
)
_OF_LISTINGS = frozenset(["skip_instance_cache", "use_listings_cache"])
_OF_SESSIONS = frozenset(["event_hooks", "include_builtin_handlers", "loader", "profile", "session_vars"])
_CLOSED = {"s3": _OF_SESSIONS, "s3a": _OF_SESSIONS, "gs": frozenset[str](), "gcs": frozenset[str]()}
"""Schemes of which all options are known, and those that stand in no signature."""


def check_options(what: str, taker: Callable[..., Any], options: Iterable[str]) -> None:
    """Raise UnknownParam, naming the nearest, for the first of `options` that `taker` has no keyword for."""
    try:
        parameters = inspect.signature(taker).parameters.values()
    except (TypeError, ValueError):
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return  # then it sees to them itself
    accepted = [each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD) and each.name != "self"]
    _refuse_first(what, options, accepted)


def check_filesystem_options(scheme: str, kind: type, options: Mapping[str, Any]) -> None:
    """The same for a file system of fsspec. Where it hands on what it does not know, only a name close to a known one is refused."""
    if not options:
        return
    known = {*_OF_ANY, *_OF_LISTINGS, *_CLOSED.get(scheme, ())}
    open_ended = False
    for base in kind.__mro__[:-1]:
        if "__init__" not in base.__dict__:
            continue
        parameters = inspect.signature(base.__dict__["__init__"]).parameters
        known.update(name for name, each in parameters.items() if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD))
        open_ended = open_ended or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    accepted = sorted(known - {"self", "args", "kwargs"})
    strangers = [name for name in options if name not in known]
    if open_ended and scheme not in _CLOSED:
        strangers = [name for name in strangers if get_close_matches(name, accepted, n=1, cutoff=0.8)]
    _refuse_first(f"{scheme}://", strangers, accepted)


def _refuse_first(what: str, options: Iterable[str], accepted: list[str]) -> None:
    name = next((name for name in options if name not in accepted), None)
    if name is None:
        return
    near = get_close_matches(name, accepted, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    known = f"known are {', '.join(accepted)}" if accepted else "there are none"
    raise UnknownParam(f"{what} has no option {name}; {hint}{known}", name=name, accepted=accepted)
