"""`persistable serve`: the page as a command starts it, and as a static site."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from tests.cli.conftest import Shell


@contextmanager
def serving(shell: Shell, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command while it serves, and its first line."""
    command = [sys.executable, "-m", "persistable", "serve", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=shell.folder, env=shell.environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_first_line_is_the_url_and_it_opens_the_catalog(project: Shell) -> None:
    project("run", "report")
    with serving(project) as (process, line):
        url = line.strip()
        assert line == f"{url}\n" and url.startswith("http://127.0.0.1:") and "/?token=" in url
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = answer.read().decode()
        assert "Catalog" in text and "report" in text and "<table" in text
        assert status_of(url[:-1] + ("a" if url[-1] != "a" else "b")) == status_of(url.partition("?")[0]) == HTTPStatus.FORBIDDEN
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and not out and "Traceback" not in err, err
        assert url.partition("token=")[2] not in err
    _exports(project)


def test_json_and_the_port_that_is_asked_for(shell: Shell) -> None:
    with serving(shell, "--json") as (_, line):
        url = json.loads(line)["url"]
        assert json.loads(line) == {"url": url} and status_of(url) == HTTPStatus.OK
        port = url.split(":")[2].partition("/")[0]
        taken = shell("serve", "--port", port, expect=2)
        assert f"--port {port}" in taken.err
    assert "--port 65536" in shell("serve", "--port", "65536", expect=2).err


def _exports(project: Shell) -> None:
    done = project("serve", "--export", "site", "--json").json
    assert done["payloads"] == 3 and (project.folder / "site/index.html").exists()
    assert "pages of 3 payloads" in project("serve", "--export", "site").out
    (project.folder / "full").mkdir()
    (project.folder / "full/file").touch()
    assert "holds other files" in project("serve", "--export", "full", expect=1).err
