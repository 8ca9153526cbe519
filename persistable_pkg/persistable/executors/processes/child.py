"""The loop of a worker process: take a task, perform it, send the answer; and end when the parent process does.

A task is taken by reading its number from the pipe of tokens. The pool holds that end too: if the pool reads a number first, that task is
taken back, and its message, if it has arrived, is skipped. So both sides always know which tasks have begun.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from types import FrameType

from persistable.executors import notes
from persistable.executors.calls import Parts, flush_output, perform
from persistable.executors.processes.frames import CALL, ERROR, HELLO, NOTE, RESULT, TOKEN, Frame, Inbox, encoded, readable


def main(channel: int, tokens: int, life: int) -> None:
    """Serve until the pipe of tokens ends. The arguments are descriptors."""
    for descriptor in (channel, tokens, life):
        os.set_inheritable(descriptor, False)
    _die_with_parent(life)
    try:
        _Server(socket.socket(fileno=channel), tokens).serve()
    except (BrokenPipeError, ConnectionResetError, EOFError):  # the parent process is gone, or has closed the connection
        sys.exit(1)
    except KeyboardInterrupt:  # stopped, or interrupted, between two tasks: without a traceback
        sys.exit(128 + signal.SIGTERM)


class _Server:
    def __init__(self, channel: socket.socket, tokens: int) -> None:
        self._channel = channel
        self._channel.setblocking(True)
        self._tokens = tokens
        self._inbox = Inbox()
        self._frames: deque[Frame] = deque()
        self._stopped = False
        self._process = os.getpid()
        self._sending = threading.Lock()
        signal.signal(signal.SIGTERM, self._stop)
        os.register_at_fork(before=_hold_stops, after_in_parent=_take_stops, after_in_child=_forked)

    def serve(self) -> None:
        with notes.use_sender(notes.Sender(self._note)):
            self._perform_all()

    def _perform_all(self) -> None:
        self._send(Frame(0, 0, HELLO, [b""]))
        while (number := self._take()) is not None:
            elapsed, went_well, parts = _timed(self._find(number))
            if os.getpid() != self._process:
                os._exit(0)  # the task forked, and the child returned here
            if self._stopped:
                sys.exit(128 + signal.SIGTERM)
            flush_output()
            self._send(Frame(number, elapsed, RESULT if went_well else ERROR, parts))
            del parts

    def _take(self) -> int | None:
        """Read the number of the next task, which has thereby begun; None when there will be no more."""
        while True:
            try:
                token = os.read(self._tokens, TOKEN.size)
            except BlockingIOError:
                readable(self._tokens, None)
                continue
            return int(TOKEN.unpack(token)[0]) if token else None

    def _find(self, number: int) -> Parts:
        """Receive the call of the task with this number; calls before it were taken back."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.kind == CALL and frame.number == number:
                    return frame.parts
            self._frames.extend(self._inbox.receive(self._channel))

    def _send(self, frame: Frame) -> None:
        with self._sending:
            for piece in encoded(frame):
                self._channel.sendall(piece)

    def _note(self, data: bytes) -> bool:
        """Send a note, from any thread, but not from a process that a task has forked."""
        if os.getpid() != self._process:
            return False
        self._send(Frame(0, 0, NOTE, [data]))
        return True

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        """Let the task's own `finally` clauses run, as Ctrl-C does. If it continues nevertheless, SIGKILL follows."""
        self._stopped = True
        raise KeyboardInterrupt


def _timed(parts: Parts) -> tuple[int, bool, Parts]:
    begun = time.perf_counter_ns()
    went_well, answer = perform(parts)
    return time.perf_counter_ns() - begun, went_well, answer


def _hold_stops() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _take_stops() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _forked() -> None:
    """Restore the default SIGTERM in a process that a task forks: `multiprocessing.Pool` ends its workers by that signal."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _take_stops()


def _die_with_parent(life: int) -> None:
    """Kill this process and its children when the other end of `life` closes: by the kernel if it can, and by a thread."""
    import fcntl

    if hasattr(fcntl, "F_SETSIG"):  # Linux; works even while a task holds the interpreter's lock
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_watch, args=(life,), name="persistable-life", daemon=True).start()


def _watch(life: int) -> None:
    os.read(life, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)
