"""The worker of a remote job: it reads one job, performs its calls, and writes their answers.

A worker that is restarted, since its job was put back into the queue, resumes where the last one stopped. Its command line only has the
place of its files.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from persistable.executors import notes, thread_limits
from persistable.executors.calls import flush_output, pack, perform_to_bytes, to_bytes
from persistable.executors.remote import reach
from persistable.executors.remote.files import FolderFiles, JobFiles
from persistable.executors.remote.request import ANSWER, NOTE, REFUSED, REQUEST, TAKEN, WORKER, Answer, Request, answers_in, read

_PAUSE = 0.5
"""Seconds between two notes."""


def main(words: Sequence[str]) -> int:
    """Perform the job in a folder, and return the exit status of the process."""
    return perform(FolderFiles(words[0]))


def perform(files: JobFiles) -> int:
    """Perform the job with these files, and return the exit status of the process."""
    worker = _Worker(files)
    signal.signal(signal.SIGTERM, worker.stop)
    try:
        worker.perform()
    except KeyboardInterrupt:
        return 128 + signal.SIGTERM
    return 0


class _Worker:
    def __init__(self, files: JobFiles) -> None:
        self._files = files
        self._written = -1
        self._stopped = False
        self._process = os.getpid()
        self._writing = threading.Lock()

    def stop(self, signum: int, frame: FrameType | None) -> None:
        """Let the call's own `finally` clauses run, as Ctrl-C does. If it continues nevertheless, SIGKILL follows."""
        self._stopped = True
        raise KeyboardInterrupt

    def perform(self) -> None:
        process = os.getpid()
        names = list(self._files.names())
        self._written = max((int(name.rpartition(".")[2]) for name in names if name.startswith(ANSWER)), default=-1)
        answered = {answer.number for answer in answers_in(self._files, names, set())}
        try:
            request = read(self._files.get(REQUEST))
            reach.check_files(request.seen)
            _prepare(request)
        except Exception as error:  # noqa: BLE001 - all calls of the job fail with it
            self._put(_refusal(error))
            return
        for index, parts in enumerate(request.calls):
            if index in answered or not self._take(index):
                continue
            start, imported = time.perf_counter(), len(sys.modules)
            with notes.use_sender(notes.Sender(self._note, _PAUSE, leaves_files=True)):
                went_well, answer = perform_to_bytes(parts)
            seconds = time.perf_counter() - start if len(sys.modules) == imported else None
            if os.getpid() != process:
                os._exit(0)  # the call forked, and the child returned here
            if self._stopped:
                raise KeyboardInterrupt
            flush_output()
            self._put(Answer(index, seconds, went_well, answer))

    def _take(self, index: int) -> bool:
        """Claim a call for this process; False if it was taken back."""
        name = f"{TAKEN}{index}"
        return self._files.create(name, WORKER) or self._files.get(name) == WORKER

    def _put(self, answer: Answer) -> None:
        with self._writing:
            self._written += 1
            self._files.put(f"{ANSWER}{self._written}", pickle.dumps(tuple(answer), 5))

    def _note(self, data: bytes) -> bool:
        """Send a note, from any thread, but not from a process that a call has forked."""
        if os.getpid() != self._process:
            return False
        self._put(Answer(NOTE, None, True, [data]))
        return True


def _refusal(error: Exception) -> Answer:
    from persistable.executors.base import portable

    return Answer(REFUSED, 0.0, False, to_bytes(pack((portable(error), None))))


def _prepare(request: Request) -> None:
    sys.path[:0] = [folder for folder in request.path if folder not in sys.path]
    os.environ.update(request.environment)
    threads = int(os.environ.get("SLURM_CPUS_PER_TASK", "0"))
    if threads:
        os.environ.update(thread_limits.shared(threads, {}))
