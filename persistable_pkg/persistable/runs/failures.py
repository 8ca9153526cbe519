"""`NodeFailure`: a node that failed in a run; `Failures`: all failures of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from persistable.executors.tracebacks import lines_of, with_source
from persistable.nodes.binding import bound_to
from persistable.nodes.label import TIMES
from persistable.nodes.types import Node, is_node, own_store
from persistable.params.secret import message_of, redact
from persistable.records.key import Key, Place
from persistable.records.record_access import find_failure

if TYPE_CHECKING:
    from persistable.nodes.node import Persistable

Location = tuple[str, Place]
"""The location of a node: the URL of its store, and its place there. Nodes of one key may have several."""

SHOWN_WHOLE = 3
"""The number of failures shown with the lines of code that led to them."""
SHOWN = 10
"""The number of failures shown at all; the others are counted."""
_MOST_LINES = 40
_AGAIN = "failure.reproduce() generates it again here, for a debugger to look; failure.traceback is the whole text."


class NodeFailure:
    """A node that failed for good, with its error and a way to reproduce it.

    node: bound to its store. error: the exception raised; if it could not be sent from another process, a `RemoteError` instead.
    traceback: as text. attempts: attempts made. seconds: duration of the last one.
    """

    def __init__(self, node: Node, error: Exception, traceback: str, attempts: int, seconds: float) -> None:
        self.node = node
        self.error = error
        self.traceback = redact(traceback)
        self.attempts = attempts
        self.seconds = seconds

    @property
    def key(self) -> Key:
        """The key of the node."""
        return self.node.key

    @property
    def location(self) -> Location:
        """The URL of its store, and its place there."""
        return self.node.store.url, self.node.place

    @property
    def label(self) -> str:
        """The node in words."""
        return self.node.label

    @property
    def params(self) -> dict[str, Any]:
        """The params tree of the node, upstream included: the inputs that led to it."""
        return self.node.params_tree

    @property
    def text(self) -> str:
        """The type and message of the error, without secrets."""
        return redact(f"{type(self.error).__name__}: {message_of(self.error)}")

    @property
    def output(self) -> str:
        """The end of the text that its code printed and logged, while its failure is the last on record; empty if none is kept."""
        store = own_store(self.node)
        failure = find_failure(store, self.node.place) if store is not None else None
        return "" if failure is None else failure.output

    def reproduce(self) -> Any:
        """Generate again, here and now and without persisting, for a debugger to inspect; return the payload if that succeeds."""
        twin = bound_to(self.node, own_store(self.node))
        return twin.generate(persist=False).payload

    def describe(self) -> str:
        """The node and its error on one line."""
        times = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
        return " ".join(f"{self.label}: {self.text}{times}".split())

    def lines(self) -> str:
        """The lines of code that led to the error, indented; the frames of this package are left out."""
        text = self.traceback.removeprefix("Traceback (most recent call last):\n")
        return "".join(f"  {line}\n" for line in text.splitlines()[:_MOST_LINES] if line[:1] == " ")

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import Html, card, code, html

        place = f"<pre>{html(self.lines() or self.traceback)}</pre>"
        output = self.output
        if output:
            place += f"<details><summary>output</summary><pre>{html(output)}</pre></details>"
        return card(self.label, Html("<p>"), code(self.text), Html(f"</p>{place}"), Html(f"<p>{html(_AGAIN)}</p>"))

    def __repr__(self) -> str:
        times = f" after {self.attempts} attempts" if self.attempts > 1 else ""
        return f"<{self.label} [{self.key}]: {self.text}{times}>"


class Failures(list[NodeFailure]):
    """The failures of a run in the order they happened; also indexed by node or key."""

    def add(self, node: Node, error: Exception, lines: str, attempts: int, seconds: float) -> None:
        """Add the failure of `node`, bound to its store. lines: the traceback, if the error came from another process."""
        text = with_source(lines) if lines else lines_of(error)
        if lines and error.__traceback__ is None and len(self) < SHOWN_WHOLE:
            error.add_note(f"where it was raised:\n{text}")
        self.append(NodeFailure(node, error, text, attempts, seconds))

    def describe(self) -> str:
        """One line per failure, the first ones with the lines of code that led to them, the last ones counted by kind."""
        parts: list[str] = []
        for number, failure in enumerate(self[:SHOWN]):
            parts.append(f"{failure.describe()}\n" + (failure.lines() if number < SHOWN_WHOLE else ""))
        if len(self) > SHOWN:
            parts.append(f"and {len(self) - SHOWN} more: {kinds(self[SHOWN:])}\n")
        return "".join(parts)

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import card, code, listing

        rows = [(failure.label, code(failure.text)) for failure in self[:SHOWN]]
        more = [f"among the others: {kinds(self[SHOWN:])}"] if len(self) > SHOWN else []
        words = f"{len(self)} failure{'' if len(self) == 1 else 's'}"
        return card(words, listing(("node", "error"), rows, len(self) - SHOWN, more))

    @overload
    def __getitem__(self, place: SupportsIndex) -> NodeFailure: ...
    @overload
    def __getitem__(self, place: slice) -> list[NodeFailure]: ...
    @overload
    def __getitem__(self, place: Key | Persistable[Any, Any]) -> NodeFailure: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, int | slice):
            return super().__getitem__(place)
        key = getattr(place, "key", place)
        store = own_store(place) if is_node(place) else None
        found = [failure for failure in self if failure.key == key]
        if store is not None:
            found = [failure for failure in found if failure.location == (store.url, place.place)]
        if not found:
            raise KeyError(f"{key} is not among the failures of this run")
        own = getattr(place, "place", key)
        return next((failure for failure in found if failure.location[1] == own), found[0])


def kinds(failures: Sequence[NodeFailure]) -> str:
    """Failures counted by name and type of error, the most frequent first: ``9 x KeyError in load``."""
    counted = Counter((type(failure.error).__name__, failure.key.name) for failure in failures)
    return ", ".join(f"{number} {TIMES} {kind} in {name}" for (kind, name), number in counted.most_common())
