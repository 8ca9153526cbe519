"""The git work tree that code is in: its commit, read from files, and a digest of its uncommitted changes, from one call of git."""

from __future__ import annotations

import os
from typing import NamedTuple


class Checkout(NamedTuple):
    """A commit, and the digest of later changes to tracked files: empty if there are none, None if git failed."""

    commit: str
    diff: str | None


_found: dict[str, Checkout | None] = {}
_SECONDS = 5.0
_DIFF = (
    *("--no-optional-locks", "diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index"),
    *("--unified=3", "--diff-algorithm=myers", "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "HEAD"),
)
"""Options under which no user setting changes the format of the diff or runs a program."""


def checkout_of(folder: str) -> Checkout | None:
    """The state of the work tree that contains `folder`, as at the first call in this process; None outside a work tree."""
    root = _root(folder)
    if root is None:
        return None
    if root not in _found:
        commit = _head_commit(os.path.join(root, ".git"))
        _found[root] = Checkout(commit, _diff(root)) if commit is not None else None
    return _found[root]


def _diff(root: str) -> str | None:
    """The digest of git's diff of the tracked files from the commit, in a format that no user setting changes; None if git failed."""
    import subprocess

    from blake3 import blake3

    environment_members = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *_DIFF], cwd=root, env=environment_members, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no git, a folder of another owner, a very large tree
        return None
    return blake3(done.stdout).hexdigest()[:16] if done.stdout else ""


def _root(folder: str) -> str | None:
    while not os.path.exists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def _head_commit(git: str) -> str | None:
    try:
        if os.path.isfile(git):  # in a linked work tree or submodule `.git` is a file with the path of the folder
            git = os.path.join(os.path.dirname(git), _text(git).removeprefix("gitdir:").strip())
        head = _text(os.path.join(git, "HEAD"))
        if not head.startswith("ref:"):
            return head
        ref = head.removeprefix("ref:").strip()
        common = os.path.join(git, "commondir")
        shared = os.path.join(git, _text(common)) if os.path.exists(common) else git
        for base in (git, shared):
            if os.path.exists(os.path.join(base, ref)):
                return _text(os.path.join(base, ref))
        packed = _text(os.path.join(shared, "packed-refs"))
        return next((line.split()[0] for line in packed.splitlines() if line.endswith(" " + ref)), None)
    except OSError:
        return None


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()
