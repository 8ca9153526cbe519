"""One job, performed in a worker: descriptions and facts go in, facts come out.

Payloads go through the store; small ones that are not persisted are sent with the job or the outcome.
"""

from __future__ import annotations

import io
import pickle
import time
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple, cast

from blake3 import blake3

from persistable import events
from persistable.errors import NotEnforceable, PayloadNotRepresentable, PersistableError
from persistable.executors import thread_limits
from persistable.executors.base import Executor, portable
from persistable.executors.resources import Retry
from persistable.executors.tracebacks import lines_of, trim
from persistable.fileio.pickle import PickleFileIO
from persistable.nodes import capture, generation, provenance
from persistable.nodes.code import Main
from persistable.nodes.lineage import flattened, rebuilt
from persistable.nodes.step import Step, by_value
from persistable.nodes.transitive_upstream import UpstreamNotSent
from persistable.nodes.types import FAILED, Node
from persistable.params import extensions
from persistable.params.secret import clean
from persistable.records.claims import GeneratedElsewhere
from persistable.records.key import Key
from persistable.records.record_access import Token
from persistable.runs import output_forwarding
from persistable.runs.registrations import Registrations
from persistable.stores.base import Store
from persistable.stores.signed import holds_private_key
from persistable.stores.signing_keys import pickle_held_keys


class Job(NamedTuple):
    """All that another process needs to perform one node: stubs of it and of its direct upstream, and the locations of payloads.

    handover_store: the store for large payloads that are not persisted. given: upstream key to such a payload, as bytes or as a path
    there, or None for one that failed. hand_over: the path for the payload of this one, if it is needed. events: whether a hook listens.
    run: a name that all jobs of one run share. waits: whether to wait for another process that generates it; else it is tried again later.
    main: the program that sends it. output: whether its printed text is kept. levels: those of the loggers of the process that sends it.
    failures: see `generation.generate`.
    """

    node: Node
    store: Any
    token: Token
    attempt: int
    handover_store: Any
    given: dict[Key, bytes | str | None]
    hand_over: str | None
    events: bool
    run: str
    waits: bool = True
    main: Main | None = None
    output: bool = True
    levels: output_forwarding.Levels | None = None
    failures: int | None = None


class Outcome(NamedTuple):
    """Outcome of one attempt: facts that can be sent to any process.

    error: the exception, or a substitute for it. traceback: as text, if `error` has none. again: whether its `Retry` wants another attempt.
    handed: the payload of a node that is not persisted, as bytes or as a path, if another node needs it. elsewhere: ``"stored"`` if
    another process has committed it since it was planned, ``"failed"`` if it has failed there, ``"held"`` if another process generates it
    now, ``"upstream_not_sent"`` if its code reads upstream nodes that it was sent without; then nothing was done.
    """

    succeeded: bool
    seconds: float
    error: Exception | None = None
    traceback: str = ""
    again: bool = False
    attempt: int = 1
    events: tuple[events.Event, ...] = ()
    handed: bytes | str | None = None
    elsewhere: str = ""


def perform(
    node: Node, store: Any, token: Token, given: dict[Key, Any], attempt: int, waits: bool = True, failures: int | None = None
) -> tuple[Outcome, Any]:
    """Attempt once to generate `node`, bound to `store`, in this process; return the outcome, and the payload if it is not persisted.

    token, failures: as the plan found them in the store, so that a payload that another process committed since is recognised.
    """
    start = time.perf_counter()
    try:
        payload = generation.generate(
            node, store, {}, writable=False, seen=(token,), given=given, attempt=attempt, read=False, waits=waits, failures=failures
        )
    except GeneratedElsewhere as others:
        return Outcome(False, 0.0, attempt=attempt, elsewhere=others.state), None
    except UpstreamNotSent:
        return Outcome(False, 0.0, attempt=attempt, elsewhere="upstream_not_sent"), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - it becomes part of the outcome
        return failed(error, node.retry, attempt, time.perf_counter() - start), None
    return Outcome(True, time.perf_counter() - start, attempt=attempt), (None if node.is_persisted else payload)


def failed(error: BaseException, retry: Retry | None, attempt: int, seconds: float) -> Outcome:
    """The outcome of an attempt that raised `error`, without secrets."""
    again = wants_again(error, retry)
    cleaned = clean(error)
    trim(cleaned)
    if isinstance(cleaned, Exception):
        return Outcome(False, seconds, cleaned, again=again, attempt=attempt)
    # a BaseException would end any process that it reaches; its traceback is kept
    return Outcome(False, seconds, portable(cleaned).with_traceback(cleaned.__traceback__), lines_of(cleaned), again, attempt)


