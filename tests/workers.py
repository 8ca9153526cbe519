"""Test processes that die or hang: the run goes on without them, ends in bounded time, and names the test that was at fault."""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

GRACE = 60.0  # seconds that a test has beyond its timeout, after which its process ends with every thread's stack shown
FAREWELL = 180.0  # seconds for what comes after a failure (teardown, or the end of the process), where pytest-timeout is off
_GROUPS = pytest.StashKey[Path]()
_stderr: list[int] = []
_running: dict[str, None] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failures", metavar="FILE", help="write the tests that failed to this file, one a line")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    _stderr.append(os.dup(2))  # nothing is captured yet; pytest's own copy is closed before the process ends
    if file := config.getoption("--failures"):
        config.pluginmanager.register(Failures(Path(file)))


# --- what is traced


class _Sys:
    """`sys` as `threading` sees it. In CPython 3.11 a thread whose tracing begins together with another's dies before its first line."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)

    def settrace(self, function: Any) -> None:
        for _ in range(1000):
            try:
                return sys.settrace(function)
            except RuntimeError:
                time.sleep(0.001)
        return sys.settrace(function)


if sys.version_info < (3, 12):
    threading._sys = _Sys()  # type: ignore[attr-defined]


# --- what hangs


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _end_in(_seconds(item) + GRACE)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item) -> None:
    """After a failure both pytest and pytest-timeout put away their clocks, and the teardown could take for ever."""
    if not node.config.getoption("usepdb"):
        _end_in(FAREWELL)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test process whose threads or exit handlers do not end is ended. The one that started them has others to wait for."""
    if hasattr(session.config, "workerinput"):
        _end_in(FAREWELL)


def _end_in(seconds: float) -> None:
    faulthandler.dump_traceback_later(seconds, exit=True, file=_stderr[0])


def _seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0] if marker else item.config.getoption("timeout") or item.config.getini("timeout"))


# --- what dies


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["groups"] = str(_groups_file(node.config))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell which tests belong together. xdist 3.8 tells it in the tests' names, which pytest 9.2 does not let it change any more."""
    if file := getattr(session.config, "workerinput", {}).get("groups"):
        groups = {item.nodeid: marker.args[0] for item in session.items if (marker := item.get_closest_marker("xdist_group"))}
        new = Path(f"{file}.{os.getpid()}")
        new.write_text(json.dumps(groups), encoding="utf-8")
        new.replace(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Scheduling(LoadGroupScheduling):
        """Keeps groups together, and survives the death of a test process.

        xdist 3.8 performs the test it died of again, and then waits for ever: for results of what was done before, and for a new process
        that was given one test and begins it only when it knows the next.
        """

        groups: ClassVar[dict[str, str]] = {}

        def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
            self.groups.update(json.loads(_groups_file(config).read_text(encoding="utf-8")))
            super().add_node_collection(node, collection)

        def _split_scope(self, nodeid: str) -> str:
            return self.groups.get(nodeid) or super()._split_scope(nodeid)

        def remove_node(self, node: Any) -> str | None:
            left = {scope: unit for scope, unit in self.assigned_work.pop(node).items() if not all(unit.values())}
            if not left:
                return None
            unit = next(iter(left.values()))
            fatal = next(test for test, done in unit.items() if not done)
            unit[fatal] = True
            self.workqueue.update((scope, unit) for scope, unit in left.items() if not all(unit.values()))
            for other in self.nodes:
                self._reschedule(other)
            return fatal

        def _reschedule(self, node: Any) -> None:
            if node not in self.registered_collections:
                return  # it is a new one, and will ask for work when it has found its tests
            while not node.shutting_down and self._pending_of(self.assigned_work[node]) <= 2:
                super()._reschedule(node)

    return Scheduling(config, log)


def _groups_file(config: pytest.Config) -> Path:
    """Between this process and those it starts."""
    if _GROUPS not in config.stash:
        folder = tempfile.mkdtemp(prefix="tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        config.stash[_GROUPS] = Path(folder) / "groups"
    return config.stash[_GROUPS]


# --- what is told


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid: str) -> None:
    _running[nodeid] = None


@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid: str) -> None:
    _running.pop(nodeid, None)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Show a failure in CI when it happens: a run that is stopped from outside has then said what it knew."""
    if report.when == "???":  # its process died
        _running.pop(report.nodeid, None)
    if report.failed and os.environ.get("CI") and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.nodeid} failed at {report.when}:\n{report.longreprtext}\n", file=sys.__stderr__, flush=True)


def pytest_keyboard_interrupt() -> None:
    if _running and "PYTEST_XDIST_WORKER" not in os.environ:
        print("\nstopped in the middle of", *_running, sep="\n  ", file=sys.__stderr__, flush=True)


class Failures:
    """The tests that failed, in the order in which they did."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tests: dict[str, None] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._tests[report.nodeid] = None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput"):
            self._file.write_text("".join(f"{test}\n" for test in self._tests), encoding="utf-8")
