"""`DirectGenerator`: fast path for families of tiny payloads, without nodes.

For a tiny payload most time would be spent on objects: a node, its params, a generation, a record composed from facts. If members are calls
of one function with plain values and without upstream, only these values and the result of the call differ between two members. If a member
turns out to need more (its function asks for its generation, fails, or returns a value that is not plain), the general path takes over,
with the state so far.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from blake3 import blake3

from persistable import events
from persistable.executors import thread_limits
from persistable.executors.base import portable
from persistable.executors.tracebacks import lines_of
from persistable.nodes import code, connections, declared_type, generation
from persistable.nodes.binding import bound_to
from persistable.nodes.capture import keep_output, session, set_keep_output
from persistable.nodes.code import Main
from persistable.nodes.event_loop import enter_loop, leave_loop
from persistable.nodes.own_code import code_key, code_of_node, has_given_code, use_code
from persistable.nodes.provenance import SHORTEST, class_members_of, facts_of, head_of, usage_of_thread, usage_since
from persistable.nodes.step import Step, StepNode, arguments_of
from persistable.nodes.stub import stub
from persistable.nodes.types import Node, given_logger, needs_of, own_store, upstream_of, validates
from persistable.params.encoding import SCALARS
from persistable.params.secret import clean
from persistable.params.snapshots import tracked_rows, untracked_values
from persistable.params.trees import tree
from persistable.records import record_access
from persistable.records.files import SMALL
from persistable.records.key import Key
from persistable.records.record import SUFFIX, FileFact, Record, encoded, environment_members, package_versions, sealed
from persistable.runs import output_forwarding
from persistable.runs.batch import Batch, Ended
from persistable.runs.concurrent_runs import failed_elsewhere
from persistable.runs.worker import Packer
from persistable.stores.base import extended

if TYPE_CHECKING:
    from persistable.families.bulk_keys import KeyChunks

Row = tuple[Any, ...]
"""The varying arguments of one member."""


def direct_generator_of(key_chunks: KeyChunks, store: Any) -> DirectGenerator | None:
    """The generator of these members into `store`; None if they can only be generated through nodes."""
    factory = key_chunks.factory
    if factory.maker.__class__ is not Step:
        return None
    model = cast("StepNode[Any]", key_chunks.model)
    kind: Any = model.__class__
    if factory.upstream_families or upstream_of(model) or not extended(store).batches:
        return None
    hooked = validates(model) or kind.retry is not None or kind.resources is not None or given_logger(model) is not None
    if hooked or not kind.is_persisted or needs_of(kind) != "all" or factory.maker.maker.merge is not None:
        return None
    varying = [factory.role(column.slot) for column in factory.columns]
    fixed = [value for name, value in arguments_of(model).items() if name not in varying]
    if not _are_scalars(fixed) or not all(_are_scalars(column.values) for column in factory.columns) or untracked_values(model.params):
        return None
    return DirectGenerator(bound_to(model, store), varying) if _as_they_are(model, varying) else None


def _are_scalars(values: Sequence[Any]) -> bool:
    return values.__class__ is range or {value.__class__ for value in values} <= SCALARS.keys()


def _as_they_are(model: StepNode[Any], varying: Sequence[str]) -> bool:
    """Tell whether records always contain these params, under their own names."""
    rows = tracked_rows(model.params.__class__)
    kept = {name for name, _, pin in rows[1] if pin is None} if rows is not None else set[str]()
    return bool(varying) and kept.issuperset(varying) and facts_of(model)["params"].keys() >= set(varying)


class DirectGenerator:
    """Generates members, each given by its key and its row of varying arguments.

    model: one of the members, bound to the store of all. varying: the names of the arguments that differ.
    """

    def __init__(self, model: StepNode[Any], varying: Sequence[str]) -> None:
        self._model = model
        self._store: Any = own_store(model)
        self._varying = varying
        self._maker = model.step.maker
        self._fixed: dict[str, Any] = arguments_of(model)
        self._io = model.payload_io
        self._tokens = _tokens()
        self._code: Any = None
        self._template: RecordTemplate | None = None
        self._sent: Any = None

    def batch(self, keys: Sequence[Key], rows: Sequence[Row], attempts: Mapping[str, int]) -> Batch:
        """Prepare a batch of these members.

        attempts: by digest, the last attempts at members whose failure was recorded when the run began. Members that another run has failed
        at since then are not tried again, and fail with that error.
        """
        self._keys = keys
        self._rows = rows
        self._attempts = attempts
        self._has_receiver = events.has_receiver()
        own = code_of_node(self._model)
        if self._template is None or self._code is not own:
            self._code, self._template = own, RecordTemplate(self._model, self._io, own, self._varying)
        self._batch = Batch(self._store, keys, self._generate)
        self._asked_at, self._used = -math.inf, 0.0
        return self._batch

    def thread_time(self, clock: float) -> float:
        """The processor seconds of this thread at `clock`, the current time.

        The operating system is asked at most once in a tenth of `SHORTEST`; in between, all time since then counts as processor time.
        """
        if clock - self._asked_at > SHORTEST / 10:
            self._asked_at, self._used = clock, time.thread_time()
        return self._used + clock - self._asked_at

    def request(
        self, keys: Sequence[Key], rows: Sequence[Row], attempts: Mapping[str, int], packer: Packer, run: str
    ) -> tuple[Callable[..., ChunkResult], Any]:
        """The function and argument with which another process performs these members, for `run`."""
        if self._sent is None:
            self._sent = stub(self._model, lambda _: self._store)
        common = packer.common(packer.registered, self._sent, self._varying)
        digests = [key.digest for key in keys]
        return perform_chunk, ChunkRequest(
            common, digests, rows, attempts, events.has_receiver(), run, packer.main, keep_output.get(), packer.levels
        )

    def thread_request(
        self, keys: Sequence[Key], rows: Sequence[Row], attempts: Mapping[str, int], run: str
    ) -> tuple[Callable[..., ChunkResult], Any]:
        """The function and argument with which a thread of this process performs these members, for `run`."""
        generator = DirectGenerator(self._model, self._varying)
        return perform_in_thread, (generator, keys, rows, attempts, run, events.hooks_of_context(), keep_output.get())

    def _generate(self, index: int, failed_before: bool) -> None:
        """Generate the member at `index` of the batch."""
        key, row = self._keys[index], self._rows[index]
        failure = record_access.find_failure(self._store, key) if failed_before else None
        if failure is not None and failure.attempt > self._attempts.get(key.digest, 0):
            raise failed_elsewhere(failure)
        running = _LazyGeneration(self, row, failure.attempt + 1 if failure is not None else 1)
        if self._has_receiver:
            events.emit(events.Started(key=key, attempt=running.attempt, label=""))
        outer = generation.current.set(cast("Any", running))
        generation.running_generations.append(running)
        loop = leave_loop()
        try:
            result = self._maker.call({**self._fixed, **dict(zip(self._varying, row, strict=True))})
            if result is None and not running.asked and declared_type.type_without_none(self._model):
                declared_type.check_none_returned(running.whole.node)
            if result.__class__ is int or result.__class__ is float:
                result = declared_type.convert_returned(self._model, result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            generation.fail(running.whole, error)
            raise
        finally:
            if loop is not None:
                enter_loop(loop)
            generation.running_generations.remove(running)
            generation.current.reset(outer)
        if running.asked or failed_before or not _is_plain(result) or not self._write(key, row, result, running):
            generation.finish_attempt(running.whole, lambda: result, failure)

    def _write(self, key: Key, row: Row, result: Any, running: _LazyGeneration) -> bool:
        """Write payload and record, as the commit of the general path would; False if the payload or a param is no simple case."""
        io, template = self._io, self._template
        try:
            data = io.dumps(result)
            if len(data) > SMALL or io.schema(result) is not None:
                return False
            io.loads(data)  # a payload that cannot be read back must not be committed
            params = [_JSON[value.__class__](value) for value in row]
        except Exception:  # noqa: BLE001 - the general path reports the error in full
            return False
        if template is None or template.modules != len(sys.modules):
            template = self._template = RecordTemplate(self._model, io, self._code, self._varying)
        name, digest = key
        token = next(self._tokens)
        file = f"{name}/{digest}.{token}{io.suffix}"
        seconds = time.perf_counter() - running.clock
        used = "{}" if seconds < SHORTEST else encoded(usage_since(usage_of_thread(running.cpu))).decode()
        size, started = str(len(data)), f"{running.started:.6f}"
        pending = self._batch.pending
        pending.put(file, data)
        pending.put(
            f"{name}/{digest}{SUFFIX}",
            template.fill(digest, token, size, blake3(data).hexdigest(), started, f"{seconds:.9f}", used, *params),
        )
        if self._has_receiver:
            pending.afterwards(partial(events.emit, events.Persisted(key=key, size=len(data), seconds=seconds)))
        return True

    @property
    def payload_name(self) -> str:
        """Payload name of the members."""
        name: str = self._model.payload_name
        return name

    def make(self, running: _LazyGeneration) -> generation.Generation:
        """The full generation of `running`."""
        node = self._maker.node({**self._fixed, **dict(zip(self._varying, running.row, strict=True))}, self._store)
        if has_given_code(self._model) and code_key(node) == code_key(self._model):  # the source file may be unreadable here
            use_code(node, self._code)
        made = generation.Generation(node, self._store, self._batch.claims, running.attempt, None, self._batch.pending)
        made.started, made.clock, made.begun = running.started, running.clock, usage_of_thread(running.cpu)
        return made


class _LazyGeneration:
    """Proxy for the generation of a member, which is created on first use."""

    threads: frozenset[int] = frozenset()

    def __init__(self, direct_generator: DirectGenerator, row: Row, attempt: int) -> None:
        self._generator = direct_generator
        self._whole: generation.Generation | None = None
        self.row = row
        self.attempt = attempt
        self.started = time.time()
        self.clock = time.perf_counter()
        self.cpu = direct_generator.thread_time(self.clock)

    @property
    def asked(self) -> bool:
        """Tell whether the generation was created."""
        return self._whole is not None

    @property
    def whole(self) -> generation.Generation:
        """The generation itself."""
        if self._whole is None:
            self._whole = self._generator.make(self)
        return self._whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)


class ChunkRequest(NamedTuple):
    """Members for another process to perform. common: model and names of a `DirectGenerator`, packed, the same for the whole family."""

    common: bytes
    digests: list[str]
    rows: Sequence[Row]
    attempts: Mapping[str, int]
    has_receiver: bool
    run: str
    main: Main
    output: bool
    levels: output_forwarding.Levels | None


class ChunkResult(NamedTuple):
    """Result of a `ChunkRequest`.

    ended: index in it, error (None if committed), its traceback, seconds. left: indices of members not performed. seconds: of the whole.
    """

    ended: list[tuple[int, Exception | None, str, float]]
    left: list[int]
    events: Sequence[events.Event]
    seconds: float


_Parts = tuple[StepNode[Any], Sequence[str]]
_known: tuple[bytes, _Parts | None] = (b"", None)
"""The common part of the last request, packed and unpacked."""


@session()
def perform_chunk(request: ChunkRequest) -> ChunkResult:
    """Perform the members of a request in this process, whose other threads may perform others at the same time."""
    global _known
    common, parts = _known
    if parts is None or common != request.common:
        parts = cast("_Parts", pickle.loads(request.common)[1:])
        _known = (request.common, parts)
    thread_limits.limit(None)
    direct_generator = DirectGenerator(*parts)
    keys = [Key(direct_generator.payload_name, digest) for digest in request.digests]
    with output_forwarding.run_from_elsewhere(
        request.run, set(keys), request.has_receiver, request.main, request.output, request.levels, begins=True
    ) as unsent:
        batch = direct_generator.batch(keys, request.rows, request.attempts)
        batch.perform(lambda: True)
    ended = [_carried(each) for each in batch.ended]
    return ChunkResult(ended, batch.left, unsent, batch.seconds)


def perform_in_thread(order: tuple[DirectGenerator, Sequence[Key], Sequence[Row], Mapping[str, int], str, Any, bool]) -> ChunkResult:
    """Perform members in a thread of this process; hooks of the run receive its events immediately."""
    direct_generator, keys, rows, attempts, run, hooks, output = order
    with connections.within(run), events.receive_events_with(hooks), set_keep_output(output):
        batch = direct_generator.batch(keys, rows, attempts)
        batch.perform(lambda: True)
    ended = [(each.number, cast("Exception | None", each.error), "", each.seconds) for each in batch.ended]
    return ChunkResult(ended, batch.left, (), batch.seconds)


for _performs in (perform_chunk, perform_in_thread):
    _performs.__dict__["said_as"] = "the generation of some members of a family"  # its name in messages of executors


def _carried(ended: Ended) -> tuple[int, Exception | None, str, float]:
    if ended.error is None:
        return ended.number, None, "", ended.seconds
    cleaned = clean(ended.error)
    return ended.number, portable(cleaned), lines_of(cleaned), ended.seconds


def _tokens() -> Iterator[str]:
    """Unique tokens of attempts."""
    while True:
        drawn = os.urandom(4 * 500).hex()
        for start in range(0, len(drawn), 8):
            yield drawn[start : start + 8]


def _is_plain(value: Any, depth: int = 3) -> bool:
    """Tell whether `value` is certainly small, and no placeholder of a payload."""
    kind = value.__class__
    if kind in _NUMBERS:
        return True
    if kind is str or kind is bytes:
        return len(value) <= _LONG
    if kind is dict:
        return depth > 0 and len(value) <= _MANY and all(_is_plain(each, depth - 1) for item in value.items() for each in item)
    if kind is list or kind is tuple:
        return depth > 0 and len(value) <= _MANY and all(_is_plain(each, depth - 1) for each in value)
    return kind.__module__ == "numpy" and getattr(value, "nbytes", _LONG + 1) <= _LONG


_NUMBERS = frozenset({type(None), bool, int, float, complex})
_LONG = 1 << 14
_MANY = 50


def _encoded(value: Any) -> str:
    return encoded(tree(value)).decode("utf-8", "surrogatepass")


def _int(value: int) -> str:
    return str(value) if -_BIG < value < _BIG else _encoded(value)


_BIG = 1 << 53
_JSON: dict[type, Callable[[Any], str]] = {**dict.fromkeys(SCALARS, _encoded), int: _int}
"""JSON of a param in a record, by its type."""


class RecordTemplate:
    """Serialized record of nodes that differ only in plain values of some params, each made at the first attempt, with slots to fill in.

    model: one of these nodes. varying: the params. modules: number of modules imported when it was made; once more are imported, the
    versions in it are out of date.
    """

    def __init__(self, model: Node, io: Any, own: code.CodeOf | code.SentFingerprint, varying: Iterable[str]) -> None:
        digest, token, content = model.key.digest, *[os.urandom(length).hex() for length in (12, 32)]
        used = os.urandom(12).hex()
        numbers = [int.from_bytes(os.urandom(6), "big") + (1 << 48) for _ in range(3)]
        marks = {name: os.urandom(12).hex() for name in varying}
        facts: dict[str, Any] = facts_of(model)
        facts = {**facts, "params": {**facts["params"], **marks}}
        file = FileFact("", model.key.file(token, io.suffix), numbers[0], content)
        head = head_of(model, io, own, token, [file])
        self.modules = len(sys.modules)
        self._signer = extended(model.store).signer
        details = {"made": "generated", "started": numbers[1], "seconds": numbers[2], "attempts": 1, "usage": used, **facts}
        record = Record.compose(model.key, head, details, class_members_of(model, own), package_versions(), environment_members())
        fields = [digest, token, *[str(number) for number in numbers[:1]], content, *[str(number) for number in numbers[1:]], f'"{used}"']
        fields += [f'"{mark}"' for mark in marks.values()]
        text = record.unsealed().decode("utf-8", "surrogatepass")
        self._pieces, order = _parted(text, fields)
        self._order = itemgetter(*order)

    def fill(self, *facts: str) -> bytes:
        """Fill in a record. facts: digest and token of the node, size and digest of its file, started, seconds, usage, params, as JSON."""
        pieces = self._pieces.copy()
        pieces[1::2] = self._order(facts)
        return sealed("".join(pieces).encode("utf-8", "surrogatepass"), self._signer)


def _parted(text: str, fields: Sequence[str]) -> tuple[list[str], list[int]]:
    """`text` split around every occurrence of `fields`, and the index of the field at each occurrence."""
    found: list[tuple[int, int]] = []
    for index, field in enumerate(fields):
        start = text.find(field)
        while start >= 0:
            found.append((start, index))
            start = text.find(field, start + len(field))
    pieces: list[str] = []
    end = 0
    for start, index in sorted(found):
        pieces += [text[end:start], fields[index]]
        end = start + len(fields[index])
    return [*pieces, text[end:]], [index for _, index in sorted(found)]
