"""The contract of formats, as tests. Subclass `FileIOContract` in a test module, and define the format and its payloads.

    class TestMine(FileIOContract):
        def io(self): return MyFileIO()
        def payloads(self): return st.text()
        def refused(self): return [b"bytes", 1]

Needs pytest and hypothesis.
"""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import copy
import io
import json
import math
import pickle
import random
import tempfile
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from persistable.errors import MalformedFile, PayloadNotRepresentable
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.fileio.registry import fileio_from_spec

# one test serves many formats: Hypothesis would take this for a mistake
_few = settings(max_examples=15, deadline=None, phases=[Phase.reuse, Phase.generate, Phase.shrink], suppress_health_check=[*HealthCheck])  # pyright: ignore[reportArgumentType]
_fewer = settings(_few, max_examples=4)


class FileIOContract:
    """Tests for one format. Override `io` and `payloads`; the others where they apply."""

    samples: ClassVar[int] = 40
    """Number of positions at which a file is cut, and at which a bit of it is flipped."""
    extra_memory: ClassVar[int] = 16 << 20
    """Bytes that dumping `large` may take beyond the payload itself."""

    def io(self) -> FileIO[Any]:
        """The format under test."""
        raise NotImplementedError("say which format: return it from io()")

    def payloads(self) -> st.SearchStrategy[Any]:
        """A strategy for payloads that the format gives back exactly."""
        raise NotImplementedError("say which payloads it takes: return a Hypothesis strategy from payloads()")

    def refused(self) -> Iterable[Any]:
        """Payloads it must refuse."""
        return ()

    def large(self) -> Any:
        """A payload of about 64 MB that must be written without a second copy; None if the format needs one."""
        return None

    def equal(self, left: Any, right: Any) -> bool:
        """Tell whether both are equal in value, type and every other visible property."""
        return exactly_equal(left, right)

    # the promises

    @_few
    @given(st.data())
    def test_what_is_loaded_equals_what_was_dumped(self, data: st.DataObject) -> None:
        payload = data.draw(self.payloads())
        written, format_ = self._written(payload)
        assert self.equal(format_.loads(written), payload)

    @_few
    @given(st.data())
    def test_a_second_round_trip_changes_nothing(self, data: st.DataObject) -> None:
        payload = data.draw(self.payloads())
        written, format_ = self._written(payload)
        once = format_.loads(bytearray(written))
        again, format_ = self._written(once)
        assert self.equal(format_.loads(again), payload)

    @_few
    @given(st.data())
    def test_arrays_are_writable_exactly_when_the_buffer_is(self, data: st.DataObject) -> None:
        if not self.io().maps:
            return
        written, format_ = self._written(data.draw(self.payloads()))
        assert all(array.flags.writeable for array in _arrays(format_.loads(bytearray(written))))
        assert not any(array.flags.writeable for array in _arrays(format_.loads(written)))

    @_fewer
    @given(st.data())
    def test_dump_writes_front_to_back(self, data: st.DataObject) -> None:
        payload = data.draw(self.payloads())
        written, format_ = self._written(payload)
        file = _WriteOnly()
        self.io().dump(payload, file)  # type: ignore[arg-type]
        assert self.equal(format_.loads(bytes(file.data)), format_.loads(written))

    @_fewer
    @given(st.data())
    def test_loading_from_bytes_file_path_and_urls_agrees(self, data: st.DataObject) -> None:
        payload = data.draw(self.payloads())
        written, format_ = self._written(payload)
        name = f"payload{format_.suffix}"
        assert self.equal(format_.load(io.BytesIO(written)), payload)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "new", "folders", name)
            urls = (path, str(path), f"file://{path}", f"memory://{uuid.uuid4()}/deep/{name}")
            for target in urls:
                self.io().save(payload, target)
                assert self.equal(self.io().load(target), payload)
            if not isinstance(format_, PartsFileIO):
                with path.open("rb") as file:
                    assert self.equal(format_.load(file), payload)
            left = {item.name for item in path.parent.iterdir()}
            assert left <= {name, f"{name}.schema.json"}, f"left behind: {left}"

    @_fewer
    @given(st.data())
    def test_damaged_files_are_malformed_and_quickly_so(self, data: st.DataObject) -> None:
        written, format_ = self._written(data.draw(self.payloads()))
        choose = random.Random(len(written))
        damaged = [written[: choose.randrange(len(written))] for _ in range(self.samples) if written]
        for _ in range(self.samples if written else 0):
            flipped = bytearray(written)
            flipped[choose.randrange(len(flipped))] ^= 1 << choose.randrange(8)
            damaged.append(bytes(flipped))
        for broken in (*damaged, b"", written[:-1]):
            started = time.process_time()  # CPU time, without the time that the process waits
            try:
                format_.loads(broken)
            except MalformedFile:
                pass
            assert time.process_time() - started < 10

    def test_refused_payloads_say_why_and_write_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for payload in self.refused():
                format_ = self.io()
                attempts: list[Callable[[Any], Any]] = [format_.dumps, lambda it: self.io().save(it, Path(folder, "refused"))]
                for attempt in attempts:
                    refusal = _refusal(attempt, payload)
                    assert refusal is not None, f"{format_!r} took {payload!r}"
                    assert refusal.reason and refusal.format
                assert not list(Path(folder).iterdir())

    @_fewer
    @given(st.data())
    def test_a_failed_save_keeps_the_earlier_file(self, data: st.DataObject) -> None:
        payload = data.draw(self.payloads())
        with tempfile.TemporaryDirectory() as folder:
            for target in (Path(folder, f"payload{self.io().suffix}"), f"memory://{uuid.uuid4()}/payload{self.io().suffix}"):
                self.io().save(payload, target)
                try:
                    _breaking(self.io()).save(payload, target)
                except _BrokenError:
                    pass
                else:
                    raise AssertionError("the write did not break")
                assert self.equal(self.io().load(target), payload)
            assert not [item for item in Path(folder).iterdir() if item.name.endswith(".tmp")]

    def test_pickles_and_is_rebuilt_from_its_spec(self) -> None:
        format_ = self.io()
        assert pickle.loads(pickle.dumps(format_)) == format_
        spec = json.loads(json.dumps(format_.spec()))
        assert fileio_from_spec(spec) == format_
        assert fileio_from_spec(spec).suffix == format_.suffix

    def test_dumping_makes_no_second_copy(self) -> None:
        payload = self.large()
        if payload is None:
            return
        format_ = self.io()
        format_.check(payload)
        file = _Nowhere()
        tracemalloc.start()
        try:
            format_.dump(payload, file)  # type: ignore[arg-type]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert file.size > 0
        assert peak < self.extra_memory, f"{peak >> 20} MB beyond the payload"

    def _written(self, payload: Any) -> tuple[bytes, FileIO[Any]]:
        """The bytes of `payload`, and the format that loads them: one with the schema, if there is one, after a round trip through JSON."""
        format_ = self.io()
        schema = format_.schema(payload)
        return format_.dumps(payload), format_ if schema is None else format_.with_schema(json.loads(json.dumps(schema)))


