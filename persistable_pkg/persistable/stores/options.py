"""Checks of the options of stores: an unknown option is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from persistable.errors import UnknownParam
from persistable.stores.base import EVERYWHERE

# options that file systems take beyond the names in their signatures
_OF_ANY = frozenset(
    ["asynchronous", "batch_size", "dircache", "endpoint_url", "key", "listings_expiry_time", "loop", "max_paths", "secret", "token"]
)
_OF_LISTINGS = frozenset(["skip_instance_cache", "use_listings_cache"])
_OF_SESSIONS = frozenset(["event_hooks", "include_builtin_handlers", "loader", "profile", "session_vars"])
_CLOSED = {"s3": _OF_SESSIONS, "s3a": _OF_SESSIONS, "gs": frozenset[str](), "gcs": frozenset[str]()}
"""Schemes whose options are all known, and those of these options that are in no signature."""


def check_options(owner: str, taker: Callable[..., Any], options: Iterable[str], of_store: bool = True) -> None:
    """Raise UnknownParam, with the nearest name, for the first of `options` that is no keyword of `taker`.

    of_store: whether `taker` makes a store, which takes the options of any store too.
    """
    try:
        parameters = inspect.signature(taker).parameters.values()
    except (TypeError, ValueError):
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return  # it checks its options itself
    keywords = {each.name: each for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)}
    known = [name for name, each in keywords.items() if each.default is not each.empty]  # the others are no options
    _refuse_first(owner, [name for name in options if name not in keywords], known, of_store)


def check_filesystem_options(scheme: str, kind: type, options: Mapping[str, Any]) -> None:
    """Check options of a file system of fsspec, as above. Where it passes unknown ones on, only a name close to a known one is refused."""
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
    _refuse_first(f"{scheme}://", strangers, accepted, True)


def _refuse_first(owner: str, strangers: Sequence[str], known: Sequence[str], of_store: bool) -> None:
    if not strangers:
        return
    name = strangers[0]
    common = ("readonly", *EVERYWHERE) if of_store else ()
    near = get_close_matches(name, {*known, *common} - {name}, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    own = f"known are {', '.join(known)}" if known else "it has none of its own"
    others = f"; open_store takes {', '.join(common)} for any store" if common else ""
    raise UnknownParam(f"{owner} has no option {name}; {hint}{own}{others}", name=name, accepted=[*known, *common])
