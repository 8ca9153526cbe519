"""`persistable serve`: the local page of a store."""

from __future__ import annotations

import json
from pathlib import Path

from persistable.cli.options import COMMON, CommonOptions
from persistable.cli.output import answer, flush, note, progress, write
from persistable.cli.target import CommandContext
from persistable.cli.usage import BadUsage


def serve(
    *, port: int = 0, export: Path | None = None, name: str | None = None, where: str | None = None, common: CommonOptions = COMMON
) -> None:
    """Serve a local page of the store, until Ctrl-C: read-only, for this machine, protected by the token in the printed URL.

    Parameters
    ----------
    port
        The port; by default one that is free.
    export
        Instead write the pages into this folder, as a static site that a browser opens from its files.
    name
        With --export, only payloads of this name.
    where
        With --export, only payloads for which this expression over params and facts is true, as for `persistable ls`.
    """
    from persistable.web import Server
    from persistable.web import export as write_site

    if not 0 <= port < 1 << 16:
        raise BadUsage(f"--port {port}: give a number from 0, which is any that is free, to 65535")
    here = CommandContext(common)
    project = here.project if common.store is None else None
    if export is None and (name or where):
        raise BadUsage("--name and --where choose what --export writes; the page itself has them as filters")
    if export is not None:
        done = write_site(here.catalog, export, progress("wrote"), name=name, where=where, project=project)
        facts = {"folder": str(done.folder), "payloads": done.payloads, "pages": done.pages}
        answer(common.json, facts, f"{done.pages} pages of {done.payloads} payloads in {done.folder / 'index.html'}")
        return
    try:
        server = Server(here.catalog, port, project)
    except OSError as error:
        raise BadUsage(f"--port {port}: {error.strerror or error}; choose another, or none") from error
    write(json.dumps({"url": server.url}) if common.json else server.url)
    flush()
    note("Ctrl-C ends it")
    try:
        server.run()
    except KeyboardInterrupt:
        pass
