"""The fixture of a real Kubernetes: as `make test-cluster` has built it, with one node and an image of this Python and this library."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.kubernetes.image import busybox_image, python_image
from servers.kubernetes.standin import StandIn, standing_in
from servers.needs import absent, need, need_program
from servers.processes import said, serving, stop, unmeasured

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "persistable_pkg"
IMAGE = "test.local/persistable:1"
HOST = "10.99.0.1"
"""The address by which pods reach the servers of the tests."""


@dataclass
class Cluster:
    """A running cluster: a kubeconfig that may do anything, and one of a user who may do nothing."""

    kubeconfig: Path
    powerless: Path
    image: str = IMAGE


@pytest.fixture(scope="session")
def kubernetes_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real Kubernetes of one node, whose image store has an image with this library."""
    need("kubernetes", "packaging")
    need_program("etcd", "containerd", "runc", "busybox", "ip", "jq", "curl", "openssl", "unshare", "setpriv")
    binaries = os.environ.get("KUBERNETES_DAEMONS")
    if not binaries:
        absent("Kubernetes was not built: KUBERNETES_DAEMONS names no folder (make test-cluster builds it and names it)")
    if any(name not in ("lo", "n0", "cni0") and not name.startswith("veth") for _, name in socket.if_nameindex()):
        absent("the network is not the tests' own; run them through tests/lonet")
    folder = tmp_path_factory.mktemp("kubernetes")
    images = [folder / "pause.tar", folder / "python.tar"]
    busybox_image(images[0], "test.local/pause:1", ["/bin/sleep", "1000000"])
    python_image(images[1], IMAGE, "persistable", ["s3"], SOURCE)
    assert binaries
    with _running(folder, binaries, images) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kubernetes_standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A stand-in for a cluster, whose pods are processes of this machine."""
    need("kubernetes", "kubernetes_validate")
    with standing_in(tmp_path_factory.mktemp("stand-in")) as standin:
        yield standin


@contextmanager
def _running(folder: Path, binaries: str, images: list[Path]) -> Iterator[Cluster]:
    token, powerless = secrets.token_hex(16), secrets.token_hex(16)
    environment = {**unmeasured(), "TOKEN": token, "MORE_TOKENS": f"{powerless},nobody,2"}
    state = folder / "node"
    state.mkdir()
    log = folder / "log"
    command = [str(HERE / "node"), str(state), binaries, str(_free_ports()), *map(str, images)]
    groups = _control_groups()
    with log.open("wb") as output:
        node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        text = said(node, state / "kubeconfig", log, 240)
        (folder / "powerless").write_text(text.replace(token, powerless))
        yield Cluster(state / "kubeconfig", folder / "powerless")
    finally:
        stop(node, 1)
        _remove_control_groups(groups)
        shutil.rmtree(state, ignore_errors=True)


def _free_ports() -> int:
    """The first of four ports in a row that nothing listens on."""
    while True:
        first = 20000 + secrets.randbelow(10000)
        try:
            for port in range(first, first + 4):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


def _control_groups() -> set[Path]:
    return {path for path in Path("/sys/fs/cgroup").glob("**/pod*-*") if path.is_dir()}


def _remove_control_groups(before: set[Path]) -> None:
    """Remove the control groups of pods, which outlive the processes that were in them."""
    for path in sorted(_control_groups() - before, reverse=True):
        for group in sorted([*path.glob("**/*/"), path], reverse=True):
            try:
                group.rmdir()
            except OSError:
                pass


@pytest.fixture(scope="session")
def pods_s3(kubernetes_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an S3 server that the tests and their pods reach by the same address."""
    need("moto.server", "boto3", "s3fs")
    with serving("s3_server.py", tmp_path_factory.mktemp("pods-s3"), "--host", HOST) as port:
        yield f"http://{HOST}:{port}"
