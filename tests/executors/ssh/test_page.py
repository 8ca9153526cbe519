"""The how-to page on SSH shows what happens. Its code needs hosts, so it runs here and not with the other pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers.fixtures import SSHServer

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.xdist_group("ssh")
def test_the_code_of_the_page_runs_and_shows_the_real_result(ssh_server: SSHServer, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(
        f"Host node1 node2\n  HostName 127.0.0.1\n  Port {ssh_server.port}\n  User {ssh_server.user}\n"
        f"  IdentityFile {ssh_server.key}\n  UserKnownHostsFile {ssh_server.known_hosts}\n"
    )
    text = (ROOT / "docs/howto/ssh.md").read_text(encoding="utf-8").replace("```py\n", "```python\n")
    here = f'"{sys.executable}", folder="{tmp_path / "jobs"}"'
    (tmp_path / "ssh.md").write_text(text.replace('"~/env/bin/python")', f"{here})"), encoding="utf-8")
    command = [sys.executable, str(ROOT / "tests/docs/run_page.py"), "ssh.md", "page.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "persistable_pkg"), "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
