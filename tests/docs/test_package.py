"""The package as it would be uploaded: what is in it, and what an index would say about it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import persistable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The source distribution and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    for target in ("sdist", "wheel"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return sorted(folder.iterdir())


def test_the_source_distribution_has_all_that_it_takes_to_test_it(built: list[Path]) -> None:
    with tarfile.open(next(path for path in built if path.suffix == ".gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"Makefile", "LICENSE", "SECURITY.md", "CITATION.cff", "tests/conftest.py", "tests/golden/keys.json", "docs/index.md"}
    assert wanted <= names
    assert {"persistable_pkg/persistable/py.typed", "tests/constraints.txt", "examples/texts/README.md"} <= names
    assert not [name for name in names if "_build/" in name or "__pycache__" in name or name.startswith(".venv")]


def test_the_wheel_has_the_package_its_types_and_its_licence(built: list[Path]) -> None:
    with zipfile.ZipFile(next(path for path in built if path.suffix == ".whl")) as archive:
        names = set(archive.namelist())
    assert {"persistable/__init__.py", "persistable/py.typed"} <= names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_an_index_takes_both_and_can_show_the_readme(built: list[Path]) -> None:
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_names_this_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == persistable.__version__
