"""What a person reads of failures: a line each, the first with the lines of their own code, none of this package's."""

import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from persistable import Source, open_store, run, step
from persistable.errors import RunFailed
from persistable.executors.tracebacks import with_source
from persistable.records import record_access
from persistable.stores import Store


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Store]:
    """The store of nodes that name none: a folder."""
    with open_store(tmp_path / "store") as store:
        yield store


@step
def load(clip: str) -> list[float]:
    if clip.endswith("7"):
        raise ValueError("no samples")
    return checked(clip)


def checked(clip: str) -> list[float]:
    if int(clip[-3:]) % 3 == 0:
        raise KeyError(clip)
    return [1.0]


@step
def spectrum(samples: list[float]) -> float:
    return sum(samples)


CLIPS = [f"clip-{number:03d}" for number in range(60)]


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_group_of_failures_is_short_and_shows_the_users_code_only(executor: str) -> None:
    with pytest.raises(RunFailed) as caught:
        run(spectrum.over(load.over(clip=CLIPS)), executor=executor, max_workers=2)
    group = caught.value
    assert "24 of 120 nodes failed, and 24 that need them were skipped: 18 × KeyError in load, 6 × ValueError in load" in str(group)  # noqa: RUF001
    text = "".join(traceback.format_exception(group)).partition("+-+-")[2]  # without how the test came to the run
    assert len(text.splitlines()) < 90
    assert "persistable/runs" not in text and "persistable/nodes" not in text
    assert text.count("in checked") + text.count('"no samples"') == 3 and "while generating load(clip='clip-" in text
    assert len(group.exceptions) == 24 and len(group.result.failures) == 24


def test_failures_describe_themselves() -> None:
    result = run(spectrum.over(load.over(clip=CLIPS)), errors="return")
    lines = result.failures.describe().splitlines()
    assert lines[0] == "load(clip='clip-000'): KeyError: 'clip-000'"
    assert sum(not line.startswith(" ") for line in lines) == 11 and lines[-1].startswith("and 14 more: ")
    assert any("raise KeyError(clip)" in line for line in lines[:8])
    rows = {row["key"]: row for row in result.rows()}
    skipped = spectrum.step(load.step("clip-007"))
    assert rows[str(skipped.key)]["error"] == "waits for load(clip='clip-007'): ValueError: no samples"


def test_in_a_notebook_failures_come_first_and_in_words() -> None:
    result = run(spectrum.over(load.over(clip=CLIPS[:10])), errors="return")
    shown = result._repr_html_()
    assert shown.index("load(clip=&#x27;clip-009&#x27;)") < shown.index("spectrum(samples=load(clip=&#x27;clip-001&#x27;))")
    assert "waits for load(clip=&#x27;clip-007&#x27;): ValueError: no samples" in shown
    assert "5 failures" in result.failures._repr_html_() and "KeyError" in result.failures._repr_html_()
    one = result.failures[0]._repr_html_()
    assert "raise KeyError(clip)" in one and "reproduce()" in one and "persistable/nodes" not in one


def test_a_payload_asked_for_directly_raises_from_the_users_code() -> None:
    with pytest.raises(ValueError, match="no samples") as caught:
        _ = spectrum.step(load.step("clip-007")).payload
    names = [Path(frame.filename).parts for frame in traceback.extract_tb(caught.value.__traceback__)]
    inside = [parts for parts in names if "persistable_pkg" in parts]
    assert len(inside) <= 2, inside  # those that are marked as hidden
    assert caught.value.__notes__[0].startswith("while generating load(clip='clip-007') (load/")


def test_what_is_recorded_of_a_failure_begins_in_the_users_code_too() -> None:
    node = spectrum.step(load.step("clip-007"))
    for attempt in (lambda: run(node, errors="return"), lambda: node.payload):
        with suppress(ValueError):
            attempt()
        failure = record_access.find_failure(node.store, load.step("clip-007").key)
        assert failure is not None and "no samples" in failure.traceback and "persistable_pkg" not in failure.traceback


def test_errors_behind_an_error_are_trimmed_too(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from persistable import step, run, open_store

            @step
            def broken(n: int) -> int:
                try:
                    return 1 // n
                except ZeroDivisionError as error:
                    raise RuntimeError("cannot divide") from error

            if __name__ == "__main__":
                with open_store("data"):
                    run(broken.step(0), executor="processes")
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    told = done.stderr.partition("+-+-")[2]
    assert f'File "{script}", line 7, in broken' in told and "return 1 // n" in told and "direct cause" in told
    assert "persistable/" not in told


def test_source_that_only_this_process_has_is_put_in() -> None:
    text = f'Traceback (most recent call last):\n  File "{__file__}", line 1, in cell\nValueError: x\n'
    assert with_source(text).splitlines()[2].startswith('    """What a person reads of failures: a line each')
    assert with_source(with_source(text)) == with_source(text) and with_source("no traceback") == "no traceback"


def test_the_log_says_the_same_words(caplog: pytest.LogCaptureFixture) -> None:
    run(load.step("clip-007"), errors="return")
    said = next(message for message in caplog.messages if message.startswith("Failed "))
    assert said.startswith("Failed load(clip='clip-007') (load/") and "): ValueError: no samples [attempt=1" in said


@step
def count(text: str) -> int:
    return len(text)


def test_an_input_that_cannot_be_read_is_told_without_this_packages_frames(tmp_path: Path) -> None:
    """No code of the user's stands in such a traceback: the error, the input and the node do."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "odd.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFailed) as caught:
        run(count.over(Source(f"{tmp_path}/texts/{{text}}.txt")), progress=False)
    text = "".join(traceback.format_exception(caught.value)).partition("+-+-")[2]
    assert f"MalformedFile: the input {tmp_path}/texts/odd.txt: not a whole file of TextFileIO" in text
    assert "while generating count(" in text
    assert "persistable/nodes" not in text and text.count("persistable/fileio") <= 4
