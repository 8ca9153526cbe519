"""The options that verbs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from persistable.cli.parse import Option


@dataclass(frozen=True)
class Common:
    """Options of all verbs: the store or project, and the form of the answer.

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
    json: bool = False
    debug: bool = False


@dataclass(frozen=True)
class Wanted:
    """Options that change a project, and failures tried again.

    Parameters
    ----------
    changes
        A param in place of that of the project: points.n=500. May be given several times.
    failed
        Whether what failed before is tried again, or left.
    stale
        Whether what is stale is reused, made anew with what follows from it, or nothing is begun then.
    """

    changes: Annotated[tuple[str, ...], Option(("--set",))] = ()
    failed: Literal["retry", "skip"] | None = None
    stale: Literal["reuse", "generate", "raise"] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options of `Project.run` and `Project.plan`."""
        return {name: value for name, value in (("failed", self.failed), ("stale", self.stale)) if value is not None}


Word = Annotated[str, Option(is_target=True)]
"""Words that name targets, stages or payloads."""

COMMON = Common()
WANTED = Wanted()
