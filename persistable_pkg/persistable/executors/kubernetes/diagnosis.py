"""Interpret the state of a pod: waiting, running or ended, and the reason of a failure."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any, NamedTuple

from persistable.executors.kubernetes.api import Json

_HOPELESS = frozenset({"ErrImageNeverPull", "InvalidImageName", "CreateContainerError", "RunContainerError"})
_IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable"}
)


class State(NamedTuple):
    """State of a pod.

    phase: ``"waiting"``, ``"running"`` or ``"ended"``. has_log: its container runs or has run. exitcode: its exit status, or minus the
    number of the signal. cause: a word for the problem, ``"image"``, ``"unschedulable"``, ``"config"``, ``"deadline"``, ``"memory"``,
    ``"evicted"``, ``"deleted"`` or ``"container"``; empty for nothing. reason: the explanation, for people. hopeless: waiting will not
    help.
    """

    phase: str
    has_log: bool = False
    exitcode: int | None = None
    cause: str = ""
    reason: str = ""
    hopeless: bool = False


def state_of(pod: Json) -> State:
    """Return the state of a pod, as described by the API."""
    status: Json = pod.get("status") or {}
    containers: Sequence[Json] = status.get("containerStatuses") or ()
    container: Json = (containers[0].get("state") or {}) if containers else {}
    ended: Json | None = container.get("terminated")
    if status.get("phase") in ("Succeeded", "Failed"):
        return _ended(status, ended)
    if ended is not None:  # the phase of the pod follows in a moment
        return State("running", has_log=True)
    if "running" in container:
        return State("running", has_log=True)
    waiting: Json = container.get("waiting") or {}
    word, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if word in _IMAGE:
        return State("waiting", cause="image", reason=_joined(word, message), hopeless=word in _HOPELESS)
    if word == "CreateContainerConfigError" or word in _HOPELESS:
        return State("waiting", cause="config", reason=_joined(word, message), hopeless=word in _HOPELESS)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return State("waiting", cause="unschedulable", reason=_joined(condition.get("reason"), condition.get("message")))
    return State("waiting", reason=_joined(word, message))


def last_begun(pod: Json) -> int | None:
    """Return the number of the last call that the worker of a pod had begun at its end, -1 for none; None if that is not known."""
    status: Json = pod.get("status") or {}
    containers: Sequence[Json] = status.get("containerStatuses") or ()
    state: Json = (containers[0].get("state") or {}) if containers else {}
    if "running" in state:
        return None
    ended: Json = state.get("terminated") or {}
    try:
        return int(ended.get("message") or -1)
    except ValueError:
        return None  # the container could not start, and the message is the reason


def _ended(status: Json, ended: Json | None) -> State:
    word, message = str(status.get("reason") or ""), str(status.get("message") or "")
    code = _exit_code(ended)
    has_log = ended is not None and bool(ended.get("startedAt"))
    disrupted = next(
        (each for each in status.get("conditions") or () if each.get("type") == "DisruptionTarget" and each.get("status") == "True"), None
    )
    if word == "DeadlineExceeded":
        return State("ended", has_log, code, "deadline", _joined(word, message))
    if word in ("Evicted", "Preempting", "Preempted", "NodeLost", "NodeAffinity", "Shutdown", "Terminated") or disrupted is not None:
        reasons = (word, message) if word or disrupted is None else (disrupted.get("reason"), disrupted.get("message"))
        return State("ended", has_log, code, "evicted", _joined(*reasons))
    if ended is None:
        return State("ended", False, None, "container" if status.get("phase") == "Failed" else "", _joined(word, message))
    word, message = str(ended.get("reason") or ""), str(ended.get("message") or "")
    if word == "OOMKilled":
        return State("ended", has_log, -int(signal.SIGKILL), "memory", "OOMKilled: it used more memory than its Resources allow")
    if word in _HOPELESS or word in ("StartError", "ContainerCannotRun"):
        return State("ended", has_log, code, "config", _joined(word, message))
    return State("ended", has_log, code, "", "" if word in ("Completed", "Error") else _joined(word, message))


def _exit_code(ended: Json | None) -> int | None:
    if ended is None:
        return None
    code = int(ended.get("exitCode", 0))
    return 128 - code if 128 < code <= 128 + signal.NSIG else code


def _joined(word: Any, message: Any) -> str:
    return ": ".join(str(each) for each in (word, message) if each)
