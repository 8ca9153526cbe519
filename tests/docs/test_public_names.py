"""The public surface, in one place: importing it is free, every name resolves, every name is documented."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import persistable

ROOT = Path(__file__).resolve().parents[2]
MODULES = ["persistable", "persistable.fileio", "persistable.stores", "persistable.errors", "persistable.events", "persistable.testing"]


def public() -> list[str]:
    names = []
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        exported = getattr(module, "__all__", None)
        if exported is None:
            exported = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module_name and name[0] != "_"]
        names += [f"{module_name}.{name}" for name in exported]
    return names


def test_importing_persistable_imports_nothing_else() -> None:
    """Not even dataclasses, json or typing: the cost of `import persistable` is that of one small file."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
import persistable
print(" ".join(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-S", "-c", code, str(ROOT / "persistable_pkg")], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["persistable"]


@pytest.mark.parametrize("name", public())
def test_every_public_name_resolves_and_says_what_it_is(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    value = getattr(importlib.import_module(module), attribute)
    assert inspect.ismodule(value) or not callable(value) or (inspect.getdoc(value) or "").strip(), f"{name} has no docstring"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_every_public_name_is_in_the_reference(tmp_path: Path) -> None:
    """As Sphinx sees it, after reading the pages and the docstrings."""
    from sphinx.application import Sphinx

    docs = str(ROOT / "docs")
    app = Sphinx(docs, docs, str(tmp_path / "out"), str(tmp_path / "doctrees"), "dummy", status=None, warning=None)
    app.build()
    domain = app.env.get_domain("py").data
    described = {name.rpartition(".")[2] for name in domain["objects"]} | {name.rpartition(".")[2] for name in domain["modules"]}
    assert {name for name in public() if name.rpartition(".")[2] not in described} == set()


def test_names_and_submodules_come_without_importing_them_by_hand() -> None:
    assert set(persistable.__all__) <= set(dir(persistable))
    assert persistable.errors.PersistableError is persistable.PersistableError
    with pytest.raises(AttributeError, match="Persistible"):
        persistable.Persistible  # type: ignore[attr-defined]


def test_the_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert persistable.__version__ == version("persistable")
