"""`Attempt`: one attempt at one unit, under way at an executor; and the outcome of one whose worker died."""

from __future__ import annotations

import math
import time
from concurrent import futures
from contextlib import suppress
from typing import Any

from persistable import events
from persistable.errors import StoreError, WorkerDied
from persistable.nodes import capture
from persistable.nodes.failing import announce, record_failure
from persistable.params.secret import clean
from persistable.records import claim_watch, leftovers
from persistable.records.key import Key
from persistable.records.record_access import find_failure
from persistable.runs.planner import Unit
from persistable.runs.worker import Outcome, failed

PATIENCE = 1.0
"""Seconds to wait for a killed worker to be gone."""


class Attempt:
    """One attempt at one unit, under way."""

    __slots__ = ("begun", "future", "limit", "number", "output_pieces", "started", "unit")

    def __init__(self, unit: Unit, number: int, future: futures.Future[Any]) -> None:
        self.unit = unit
        self.number = number
        self.future = future
        self.started = time.time()
        time_limit = unit.node.resources.time if unit.node.resources is not None else None
        self.limit: float = math.inf if time_limit is None else time_limit
        self.output_pieces: list[str] = []
        """Output that the worker has sent so far."""
        self.begun: float | None = None
        """The time at which it was first seen running: the wait for a worker does not count against its time limit."""

    def add_output(self, event: events.Printed | events.Logged) -> None:
        """Keep the end of the output that the worker has sent."""
        text = event.text
        if isinstance(event, events.Logged):
            text = f"{event.record.get('levelname', event.severity)} {event.logger}: {text}\n"
        self.output_pieces.append(text)
        if sum(map(len, self.output_pieces)) > 4 * capture.LIMIT:
            self.output_pieces = ["".join(self.output_pieces)[-capture.LIMIT :]]


class BatchAttempt:
    """One attempt at several units in one batch, under way. None of them asks for resources, so none has a time limit."""

    __slots__ = ("future", "store", "units")

    def __init__(self, units: list[Unit], store: Any, future: futures.Future[Any]) -> None:
        self.units = units
        self.store = store
        self.future = future

    def forget(self) -> None:
        """Remove the claims on its units: their worker was stopped, or has died."""
        with suppress(StoreError):  # claims that cannot be removed are taken over by the next process
            claim_watch.forget_dead(self.store, [unit.place.path for unit in self.units])


def died(attempt: Attempt, error: Exception) -> Outcome:
    """The outcome of an attempt whose worker died: its leftovers are removed, and its failure is recorded."""
    unit = attempt.unit
    error = clean(_of_node(error, unit.node.key))
    outcome = failed_here(error, unit, attempt.number)
    if unit.node.is_persisted:
        try:
            leftovers.tidy(unit.store, unit.place, PATIENCE)
            failure = find_failure(unit.store, unit.place)
            number = failure.attempt + 1 if failure is not None else attempt.number
            took = time.time() - attempt.started
            output = capture.shortened(capture.drawn("".join(attempt.output_pieces))) if capture.keep_output.get() else ""
            record_failure(unit.node, unit.store, error, number, attempt.started, took, output=output)
        except StoreError as second:
            error.add_note(f"and the failure could not be recorded: {second}")
    announce(unit.node, error, attempt.number, outcome.seconds)
    return outcome


def failed_here(error: Exception, unit: Unit, number: int) -> Outcome:
    """The outcome of an attempt that `error` ended in this process."""
    return failed(error, unit.node.retry, number, 0.0)


def _of_node(error: Exception, key: Key) -> Exception:
    """A `WorkerDied` with the key of its node; other errors as they are."""
    if not isinstance(error, WorkerDied):
        return error
    of_node = WorkerDied(f"{key} was not finished: {error}", key=key, exitcode=error.exitcode)
    of_node.__cause__ = error.__cause__
    return of_node