class _WriteOnly(io.RawIOBase):
    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return memoryview(data).nbytes


class _Nowhere(io.RawIOBase):
    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.size += size
        return size


class _BrokenError(Exception):
    pass


def _refusal(attempt: Callable[[Any], Any], payload: Any) -> PayloadNotRepresentable | None:
    try:
        attempt(payload)
    except PayloadNotRepresentable as error:
        return error
    return None


def _breaking(format_: FileIO[Any]) -> FileIO[Any]:
    """`format_`, but its writing raises half-way."""
    broken: Any = copy.copy(format_)

    def dump(_payload: Any, file: BinaryIO) -> None:
        file.write(b"half a payload")
        raise _BrokenError

    def dump_parts(_payload: Any, create: Callable[[str], AbstractContextManager[BinaryIO]]) -> None:
        with create("first") as file:
            file.write(b"half a payload")
        raise _BrokenError

    broken.dump, broken.dump_parts = dump, dump_parts
    broken.check = lambda _payload: None  # some formats write a payload to check it
    result: FileIO[Any] = broken
    return result


def exactly_equal(left: Any, right: Any) -> bool:
    """Tell whether both are equal in type, value, dtype and layout of index, as a user sees them. NaN equals NaN; 0.0 and -0.0 differ."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or (left == right and math.copysign(1, left) == math.copysign(1, right))
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(exactly_equal, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(exactly_equal(left[name], right[name]) for name in left)
    if isinstance(left, Path) and left.is_dir():
        return _tree(left) == _tree(right)
    kind = f"{type(left).__module__.partition('.')[0]}.{type(left).__name__}"
    compare = _COMPARE.get(kind)
    return bool(left == right) if compare is None else compare(left, right)


def _same_array(left: Any, right: Any) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.hasobject:
        return exactly_equal(left.tolist(), right.tolist())
    return bool(left.tobytes() == right.tobytes())


def _same_pandas(left: Any, right: Any) -> bool:
    from pandas.testing import assert_frame_equal, assert_series_equal

    try:
        (assert_frame_equal if left.ndim == 2 else assert_series_equal)(left, right, check_exact=True, check_freq=True)
    except AssertionError:
        return False
    return bool(left.attrs == right.attrs and left.flags == right.flags)


def _same_polars(left: Any, right: Any) -> bool:
    same_type = left.schema == right.schema if hasattr(left, "schema") else (left.name, left.dtype) == (right.name, right.dtype)
    return bool(same_type and left.equals(right, null_equal=True))


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "numpy.ndarray": _same_array,
    "pandas.DataFrame": _same_pandas,
    "pandas.Series": _same_pandas,
    "polars.DataFrame": _same_polars,
    "polars.Series": _same_polars,
    "pyarrow.Table": lambda left, right: bool(left.equals(right, check_metadata=True)),
}


def _tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _arrays(value: Any) -> Iterator[Any]:
    """The arrays in a payload that are views of its file."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _arrays(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _arrays(item)
    elif type(value).__name__ == "ndarray" and value.nbytes and not value.dtype.hasobject:
        yield value
