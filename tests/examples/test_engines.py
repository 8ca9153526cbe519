"""One flow has the same keys and the same payloads, byte for byte, on every engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers.fixtures import SSHServer
from servers.kubernetes.standin import StandIn
from servers.ray_cluster import RayCluster

ROOT = Path(__file__).resolve().parents[2]
FLOW = ROOT / "examples" / "engines"


@pytest.mark.xdist_group("ray")
def test_keys_and_payloads_do_not_depend_on_the_engine(
    ray_cluster: RayCluster, ssh_server: SSHServer, slurm_cluster: Path, kubernetes_standin: StandIn, tmp_path: Path
) -> None:
    assert slurm_cluster
    shutil.copytree(FLOW, tmp_path / "engines", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(
        f"Host testhost\n  HostName 127.0.0.1\n  Port {ssh_server.port}\n  User {ssh_server.user}\n"
        f"  IdentityFile {ssh_server.key}\n  UserKnownHostsFile {ssh_server.known_hosts}\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "persistable_pkg"),
        "HOME": str(tmp_path),
        "HOSTS": "testhost",
        "KUBECONFIG": str(kubernetes_standin.kubeconfig()),
        "IMAGE": "test",
        "VOLUMES": json.dumps({str(tmp_path): {"hostPath": {"path": str(tmp_path)}}}),
        "RAY_ADDRESS": ray_cluster.address,
    }
    found: dict[str, list[str]] = {}
    for engine in ("inline", "threads", "processes", "ray", "dask", "ssh", "slurm", "kubernetes"):
        command = [sys.executable, "flow.py", engine, engine]
        done = subprocess.run(command, cwd=tmp_path / "engines", env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, (engine, done.stdout, done.stderr)
        found[engine] = done.stdout.splitlines()
    assert found["inline"][0] == "<RunResult: 9 done>"
    assert len(found["inline"]) == 10
    for engine, lines in found.items():
        assert lines == found["inline"], engine
    told = (FLOW / "README.md").read_text()
    for line in (found["inline"][0], found["inline"][-1]):
        assert line in told
