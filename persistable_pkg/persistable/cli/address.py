"""Addresses on the command line: a target, a member of one, a node of a workspace, an object of a module, or a stored payload.

Words are taken apart by their shape and looked up by their text. Nothing of them is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from persistable.cli.usage import BadUsage, near

SHORTEST_DIGEST = 4
_SHAPE = re.compile(r"(?P<base>[^\[\]]+)(?:\[(?P<labels>.*)\](?:\.(?P<node>\w+))?)?", re.DOTALL)
_OBJECT = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_DIGEST = re.compile(r"[0-9a-f]{%d,32}" % SHORTEST_DIGEST)


class Address(NamedTuple):
    """A word, taken apart. labels: the text between the brackets, None without any. node: the name after them, or empty."""

    text: str
    base: str
    labels: str | None = None
    node: str = ""

    @property
    def is_object(self) -> bool:
        """Tell whether it is ``module:object``."""
        return ":" in self.base

    @property
    def is_key(self) -> bool:
        """Tell whether it can only be ``name/digest``, whole or cut short."""
        return "/" in self.base and self.labels is None

    @property
    def is_digest(self) -> bool:
        """Tell whether it may be a digest, whole or cut short."""
        return self.labels is None and _DIGEST.fullmatch(self.base) is not None


def parse(text: str) -> Address:
    """`text` taken apart. Raises BadUsage for what has no such shape, or would leave its folder."""
    found = _SHAPE.fullmatch(text)
    if found is None or not text.isprintable():
        raise BadUsage(
            f"{text!r} names nothing: write TARGET, TARGET[label], WORKSPACE[id].node, module:object, or name/digest of a payload"
        )
    address = Address(text, found["base"].strip(), found["labels"], found["node"] or "")
    if address.is_object and not _OBJECT.fullmatch(address.base):
        raise BadUsage(f"{address.base!r} is no module:object: both are names, with dots between them")
    if address.is_key:
        _check_key(address.base)
    elif "/" in address.base:
        raise BadUsage(f"{text!r} names nothing: a target's name has no '/', and a key has no labels")
    return address


def _check_key(text: str) -> None:
    from persistable.errors import InvalidName
    from persistable.key import check_payload_name

    name, _, digest = text.rpartition("/")
    try:
        check_payload_name(name)
    except InvalidName as error:
        raise BadUsage(f"{text!r} is no key: no payload can be called {name!r}") from error
    if not _DIGEST.fullmatch(digest):
        raise BadUsage(f"{text!r} is no key: after {name}/ come {SHORTEST_DIGEST} to 32 hexadecimal digits")


def label_in(text: str, axes: Sequence[tuple[str, Iterable[Any]]], whole: str) -> tuple[Any, ...]:
    """The labels, one for each axis (its name, its labels), whose texts, joined by commas, are `text`.

    Raises BadUsage, which suggests the nearest, where there are none; `whole` is what the user wrote.
    """
    known = [(name, {each: label for label in labels for each in _texts(label)}) for name, labels in axes]
    found = _match(text, known) or _match(re.sub(r"\s*,\s*", ",", text.strip()), known)
    if found is not None:
        return found
    if len(known) == 1:
        name, labels = known[0]
        raise BadUsage(f"{whole}: nothing on the axis {name} is called {text!r}; {near(text, labels)}")
    parts = text.split(",")
    if len(parts) == len(known):
        for part, (name, labels) in zip(parts, known, strict=True):
            if part.strip() not in labels:
                raise BadUsage(f"{whole}: nothing on the axis {name} is called {part.strip()!r}; {near(part.strip(), labels)}")
    raise BadUsage(f"{whole}: give a label for each of {', '.join(name for name, _ in known)}, with commas between them")


def _texts(label: Any) -> Iterator[str]:
    """How a label may be written: as Python shows it, and a tuple also without quotes and parentheses."""
    if isinstance(label, tuple):
        yield ",".join(map(str, label))  # pyright: ignore[reportUnknownArgumentType]
    yield str(label)  # pyright: ignore[reportUnknownArgumentType]


def _match(text: str, axes: Sequence[tuple[str, dict[str, Any]]]) -> tuple[Any, ...] | None:
    """A label may hold commas itself, so that every way of parting the text is tried."""
    (_, labels), others = axes[0], axes[1:]
    if not others:
        return (labels[text],) if text in labels else None
    place = text.find(",")
    while place >= 0:
        if text[:place] in labels:
            rest = _match(text[place + 1 :], others)
            if rest is not None:
                return (labels[text[:place]], *rest)
        place = text.find(",", place + 1)
    return None
