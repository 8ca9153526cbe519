"""`Inputs`: the protocol of external inputs, and objects in memory as inputs."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Protocol, runtime_checkable

from blake3 import blake3

from persistable.errors import FormatError, InputChanged, InputVanished
from persistable.fileio.base import FileIO
from persistable.params.encoding import encode


class Unlocated:
    """An input known from a record alone, which has its content digest but not its location, since that is no part of identity.

    shown: its name, for people.
    """

    at_once = 1

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self.fields = ("input",)

    def stamps(self) -> Mapping[Values, Any]:
        return {}

    def content(self, values: Values, stamp: Any) -> str:
        raise self._error()

    def load(self, values: Values, content: str, io: Any = None) -> Any:
        raise self._error()

    def shown(self, values: Values) -> str:
        return self._shown

    def only(self, values: Values) -> Unlocated:
        return self

    def _error(self) -> InputVanished:
        return InputVanished(
            f"the input {self._shown} is known from a record, which has the digest of its content and not where it is; take the node "
            "from its source or workspace to have it read, or replace() it in the node that needs it",
            place=self._shown,
        )


class Objects:
    """Items of a mapping, each identified by its value: anything that can be a param."""

    at_once = 1

    def __init__(self, objects: Mapping[Any, Any], field: str) -> None:
        self._objects = objects
        self.fields = (field,)

    def stamps(self) -> Mapping[Values, Any]:
        return {(key,): None for key in list(self._objects)}

    def content(self, values: Values, stamp: Any) -> str:
        return blake3(encode(self._get(values), self.shown(values))).hexdigest()

    def load(self, values: Values, content: str, io: FileIO[Any]) -> Any:
        found = deepcopy(self._get(values))  # changes that a node makes must not affect the original
        if blake3(encode(found, self.shown(values))).hexdigest() != content:
            raise changed(self.shown(values))
        return found

    def _get(self, values: Values) -> Any:
        try:
            return self._objects[values[0]]
        except KeyError:
            raise vanished(self.shown(values)) from None

    def shown(self, values: Values) -> str:
        return f"{self.fields[0]}[{values[0]!r}]"

    def only(self, values: Values) -> Objects:
        return Objects({key: self._objects[key] for key in values if key in self._objects}, self.fields[0])


Values = tuple[Any, ...]
"""The key of one input: a value for each field."""


@runtime_checkable
class Inputs(Protocol):
    """External inputs. Picklable: the workers of a run read inputs through it."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the parts of a key."""
        ...

    @property
    def at_once(self) -> int:
        """The number of contents to read concurrently."""
        ...

    def stamps(self) -> Mapping[Values, Any]:
        """Every input, in order, with a stamp that changes with its content; None if it has no stamp.

        Contents are not read for it.
        """
        ...

    def content(self, values: Values, stamp: Any) -> str:
        """The token that represents the content in the identity of an input; `stamp` is that of the listing. Raises InputVanished."""
        ...

    def load(self, values: Values, content: str, io: FileIO[Any]) -> Any:
        """The payload, as read by `io`. Raises InputVanished, and InputChanged if the content is not the one with the token `content`."""
        ...

    def shown(self, values: Values) -> str:
        """The path or URL, for people, without secrets."""
        ...

    def only(self, values: Values) -> Inputs:
        """The inputs reduced to those needed to read this one, to be sent to another process with a job; may be all of them."""
        ...


@contextmanager
def naming(subject: str) -> Generator[None]:
    """Prefix the messages of FormatErrors with `subject`: unlike notes, messages appear in records, results and tables."""
    try:
        yield
    except FormatError as error:
        error.args = (f"{subject}: {error}",)
        raise


def vanished(place: str) -> InputVanished:
    """The error for an input that is gone."""
    return InputVanished(
        f"the input {place} is not there any more; put it back, or refresh() the source and go on without it (run does so at its start)",
        place=place,
    )


def changed(place: str) -> InputChanged:
    """The error for an input whose content has changed."""
    return InputChanged(
        f"the input {place} has changed since its key was made from it, so nothing is stored under that key; "
        "run again, which makes the key of what is there now",
        place=place,
    )
