"""A namespace of a Kubernetes cluster as an engine: jobs are Jobs, their requests Secrets, and their answers lines of a log."""

from __future__ import annotations

import atexit
import json
import pickle
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar
from uuid import uuid4

from persistable.errors import ExecutorUnavailable, Infeasible, PersistableError, RunError, TimedOut, WorkerDied
from persistable.executors.kubernetes import manifests
from persistable.executors.kubernetes.api import API, Json, Refused, Unreachable
from persistable.executors.kubernetes.diagnosis import State, last_begun, state_of
from persistable.executors.kubernetes.owner import HEARTBEAT, is_gone, owner_now
from persistable.executors.kubernetes.pod import ELSEWHERE, PLACE
from persistable.executors.kubernetes.watch import LogFollower, PodWatch
from persistable.executors.remote.engine import Engine, Job, Report
from persistable.executors.remote.files import SharedFiles
from persistable.executors.remote.request import ANSWER, NOTE, REQUEST, TAKEN, Answer
from persistable.executors.resources import Resources
from persistable.stores.signing_keys import pickle_held_keys

_SECRET = 700_000  # bytes of all files in a Secret: it may have 1 MiB, as base64
_INDEXED = (1, 29)  # the version since which the failure of an index does not fail the others
_RIGHTS = tuple(
    (verb, resource, "batch" if resource == "jobs" else "")
    for resource, verbs in {
        "jobs": ("create", "get", "list", "delete"),
        "secrets": ("create", "delete"),
        "configmaps": ("create", "list", "patch", "delete"),
        "pods": ("list", "watch", "delete"),
        "pods/log": ("get",),
    }.items()
    for verb in verbs
)
_NO_POD = 30.0  # seconds after which a Job without a pod is examined
_PASSING = 60.0  # seconds for an image or a Secret to appear, though the node has reported it missing
_DELETED = "its pod was deleted, by somebody or by the cluster"
_GRACE = 3  # seconds for a stopped call to release its resources
_KILLED = 90.0  # seconds for the processes of a pod to be gone


@dataclass(eq=False)
class _Launched:
    """A job that was sent to the cluster."""

    job: Job
    name: str
    """Name of its Job and its Secret."""
    index: int | None
    place: SharedFiles | None
    since: float = field(default_factory=time.monotonic)
    pod: str | None = None
    last: Json | None = None
    """The final state of its pod."""
    follower: LogFollower | None = None
    ended: State | None = None
    error: Exception | None = None
    killed: bool = False
    looked: float = 0.0
    troubled: float | None = None
    """The time from which on its pod has been unable to start."""


