"""Write into keys.json those keys that are not what they were: ``python write_keys.py VERSION``, with the package that is on PYTHONPATH.

What is there is never changed: each version has the keys that are new or other than before.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here))


def main() -> None:
    """Compare and write."""
    import golden_nodes

    path = here / "keys.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        before = {name: key for keys in known.values() for name, key in keys.items()}
        found = {name: str(node.key) for name, node in golden_nodes.keyed_nodes().items()}
        other = {name: key for name, key in found.items() if before.get(name) != key}
        path.write_text(json.dumps({**known, sys.argv[1]: {**known.get(sys.argv[1], {}), **other}}, indent=1) + "\n")
        os.chdir(here)


if __name__ == "__main__":
    main()
