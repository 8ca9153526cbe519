"""SSHExecutor keeps the promises of every executor, on a real sshd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from servers.fixtures import SSHServer

from persistable.executors import SSHExecutor
from persistable.executors.resources import Resources
from persistable.testing import ExecutorContract


@pytest.mark.xdist_group("ssh")
class TestSSHExecutor(ExecutorContract):
    too_much: ClassVar[Resources | None] = Resources(cpus=1000)

    @pytest.fixture
    def executor(self, ssh_server: SSHServer) -> Iterator[SSHExecutor]:
        arguments = f"{ssh_server.place!r}, **{ssh_server.options!r}"
        type(self).script = f"from persistable.executors import SSHExecutor; executor = SSHExecutor({arguments})"
        with SSHExecutor(ssh_server.place, **ssh_server.options) as executor:
            yield executor