class KubernetesEngine(Engine):
    """Jobs in a namespace. connect: makes the connection. place: for the files of a job that are too large for a Secret or a log."""

    name: ClassVar[str] = "kubernetes"
    overhead: ClassVar[float] = 2.0
    interval: ClassVar[float] = 1.0  # changes wake the driver
    most_bytes: ClassVar[int] = _SECRET
    takes_back: ClassVar[bool] = False

    def __init__(
        self, connect: Callable[[], API], pods: manifests.Pods, slots: int, patience: float, place: Callable[[str], SharedFiles] | None
    ) -> None:
        self._connect = connect
        self._pods = pods
        self._slots = slots
        self._patience = patience
        self._place = place
        self._launched: dict[str, _Launched] = {}
        self._members: dict[str, set[str]] = {}
        self._drivers: dict[str, Json] = {}
        self._api_now: API | None = None
        self._watch: PodWatch | None = None
        self._wake: Callable[[], None] = lambda: None
        self._closing = threading.Event()
        self._indexed = False
        self._mine = ""
        self._ran = 0.0  # when a pod was last seen to run

    @property
    def _api(self) -> API:
        assert self._api_now is not None
        return self._api_now

    # --- beginning and end

    def open(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._api_now = api = self._connect()
        name = f"persistable-{uuid4().hex[:12]}"
        try:
            self._indexed = api.version() >= _INDEXED
            forbidden = [f"{verb} {resource}" for verb, resource, group in _RIGHTS if not api.is_allowed(verb, resource, group)]
            if forbidden:
                raise self._unfit(
                    f"we may not {', '.join(forbidden)}; ask for a Role that lets you, or name another namespace= or context="
                )
            api.create(manifests.driver(name, owner_now(self._server_time)))
            (self._drivers[name],) = api.listed("ConfigMap", f"{manifests.DRIVER}={name}")
        except (Refused, Unreachable) as error:
            api.close()
            raise self._unfit(_told(error)) from error
        except BaseException:
            api.close()
            raise
        self._mine = name
        atexit.register(self._leave)
        threading.Thread(target=self._beat, name="persistable-kubernetes-heartbeat", daemon=True).start()

    def adopt(self) -> Iterable[Job]:
        with suppress(Refused, Unreachable):  # the next driver adopts them
            for driven in self._api.listed("ConfigMap", manifests.DRIVER):
                name, owner = str(driven["metadata"]["name"]), str(driven["metadata"].get("annotations", {}).get(manifests.OWNER))
                if name not in self._drivers and is_gone(owner, self._server_time):
                    yield from self._take_over(name, driven)
        selector = f"{manifests.DRIVER} in ({', '.join(sorted(self._drivers))})"
        self._watch = PodWatch(self._api, selector, self._wake)

    def _take_over(self, name: str, driven: Json) -> Iterable[Job]:
        """Take over the driver of a process that has ended, with its unfinished jobs, and the right to remove them."""
        version = driven["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version, "annotations": {manifests.OWNER: owner_now(self._server_time)}}}
        try:
            self._drivers[name] = self._api.patch_map(name, body)
        except Refused:
            return  # another process was first
        for found in self._api.listed("Job", f"{manifests.DRIVER}={name}"):
            members: list[list[str | None]] = json.loads(found["metadata"].get("annotations", {}).get(manifests.IDENTITIES) or "[]")
            jobs = [Job(f"{found['metadata']['name']}-{number}", None, b"", identities) for number, identities in enumerate(members)]
            self._enter(str(found["metadata"]["name"]), jobs)
            yield from jobs

    def _beat(self) -> None:
        while not self._closing.wait(HEARTBEAT):
            for name in list(self._drivers):
                with suppress(Refused, Unreachable):
                    self._api.patch_map(name, {"metadata": {"annotations": {manifests.OWNER: owner_now(self._server_time)}}})

    @property
    def _server_time(self) -> float:
        return time.time() + self._api.clock_offset

    def close(self) -> None:
        self._closing.set()
        atexit.unregister(self._leave)
        if self._watch is not None:
            self._watch.stop()
        for name in {entry.name for entry in self._launched.values()}:
            self._remove(name)
        for entry in self._launched.values():
            self._drop(entry)
        for name in self._drivers:
            with suppress(Refused, Unreachable):
                self._api.delete("ConfigMap", name)
        self._api.close()

    def _leave(self) -> None:
        """Remove the driver at the end of the program, unless it has jobs, which the next run adopts."""
        if not self._launched:
            for name in self._drivers:
                with suppress(Exception):
                    self._api.delete("ConfigMap", name)

    # --- launching

    @property
    def slots(self) -> int:
        return self._slots

    def check(self, resources: Resources) -> None:
        """Refuse nothing: a cluster may grow. Missing resources show when a pod has waited too long."""

    def launch(self, jobs: Sequence[Job]) -> None:
        failures: list[Exception] = []
        for group in self._groups(jobs):
            name = f"persistable-{group[0].name}"
            try:
                self._create(name, group)
            except Exception as error:  # noqa: BLE001 - also errors of the user's store
                failures.append(error)
                for job in group:
                    entry = self._launched.pop(job.name)
                    self._drop(entry)
                    self._launched[job.name] = entry
                    entry.error = error
                    entry.ended = State("ended")
        if len(failures) == len(list(self._groups(jobs))):
            for job in jobs:
                self._launched.pop(job.name, None)
            raise failures[0]

    def _groups(self, jobs: Sequence[Job]) -> Iterable[list[Job]]:
        """Group jobs whose requests fit in one Secret, to become one Indexed Job each, if the cluster supports that."""
        group: list[Job] = []
        size = 0
        for job in jobs:
            if group and (not self._indexed or size + len(job.request) > _SECRET):
                yield group
                group, size = [], 0
            group.append(job)
            size += len(job.request)
        if group:
            yield group

    def _enter(self, name: str, jobs: Sequence[Job]) -> list[_Launched]:
        indexed = len(jobs) > 1
        entries = [
            _Launched(job, name, number if indexed else None, self._place(job.name) if self._place is not None else None)
            for number, job in enumerate(jobs)
        ]
        self._launched.update((entry.job.name, entry) for entry in entries)
        self._members[name] = {job.name for job in jobs}
        return entries

    def _create(self, name: str, jobs: Sequence[Job]) -> None:
        files: dict[str, bytes] = {}
        for number, entry in enumerate(self._enter(name, jobs)):
            request = entry.job.request
            if entry.place is not None:
                with pickle_held_keys(False):
                    files[f"{number}.{PLACE}"] = pickle.dumps(entry.place)
            if len(request) <= _SECRET:
                files[f"{number}.{REQUEST}"] = request
            elif entry.place is not None:
                entry.place.put(REQUEST, request)
            else:
                raise RunError(
                    f"a task and its arguments have {len(request)} bytes, and only {_SECRET} fit into a Secret; store what is large, or "
                    "give the executor a place for it: KubernetesExecutor(..., files=...)",
                    key=None,
                )
        driven = self._drivers[self._mine]
        identities = [list(job.identities) for job in jobs]
        try:
            self._api.create(manifests.secret(name, driven, files))
            self._api.create(manifests.job(name, driven, self._pods, jobs[0].resources, list(files), identities))
        except (Refused, Unreachable) as error:
            self._remove(name)
            raise self._unfit(f"a Job cannot be created: {_told(error)}") from error

    # --- following

    def poll(self, jobs: Collection[Job]) -> Iterable[Report]:
        assert self._watch is not None
        found, deleted = self._watch.all()
        pods = {**{_of(pod): (pod, True) for pod in deleted.values()}, **{_of(pod): (pod, False) for pod in found.values()}}
        if any(state_of(pod).phase == "running" for pod in found.values()):
            self._ran = time.monotonic()
        for job in jobs:
            entry = self._launched.get(job.name)
            if entry is not None:
                pod, is_deleted = pods.get((entry.name, entry.index), (None, False))
                self._see(entry, pod, is_deleted)
                yield self._report(entry)

    def _see(self, entry: _Launched, pod: Json | None, is_deleted: bool) -> None:
        """Update the entry by the state of its pod."""
        if pod is not None:
            entry.pod = str(pod["metadata"]["name"])
            state = state_of(pod)
            if state.phase == "ended" or is_deleted:
                entry.last = pod
            if state.has_log and entry.follower is None:
                entry.follower = LogFollower(self._api, entry.pod, self._wake)
            if entry.ended is None:
                if state.phase == "ended":
                    is_ended_by_deletion = pod["metadata"].get("deletionTimestamp") and not state.cause
                    entry.ended = state._replace(cause="deleted", reason=_DELETED) if is_ended_by_deletion else state
                elif is_deleted:
                    entry.ended = State("ended", state.has_log, None, "deleted", _DELETED)
                elif pod["metadata"].get("deletionTimestamp") and not entry.killed and entry.index is None:
                    self._no_other_pod(entry)
                elif state.phase == "waiting":
                    self._consider(entry, state)
        elif entry.ended is None:
            self._look_for_pod(entry)
        if entry.ended is not None and entry.follower is not None:
            entry.follower.pod_has_ended()

    def _no_other_pod(self, entry: _Launched) -> None:
        """Delete a Job whose pod is being deleted: it would start another one, which repeats the work."""
        if not entry.looked:
            entry.looked = time.monotonic()
            with suppress(Refused, Unreachable):
                self._api.delete("Job", entry.name)

    def _consider(self, entry: _Launched, state: State) -> None:
        """Give up a pod that has not started, if it cannot start any more, or has waited too long."""
        now = time.monotonic()
        if state.cause in ("image", "config"):
            entry.troubled = now if entry.troubled is None else entry.troubled
            limit, since = (0.0 if state.hopeless else min(_PASSING, self._patience)), entry.troubled
        else:
            entry.troubled = None
            limit, since = self._patience, max(entry.since, self._ran)
        if now - since >= limit:
            entry.error = self._why(entry, state)
            entry.ended = State("ended")
            self._remove(entry.name, entry.pod if entry.index is not None else None)

    def _look_for_pod(self, entry: _Launched) -> None:
        """Find out why a Job has no pod."""
        now = time.monotonic()
        if now - max(entry.since, entry.looked) < _NO_POD:
            return
        entry.looked = now
        try:
            found = self._api.job(entry.name)
            messages = self._api.messages(entry.name) if found is not None else []
        except (Refused, Unreachable):
            return
        if found is None:
            entry.ended = State("ended", cause="deleted", reason="its Job was deleted, by somebody or by the cluster")
        elif now - max(entry.since, self._ran) >= self._patience:
            entry.error = self._unfit(
                f"no pod was made for the Job {entry.name}: {messages[-1] if messages else 'the cluster does not say why'}"
            )
            entry.ended = State("ended")
            self._remove(entry.name)

    def _why(self, entry: _Launched, state: State) -> Exception:
        waited = f"{time.monotonic() - entry.since:.0f} s"
        if state.cause == "unschedulable":
            return Infeasible(
                f"no node took the pod of {entry.name} within {waited}: {state.reason}; lower its Resources, mend node_selector=, or raise "
                "patience= where nodes take longer to come",
                wanted=entry.job.resources.amounts if entry.job.resources is not None else {},
                available={},
            )
        if state.cause == "image":
            return self._unfit(f"the image {self._pods.image!r} cannot be had: {state.reason}; mend image=, pull_policy= or pull_secrets=")
        return self._unfit(f"the pod of {entry.name} could not begin within {waited}: {state.reason or 'the cluster does not say why'}")

    def _report(self, entry: _Launched) -> Report:
        answers: list[Answer] = []
        names: set[str] = set()
        output = ""
        if entry.follower is not None:
            answers = self._answers(entry, entry.follower.news())
            names, output = entry.follower.names, entry.follower.text
        began = any(name.startswith(TAKEN) for name in names)
        if entry.ended is None or (entry.follower is not None and not entry.follower.complete):
            return Report(entry.job, answers, began)
        answered = any(answer.number != NOTE for answer in answers)
        error = entry.error or (None if entry.killed or answered else self._error(entry, entry.ended, began, output))
        return Report(entry.job, answers, began, True, entry.ended.exitcode, entry.ended.reason, output, error)

    def _answers(self, entry: _Launched, files: Iterable[tuple[str, bytes]]) -> list[Answer]:
        found: list[Answer] = []
        for name, content in files:
            data: bytes | None = content if name.startswith(ANSWER) else None
            if name.startswith(f"{ELSEWHERE}{ANSWER}") and entry.place is not None:
                try:
                    data = entry.place.get(name.removeprefix(ELSEWHERE))
                except (OSError, PersistableError) as error:
                    entry.error = error
            if data is not None:
                found.append(Answer(*pickle.loads(data)))
        return found

    def _error(self, entry: _Launched, state: State, began: bool, output: str) -> Exception | None:
        """Return the error for calls without an answer; None if it is WorkerDied."""
        if state.cause == "deadline":
            return TimedOut(f"{entry.name} was ended by the cluster: {state.reason}", key=None, seconds=self._pods.deadline or 0.0)
        if began:
            return None
        if state.cause in ("config", "image"):
            return self._unfit(f"the container of {entry.name} could not begin: {state.reason}; mend image= or python=")
        if state.cause or state.exitcode is None:
            return WorkerDied(
                f"the pod of {entry.name} ended before any work: {state.reason or 'the cluster does not say why'}",
                key=None,
                exitcode=state.exitcode,
            )
        if state.exitcode:
            return self._unfit(
                f"the worker in image {self._pods.image!r} ended with exit status {state.exitcode} before any work; it needs Python as "
                f"{self._pods.python!r}, and the same persistable as here. Its output:\n{output[-2000:].rstrip()}"
            )
        return None

    # --- ending

    def withdraw(self, job: Job, numbers: Sequence[int]) -> Collection[int]:
        entry = self._launched.get(job.name)
        if entry is None:
            return ()
        if entry.ended is None:
            last = entry.follower.released if entry.follower is not None else None
            return () if last is None else [number for number in numbers if number > last]
        if entry.follower is not None and entry.follower.complete and entry.follower.whole:
            taken = entry.follower.names
            return [number for number in numbers if f"{TAKEN}{number}" not in taken]
        if entry.pod is None:
            return numbers
        last = None if entry.last is None else last_begun(entry.last)
        return () if last is None else [number for number in numbers if number > last]

    def kill(self, jobs: Sequence[Job]) -> None:
        entries = [self._launched[job.name] for job in jobs if job.name in self._launched]
        for entry in entries:
            entry.killed = True
            if entry.index is None and entry.ended is None:
                with suppress(Refused, Unreachable):
                    self._api.delete("Job", entry.name)
        end = time.monotonic() + _KILLED
        for entry in entries:
            if entry.ended is not None:
                continue
            self._await_end(entry, end)
            self._await_last_state(entry)
            if entry.ended is None:
                entry.ended = State("ended", cause="killed", reason="its pod was deleted")
            if entry.follower is not None:
                entry.follower.finish(30)

    def _await_last_state(self, entry: _Launched) -> None:
        """Wait for the last state of a deleted pod, which has the number of its last call."""
        assert self._watch is not None
        end = time.monotonic() + 10
        while entry.pod is not None and time.monotonic() < end:
            last = self._watch.all()[1].get(entry.pod)
            if last is not None:
                entry.last = last
                return
            time.sleep(0.02)

    def _await_end(self, entry: _Launched, end: float) -> None:
        """Delete its pod, and return when the pod and all its processes are gone."""
        asked: set[str] = set()
        while time.monotonic() < end:
            try:
                pods = [pod for pod in self._api.pods(f"job-name={entry.name}")[0] if _of(pod)[1] == entry.index]
                for pod in pods:
                    entry.pod = str(pod["metadata"]["name"])
                    if entry.pod not in asked:
                        asked.add(entry.pod)
                        self._api.delete_pod(entry.pod, _GRACE)
            except (Refused, Unreachable):
                continue
            if not pods:
                return
            time.sleep(0.1)

    def forget(self, job: Job) -> None:
        entry = self._launched.pop(job.name, None)
        if entry is None:
            return
        self._drop(entry)
        members = self._members.get(entry.name, set())
        members.discard(job.name)
        if not members:
            self._members.pop(entry.name, None)
            self._remove(entry.name)

    def _drop(self, entry: _Launched) -> None:
        """Release the resources of an entry: its log, its pod in the watch, and its files elsewhere."""
        if entry.follower is not None:
            entry.follower.stop()
        if entry.pod is not None and self._watch is not None:
            self._watch.forget(entry.pod)
        if entry.place is not None:
            with suppress(OSError, PersistableError):
                entry.place.remove()

    def _remove(self, name: str, pod: str | None = None) -> None:
        """Delete a Job with its pods and its Secret, or only a pod. After a failure, they are deleted with the driver."""
        with suppress(Refused, Unreachable):
            if pod is not None:
                self._api.delete_pod(pod, _GRACE)
                return
            self._api.delete("Job", name)
            self._api.delete("Secret", name)

    def _unfit(self, why: str) -> ExecutorUnavailable:
        api = self._api
        return ExecutorUnavailable(
            f"namespace {api.namespace!r} of the cluster at {api.place}: {why}",
            key=None,
            executor=self.name,
            place=f"{api.place}/{api.namespace}",
        )


def _of(pod: Json) -> tuple[str, int | None]:
    """Return the Job of a pod, and its index there."""
    metadata: Json = pod["metadata"]
    annotations: Json = metadata.get("annotations") or {}
    index: str | None = annotations.get("batch.kubernetes.io/job-completion-index")
    return str(metadata.get("labels", {}).get("job-name", "")), None if index is None else int(index)


def _told(error: Refused | Unreachable) -> str:
    if isinstance(error, Unreachable):
        return f"it cannot be reached ({error})"
    if error.status == 401:
        return f"it does not know us ({error}); renew the credentials of the context"
    return str(error)
