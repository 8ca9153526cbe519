"""A throwaway Ceph: one monitor, one object daemon in memory, and the RADOS gateway, which is a real S3 server that checks signatures."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.needs import free_port, need_program, wait_for_port

KEY, SECRET = "testing", "testingsecret"

CONFIG = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {folder}/keyring
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
pid file = {folder}/run/$name.pid
log file = {folder}/log/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon warn on pool no redundancy = false
auth allow insecure global id reclaim = false
osd crush chooseleaf type = 0
mon data avail warn = 1
mon data avail crit = 1
ms bind ipv6 = false
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
"""


@contextmanager
def rados_gateway(folder: Path) -> Iterator[str]:
    """The endpoint; credentials are `KEY` and `SECRET`."""
    need_program("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool")
    for name in ("mon", "osd", "run", "log", "rgw"):
        (folder / name).mkdir()
    fsid, mon1, mon2, port = uuid.uuid4(), free_port(), free_port(), free_port()
    config = folder / "ceph.conf"
    config.write_text(CONFIG.format(folder=folder, fsid=fsid, mon1=mon1, mon2=mon2, port=port))
    keyring, monmap = str(folder / "keyring"), str(folder / "monmap")
    environment = {**os.environ, "CEPH_CONF": str(config)}

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [program, *arguments], check=True, timeout=60, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    run("ceph-authtool", keyring, "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    caps = {
        "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *", "mds", "allow *"),
        "osd.0": ("mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd"),
        "client.rgw.a": ("mon", "allow rw", "osd", "allow rwx", "mgr", "allow rw"),
    }
    for name, granted in caps.items():
        pairs = [word for what, how in zip(granted[::2], granted[1::2], strict=True) for word in ("--cap", what, how)]
        run("ceph-authtool", keyring, "--gen-key", "-n", name, *pairs)
    addresses = f"[v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]"
    run("monmaptool", "--create", "--clobber", "--addv", "a", addresses, "--fsid", str(fsid), monmap)
    run("ceph-mon", "-c", str(config), "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
    try:
        run("ceph-mon", "-c", str(config), "-i", "a", "--public-addr", addresses)
        run("ceph", "-c", str(config), "auth", "import", "-i", keyring)
        osd = str(uuid.uuid4())
        run("ceph", "-c", str(config), "osd", "new", osd)
        run("ceph-osd", "-c", str(config), "-i", "0", "--mkfs", "--osd-uuid", osd)
        run("ceph-osd", "-c", str(config), "-i", "0")
        run("radosgw", "-c", str(config), "-n", "client.rgw.a")
        who = ("--uid=test", "--display-name=test", f"--access-key={KEY}", f"--secret-key={SECRET}")
        run("radosgw-admin", "-c", str(config), "-n", "client.rgw.a", "user", "create", *who)
        wait_for_port(port, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        for name in ("client.rgw.a", "osd.0", "mon.a"):
            _end(folder / "run" / f"{name}.pid")


def _end(pid_file: Path) -> None:
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return  # it has ended, or never started
