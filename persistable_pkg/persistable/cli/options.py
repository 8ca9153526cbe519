"""The options that verbs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Where to look, and how to answer.

    Parameters
    ----------
    project
        The persistable.toml to use, or its folder; by default the nearest one upward.
    store
        A path or URL, in place of the store of the project.
    json
        Answer in JSON.
    debug
        Show where an error was raised.
    """

    project: str | None = None
    store: str | None = None
    json: Annotated[bool, Parameter(negative="")] = False
    debug: Annotated[bool, Parameter(negative="")] = False


COMMON = Common()
