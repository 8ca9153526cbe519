"""Calls and answers as bytes: whatever pieces they come in, they come whole."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistable.errors import RemoteError
from persistable.executors import calls
from persistable.executors.processes.frames import Frame, Inbox, encoded
from persistable.testing import executor_tasks as tasks

SIZES = st.one_of(st.integers(0, 300), st.sampled_from([65_535, 65_536, (1 << 18) - 29, (1 << 18) - 28, 1 << 18, 700_001]))
FRAMES = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 3), st.lists(SIZES, min_size=1, max_size=4)), max_size=6)


@given(FRAMES, st.integers(1, 400_000))
def test_frames_arrive_as_they_were_sent(plan: list[tuple[int, int, list[int]]], piece: int) -> None:
    frames = [Frame(number, 5, kind, [(b"%05d" % size * (size // 5 + 1))[:size] for size in sizes]) for number, kind, sizes in plan]
    stream = b"".join(bytes(part) for frame in frames for part in encoded(frame))
    piece = max(piece, len(stream) // 50)
    here, there = socket.socketpair()

    def send() -> None:
        for start in range(0, len(stream), piece):
            there.sendall(stream[start : start + piece])
        there.close()

    sender = threading.Thread(target=send)
    sender.start()
    with here:
        found = list(received(here))
    sender.join()
    told = [(frame.number, frame.elapsed, frame.kind, [bytes(part) for part in frame.parts]) for frame in found]
    assert told == [tuple(frame) for frame in frames]


def received(channel: socket.socket) -> Iterator[Frame]:
    inbox = Inbox()
    while True:
        try:
            yield from inbox.receive(channel)
        except EOFError:
            return


def test_large_buffers_are_not_copied_into_the_pickle() -> None:
    import numpy as np

    array = np.arange(100_000)
    data, buffer = calls.pack({"large": array, "small": np.arange(3)})
    assert len(data) < 2000
    array[0] = 7
    assert calls.unpack([data, buffer])["large"][0] == 7


@pytest.mark.parametrize("value", [1, "__main__", b"__main__" * 3, [None, {"a": 1}], tasks.double])
def test_values_are_packed_and_unpacked(value: Any) -> None:
    assert calls.unpack(calls.pack(value)) == value


def test_text_that_says_main_is_not_taken_for_a_class_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import __main__

    class Mine:
        pass

    Mine.__module__, Mine.__qualname__ = "__main__", "Mine"
    monkeypatch.setattr(__main__, "Mine", Mine, raising=False)
    by_reference = pickle.dumps([Mine, Mine()], 5)
    assert [bytes(part) for part in calls.pack(by_reference)] == [pickle.dumps(by_reference, 5)]
    for value in (Mine, Mine(), [{"deep": Mine()}], Mine().__init__):
        (data,) = calls.pack(value)
        assert b"cloudpickle" in bytes(data)


def test_what_cannot_be_pickled_says_why() -> None:
    with pytest.raises((TypeError, pickle.PicklingError), match="lock"):
        calls.pack(tasks.make_lock())


def test_an_answer_is_a_result_or_an_error_and_never_raises() -> None:
    def outcome(fn: Any, *args: Any) -> tuple[Any, BaseException | None]:
        return calls.answer(*calls.perform(calls.pack((fn, args, {}))))

    assert outcome(tasks.double, 4) == (8, None)
    assert isinstance(outcome(tasks.fail, "no")[1], ValueError)
    assert "make_lock, a _thread.lock, cannot be pickled" in str(outcome(tasks.make_lock)[1])
    arrived = outcome(tasks.make_what_fails_on_arrival)[1]
    assert isinstance(arrived, RemoteError)
    assert "its result cannot be unpickled here: ValueError: this fails on arrival" in str(arrived)
    went_well, parts = calls.perform([b"no pickle"])
    assert not went_well
    assert isinstance(calls.answer(went_well, parts)[1], pickle.UnpicklingError)
