"""Put some real texts into ``texts/``: the descriptions of data sets that come with scikit-learn, with its licence beside them.

Texts that are there already are left as they are, so that what you change stays changed.
"""

import shutil
from importlib.metadata import files
from pathlib import Path

HERE = Path(__file__).parent


def gather(into: Path = HERE / "texts") -> int:
    """How many texts were copied."""
    into.mkdir(exist_ok=True)
    copied = 0
    for file in files("scikit-learn") or []:
        is_text = file.suffix == ".rst" and file.parent.name == "descr"
        if (is_text or file.name == "COPYING") and not (into / file.name).exists():
            shutil.copyfile(file.locate(), into / file.name)
            copied += is_text
    return copied


if __name__ == "__main__":
    print(gather(), "texts copied")
