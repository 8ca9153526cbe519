"""The executor for hosts that are reached by SSH."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from persistable.executors.remote.executor import RemoteExecutor
from persistable.executors.remote.request import Request
from persistable.executors.ssh.connection import SSHConnection
from persistable.executors.ssh.engine import Host, HostsEngine

_NAME = re.compile(r"(?:(.+)@)?(?:\[(.+)\]|([^:@\[\]]+)|([^@\[\]]*:[^@\[\]]*:[^@\[\]]*))(?::(\d+))?")
"""A host: user, then its address in brackets, its name, or its IPv6 address without brackets and port; and the port."""


@dataclass(frozen=True, slots=True)
class SSHHost:
    """A host: its name, or ``user@name:port``, the jobs it takes at a time (by default as many as it has CPUs), and its GPUs."""

    name: str
    slots: int | None = None
    gpus: float = 0
    python: str | None = None


class SSHExecutor(RemoteExecutor):
    """Tasks on hosts that are reached by SSH. Needs the extra ``ssh``, and on each host the same Python and persistable as here.

    hosts: one or several, each a name as in ``ssh NAME``, or an `SSHHost`. slots: maximum number of jobs on each at a time; by default its
    number of CPUs. python: the interpreter there. path: folders there, from which modules are imported besides installed ones. environment:
    variables for the tasks. folder: there, for the files of jobs; only its owner can read it. options: for `asyncssh.connect`, such as
    ``client_keys``; ``~/.ssh/config`` applies too.
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
        engine = HostsEngine([host_of(host, slots, python, path, options) for host in given], folder)
        super().__init__(engine, Request((), path, dict(environment or {})))

    def __repr__(self) -> str:
        return f"SSHExecutor({self._names!r})"


def host_of(given: str | SSHHost, slots: int | None, python: str, path: Sequence[str], options: Mapping[str, Any]) -> Host:
    """Return a host of the engine. Raises ValueError for an invalid name or number of slots."""
    host = SSHHost(given) if isinstance(given, str) else given
    found = _NAME.fullmatch(host.name)
    if found is None:
        raise ValueError(f"{host.name!r} is no host; give a name as in `ssh NAME`, user@name:port, or an address in brackets: [::1]:22")
    slots = slots if host.slots is None else host.slots
    if slots is not None and slots < 1:
        raise ValueError(f"slots of {host.name} is {slots}; give 1 or more, or nothing for as many as it has CPUs")
    user, *names, port = found.groups()
    own = {**({"username": user} if user else {}), **({"port": int(port)} if port else {})}
    connect = partial(SSHConnection, "".join(filter(None, names)), {**options, **own}, host.python or python, path)
    return Host(host.name, connect, slots, host.gpus)
