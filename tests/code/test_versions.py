"""Source hashes are the same for every supported Python: the golden file is what all of them must find."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from persistable.nodes.code import LIBRARY, Fingerprint, compare

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"

SHOW = """
import json, sys
import flows
from persistable.nodes.code import code_of
print(json.dumps(code_of(flows.Points, ("_generate_payload",)).fingerprint().to_json()))
"""


def pythons() -> list[str]:
    """This Python, and those listed in ``PERSISTABLE_PYTHONS`` (separated as in PATH), which need blake3 only."""
    listed = [name for name in os.environ.get("PERSISTABLE_PYTHONS", "").split(os.pathsep) if name]
    found = [shutil.which(name) for name in listed]
    assert None not in found, f"PERSISTABLE_PYTHONS names an interpreter that is not there: {listed}"
    return [sys.executable, *(name for name in found if name is not None)]


def sources(fingerprint: Fingerprint) -> dict[str, str]:
    """The parts that are hashes, without their bytecode."""
    hashes = {name: part for name, part in fingerprint.parts.items() if not part.startswith(LIBRARY)}
    return {name: " ".join(word for word in part.split() if not word.startswith("b:")) for name, part in hashes.items()}


def test_golden_hashes(project: Any) -> None:
    """Every listed Python finds the recorded hashes, for syntax of every kind."""
    golden = json.loads(GOLDEN.read_text())
    project.write({"flows.py": (HERE / "corpus.txt").read_text()})
    for python in pythons():
        found = Fingerprint.from_json(project.last("-c", SHOW, python=python))
        assert sources(found) == golden, python


def test_another_version_is_no_evidence(project: Any) -> None:
    """Records of another Python compare equal where the source is, and never make a payload stale."""
    project.write({"flows.py": (HERE / "corpus.txt").read_text()})
    found = Fingerprint.from_json(project.last("-c", SHOW))
    stripped = {name: part.split()[0] for name, part in found.parts.items()}
    other = Fingerprint("cpython-399", "0" * 32, stripped)
    assert compare(other, found).same
    assert not compare(other, found).comparable


def test_the_standard_library_reads_the_same_everywhere(project: Any) -> None:
    """Some hundred real modules, one text each: their normal forms do not depend on the version that parses them."""
    script = """
import ast, hashlib, json, pathlib, sys
from persistable.nodes.code.normal import source_text
out = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    tree = ast.parse(path.read_bytes())
    nodes = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef))]
    out[path.name] = hashlib.sha256("".join(map(source_text, nodes)).encode("utf-8", "surrogatepass")).hexdigest()
print(json.dumps(out))
"""
    folder = str(Path(os.__file__).parent)
    results = [project.last("-c", script, folder, python=python) for python in pythons()]
    assert len(results[0]) > 100
    assert all(result == results[0] for result in results)


def test_writing_the_source_anew_changes_nothing(project: Any) -> None:
    """`ast.unparse` drops all layout and comments of the standard library's own modules; their normal forms stay."""
    import ast

    from persistable.nodes.code.normal import source_text

    for name in ("argparse", "dataclasses", "asyncio/base_events", "typing", "tarfile", "enum"):
        tree = ast.parse((Path(os.__file__).parent / f"{name}.py").read_bytes())
        assert source_text(ast.parse(ast.unparse(tree))) == source_text(tree), name


def write_golden() -> None:
    """Record the hashes of this Python: ``python tests/code/test_versions.py``, after a deliberate change of the normal form."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / "corpus.txt", Path(folder) / "flows.py")
        done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True, cwd=folder)
    found = Fingerprint.from_json(json.loads(done.stdout))
    GOLDEN.write_text(json.dumps(sources(found), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write_golden()
