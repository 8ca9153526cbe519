"""The pool's side of one worker process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from persistable.executors import machine, notes
from persistable.executors.calls import Buffer
from persistable.executors.processes.frames import CALL, HELLO, NOTE, TOKEN, Frame, Inbox, encoded, readable
from persistable.executors.processes.task import Task

_GONE = 5.0  # seconds for killed processes to be gone


class Worker:
    """A worker process in a session of its own. The pool holds its lock around every call."""

    def __init__(self, environment: Mapping[str, str] | None) -> None:
        """Start the process. Raises OSError if the system cannot start another."""
        self.given: deque[Task] = deque()
        """The tasks sent to it without an answer yet, in order: the first is running, or about to."""
        self.ready = False
        self.slow = False
        """The current task takes long, so no more tasks are sent ahead."""
        self.leaving = False
        """A thread is ending it, and sets the outcome of its task."""
        self.watched = 0
        """The events that the pool's selector watches for it."""
        self.since = time.monotonic()
        self._inbox = Inbox()
        self._outbox: deque[memoryview] = deque()
        with ExitStack() as ours, ExitStack() as theirs:
            self.channel, channel = socket.socketpair()
            ours.callback(self.channel.close)
            theirs.callback(channel.close)
            self._tokens, self._numbers = os.pipe()
            ours.callback(os.close, self._tokens)
            ours.callback(os.close, self._numbers)
            life, self._life = os.pipe()
            theirs.callback(os.close, life)
            ours.callback(os.close, self._life)
            self.process = _start(channel.fileno(), self._tokens, life, environment)
            ours.pop_all()
        os.set_blocking(self._tokens, False)
        self.channel.setblocking(False)
        self.pidfd = _pidfd(self.process.pid)

    # --- tasks

    def give(self, tasks: Iterable[Task]) -> None:
        """Send tasks, to be performed in this order."""
        numbers: list[bytes] = []
        small: list[Buffer] = []
        if not self.given:
            self.since = time.monotonic()
        for task in tasks:
            task.worker = self
            self.given.append(task)
            if len(self.given) == 1:
                task.begin()
            numbers.append(TOKEN.pack(task.number))
            pieces = encoded(Frame(task.number, 0, CALL, task.parts))
            if task.small:
                small += pieces
            else:
                self._outbox.extend(memoryview(piece).cast("B") for piece in pieces)
        if small:
            self._outbox.append(memoryview(b"".join(small)))
        os.write(self._numbers, b"".join(numbers))
        self.flush()

    def flush(self) -> None:
        """Send as much as the other side accepts."""
        while self._outbox:
            piece = self._outbox[0]
            try:
                sent = self.channel.send(piece)
            except BlockingIOError:
                return
            except OSError:  # it is gone, which the pool notices by its end
                self._outbox.clear()
                return
            if sent == len(piece):
                self._outbox.popleft()
            else:
                self._outbox[0] = piece[sent:]

    @property
    def congested(self) -> bool:
        """True while messages wait to be sent."""
        return bool(self._outbox)

    def recall(self) -> list[Task]:
        """Take back the tasks that have not begun, in order. After this, at most one task is running, and no other begins."""
        try:
            count = len(os.read(self._tokens, 1 << 16)) // TOKEN.size
        except BlockingIOError:
            return []
        back = [self.given.pop() for _ in range(count)][::-1]
        for task in back:
            task.worker = None
        return back

    def receive(self) -> list[tuple[Task, Frame]]:
        """Return the newly answered tasks, with their answers. Raises EOFError when the other side has closed."""
        answered: list[tuple[Task, Frame]] = []
        try:
            for frame in self._inbox.receive(self.channel):
                if frame.kind == HELLO:
                    self.ready = True
                elif frame.kind == NOTE:
                    notes.deliver(frame.parts[0])
                else:
                    answered.append((self._answered(), frame))
        except BlockingIOError:
            return answered
        except (OSError, MemoryError) as error:  # the connection broke, or the answer does not fit into memory
            raise EOFError from error
        if answered:
            self.since = time.monotonic()
            self.slow = False
        return answered

    def _answered(self) -> Task:
        task = self.given.popleft()
        task.worker, task.settled, task.parts = None, True, []
        if self.given:
            self.given[0].begin()
        return task

    def drain(self) -> list[tuple[Task, Frame]]:
        """Return all answers that have arrived."""
        answered: list[tuple[Task, Frame]] = []
        try:
            while readable(self.channel.fileno(), 0):
                answered += self.receive()
        except EOFError:
            pass
        return answered

    # --- ending it

    def release(self) -> None:
        """Close its queue: it exits after its last task."""
        if self._numbers >= 0:
            os.close(self._numbers)
            self._numbers = -1

    def signal(self, number: int) -> None:
        """Send a signal to it and its child processes. Only before `reap`: afterwards the process id may be reused."""
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):  # gone; macOS raises the second
            pass

    def wait(self, seconds: float) -> bool:
        """Tell whether the process has ended within `seconds`."""
        if self.pidfd is not None:
            return readable(self.pidfd, seconds)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self, grace: float) -> None:
        """End it and its child processes, by SIGTERM and after the grace by SIGKILL; return when they are gone."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        self.wait(grace)
        self.reap()
        machine.await_group(self.process.pid, _GONE)

    def reap(self) -> int:
        """Kill the rest of its process group; return its exit status, or minus the number of the signal that ended it."""
        self.signal(signal.SIGKILL)
        return self.process.wait()

    def close(self) -> None:
        """Close all descriptors, which ends the process if it still runs."""
        self.release()
        self.channel.close()
        for descriptor in (self._tokens, self._life, self.pidfd):
            if descriptor is not None:
                os.close(descriptor)


def _start(channel: int, tokens: int, life: int, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    # not multiprocessing: that runs an unguarded script again, or forks a process that may have threads
    path = [place if place else os.getcwd() for place in sys.path]
    program = (
        f"import sys; sys.path[:] = {path!r}; from persistable.executors.processes.child import main; main({channel}, {tokens}, {life})"
    )
    flags: list[str] = vars(subprocess)["_args_from_interpreter_flags"]()  # private, but multiprocessing uses it too
    return subprocess.Popen(
        [sys.executable, *flags, "-c", program],
        stdin=subprocess.DEVNULL,
        env=None if environment is None else {**os.environ, **environment},
        pass_fds=(channel, tokens, life),
        start_new_session=True,
    )


def _pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends; None if the system has no pidfd."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
