"""Debian's docker-registry, open, with passwords or with tokens, and the token server that it believes."""

import itertools
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.needs import absent, free_port, need, wait_for_port
from servers.processes import stop, unmeasured

PROGRAM = "/usr/bin/docker-registry"
_numbers = itertools.count()


@dataclass
class Registry:
    """A running registry and the folder that it keeps everything in."""

    host: str
    folder: Path

    def repository(self) -> str:
        """The URL of a repository that nobody has used yet."""
        return f"oci://{self.host}/tests/r{next(_numbers)}-{uuid.uuid4().hex[:8]}"

    def blob(self, digest: str) -> Path:
        """The file that the registry keeps a blob in."""
        digest = digest.removeprefix("sha256:")
        return self.folder / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"

    def uploads(self, url: str) -> list[str]:
        """The uploads to a repository that nobody has finished."""
        folder = self.folder / "docker/registry/v2/repositories" / url.split("/", 3)[3] / "_uploads"
        return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


@contextmanager
def running(folder: Path, *, deletes: bool = True, auth: dict[str, object] | None = None) -> Iterator[Registry]:
    """A registry that keeps its files in `folder`. auth: the part of its configuration of that name."""
    need("httpx")
    if not os.path.exists(PROGRAM):
        absent("docker-registry is not installed")
    for attempt in range(5):
        port = free_port()
        config = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": deletes}},
            "http": {"addr": f"127.0.0.1:{port}"},
            **({"auth": auth} if auth else {}),
        }
        (folder / "config.yml").write_text(json.dumps(config))
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([PROGRAM, "serve", str(folder / "config.yml")], stdout=log, stderr=log, env=unmeasured())
        wait_for_port(port, 30)
        if server.poll() is None:  # else somebody took the port before it did
            break
        assert attempt < 4, (folder / "log").read_text()
    try:
        yield Registry(f"127.0.0.1:{port}", folder / "data")
    finally:
        stop(server)


@pytest.fixture(scope="session")
def oci_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that lets anybody in, and deletes."""
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def undeleting_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that lets anybody in, and refuses to delete."""
    with running(tmp_path_factory.mktemp("undeleting"), deletes=False) as registry:
        yield registry
