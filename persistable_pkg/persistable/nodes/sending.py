"""Fingerprints that go to another process with a definition by value: its code as it is here, for not all that it uses goes there."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from persistable.nodes import provenance
from persistable.nodes.code import Given, project_of

_here = threading.local()


@contextmanager
def sending() -> Generator[None]:
    """Note that this thread pickles what another process is to run, inside the block."""
    before = is_sending()
    _here.sending = True
    try:
        yield
    finally:
        _here.sending = before


def is_sending() -> bool:
    """Tell whether this thread does."""
    return bool(getattr(_here, "sending", False))


def given_of(own: Any, cls: type) -> Given:
    """The facts of some code, which is that of the nodes of `cls`."""
    found = own.fingerprint()
    return Given(found.python, found.quick, found.parts, provenance.commit_of(cls), project_of(cls))
