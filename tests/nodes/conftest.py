from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodes.site import Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    """An HTTP server with nothing on it."""
    with serving() as found:
        yield found