def wants_again(error: BaseException, retry: Retry | None) -> bool:
    """Tell whether `retry` covers this kind of error. Decided in the process that raised it: elsewhere its class may be another.

    A predicate that raises allows no other attempt, and the error gets a note of that.
    """
    if retry is None or retry.attempts <= 1:
        return False
    on: Any = retry.on
    try:
        return isinstance(error, on) if isinstance(on, type | tuple) else bool(on(error))
    except Exception as second:  # noqa: BLE001 - a user's predicate may raise anything
        error.add_note(f"it was not tried again, since its Retry.on failed when asked: {type(second).__name__}: {second}")
        return False


# between processes


class Packer:
    """Turns the jobs of one run into bytes. Parts that many of them share are pickled once, such as their stores and step, or a class
    of ``__main__``, which has to be pickled by value.
    """

    def __init__(self, executor: Executor) -> None:
        self._local = executor.local
        self._definitions: dict[int, tuple[Any, Any]] = {}
        self._shared: dict[tuple[int, ...], tuple[tuple[Any, ...], bytes]] = {}
        self.main = provenance.main_program()
        self.levels = output_forwarding.levels()
        self.registered = Registrations(self._bytes) if extensions.registered else None

    def pack(self, job: Job) -> bytes:
        """`job` as bytes. Raises PersistableError, with the key of the node, if it cannot be sent."""
        try:
            states = [self._apart(made_by, state) for made_by, state in flattened(job.node)]
            common = self.common(self.registered, job.store, job.handover_store, job.run, job.events, self.main, job.output, self.levels)
            return self._bytes((states, common, job.token, job.attempt, job.given, job.hand_over, job.waits, job.failures))
        except NotEnforceable:
            raise
        except Exception as error:
            raise PersistableError(
                f"{job.node.key} cannot be sent to another process, since it cannot be pickled ({type(error).__name__}: {error}); "
                'run it with executor="threads" or "inline", or change what stands in the way',
                key=job.node.key,
            ) from error

    def _apart(self, made_by: Any, state: Any) -> tuple[bytes, Any]:
        """Split a node into the part shared with other nodes, as bytes, and its own part."""
        if not isinstance(state, dict) or "key" not in state:  # its class defines its own state
            return self.common(made_by), cast("Any", state)
        own: dict[str, Any] = {**state}
        lot = self.common(made_by, *[own.pop(name, None) for name in _COMMON])
        own["key"] = tuple(own["key"])  # quicker to pickle than a `Key`
        return lot, own

    def common(self, *things: Any) -> bytes:
        """`things` as bytes, the same bytes for the same objects: another process unpickles them once."""
        place = tuple(map(id, things))
        known = self._shared.get(place)
        if known is None:
            if len(self._shared) > _DEFINITIONS:
                self._shared.clear()
            known = self._shared[place] = (things, self._bytes(things))
        return known[1]

    def _bytes(self, thing: Any) -> bytes:
        buffer = io.BytesIO()
        with pickle_held_keys(self._local):
            try:
                _Pickler(buffer, self._definitions).dump(thing)
            except NotEnforceable:
                raise
            except Exception:  # noqa: BLE001 - cloudpickle may succeed where plain pickle fails
                return by_value(thing)
        return buffer.getvalue()


def check_keys(executor: Executor, store: Store, key: Key | str) -> None:
    """Raise NotEnforceable if records in `store`, such as that of `key`, are signed by a key that must not be sent to `executor`."""
    if executor.local or not holds_private_key(store):
        return
    raise NotEnforceable(
        f"the record of {key} in {store.url} is to be signed by a private key that was given as a value, which is not sent to the "
        f'{executor.name} executor; give where it is read there: open_store(url, sign="env:NAME"), a Secret, or the path of a file',
        key=key,
        executor=executor.name,
        wanted="sign",
    )


_COMMON = ("_node_store", "_node_given_code", "_node_given_table", "_node_logger")


def unpacked_job(data: bytes) -> Job:
    """The job that a `Packer` packed as `data`."""
    states, common, token, attempt, given, hand_over, waits, failures = pickle.loads(data)
    global _known
    known = _known  # another thread with a job of another run may replace it
    if known[0] != common:
        known = _known = (common, pickle.loads(common), {})
    _, (_, store, handover_store, run, listened, main, output, levels), shared = known
    whole: list[tuple[Any, Any]] = []
    for lot, state in states:
        found = shared.get(lot)
        if found is None:
            if len(shared) > _DEFINITIONS:
                shared.clear()
            found = shared[lot] = pickle.loads(lot)
        made_by, *values = found
        if values:
            state.update(zip(_COMMON, values, strict=True), key=Key(*state["key"]))
        whole.append((made_by, state))
    return Job(
        rebuilt(whole), store, token, attempt, handover_store, given, hand_over, listened, run, waits, main, output, levels, failures
    )


