"""The current pods of a driver, updated by a watch, and their logs, read as they grow."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from persistable.executors.kubernetes.api import API, Json, Refused, Unreachable
from persistable.executors.kubernetes.log import LogReader
from persistable.executors.kubernetes.pod import RELEASED

_GONE = 410  # the server no longer has the changes since the requested version
_AGAIN = 1.0  # seconds before a watch that failed is tried again
_CHUNK = 1 << 16


class PodWatch:
    """The pods with some labels. Its methods do not block."""

    def __init__(self, api: API, selector: str, changed: Callable[[], None]) -> None:
        """changed: called, in another thread, whenever something may have changed."""
        self._api = api
        self._selector = selector
        self._changed = changed
        self._lock = threading.Lock()
        self._pods: dict[str, Json] = {}
        self._deleted: dict[str, Json] = {}
        self._stopping = threading.Event()
        self._answer: Any = None
        self._thread = threading.Thread(target=self._run, name="persistable-kubernetes-watch", daemon=True)
        self._thread.start()

    def all(self) -> tuple[dict[str, Json], dict[str, Json]]:
        """Return the existing pods and the deleted ones, by name, in their last state."""
        with self._lock:
            return dict(self._pods), dict(self._deleted)

    def forget(self, name: str) -> None:
        """Forget a pod that has been deleted."""
        with self._lock:
            self._deleted.pop(name, None)

    def stop(self) -> None:
        """End the watch."""
        self._stopping.set()
        _interrupt(self._answer)
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                pods, version = self._api.pods(self._selector)
                self._replace(pods)
                while not self._stopping.is_set():
                    version = self._follow(version)
            except (Refused, Unreachable) as error:
                if self._stopping.is_set() or (isinstance(error, Refused) and error.status == _GONE):
                    continue
                self._stopping.wait(_AGAIN)

    def _replace(self, pods: list[Json]) -> None:
        found = {str(pod["metadata"]["name"]): pod for pod in pods}
        with self._lock:
            self._deleted |= {name: pod for name, pod in self._pods.items() if name not in found}
            self._pods = found
        self._changed()

    def _follow(self, version: str) -> str:
        """Apply the events since that version until the watch ends; return the last version."""
        with self._api.watch(self._selector, version) as answer:
            self._answer = answer
            for line in _lines(answer):
                event = _event(line)
                found: Json = event["object"]
                if event["type"] == "ERROR":
                    raise Refused(int(found.get("code", 0)), str(found.get("reason", "")), str(found.get("message", "")))
                version = str(found["metadata"]["resourceVersion"])
                if event["type"] != "BOOKMARK":
                    self._take(found, event["type"] == "DELETED")
        return version

    def _take(self, pod: Json, deleted: bool) -> None:
        name = str(pod["metadata"]["name"])
        with self._lock:
            if deleted:
                self._pods.pop(name, None)
                self._deleted[name] = pod
            else:
                self._pods[name] = pod
        self._changed()


class LogFollower:
    """Reads the log of a pod as it grows, in a thread, to its end."""

    def __init__(self, api: API, pod: str, changed: Callable[[], None]) -> None:
        self._api = api
        self._pod = pod
        self._changed = changed
        self._lock = threading.Lock()
        self._reader = LogReader()
        self._taken: set[str] = set()
        self._over = threading.Event()
        self._answer: Any = None
        self._stopping = False
        self.complete = False
        """There is no more to read."""
        self.whole = False
        """True once the log has been read to its end, before it was gone."""
        self._thread = threading.Thread(target=self._run, name=f"persistable-log-{pod}", daemon=True)
        self._thread.start()

    def pod_has_ended(self) -> None:
        """Declare the log complete: a read from now on reaches its end."""
        self._over.set()

    def news(self) -> list[tuple[str, bytes]]:
        """Return the files that have arrived since the last call."""
        with self._lock:
            names = [name for name in self._reader.names if name not in self._taken]
            self._taken.update(names)
            return [(name, self._reader.get(name)) for name in names]

    @property
    def names(self) -> set[str]:
        """Names of the files that have arrived."""
        with self._lock:
            return set(self._reader.names)

    @property
    def released(self) -> int | None:
        """Number of the last call that the worker will begin; None if it will begin all."""
        with self._lock:
            return int(self._reader.get(RELEASED)) if RELEASED in self._reader.names else None

    @property
    def text(self) -> str:
        """End of the calls' output."""
        with self._lock:
            return self._reader.text

    def finish(self, seconds: float) -> None:
        """Wait until the log of a pod that has ended is read to its end, or stop reading after `seconds`."""
        self.pod_has_ended()
        self._thread.join(seconds)
        if not self.complete:
            self.stop()
            self._thread.join(seconds)

    def stop(self) -> None:
        """Stop reading."""
        self._stopping = True
        self._over.set()
        _interrupt(self._answer)

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            last = self._over.is_set()
            try:
                self._read(follow=not last)
                failures = 0
                if last:
                    break
            except (Refused, Unreachable) as error:
                failures += 1
                if last and (failures > 5 or (isinstance(error, Refused) and error.status == 404)):
                    break  # it is gone with its pod
            self._over.wait(0.2 if not last else 0.1 * failures)
            if last:
                time.sleep(0.1)
        self.complete = True
        self._changed()

    def _read(self, follow: bool) -> None:
        """Continue after the last read: bytes that were read before are skipped."""
        skip = self._reader.size
        with self._api.log(self._pod, follow) as answer:
            self._answer = answer
            self.whole = False
            for data in _chunks(answer):
                new = data[skip:]
                skip = max(0, skip - len(data))
                if new:
                    with self._lock:
                        self._reader.feed(new)
                    self._changed()
        self.whole = True


def _event(line: bytes) -> Json:
    try:
        found: Json = json.loads(line.decode(errors="replace"))  # a status may quote output of a program
    except ValueError as error:
        raise Unreachable(f"no JSON: {line[:200]!r}") from error
    return found


def _chunks(answer: Any) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError

    try:
        yield from answer.stream(_CHUNK)
    except (HTTPError, OSError, ValueError) as error:  # a ValueError if `stop` closed it
        raise Unreachable(f"{type(error).__name__}: {error}") from error


def _lines(answer: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in _chunks(answer):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line)


def _interrupt(answer: Any) -> None:
    """Stop the thread that reads an answer."""
    shutdown = getattr(answer, "shutdown", None)
    if shutdown is not None:
        try:
            shutdown()
        except (OSError, ValueError, RuntimeError):
            pass  # it has already ended
