"""The example of a folder of texts, used as its README says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers.needs import need, need_program

EXAMPLE = Path(__file__).parents[2] / "examples" / "texts"


class Folder:
    """A copy of the example, and its command line."""

    def __init__(self, root: Path) -> None:
        shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("texts", "results", "__pycache__"))
        self.root = root
        self.texts = root / "texts"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PERSISTABLE_")}
        self.environ["EXAMPLE"] = str(root)  # by which its processes are known

    def start(self, *words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, *words], cwd=self.root, env=self.environ, stdout=pipe, stderr=pipe, text=True)

    def __call__(self, *words: str, status: int = 0) -> str:
        process = self.start("-m", "persistable", *words)
        out, err = process.communicate(timeout=180)
        assert process.returncode == status, f"{words}: {process.returncode}\n{out}{err}"
        return out

    def run(self, *targets: str, status: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("run", *targets, "--json", status=status))
        return found

    def to_generate(self, *targets: str) -> list[str]:
        """Names of what is stored in the end and would be generated."""
        plan = json.loads(self("plan", *targets, "--json"))
        return sorted(row["name"] for row in plan if row["action"] == "generate" and row["name"] != "optional")

    def stored(self) -> dict[str, float]:
        """When each payload was stored, by key."""
        listed = json.loads(self("ls", "--json")) if (self.root / "results").exists() else []
        return {row["key"]: row["stored"] for row in listed}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    for module in ("sklearn", "cyclopts", "rich", "jinja2"):
        need(module)
    need_program("awk")
    found = Folder(tmp_path / "texts example")
    gathered = found.start("gather.py")
    out, err = gathered.communicate(timeout=180)
    assert gathered.returncode == 0, err
    assert out == f"{len(list(found.texts.glob('*.rst')))} texts copied\n"
    assert (found.texts / "COPYING").read_text().startswith("BSD 3-Clause License")
    return found


def test_all_of_the_readme(folder: Folder) -> None:
    texts = sorted(place.stem for place in folder.texts.glob("*.rst"))
    assert len(texts) > 10

    # the first run makes everything, the second nothing
    folder.run()
    report = folder("cat", "report")
    assert sorted(line.split()[0] for line in report.splitlines()[1:]) == texts
    stored = folder.stored()
    assert len(stored) == 3 * len(texts) + 1
    assert folder.run()["counts"]["done"] == 0
    assert folder.stored() == stored
    assert folder.to_generate() == []

    # a text that is edited makes its own jobs new, and the report
    with (folder.texts / "iris.rst").open("a") as file:
        file.write("\nPetals are petals are petals are petals are petals.\n")
    assert folder.to_generate() == ["counted", "described", "frequent", "table"]
    folder.run()
    edited = folder.stored()
    assert sorted(key.partition("/")[0] for key in edited.keys() - stored.keys()) == ["counted", "described", "frequent", "table"]
    assert {key: edited[key] for key in stored} == stored
    (line,) = [line for line in folder("cat", "report").splitlines() if line.startswith("iris ")]
    assert "petals" in line and line not in report

    # a result that is deleted is made again, and only that
    folder("rm", "descriptions[iris]", "--yes")
    assert len(folder.stored()) == len(edited) - 1
    assert folder.to_generate("descriptions") == ["described"]
    assert folder.run("descriptions")["counts"]["done"] == 1
    again = folder.stored()
    assert again.keys() == edited.keys()
    assert [key.partition("/")[0] for key in edited if again[key] != edited[key]] == ["described"]

    # a text that fails does so alone
    (folder.texts / "broken.rst").write_bytes(b"\xff\xfe is no text. At all.")
    (folder.texts / "wordless.rst").write_text("...\n")
    result = folder.run(status=1)
    assert result["counts"]["failed"] >= 2
    assert {failure["name"] for failure in result["failures"]} <= {"counted", "frequent", "described"}
    assert folder("cat", "report").splitlines()[-2:] == [f"{name:<24} failed" for name in ("broken", "wordless")]
    states = {(row["target"], row["name"]): row for row in json.loads(folder("status", "--json"))}
    assert states["descriptions", "described"]["done"] == len(texts)
    assert states["report", "table"]["done"] == 1
    assert "no sentence" in folder("explain", "descriptions[wordless]") or "failed" in folder("explain", "descriptions[wordless]")

    # mended, and removed
    (folder.texts / "broken.rst").write_text("Now it is a text of letters. With two sentences.")
    (folder.texts / "wordless.rst").unlink()
    folder.run()
    (line,) = [line for line in folder("cat", "report").splitlines() if line.startswith("broken ")]
    assert line.split()[3:] == ["letters", "sentences"]
    assert "wordless" not in folder("cat", "report")


def test_a_killed_run_is_gone_on_with(folder: Folder) -> None:
    process = folder.start("-m", "persistable", "run", "counts", "frequent")
    deadline = time.monotonic() + 120
    while process.poll() is None and not list((folder.root / "results").glob("*/*.record.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    wait_for_workers(folder)
    before = folder.stored()
    assert before
    missing = folder.to_generate("counts", "frequent")
    assert len(before) + len(missing) == 2 * len(list(folder.texts.glob("*.rst")))
    assert folder.run("counts", "frequent")["counts"]["done"] == len(missing)
    after = folder.stored()
    assert {key: after[key] for key in before} == before


def wait_for_workers(folder: Folder) -> None:
    """They die with their parent, but a moment later, and go on until then."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("EXAMPLE") != str(folder.root):
                continue
        except (psutil.Error, OSError):  # it is gone, or somebody else's
            continue
        process.wait(60)


def test_texts_are_worked_on_as_they_come(folder: Folder) -> None:
    process = folder.start("-m", "persistable", "run", "descriptions", "--watch", "0.2")
    try:
        number = len(list(folder.texts.glob("*.rst")))
        wait_for(folder, process, number)
        (folder.texts / "new.rst").write_text("One more text has come. It is short.")
        wait_for(folder, process, number + 1)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)


def wait_for(folder: Folder, process: subprocess.Popen[str], number: int) -> None:
    deadline = time.monotonic() + 150
    while len(list((folder.root / "results" / "described").glob("*.record.json"))) < number:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
