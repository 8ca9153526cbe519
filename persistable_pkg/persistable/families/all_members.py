"""All members of a family at once: run and planned, counted, loaded and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from persistable import graph
from persistable.families import table
from persistable.nodes import event_loop
from persistable.nodes.node import Persistable
from persistable.nodes.status import Status
from persistable.nodes.types import own_store
from persistable.runs import accept, plan, run
from persistable.runs.plan import Plan
from persistable.runs.result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from persistable.families.family import Family
    from persistable.families.matrix import Matrix

PayloadT = TypeVar("PayloadT")


class AllMembers(Generic[PayloadT]):
    """The part of `Family` that is about all its members at once."""

    @property
    def _family(self) -> Family[PayloadT]:
        return cast("Family[PayloadT]", self)

    def run(self, **options: Any) -> RunResult:
        """`persistable.run` of all members."""
        return run.run(self, **options)

    def plan(self, **options: Any) -> Plan:
        """`persistable.plan` of all members."""
        return plan.plan(self, **options)

    def accept_code(self, reason: str) -> int:
        """Record of each stored member that is stale that the code changed in nothing that matters; how many these were."""
        return accept.accept_code(self, reason=reason, store=own_store(self), upstream=False)

    def lineage(self, **options: Any) -> graph.Graph:
        """All members and what is upstream of them as a picture, like ones in one box; see `persistable.graph.lineage`."""
        return graph.lineage(*self._family.nodes, **options)

    def status(self) -> Counter[Status]:
        """Count the members in each status; the stores are asked for many at once."""
        return table.counts(self._family.refresh())

    def payloads(self) -> Iterator[tuple[Any, PayloadT]]:
        """Key and payload of each member, in order; the records and small payloads of many are fetched at once. None is generated; inputs
        are read where they are.

        Raises PayloadNotFound for the first that is not stored, and what `load` raises.
        """
        return table.payloads(self._family)

    async def aload(self, **options: Any) -> dict[Any, PayloadT]:
        """Key to payload of each member, without blocking the event loop: those that are not stored are generated first, as `run` does.

        options: those of `run`, which goes on in a thread. Cancelled, it is not waited for any longer.
        """
        return await event_loop.in_thread(lambda: self._run_and_load(options))

    def _run_and_load(self, options: Mapping[str, Any]) -> dict[Any, PayloadT]:
        result, family = self.run(**options), self._family
        if all(node.is_persisted for node in family.nodes[:1]):
            return dict(result[family].payloads())
        return {key: result[node].payload for key, node in family.items()}

    def best(self, max: bool = True, by: str | Callable[[PayloadT], Any] | None = None) -> Persistable[PayloadT, Any]:  # noqa: A002
        """The member with the largest payload, or smallest with ``max=False``; the first of several.

        `by`: the entry of dict payloads to go by, or a function of the payload. Payloads are loaded, none is generated: raises
        PayloadNotFound unless all are stored. NaN is never best.
        """
        node: Persistable[PayloadT, Any] = table.best(self._family.refresh(), max, by)
        return node

    def to_frame(self, payload: bool | None = None) -> Any:
        """A pandas DataFrame, one row a member: ``key``, columns for each axis, ``status``, ``error``, and payloads.

        An axis of plain values is one column; one of params, dicts or nodes is in words, beside a column for each leaf: ``model.trees``.

        Payloads that are scalars are the column ``payload``; dicts of text to anything have a column for each entry. All others are left
        out, unless `payload` is True: then every stored payload is loaded into ``payload`` as it is. False loads none. Those of inputs,
        which may be of any size, are read only where it is True.
        """
        return table.frame(self._family.refresh(), payload)

    def matrix(self, x: str | None = None, y: str | None = None, by: bool | str | Callable[[PayloadT], Any] | None = None) -> Matrix:
        """A picture of two axes, by default the last across and the one before it downwards.

        Colours tell the status; with `by` (True for scalar payloads, the name of an entry, or a function of the payload) the value, which
        is the mean where other axes are behind a cell.
        """
        from persistable.families.matrix import matrix

        return matrix(self._family.refresh(), x, y, by)

    def plot(
        self, x: str | None = None, y: str | Callable[[PayloadT], Any] | None = None, by: str | None = None, ax: Axes | None = None
    ) -> Axes:
        """A plot of payloads along an axis, and the matplotlib ``Axes`` that it is drawn in.

        x: an axis, or a column that `to_frame` has for it, such as ``model.trees``; by default the last axis. y: the entry of dict
        payloads, or a function of the payload; by default the payload itself. by: an axis or column; each of its values is a line. Where
        several members are at one place the mean is drawn, with their standard deviation. Members without a payload are left out; raises
        PayloadNotFound where none has one, UnknownParam, MissingExtra without matplotlib.
        """
        from persistable.families.plot import plot

        return plot(self._family.refresh(), x, y, by, ax)

    def _repr_html_(self) -> str:
        from persistable.families.matrix import family_html

        return family_html(self._family)
