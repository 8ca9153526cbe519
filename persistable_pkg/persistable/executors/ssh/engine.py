"""Hosts as an engine: each has a job server while it is connected, and slots for jobs."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple
from uuid import uuid4

from persistable.errors import ExecutorUnavailable
from persistable.executors.remote.engine import Engine, Job, Report
from persistable.executors.remote.folders import Adopted, Orphan, Owner
from persistable.executors.resources import Resources, check_offers
from persistable.executors.ssh.client import Client, Lost
from persistable.executors.ssh.connection import SSHConnection
from persistable.executors.ssh.server import Hello
from persistable.executors.ssh.spool import State

PATIENCE = 600.0
"""Seconds to restore a lost connection, before the jobs there are given up."""


class Host(NamedTuple):
    """Host of a job server: how to connect to it, the jobs it takes at a time (None: as many as it has CPUs), and its GPUs."""

    name: str
    connect: Callable[[], SSHConnection]
    slots: int | None = None
    gpus: float = 0


class HostsEngine(Engine):
    """Jobs on hosts. folder: on each host, for their files; `~` is the home there."""

    name: ClassVar[str] = "ssh"
    overhead: ClassVar[float] = 0.03
    interval: ClassVar[float] = 1.0  # updates arrive by themselves

    def __init__(self, hosts: Sequence[Host], folder: str, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._patience = patience
        self._hosts = [_Served(host) for host in hosts]
        self._wake: Callable[[], None] = lambda: None

    def open(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        try:
            for host in self._hosts:
                self._connect(host)
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        return sum(host.slots for host in self._hosts)

    def check(self, resources: Resources) -> None:
        offers = [host.offer for host in self._hosts]
        check_offers(resources.amounts, offers, "host", "say what a host has: Host(name, slots=, gpus=)")

    def room(self, resources: Resources | None, under_way: Collection[Job]) -> int:
        return sum(host.room(resources, [job for job in under_way if job.place is host]) for host in self._hosts)

    def launch(self, jobs: Sequence[Job]) -> None:
        for host, share in self._split(jobs).items():
            for job in share:
                job.place = host
            try:
                host.call("launch", *_sent(share))
            except Lost:
                host.unsure += share
            except OSError as error:
                raise self._unfit(host, error) from error
            host.jobs.update((job.name, job) for job in share)

    def _split(self, jobs: Sequence[Job]) -> dict[_Served, list[Job]]:
        """Divide jobs among the hosts, those with most room first."""
        shares: dict[_Served, list[Job]] = {}
        for job in jobs:
            host = (
                job.place
                if isinstance(job.place, _Served)
                else max(self._hosts, key=lambda each: each.room(job.resources, [*each.jobs.values(), *shares.get(each, ())]))
            )
            shares.setdefault(host, []).append(job)
        return shares

    def poll(self, jobs: Collection[Job]) -> Iterable[Report]:
        for host in self._hosts:
            yield from self._news(host)

    def _news(self, host: _Served) -> Iterable[Report]:
        if host.client is None or host.client.lost is not None:
            self._reconnect(host)
            if host.given_up:
                for job in list(host.jobs.values()):
                    yield Report(job, ended=True, reason=f"the connection to {host.host.name} is lost: {host.trouble}")
        assert host.client is not None
        for state in host.client.news():
            if state.name in host.jobs:
                yield _report(host.jobs[state.name], state)

    def withdraw(self, job: Job, numbers: Sequence[int]) -> Collection[int]:
        host = _host_of(job)
        try:
            found: list[int] = host.call("withdraw", job.name, list(numbers))
        except Lost:
            return numbers if host.given_up else ()
        return found

    def kill(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            host = _host_of(job)
            while True:
                try:
                    host.call("kill", [job.name])
                    break
                except Lost:
                    if host.given_up:
                        break
                    time.sleep(0.1)
                    self._reconnect(host)

    def forget(self, job: Job) -> None:
        host = _host_of(job)
        host.jobs.pop(job.name, None)
        try:
            host.call("forget", job.name)
        except Lost:
            host.forgotten.append(job.name)

    @property
    def places(self) -> Sequence[tuple[str, object]]:
        return [(host.host.name, host) for host in self._hosts]

    def adopt(self) -> Iterable[Job]:
        for host in self._hosts:
            orphans: list[Orphan] = host.call("orphans")
            gone = [orphan.name for orphan in orphans if orphan.is_gone()]
            adopted: list[Adopted] = host.call("adopt_running", gone)
            for name, identities, answered in adopted:
                job = Job(name, None, b"", identities, place=host)
                job.open.difference_update(answered)
                host.jobs[name] = job
                yield job

    def close(self) -> None:
        for host in self._hosts:
            if host.client is not None:
                with suppress(OSError):
                    host.call("leave")
                host.client.close()

    # --- connections

    def _connect(self, host: _Served) -> None:
        host.client = client = Client(host.host.connect(), self._wake)
        host.hello = client.call("hello")
        try:
            client.call("attend", self._folder, host.driver, Owner.here(), host.slots)
        except Lost:
            raise
        except OSError as error:
            raise self._unfit(host, error) from error

    def _reconnect(self, host: _Served) -> None:
        """Retry the connection when due, at growing intervals, until the patience is over."""
        now = time.monotonic()
        if host.lost_at is None:
            host.lost_at = host.try_at = now
            host.trouble = (host.client.lost if host.client is not None else None) or ""
        if host.given_up or now < host.try_at:
            return
        try:
            self._connect(host)
            self._settle(host)
        except (OSError, TimeoutError) as error:
            host.trouble = str(error)
            host.given_up = now - host.lost_at > self._patience
            host.try_at = time.monotonic() + min(30.0, 0.5 + (now - host.lost_at) / 4)
        else:
            host.lost_at = None

    def _settle(self, host: _Served) -> None:
        """Repeat the calls that failed, or may have failed, when the connection was lost."""
        for name in host.forgotten:
            host.call("forget", name)
        host.forgotten.clear()
        again = [job for job in host.unsure if job.name in host.jobs]
        host.call("launch", *_sent(again))
        host.unsure.clear()

    def _unfit(self, host: _Served, error: OSError) -> ExecutorUnavailable:
        text = f"no job can be put into {self._folder} on {host.host.name}: {error}"
        return ExecutorUnavailable(text, key=None, executor=self.name, place=host.host.name)


@dataclass(eq=False)
class _Served:
    """A host, its client, and the jobs there."""

    host: Host

    def __post_init__(self) -> None:
        self.driver = f"driver-{uuid4().hex[:12]}"  # one for each, since two names may be one host, or share a folder
        self.client: Client | None = None
        self.hello: Hello | None = None
        self.jobs: dict[str, Job] = {}
        self.forgotten: list[str] = []
        """Jobs whose files could not be removed."""
        self.unsure: list[Job] = []
        """Jobs that may or may not have arrived."""
        self.lost_at: float | None = None
        self.try_at = 0.0
        self.trouble = ""
        self.given_up = False

    @property
    def slots(self) -> int:
        return 0 if self.given_up else self.host.slots or (self.hello.cpus if self.hello is not None else 1)

    @property
    def offer(self) -> dict[str, float]:
        """The most that one job can have here."""
        assert self.hello is not None
        return {"cpus": self.hello.cpus, "memory": self.hello.memory or math.inf, "gpus": self.host.gpus}

    def room(self, resources: Resources | None, jobs: Sequence[Job]) -> int:
        """Return the number of jobs with these resources that fit beside `jobs`."""
        if self.client is None or self.client.lost is not None or self.given_up or self.hello is None:
            return 0
        used = Counter[str]()
        for job in jobs:
            used.update(_needs(job.resources))
        have = {"slots": float(self.slots), "memory": self.hello.memory or math.inf, "gpus": self.host.gpus}
        needs = _needs(resources)
        return max(0, min(int((have[name] - used[name]) // amount) for name, amount in needs.items() if amount))

    def call(self, method: str, *arguments: object) -> Any:
        if self.client is None:
            raise Lost("not connected")
        return self.client.call(method, *arguments)


def _sent(jobs: Sequence[Job]) -> tuple[list[tuple[str, bytes, list[str | None]]], list[str]]:
    """Return the arguments of the call that launches jobs."""
    return [(job.name, job.request, list(job.identities)) for job in jobs], sorted({name for job in jobs for name in job.modules})


def _needs(resources: Resources | None) -> dict[str, float]:
    """The resources that a job takes on a host: a slot for each CPU that it asks for, at least one, memory and GPUs."""
    if resources is None:
        return {"slots": 1.0}
    return {"slots": max(1.0, resources.cpus), "memory": float(resources.memory or 0), "gpus": resources.gpus}


def _report(job: Job, state: State) -> Report:
    return Report(job, state.answers, True, state.ended, state.exitcode, "", state.output)


def _host_of(job: Job) -> _Served:
    assert isinstance(job.place, _Served)
    return job.place
