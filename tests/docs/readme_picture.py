"""Write the picture of the README: the lineage of its last plan, as its own code makes it.

    python readme_picture.py README.md picture.svg

Call it in an empty folder: the README's code stores its payloads in `data` there.
"""

import sys
from pathlib import Path

from run_page import run

run(Path(sys.argv[1]), Path("readme.py"))
Path(sys.argv[2]).write_text(sys.modules["__main__"].__dict__["todo"].lineage().svg() + "\n", encoding="utf-8")
