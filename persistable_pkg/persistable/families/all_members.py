"""Operations on all members of a family: run, plan, count, load and compare them."""

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
    """The part of `Family` with operations on all members."""

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
        """Mark each stored, stale member as unaffected by its code change, and return the number of them."""
        return accept.accept_code(self, reason=reason, store=own_store(self), upstream=False)

    def lineage(self, **options: Any) -> graph.Graph:
        """The picture of all members and everything upstream, equal parts in one box; see `persistable.graph.lineage`."""
        return graph.lineage(*self._family.nodes, **options)

    def status(self) -> Counter[Status]:
        """Count the members in each status; the stores are queried in batches."""
        return table.counts(self._family.refresh())

    def payloads(self) -> Iterator[tuple[Any, PayloadT]]:
        """Key and payload of each member, in order; records and small payloads are fetched in batches. None is generated; inputs are read
        in place.

        Raises PayloadNotFound for the first that is not stored, and the errors of `load`.
        """
        return table.payloads(self._family)

    async def aload(self, **options: Any) -> dict[Any, PayloadT]:
        """Return key to payload of each member, without blocking the event loop: missing ones are generated first, as `run` does.

        options: those of `run`, which runs in a thread; on cancellation it continues there, and is no longer awaited.
        """
        return await event_loop.in_thread(lambda: self._run_and_load(options))

    def _run_and_load(self, options: Mapping[str, Any]) -> dict[Any, PayloadT]:
        result, family = self.run(**options), self._family
        if all(node.is_persisted for node in family.nodes[:1]):
            return dict(result[family].payloads())
        return {key: result[node].payload for key, node in family.items()}

    def best(self, max: bool = True, by: str | Callable[[PayloadT], Any] | None = None) -> Persistable[PayloadT, Any]:  # noqa: A002
        """The member with the largest payload, or smallest with ``max=False``; the first of several.

        `by`: the entry of dict payloads to compare, or a function of the payload. Payloads are loaded, none is generated: raises
        PayloadNotFound unless all are stored. NaN is never best.
        """
        node: Persistable[PayloadT, Any] = table.best(self._family.refresh(), max, by)
        return node

    def to_frame(self, payload: bool | None = None) -> Any:
        """A pandas DataFrame, one row a member: ``key``, columns for each axis, ``status``, ``error``, and payloads.

        An axis of plain values is one column; one of params, dicts or nodes is text, beside a column for each leaf: ``model.trees``.

        Payloads that are scalars are in the column ``payload``; dicts with text keys have a column for each entry. Others are left out,
        unless `payload` is True: then every stored payload is loaded into ``payload`` unchanged. False loads none. Inputs, which may be of
        any size, are read only if it is True.
        """
        return table.frame(self._family.refresh(), payload)

    def matrix(self, x: str | None = None, y: str | None = None, by: bool | str | Callable[[PayloadT], Any] | None = None) -> Matrix:
        """A picture of two axes, by default the last across and the one before it downwards.

        Colours show the status; with `by` (True for scalars, the name of an entry, or a function of the payload) the mean value over other
        axes.
        """
        from persistable.families.matrix import matrix

        return matrix(self._family.refresh(), x, y, by)

    def plot(
        self, x: str | None = None, y: str | Callable[[PayloadT], Any] | None = None, by: str | None = None, ax: Axes | None = None
    ) -> Axes:
        """A plot of payloads along an axis, and the matplotlib ``Axes`` that it is drawn in.

        x: an axis, or a column that `to_frame` has for it, such as ``model.trees``; by default the last axis. y: the entry of dict
        payloads, or a function of the payload; by default the payload itself. by: an axis or column; each of its values is a line. Where
        several members have the same x the mean is drawn, with their standard deviation. Members without a payload are left out; raises
        PayloadNotFound where none has one, UnknownParam, MissingExtra without matplotlib.
        """
        from persistable.families.plot import plot

        return plot(self._family.refresh(), x, y, by, ax)

    def _repr_html_(self) -> str:
        from persistable.families.matrix import family_html

        return family_html(self._family)
