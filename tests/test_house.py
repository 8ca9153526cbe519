"""The shape of the package: what a reader meets at its root."""

from __future__ import annotations

from pathlib import Path

import persistable

ROOT = Path(persistable.__file__).parent
MODULES = {"__init__", "__main__", "errors", "events"}
PACKAGES = {
    "catalog", "cli", "executors", "families", "fileio", "graph", "nodes", "notify", "params", "project", "records", "runs", "stores",
    "testing", "web",
}  # fmt: skip


def test_the_root_holds_the_packages_and_four_modules() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == MODULES
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert found <= PACKAGES
    assert PACKAGES - found <= {"web"}, "only those that are still to come may be missing"


def test_every_package_says_what_it_is() -> None:
    for path in ROOT.rglob("__init__.py"):
        assert path.read_text().startswith('"""'), path
