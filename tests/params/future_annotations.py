"""Params classes whose annotations are strings, some of which cannot be resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from persistable.params.fields import formerly, omit_when, untracked
from persistable.params.fields import untracked as unseen

if TYPE_CHECKING:
    from nowhere import Unknown


@dataclass
class Written:
    n: int
    jobs: Annotated[int, untracked] = 1
    noise: Annotated[float, omit_when(0.0)] = 0.0
    size: Annotated[int, formerly("rows")] = 10
    logger: Annotated[Unknown, unseen] = None
    other: Unknown | None = None


def local_spelled_out() -> type:
    import persistable.params as p

    @dataclass
    class Local:
        a: Annotated[int, p.untracked] = 1

    return Local
