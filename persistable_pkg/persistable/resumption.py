"""An attempt that was cut off and is gone on with by other code: what is kept of that."""

from __future__ import annotations

import warnings
from typing import Any

from persistable import code, holdings
from persistable.errors import StaleCodeWarning


def going_on(generation: Any, before: code.Fingerprint, what: str) -> bool:
    """Whether the code has changed since `what` was made: then it is said, and the code of `generation` is that of both.

    Its payload is stale from the first.
    """
    change = code.compare(before, generation.code)
    if change.same or not change.comparable:
        return False
    generation.code = code.mixed(before, generation.code)
    generation.notes["mixed"] = f"{what} were made before the code changed ({change.describe()})"
    warnings.warn(
        f"{what} of {generation.node.key} were made by code that has changed since ({change.describe()}); they are kept, and the others "
        "are made by the code as it is now, so the payload will be stale until it is generated anew or accepted. delete() makes the next "
        "attempt begin anew",
        StaleCodeWarning,
        stacklevel=holdings.depth_of_user(),
    )
    return True
