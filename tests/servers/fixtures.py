"""Fixtures that start real servers. Each yields what a client needs, on 127.0.0.1 and a free port."""

import getpass
import itertools
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from servers.needs import absent, free_port, need, need_program
from servers.processes import said, serving, stop, unmeasured

_numbers = itertools.count()
# read by gcsfs when it is imported: it would otherwise try gRPC for a minute before it speaks to an emulator
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


@dataclass
class Bucket:
    """An empty bucket: its URL, the options that open it, and a client that goes around the code under test."""

    url: str
    name: str
    options: dict[str, Any]
    client: Any = None
    extra: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an S3 server (moto) in a process of its own, so that it does not share the interpreter with its clients."""
    need("moto.server", "boto3", "s3fs")
    with serving("s3_server.py", tmp_path_factory.mktemp("s3")) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def s3_bucket(s3_server: str) -> Iterator[Bucket]:
    """An empty S3 bucket of its own."""
    yield from _s3_bucket(s3_server, "testing", "testing")


def _s3_bucket(endpoint: str, key: str, secret: str) -> Iterator[Bucket]:
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1")
    name = f"bucket-{os.getpid()}-{next(_numbers)}"
    client.create_bucket(Bucket=name)
    yield Bucket(f"s3://{name}/folder", name, {"endpoint_url": endpoint, "key": key, "secret": secret}, client)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        if page.get("Contents"):
            client.delete_objects(Bucket=name, Delete={"Objects": [{"Key": entry["Key"]} for entry in page.get("Contents", ())]})
    client.delete_bucket(Bucket=name)
    client.close()


@dataclass
class GCSServer:
    """Where the emulator answers, and the file it notes each POST in, to see the preconditions that were sent."""

    endpoint: str
    posts: Path


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GCSServer]:
    """A GCS emulator, threaded; of the preconditions it heeds only the one of exclusive creation."""
    need("gcp_storage_emulator", "gcsfs")
    folder = tmp_path_factory.mktemp("gcs")
    posts = folder / "posts"
    posts.touch()
    with serving("gcs_emulator.py", folder, str(posts)) as port:
        yield GCSServer(f"http://127.0.0.1:{port}", posts)


@pytest.fixture
def gcs_bucket(gcs_server: GCSServer) -> Bucket:
    """An empty GCS bucket of its own."""
    import requests

    name = f"bucket-{os.getpid()}-{next(_numbers)}"
    requests.post(f"{gcs_server.endpoint}/storage/v1/b", json={"name": name}, timeout=60).raise_for_status()
    return Bucket(f"gs://{name}/folder", name, {"endpoint_url": gcs_server.endpoint, "token": "anon"}, gcs_server)


@dataclass
class SSHServer:
    """A running sshd, the key that opens it and a folder to use."""

    port: int
    key: Path
    known_hosts: Path
    user: str
    folder: Path

    @property
    def place(self) -> str:
        """The name of the host, as `SSHExecutor` takes it."""
        return f"{self.user}@127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """Options of an `SSHExecutor` for two jobs at a time."""
        return {
            "slots": 2,
            "python": sys.executable,
            "folder": str(self.folder / "jobs"),
            "client_keys": [str(self.key)],
            "known_hosts": str(self.known_hosts),
        }


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    """A real sshd on a high port, for the user who runs the tests."""
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@contextmanager
def running_sshd(home: Path, most_sessions: int = 100) -> Generator[SSHServer]:
    """A sshd that takes so many sessions of one connection."""
    need_program("ssh-keygen")
    sshd = "/usr/sbin/sshd"
    if not os.path.exists(sshd):
        absent("sshd is not installed (openssh-server)")
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], check=True)
    (home / "authorized_keys").write_bytes((home / "client.pub").read_bytes())
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    server, port = _sshd(sshd, home, most_sessions)
    kind, key = (home / "host.pub").read_text().split()[:2]
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    try:
        yield SSHServer(port, home / "client", home / "known_hosts", getpass.getuser(), home)
    finally:
        stop(server)


def _sshd(program: str, home: Path, most_sessions: int = 100) -> tuple[subprocess.Popen[bytes], int]:
    """A running sshd and its port. It cannot choose one itself, so another is tried when somebody took it before it was bound."""
    for attempt in range(5):
        port = free_port()
        (home / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized_keys\n"
            f"PidFile {home}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            f"MaxSessions {most_sessions}\nMaxStartups 200\nLoginGraceTime 0\nSubsystem sftp internal-sftp\n"
        )
        with open(home / "log", "wb") as log:
            server = subprocess.Popen([program, "-D", "-e", "-f", str(home / "config")], stdout=log, stderr=log, env=unmeasured())
        try:
            said(server, home / "pid", home / "log")  # written once the port is bound
        except RuntimeError:
            stop(server)
            if attempt == 4 or "Cannot bind" not in (home / "log").read_text(errors="replace"):
                raise
            continue
        return server, port
    raise AssertionError("no try left")


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that speaks MongoDB's wire protocol and keeps its documents in mongomock: it is no MongoDB."""
    need("pymongo", "mongomock")
    with serving("mongo_server.py", tmp_path_factory.mktemp("mongo")) as port:
        yield port


@dataclass
class MongoCollection:
    """An empty collection in a database of its own: the URL of a store in it, and a client that goes around the code under test."""

    url: str
    database: Any
    name: str


@pytest.fixture
def mongo_collection(mongo_server: int) -> Iterator[MongoCollection]:
    """An empty collection of its own."""
    import pymongo

    name = f"d{os.getpid()}_{next(_numbers)}"
    with pymongo.MongoClient[dict[str, Any]]("127.0.0.1", mongo_server) as client:
        yield MongoCollection(f"mongodb://127.0.0.1:{mongo_server}/{name}/results", client[name], "results")
        client.drop_database(name)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cluster: needs a cluster of daemons (Ceph, Kubernetes); left out unless asked for by -m cluster")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "cluster" in str(config.getoption("markexpr")):
        return
    left_out = [item for item in items if item.get_closest_marker("cluster")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a real S3 server (Ceph's RADOS gateway)."""
    need("boto3", "s3fs")
    from servers.ceph import rados_gateway

    with rados_gateway(tmp_path_factory.mktemp("ceph")) as endpoint:
        yield endpoint


@pytest.fixture
def ceph_bucket(ceph_server: str) -> Iterator[Bucket]:
    """An empty bucket of its own on Ceph."""
    from servers.ceph import KEY, SECRET

    yield from _s3_bucket(ceph_server, KEY, SECRET)
