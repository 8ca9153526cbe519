"""A store with payloads of every kind, its page served, and a browser that looks at it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from tests.servers.needs import absent, need

from persistable import Catalog
from persistable.web import Server, serve

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip


class Page(NamedTuple):
    """A page that is served, and what asks it."""

    catalog: Catalog
    server: Server
    client: httpx.Client

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def token(self) -> str:
        return self.server.url.partition("token=")[2]

    def key(self, name: str, **find: Any) -> str:
        return str(self.catalog.find(name, **find)[0].key)

    def html(self, path: str, status: int = 200) -> str:
        found = self.client.get(path)
        assert found.status_code == status, found.text[:2000]
        return found.text

    def json(self, path: str, status: int = 200) -> Any:
        found = self.client.get(path, headers={"accept": "application/json"})
        assert found.status_code == status and found.headers["content-type"] == "application/json", found.text[:2000]
        return found.json()


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store, filled by another process."""
    folder = tmp_path_factory.mktemp("page")
    here = Path(__file__).parent
    package = here.parents[1] / "persistable_pkg"
    code = f"import sys; sys.path[:0] = [{str(package)!r}, {str(here)!r}]; sys.argv[1] = {str(folder / 'data')!r}; "
    code += "import pageflow, persistable; persistable.run(pageflow.targets(), store=sys.argv[1], errors='return')"
    subprocess.run([sys.executable, "-c", code, ""], check=True, timeout=120, capture_output=True)
    return folder / "data"


@pytest.fixture(scope="session")
def page(filled: Path) -> Iterator[Page]:
    need("starlette", "uvicorn", "jinja2")
    catalog = Catalog(filled)
    with serve(catalog) as server:
        token = server.url.partition("token=")[2]
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers={"authorization": f"Bearer {token}"}, timeout=60) as client:
            yield Page(catalog, server, client)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real browser without a window."""
    need("playwright.sync_api")
    if not CHROMIUM.exists():
        absent("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield started
        started.close()
