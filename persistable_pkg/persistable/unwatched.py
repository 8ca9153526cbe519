"""Say, once in a process, what of the generating code no fingerprint can be made of."""

from __future__ import annotations

import warnings
from typing import Any

from persistable import code
from persistable.errors import UnwatchedCodeWarning
from persistable.holdings import depth_of_user

_said: set[tuple[str, tuple[str, ...]]] = set()


def warn(node: Any, own: code.CodeOf | code.Fingerprint | code.Given) -> None:
    """Warn where the generating code of `node` reaches what cannot be compared. Reads the parts of `own`."""
    unknown = own.unknown
    if not unknown:
        return
    once = (code.class_reference(node.__class__), unknown)
    if once not in _said:
        _said.add(once)
        warnings.warn(
            f"code not watched: {', '.join(unknown)}, which {node.key.name} uses, has no fingerprint (compiled, or without a source), so "
            "changes of it are not noticed; raise `version` when it changes",
            UnwatchedCodeWarning,
            stacklevel=depth_of_user(),
        )
