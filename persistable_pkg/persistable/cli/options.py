"""The options that verbs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext


Flag = Annotated[bool, Parameter(negative="")]
"""An option that is given or not."""
Texts = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
"""An option that may be given several times."""


@Parameter(name="*")
@dataclass(frozen=True)
class CommonOptions:
    """Options of all verbs: the store or project, and the format of the output.

    Parameters
    ----------
    project
        The persistable.toml to use, or its folder; by default the nearest one upward.
    store
        A path or URL, instead of the store of the project.
    json
        Write JSON.
    debug
        Show the traceback of an error.
    """

    project: str | None = None
    store: str | None = None
    json: Flag = False
    debug: Flag = False


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """Options that change params, and the treatment of failed and stale payloads.

    Parameters
    ----------
    changes
        A param to set instead of that of the project: points.n=500. May be given several times.
    failed
        Retry payloads that failed before, or skip them.
    stale
        Reuse stale payloads, generate them and their downstream anew, or stop before anything is begun.
    """

    changes: Annotated[tuple[str, ...], Parameter(name="--set", negative="", allow_leading_hyphen=True, show_default=False)] = ()
    failed: Literal["retry", "skip"] | None = None
    stale: Literal["reuse", "generate", "raise"] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options of `Project.run` and `Project.plan`."""
        return {name: value for name, value in (("failed", self.failed), ("stale", self.stale)) if value is not None}


def _names(context: CompletionContext) -> list[str]:
    """The targets and stages of the project, for completion in a shell. No module of the project is imported."""
    from persistable.project import Project

    project = Project.load(context["--project"].raw)
    return [*project.targets, *project.stages]


TargetArgument = Annotated[str, Parameter(completer=_names)]
"""Words that name targets, stages or payloads."""

COMMON = CommonOptions()
WANTED = RunOptions()
