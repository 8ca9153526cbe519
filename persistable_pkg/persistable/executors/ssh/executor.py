"""The executor for hosts that are reached by SSH."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from persistable.executors.remote.executor import RemoteExecutor
from persistable.executors.remote.request import Request
from persistable.executors.ssh.connection import SSHConnection
from persistable.executors.ssh.engine import Host, HostsEngine


@dataclass(frozen=True, slots=True)
class SSHHost:
    """A host: its name, or ``user@name:port``, the jobs it takes at a time (by default as many as it has CPUs), and its GPUs."""

    name: str
    slots: int | None = None
    gpus: float = 0
    python: str | None = None


class SSHExecutor(RemoteExecutor):
    """Tasks on hosts that are reached by SSH. Needs the extra ``ssh``, and on each host the same Python and persistable as here.

    hosts: one or several, each a name as in ``ssh NAME``, or an `SSHHost`. slots: how many jobs each takes at a time; by default as many as
    it has CPUs. python: the interpreter there. path: folders there, from which modules are imported besides what is installed. environment:
    variables for the tasks. folder: there, for the files of jobs; only its owner can read it. options: for `asyncssh.connect`, such as
    ``client_keys``; what is in ``~/.ssh/config`` holds too.
    """

    name: ClassVar[str] = "ssh"

    def __init__(
        self,
        hosts: str | SSHHost | Sequence[str | SSHHost],
        *,
        slots: int | None = None,
        python: str = "python3",
        path: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        folder: str = "~/.cache/persistable/jobs",
        **options: Any,
    ) -> None:
        given = [hosts] if isinstance(hosts, str | SSHHost) else list(hosts)
        if not given:
            raise ValueError('hosts is empty; give at least one: SSHExecutor("host")')
        self._names = [host if isinstance(host, str) else host.name for host in given]
        engine = HostsEngine([_host(host, slots, python, path, options) for host in given], folder)
        super().__init__(engine, Request((), path, dict(environment or {})))

    def __repr__(self) -> str:
        return f"SSHExecutor({self._names!r})"


def _host(given: str | SSHHost, slots: int | None, python: str, path: Sequence[str], options: Mapping[str, Any]) -> Host:
    host = SSHHost(given) if isinstance(given, str) else given
    user, _, place = host.name.rpartition("@")
    name, colon, port = place.rpartition(":")
    if not colon:
        name, port = place, ""
    own = {**({"username": user} if user else {}), **({"port": int(port)} if port else {})}
    connect = partial(SSHConnection, name, {**options, **own}, host.python or python, path)
    return Host(host.name, connect, host.slots or slots, host.gpus)
