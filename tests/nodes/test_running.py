"""The ready-made nodes under `run`, in worker processes."""

from __future__ import annotations

import os
import signal
import time
from concurrent import futures
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers.fixtures import Bucket
from servers.needs import need, need_program

from nodes.site import Site, page
from nodes.test_command import FAMILY, NAMES, alive, family, wait_until
from persistable import open_store
from persistable.errors import CommandFailed, HttpFailed, TimedOut
from persistable.executors import ProcessExecutor
from persistable.executors.resources import Resources
from persistable.fileio import TextFileIO
from persistable.nodes.command import Command
from persistable.nodes.transfer import HttpGet, Upload
from persistable.params.secret import Secret
from persistable.runs.run import run


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("jinja2", "httpx")
    need_program("bash")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_from_the_web_through_a_script_to_a_bucket(
    executor: str, site: Site, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEST_WEB_TOKEN", "t0ken-of-the-web")
    site.pages["/words"] = page(b"pear\nfig\napple\n")
    words = HttpGet(site.url + "/words?key={key}", secrets={"key": Secret("TEST_WEB_TOKEN")}, data_dir="data")
    aside = Command("cat {{ input }}; echo $OWN", env={"OWN": "own"}, persist=False, io=TextFileIO(), data_dir="data")
    longest = Command("cat {{ inputs }} | awk '{ print length, $0 }' | sort -rn | head -n {{ n }}", n=1, data_dir="data")
    upload = [words, words >> aside] >> longest >> Upload(f"{s3_bucket.url}/longest.txt", options=s3_bucket.options, data_dir="data")
    result = run(upload, executor=executor, max_workers=2)
    assert result[upload].payload == f"{s3_bucket.url}/longest.txt"
    assert open_store(s3_bucket.url, **s3_bucket.options).get("longest.txt") == b"5 apple\n"
    run(upload, executor=executor, max_workers=2)
    assert site.count("/words") == 1
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert b"t0ken" not in kept
    assert list((tmp_path / "data").rglob("run-*")) == []


def test_failures_cross_the_border_whole_and_without_secrets(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_WEB_TOKEN", "t0ken-of-the-web")
    gone = HttpGet(site.url + "/gone?key={key}", secrets={"key": Secret("TEST_WEB_TOKEN")}, data_dir="data")
    bad = Command("echo $TOKEN >&2; exit 7", env={"TOKEN": Secret("TEST_WEB_TOKEN")}, data_dir="data")
    result = run(gone, bad, executor="processes", max_workers=2, errors="return")
    errors = {failure.key: failure.error for failure in result.failures}
    first, second = errors[gone.key], errors[bad.key]
    assert isinstance(first, HttpFailed) and first.status == 404
    assert isinstance(second, CommandFailed) and second.exitcode == 7 and second.stderr == "<TEST_WEB_TOKEN>\n"
    assert "t0ken" not in repr(result.failures) + "".join(failure.traceback for failure in result.failures)


def test_a_timeout_kills_the_script_and_all_it_started(tmp_path: Path) -> None:
    node = Command(FAMILY, folder=str(tmp_path), resources=Resources(time=3), data_dir="data")
    result = run(node, executor="processes", max_workers=1, errors="return")
    assert isinstance(result.failures[0].error, TimedOut)
    noted = [(tmp_path / name).read_text() for name in NAMES if (tmp_path / name).exists()]  # on a very busy machine, not all came that far
    wait_until(lambda: not alive([int(number) for number in noted if number.strip()]))
    assert not node.exists()


def generate(node: Any) -> None:
    node.generate()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_worker_that_is_stopped_or_killed_leaves_no_script(how: str, tmp_path: Path) -> None:
    node = Command(FAMILY + "\nexit 0 {{ output }}", folder=str(tmp_path), data_dir="data")
    with ProcessExecutor(1) as executor:
        future = executor.submit(generate, node)
        pids = family(tmp_path)
        if how == "stop":
            assert executor.stop(future)
        else:
            (worker,) = [child for child in psutil.Process().children(recursive=True) if child.pid not in pids and runs(child, pids)]
            os.kill(worker.pid, signal.SIGKILL)
        futures.wait([future], 60)
        assert future.done()
        wait_until(lambda: not alive(pids))
    deadline = time.monotonic() + 30
    while node.status.name == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not node.exists()


def runs(process: psutil.Process, pids: list[int]) -> bool:
    """Whether one of `pids` is a child of `process`."""
    try:
        return any(child.pid in pids for child in process.children())
    except psutil.NoSuchProcess:
        return False