_known: tuple[bytes, Any, dict[bytes, Any]] = (b"", None, {})
"""Facts shared by the jobs of the run that sent the last one, as bytes and unpacked, and facts shared by some of its nodes."""


class _Pickler(pickle.Pickler):
    """Plain pickle, except that classes, functions and steps that another process cannot import go by value, see `_definition`."""

    def __init__(self, file: io.BytesIO, definitions: dict[int, tuple[Any, Any]]) -> None:
        super().__init__(file, 5)
        self._definitions = definitions

    def reducer_override(self, thing: Any) -> Any:
        if not isinstance(thing, _DEFINED):
            return NotImplemented
        known = self._definitions.get(id(thing))
        if known is None:
            known = self._definitions[id(thing)] = (thing, _reduced(thing))
        return known[1]


_DEFINED: tuple[type, ...] = (type, FunctionType, type(cache(len)), Step)


def _reduced(thing: Any) -> Any:
    from persistable.fileio.pickle_scripts import importable

    if importable(thing):
        return NotImplemented
    data = by_value(thing)
    return _definition, (blake3(data).hexdigest(), data)


_defined: dict[str, Any] = {}


def _definition(digest: str, data: bytes) -> Any:
    """The class or function that `data` defines, created once in this process."""
    known = _defined.get(digest)
    if known is None:
        if len(_defined) > _DEFINITIONS:
            _defined.clear()
        known = _defined.setdefault(digest, pickle.loads(data))
    return known


_DEFINITIONS = 1000


@capture.session()
def perform_packed(data: bytes) -> Outcome:
    """Perform a packed job in this process; never raises."""
    start = time.perf_counter()
    try:
        job = unpacked_job(data)
    except BaseException as error:  # noqa: BLE001 - importing a user's module may raise anything
        return portable_outcome(failed(error, None, 1, time.perf_counter() - start))
    with output_forwarding.run_from_elsewhere(job.run, (job.node.key,), job.events, job.main, job.output, job.levels) as unsent:
        try:
            thread_limits.limit(job.node.resources.cpus if job.node.resources is not None else None)
            given = {key: taken(job.handover_store, handed) for key, handed in job.given.items()}
            outcome, payload = perform(job.node, job.store, job.token, given, job.attempt, job.waits, job.failures)
            if outcome.succeeded and job.hand_over is not None:
                outcome = outcome._replace(handed=_hand_over(job, payload))
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt too: a worker is stopped by ending its process
            outcome = failed(error, None, job.attempt, time.perf_counter() - start)
    if unsent:
        outcome = outcome._replace(events=tuple(unsent))
    return portable_outcome(outcome)


perform_packed.__dict__["said_as"] = "the generation of a node"  # its name in messages of executors


def portable_outcome(outcome: Outcome) -> Outcome:
    """The outcome for another process, in which the error's class may be unknown."""
    if outcome.error is None:
        return outcome
    return outcome._replace(error=portable(outcome.error), traceback=outcome.traceback or lines_of(outcome.error))


def _hand_over(job: Job, payload: Any) -> bytes | str:
    """The payload for the nodes that need it: as bytes if it is small, else its path in the store for large ones."""
    assert job.hand_over is not None
    try:
        data = PickleFileIO().dumps(payload)
    except Exception as error:
        raise PayloadNotRepresentable(
            f"the payload of {job.node.key} is not persisted and cannot be pickled, so it cannot be handed to another process "
            f'({type(error).__name__}: {error}); run with executor="threads" or "inline"',
            format="pickle",
            reason=str(error),
        ) from error
    if len(data) <= SMALL:
        return data
    job.handover_store.put(job.hand_over, data)
    return job.hand_over


SMALL = 1 << 16
"""The limit, in bytes, for a payload that is not persisted to be sent with the outcome; larger ones go through the store."""


def taken(store: Any, handed: bytes | str | None) -> Any:
    """A payload that another process sent, with arrays as read-only as those of a stored one; `FAILED` for None."""
    if handed is None:
        return FAILED
    return PickleFileIO().loads(store.get(handed) if isinstance(handed, str) else handed)
