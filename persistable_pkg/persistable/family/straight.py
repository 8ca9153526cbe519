"""`Straight`: members of a family generated one after the other without their nodes, where a node would decide nothing.

Of a tiny payload most of the time would go into objects: a node, its params, a generation, a record composed from facts. Where members are
calls of one function with plain values, and nothing is upstream of them, all that differs between two of them is these values and what
comes of the call. Whatever turns out to be more than that (a function that asks for its generation, fails, or returns what is not plain) is
handed, with what has been made so far, to the general way.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

from blake3 import blake3

from persistable import events, generation, holdings
from persistable.batch import Batch
from persistable.params.canonical import SCALARS
from persistable.params.trees import tree
from persistable.params.watching import untracked_values
from persistable.payload import SMALL
from persistable.record import SUFFIX, encoded
from persistable.recording import Form
from persistable.steps import Step

if TYPE_CHECKING:
    from persistable.family.lots import Lots
    from persistable.key import Key


def straight_of(lots: Lots, store: Any) -> Straight | None:
    """What generates these members straight away into `store`; None where they take their nodes."""
    recipe, model = lots.recipe, lots.model
    kind: Any = model.__class__
    if recipe.maker.__class__ is not Step or recipe.relations or model._upstream or not getattr(store, "batches", False):
        return None
    hooked = model._validates() or kind.retry is not None or kind.resources is not None or model.logger is not None
    if hooked or not kind._persisted or kind._needs != "all" or recipe.maker.maker.merge is not None:
        return None
    varying = {recipe.role(column.slot) for column in recipe.columns}
    plain = all(value.__class__ in SCALARS for name, value in model._arguments.items() if name not in varying)
    return Straight(lots, store) if plain and not untracked_values(model.params) else None


class Straight:
    """Generates members by number."""

    def __init__(self, lots: Lots, store: Any) -> None:
        self._lots = lots
        self._store = store
        self._columns = [(lots.recipe.role(column.slot), column.axis, column.values) for column in lots.recipe.columns]
        self._fixed: dict[str, Any] = lots.model._arguments
        self._call = lots.recipe.maker.maker.call
        self._io = lots.model._format()
        self._form: Form | None = None
        self._tokens = _tokens()

    def batch(self, numbers: Sequence[int]) -> Batch:
        """These members, to be performed."""
        self._numbers = numbers
        self._keys = self._lots.keys(numbers)
        self._heard = events.listened()
        self._code = self._lots.model._code()
        self._form = None
        self._batch = Batch(self._store, self._keys, self._generate)
        return self._batch

    def _generate(self, place: int, failed_before: bool) -> None:
        """Generate the member at that place of the batch."""
        number, key = self._numbers[place], self._keys[place]
        running = _Running(self, number, self._attempt(key) if failed_before else 1)
        if self._heard:
            events.emit(events.Started(key=key, attempt=running.attempt))
        places = self._lots.places(number)
        values = {name: column[places[axis]] for name, axis, column in self._columns}
        outer = generation.current.set(cast("Any", running))
        try:
            result = self._call({**self._fixed, **values})
        except (Exception, SystemExit) as error:  # noqa: BLE001 - recorded where all are, and raised from there
            make: Callable[[], Any] = partial(_raise, error)
        else:
            if not running.asked and not failed_before and _is_plain(result) and self._write(key, values, result, running):
                return
            make = partial(_given, result)
        finally:
            generation.current.reset(outer)
        failure = holdings.find_failure(self._store, key) if failed_before else None
        generation.conclude(running.whole, make, failure)

    def _attempt(self, key: Key) -> int:
        failure = holdings.find_failure(self._store, key)
        return failure.attempt + 1 if failure is not None else 1

    def _write(self, key: Key, values: dict[str, Any], result: Any, running: _Running) -> bool:
        """Write payload and record, as a commit of the general way would; False where there is something about them."""
        io, form = self._io, self._form
        try:
            data = io.dumps(result)
            if len(data) > SMALL or io.schema(result) is not None:
                return False
            io.loads(data)  # so that one that cannot be read again is noticed before it is committed
            params = [_JSON[value.__class__](value) for value in values.values()]
        except Exception:  # noqa: BLE001 - it is said in full where that is known
            return False
        if form is None or form.modules != len(sys.modules):
            form = self._form = Form(self._lots.model, io, self._code, values)
        name, digest = key
        token = next(self._tokens)
        file = f"{name}/{digest}.{token}{io.suffix}"
        seconds = time.perf_counter() - running.clock
        size, started = str(len(data)), f"{running.started:.6f}"
        pending = self._batch.pending
        pending.put(file, data)
        pending.put(
            f"{name}/{digest}{SUFFIX}", form.fill(digest, token, size, blake3(data).hexdigest(), started, f"{seconds:.9f}", *params)
        )
        if self._heard:
            pending.afterwards(partial(events.emit, events.Persisted(key=key, size=len(data), seconds=seconds)))
        return True

    def make(self, running: _Running) -> generation.Generation:
        """The generation that `running` stands for."""
        node = self._lots.nodes[running.number]._twin(self._store)
        made = generation.Generation(node, self._store, self._batch.claims, running.attempt, None, self._batch.pending)
        made.started, made.clock = running.started, running.clock
        return made


class _Running:
    """Stands for the generation of a member, which is made if anybody asks for it."""

    def __init__(self, straight: Straight, number: int, attempt: int) -> None:
        self._straight = straight
        self._whole: generation.Generation | None = None
        self.number = number
        self.attempt = attempt
        self.started = time.time()
        self.clock = time.perf_counter()

    @property
    def asked(self) -> bool:
        """Whether it was made."""
        return self._whole is not None

    @property
    def whole(self) -> generation.Generation:
        """The generation itself."""
        if self._whole is None:
            self._whole = self._straight.make(self)
        return self._whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)


def _tokens() -> Iterator[str]:
    """Names that no other attempts have."""
    while True:
        drawn = os.urandom(4 * 500).hex()
        for start in range(0, len(drawn), 8):
            yield drawn[start : start + 8]


def _raise(error: BaseException) -> NoReturn:
    raise error


def _given(result: Any) -> Any:
    return result


def _is_plain(value: Any, depth: int = 3) -> bool:
    """Whether it surely is small, and nothing that stands for a payload."""
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
"""How params of each plain type stand in a record."""
