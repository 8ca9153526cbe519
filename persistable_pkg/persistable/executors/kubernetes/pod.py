"""The program of a pod: it performs the job in the folder where its Secret is mounted.

    python -m persistable.executors.kubernetes.pod FOLDER [BEGUN]

The request is in the folder, and the answers are written into the log; those too large for it go through another place, if the job has one.
The number of the last call that has begun is written into the file BEGUN, the termination message in terms of Kubernetes, which outlives
the log.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import FrameType

from persistable.errors import RunError
from persistable.executors.base import portable
from persistable.executors.calls import pack, to_bytes
from persistable.executors.kubernetes.log import lines_of
from persistable.executors.remote.files import JobFiles, SharedFiles
from persistable.executors.remote.request import ANSWER, DRIVER, REQUEST, TAKEN, Answer
from persistable.executors.remote.worker import perform

PLACE = "place"
"""Name of the file with the pickled `SharedFiles` for large files."""
ELSEWHERE = "elsewhere."
"""Prefix, in the log, of the name of a file that was written to `PLACE`."""
MOST = 1 << 20
"""Maximum bytes of a file that is written into the log."""


RELEASED = "released"
"""Name of a file with the number of a slow call: this worker releases the later ones to others."""
LONG = 5.0
"""Seconds of a call after which the later ones are released."""


class LogFiles(JobFiles):
    """The files of a job in a read-only folder: files are written into the log, or to `place` if they are large.

    The driver cannot take calls back from a running worker, so the worker itself releases them when one takes long.
    """

    def __init__(self, folder: Path, place: SharedFiles | None, begun: str | None = None) -> None:
        self._folder = folder
        self._place = place
        self._log = os.dup(1)  # a call may close or redirect standard output
        self._begun = None if begun is None else os.open(begun, os.O_WRONLY | os.O_CREAT, 0o600)
        self._lock = threading.Lock()
        self._call: tuple[int, float] | None = None
        self._last: int | None = None

    def put(self, name: str, data: bytes) -> None:
        if len(data) > MOST and self._place is not None:
            self._place.put(name, data)
            name, data = f"{ELSEWHERE}{name}", b""
        elif len(data) > MOST and name.startswith(ANSWER):
            data = pickle.dumps(tuple(_small(Answer(*pickle.loads(data)))), 5)
        for line in lines_of(name, data):
            os.write(self._log, line)

    def create(self, name: str, data: bytes) -> bool:
        number = int(name.removeprefix(TAKEN))
        with self._lock:
            if self._last is not None and number > self._last:
                return False
            if self._call is None:
                threading.Thread(target=self._watch, daemon=True).start()
            self._call = number, time.monotonic()
            if self._begun is not None:
                os.pwrite(self._begun, b"%d" % number, 0)
            self.put(name, data)
        return True

    def _watch(self) -> None:
        """Release the calls after one that takes long."""
        while self._last is None:
            time.sleep(LONG / 10)
            with self._lock:
                assert self._call is not None
                number, began = self._call
                if time.monotonic() - began > LONG:
                    self._last = number
                    self.put(RELEASED, b"%d" % number)

    def get(self, name: str) -> bytes:
        if name.startswith(TAKEN):
            return DRIVER
        if name == REQUEST and self._place is not None and not (self._folder / name).exists():
            return self._place.get(name)
        return (self._folder / name).read_bytes()

    def names(self) -> Collection[str]:
        return ()


def _small(answer: Answer) -> Answer:
    size = sum(map(len, answer.parts))
    if size <= MOST:
        return answer
    error = RunError(
        f"the result of a task has {size} bytes, and only {MOST} may come back through the log of its pod; store it, return less, or give "
        "the executor a place for larger ones: KubernetesExecutor(..., files=...)",
        key=None,
    )
    return answer._replace(went_well=False, parts=to_bytes(pack((portable(error), None))))


def main(folder: str, begun: str | None = None) -> int:
    """Perform the job in a child process, and return its exit status.

    The first process of a container cannot be killed from within, and its end would end all others: so it only waits.
    """
    child = os.fork()
    if child == 0:
        place = Path(folder) / PLACE
        return perform(LogFiles(Path(folder), pickle.loads(place.read_bytes()) if place.exists() else None, begun))

    def forward(signum: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, signum)

    signal.signal(signal.SIGTERM, forward)
    while True:
        pid, status = os.wait()  # also orphans
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
