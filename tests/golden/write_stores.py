"""Write the golden stores: ``python write_stores.py NAME`` makes NAME.zip beside this file, with the package that is on PYTHONPATH.

The zip holds one folder with a folder store, an SQLite store and a workspace. A zip is never made again: it is what a version has written.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import sys
import tempfile
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here))


WHERE = r'File \\"[^"]*/', r'File \\"'
"""Where it ran is nobody's business."""


def hide_paths_in_database() -> None:
    """Take the folders out of the tracebacks that the SQLite store holds."""
    from persistable import open_store

    store = open_store("sqlite:///items.db")
    for path in list(store.list()):
        if path.endswith(".failed.json"):
            store.put(path, re.sub(*WHERE, store.get(path).decode()).encode())
    store.close()


def main() -> None:
    """Write one zip."""
    name = sys.argv[1]
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    socket.gethostname = lambda: "golden"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        import golden_nodes as nodes

        import persistable

        for url in ("folder", "sqlite:///items.db"):
            targets = [*nodes.stored_nodes().values(), nodes.squares.step(3), nodes.plus.step(1), nodes.plus.over(a=[1, 2, 3])]
            targets += [nodes.plus.over(nodes.squares.step(3).members)]
            persistable.run(*targets, nodes.appended.step(3), store=url)
            nodes.given.step(1 << 60).bind(url).put({"put": "in"})
            persistable.run(nodes.fails.step(1), store=url, errors="return")
        hide_paths_in_database()
        for failure in Path("folder").rglob("*.failed.json"):
            failure.write_text(re.sub(*WHERE, failure.read_text()))
        nodes.write_seeds(Path("workspace"))
        nodes.Files("workspace").run()
        shutil.rmtree("made")
        with sqlite3.connect("items.db") as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for left in Path().glob("*.db-*"):
            left.unlink()
        shutil.make_archive(str(here / name), "zip", folder)


if __name__ == "__main__":
    main()
