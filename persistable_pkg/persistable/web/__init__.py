"""The local page: the content of a store, in a browser. `serve` serves it from this process, `export` writes it as a static site."""

from __future__ import annotations

from persistable.web.export import ExportedSite, export
from persistable.web.server import Server, serve

__all__ = ["ExportedSite", "Server", "export", "serve"]
