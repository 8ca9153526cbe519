"""What a run leaves: nodes bound to their stores, records, and failures as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from persistable.errors import RunFailed
from persistable.events import RunFinished
from persistable.holdings import parsed
from persistable.key import Key, Place
from persistable.outcomes import Ending, Outcomes
from persistable.record import SUFFIX, Record


class NodeFailure:
    """One node that failed for good: what it was, what it raised, and a way to see it happen again.

    node: bound to its store. error: what was raised; where it could not cross from another process, a `RemoteError` that stands for it.
    traceback: as text. attempts: tries made. seconds: what the last one took.
    """

    def __init__(self, node: Any, error: Exception, traceback: str, attempts: int, seconds: float) -> None:
        self.node = node
        self.error = error
        self.traceback = traceback
        self.attempts = attempts
        self.seconds = seconds

    @property
    def key(self) -> Key:
        """The key of the node."""
        key: Key = self.node.key
        return key

    @property
    def params(self) -> dict[str, Any]:
        """The params tree of the node, upstream included: the inputs that led to it."""
        tree: dict[str, Any] = self.node.params_tree
        return tree

    def reproduce(self) -> Any:
        """Generate again, here and now and without persisting, so that a debugger can look; the payload, should it succeed."""
        twin = self.node._twin(self.node._store)
        return twin.generate(persist=False).payload

    def __repr__(self) -> str:
        times = f" after {self.attempts} attempts" if self.attempts > 1 else ""
        return f"<{self.key}: {type(self.error).__name__}: {self.error}{times}>"


class Failures(list[NodeFailure]):
    """The failures of a run in the order they happened; one is also found by its node or key."""

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, int | slice):
            return super().__getitem__(place)
        key = place if isinstance(place, Key) else getattr(place, "key", place)
        for failure in self:
            if failure.key == key:
                return failure
        raise KeyError(f"{key} is not among the failures of this run")


class Records(dict[Key, Record]):
    """Records by key; also found by node."""

    def __missing__(self, node: Any) -> Record:
        key = getattr(node, "key", None)
        if key is None or isinstance(node, Key):
            raise KeyError(node)
        return self[key]


class RunResult(Mapping[Any, Any]):
    """The outcome of a run. ``result[node]`` is that node, bound to its store; ``result[family]`` the family, so that
    ``result[family][key].payload`` and ``result[family].payloads()`` are what the run left there.

    failures: a `NodeFailure` for each node that failed by itself. skipped: key of each node that was not tried to that of the failed one it
    waits for. counts: ``"done"``, ``"reused"``, ``"failed"``, ``"skipped"`` and ``"cancelled"`` to numbers of nodes. seconds: from start to
    end.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._nodes = Outcomes()
        self._held: dict[Key, Any] = {}
        self.failures = Failures()
        self.skipped: dict[Key, Key] = {}
        self.seconds = 0.0

    def after(self, earlier: RunResult) -> RunResult:
        """This result, and what came of an earlier stage of the same run: how a node ended first is what counts."""
        self._nodes.put_first(earlier._nodes)
        self._held.update(earlier._held)
        self.failures[:0] = earlier.failures
        self.skipped.update(earlier.skipped)
        self.seconds += earlier.seconds
        return self

    def note(self, node: Any, store: Any, status: str, seconds: float = 0.0, attempts: int = 0) -> None:
        """Keep how one node ended."""
        self._nodes.own()[node.key] = Ending(node, store, status, seconds, attempts)

    @property
    def outcomes(self) -> Outcomes:
        """How each node ended."""
        return self._nodes

    def take(self, part: RunResult) -> None:
        """Add failures and payloads of a part of the same run, whose outcomes are noted already."""
        told = {failure.key for failure in self.failures}
        self._held.update(part._held)
        self.failures.extend(part.failures)
        self.skipped.update({key: cause for key, cause in part.skipped.items() if key not in told})

    def finished(self) -> RunFinished:
        """What is announced at the end."""
        failures = tuple([(failure.key, f"{type(failure.error).__name__}: {failure.error}") for failure in self.failures])
        return RunFinished(counts=self.counts, failures=failures, seconds=self.seconds)

    def hold(self, key: Key, payload: Any) -> None:
        """Keep the payload of a target that is not persisted."""
        self._held[key] = payload

    def __getitem__(self, target: Any) -> Any:
        if getattr(target.__class__, "_is_family", False):
            return target.kept_in(self._store)
        key = target if isinstance(target, Key) else getattr(target, "key", None)
        known = self._nodes.get(key) if key is not None else None
        if known is None:
            if key is None or isinstance(target, Key):
                raise KeyError(target)
            return target._twin(target._store or self._store)  # not needed by the run: whatever its store has of it
        node, store, *_ = known
        bound: Any = (node if isinstance(target, Key) else target)._twin(store)
        if bound.key in self._held:
            bound._hold(self._held[bound.key])
        return bound

    def __iter__(self) -> Iterator[Key]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, target: object) -> bool:
        return getattr(target, "key", target) in self._nodes

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes ended in which way."""
        return self._nodes.counts()

    @property
    def records(self) -> Records:
        """The records of all nodes of the run that have one, read now, each store asked once."""
        stores: dict[str, tuple[Any, list[Place]]] = {}
        for node, store, *_ in self._nodes.values():
            if node._persisted:
                stores.setdefault(store.url, (store, []))[1].append(node.place)
        found = Records()
        for store, places in stores.values():
            data = store.get_many([place.path + SUFFIX for place in places])
            records = {place.key: parsed(store, place, data[place.path + SUFFIX]) for place in places if place.path + SUFFIX in data}
            found.update({key: record for key, record in records.items() if record is not None})
        return found

    def status(self, node: Any) -> str:
        """How a node ended: ``"done"``, ``"reused"``, ``"failed"``, ``"skipped"`` or ``"cancelled"``. Raises KeyError for strangers."""
        return self._nodes[node if isinstance(node, Key) else node.key].status

    def rows(self) -> list[dict[str, Any]]:
        """One dict a node: name, key, status, seconds, attempts, error."""
        errors = {failure.key: f"{type(failure.error).__name__}: {failure.error}" for failure in self.failures}
        errors.update({key: f"waits for {cause}" for key, cause in self.skipped.items()})
        return [
            {
                "name": key.name,
                "key": str(key),
                "status": status,
                "seconds": seconds,
                "attempts": attempts,
                "error": errors.get(key),
            }
            for key, status, seconds, attempts in self._nodes.facts()
        ]

    def to_frame(self) -> Any:
        """`rows` as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=["name", "key", "status", "seconds", "attempts", "error"])

    def failed(self) -> RunFailed:
        """The failures as one exception group."""
        counts = self.counts
        text = f"{counts['failed']} of {len(self)} nodes failed"
        if counts["skipped"]:
            text += f", and {counts['skipped']} that need them were skipped"
        group = RunFailed(text, [failure.error for failure in self.failures])
        group.result = self
        return group

    def __repr__(self) -> str:
        return f"<RunResult: {', '.join(f'{number} {status}' for status, number in self.counts.items() if number) or 'nothing to do'}>"

    def _repr_html_(self) -> str:
        from html import escape

        body = "".join(
            f"<tr><td>{row['status']}</td><td><code>{escape(row['key'][: len(row['name']) + 9])}</code></td>"
            f"<td>{row['seconds']:.3g} s</td><td>{escape(row['error'] or '')}</td></tr>"
            for row in self.rows()[:_SHOWN]
        )
        more = f"<p>and {len(self) - _SHOWN} more</p>" if len(self) > _SHOWN else ""
        head = "<tr><th>status</th><th>node</th><th>took</th><th></th></tr>"
        return f'<p>{escape(repr(self)[1:-1])}</p><table style="text-align:left">{head}{body}</table>{more}'


_SHOWN = 60
