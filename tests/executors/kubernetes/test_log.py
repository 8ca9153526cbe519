"""Answers as lines of a log, and a worker that releases what waits behind a long call."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistable.executors.kubernetes import pod
from persistable.executors.kubernetes.log import LogReader, lines_of
from persistable.executors.kubernetes.pod import RELEASED, LogFiles
from persistable.executors.remote.request import DRIVER, TAKEN, WORKER

TEXT = st.text(st.characters(exclude_characters="\x1e", exclude_categories=["Cs"]), max_size=30).map(str.encode)


@given(st.lists(st.tuples(TEXT, st.binary(max_size=6000)), max_size=6), st.randoms(), st.booleans())
def test_files_and_text_come_apart_however_the_log_arrives(parts: list[tuple[bytes, bytes]], random: object, again: bool) -> None:
    log = b"".join(text + b"".join(lines_of(f"answers.{number}", data)) for number, (text, data) in enumerate(parts))
    reader = LogReader()
    for _ in range(1 + again):  # a second reading harms no file
        rest = log
        while rest:
            size = random.randint(1, 5000)  # type: ignore[attr-defined]
            reader.feed(rest[:size])
            rest = rest[size:]
    assert {name: reader.get(name) for name in reader.names} == {f"answers.{number}": data for number, (_, data) in enumerate(parts)}
    assert reader.text == b"".join(text for text, _ in parts).decode() * (1 + again)


def test_lines_are_written_in_one_piece_and_told_from_text() -> None:
    assert all(len(line) < os.sysconf("SC_PAGE_SIZE") for line in lines_of("answers.123456", bytes(10_000)))
    reader = LogReader()
    reader.feed(b"\x1epersistable is a word\n\x1epersistable answers.1 1/1 %%\n")
    assert not reader.names
    assert reader.text.count("persistable") == 2


def test_what_waits_behind_a_long_call_is_released(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod, "LONG", 0.2)
    files = LogFiles(tmp_path, None, str(tmp_path / "begun"))
    assert files.create(f"{TAKEN}0", WORKER)
    assert files.create(f"{TAKEN}1", WORKER)
    reader = LogReader()
    end = time.monotonic() + 30
    while RELEASED not in reader.names and time.monotonic() < end:
        reader.feed(capfd.readouterr().out.encode())
        time.sleep(0.02)
    assert reader.get(RELEASED) == b"1"
    assert files.create(f"{TAKEN}1", WORKER)
    assert not files.create(f"{TAKEN}2", WORKER)
    assert files.get(f"{TAKEN}2") == DRIVER
    assert (tmp_path / "begun").read_text() == "1"
