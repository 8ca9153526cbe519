"""Warn, once in a process, of changes that are not noticed: of code without a fingerprint, and of files that params only name."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import warnings
from pathlib import PurePath

from persistable.errors import UnwatchedCodeWarning, UnwatchedFileWarning
from persistable.nodes import code
from persistable.nodes.loading import depth_of_user
from persistable.nodes.types import Node

_said: set[tuple[str, tuple[str, ...]]] = set()


def warn(node: Node, own: code.CodeOf | code.Fingerprint | code.SentFingerprint) -> None:
    """Warn if the generating code of `node` uses code that cannot be compared. Reads the parts of `own`."""
    unknown = own.unknown
    if unknown and _is_new(node, unknown):
        warnings.warn(
            f"code not watched: {', '.join(unknown)}, which {node.key.name} uses, has no fingerprint (compiled, or without a source), so "
            "changes of it are not noticed; raise `version` when it changes",
            UnwatchedCodeWarning,
            stacklevel=depth_of_user(),
        )


def _is_new(node: Node, names: tuple[str, ...]) -> bool:
    once, before = (code.class_reference(node.__class__), names), len(_said)
    _said.add(once)
    return len(_said) > before


def warn_of_files(node: Node) -> None:
    """Warn if a param of `node` is the path of an existing file: the path is part of the key, and the content of the file is not."""
    for field, value, _ in node._node_snapshot.rows:
        if isinstance(value, PurePath) and os.path.isfile(value) and _is_new(node, (field,)):
            warnings.warn(
                f"{field} of {node.key.name} names a file, {value}: the key has its path, not its content, so changes of the "
                "file are not noticed. Give a `Source` of it instead, whose content is part of the key; for a path that is only "
                "written to, or never changes, ignore this warning",
                UnwatchedFileWarning,
                stacklevel=depth_of_user(),
            )
