"""Packages and programs that a test needs: absent at a desk means skip, absent in CI means fail."""

import importlib
import os
import shutil
import socket
import time

import pytest


def need(*modules: str) -> None:
    """Import the modules, or skip; in CI, fail."""
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            absent(f"{name} is not installed: {error}")


def need_program(*names: str) -> None:
    """Find the programs on the path, or skip; in CI, fail."""
    for name in names:
        if shutil.which(name) is None:
            absent(f"{name} is not on the path")


def absent(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
