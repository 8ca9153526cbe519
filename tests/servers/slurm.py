"""A Slurm cluster of one node on 127.0.0.1: munged, slurmctld and slurmd, in the foreground, ended with the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from servers.needs import absent, free_port, need_program
from servers.processes import stop, unmeasured

_DAEMONS = ("/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd")
_PATIENCE = 60.0
_CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldTimeout=30
InactiveLimit=0
KillWait=2
MinJobAge=300
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
MailProg=/bin/true
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=2
PartitionName=low Nodes={host} MaxTime=INFINITE State=UP PriorityTier=1
"""


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Path]:
    """A running cluster with two CPUs, to which Slurm's commands speak by the environment; its folder. Jobs in `low` give way to others."""
    if os.geteuid() != 0:
        absent("Slurm's daemons are started by root only")
    need_program("sbatch", "squeue", "scancel", "scontrol", "sinfo")
    for daemon in _DAEMONS:
        if not os.path.exists(daemon):
            absent(f"{daemon} is not installed (slurm-wlm, munge)")
    with running_slurm() as folder:
        yield folder


@contextmanager
def running_slurm() -> Generator[Path]:
    """A cluster, to which Slurm's commands speak by the environment of this process."""
    folder = Path(tempfile.mkdtemp(prefix="persistable-slurm-"))
    try:
        with _daemons(folder):
            os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
            _await_idle(folder)
            yield folder
    finally:
        os.environ.pop("SLURM_CONF", None)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _daemons(folder: Path) -> Generator[None]:
    folder.chmod(0o755)  # munged runs as a user of its own
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (folder / "munge", key):
        shutil.chown(path, "munge", "munge")
    config = folder / "slurm.conf"
    config.write_text(_CONFIG.format(host=socket.gethostname().partition(".")[0], folder=folder, controller=free_port(), node=free_port()))
    munge = folder / "munge"
    with ExitStack() as stack:
        for command in (
            ["su", "-s", "/bin/sh", "munge", "-c", "exec " + " ".join(
                [_DAEMONS[0], "--foreground", f"--key-file={key}", f"--socket={munge}/socket", f"--pid-file={munge}/pid",
                 f"--log-file={munge}/log", f"--seed-file={munge}/seed"])],
            [_DAEMONS[1], "-D", "-f", str(config)],
            [_DAEMONS[2], "-D", "-f", str(config)],
        ):  # fmt: skip
            with open(folder / "log", "ab") as log:
                server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=unmeasured())
            stack.callback(stop, server)
            if command[0] == "su":
                _await((munge / "socket").exists, folder)
        yield


def _await_idle(folder: Path) -> None:
    def idle() -> bool:
        command = ["sinfo", "--noheader", "--format=%T", "--partition=main"]
        return "idle" in subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False).stdout

    _await(idle, folder)


def _await(condition: Callable[[], bool], folder: Path) -> None:

    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end:
            logs = [path.read_text(errors="replace")[-2000:] for path in folder.glob("*log")]
            raise RuntimeError("Slurm did not start:\n" + "\n".join(logs))
        time.sleep(0.05)
