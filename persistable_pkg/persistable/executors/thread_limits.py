"""Threads of numerical libraries in worker processes: all workers together use as many threads as there are cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)
"""The variables that OpenMP, BLAS libraries and numexpr read when they are loaded."""
_OURS = "PERSISTABLE_WORKER_THREADS"
"""Environment variable of a worker: its number of threads by default, and those of `VARIABLES` that were set to it here."""


def shared(threads: int, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of a worker that limit it to `threads`, except those that this process or `given` sets.

    If OMP_NUM_THREADS is set, nothing is added, since the other libraries read it too.
    """
    known = {**os.environ, **given}
    if "OMP_NUM_THREADS" in known:
        return {}
    ours = [name for name in VARIABLES if name not in known]
    return {**dict.fromkeys(ours, str(threads)), _OURS: f"{threads}:{','.join(ours)}"}


def limit(wanted: float | None) -> None:
    """Give the next task `wanted` threads, or the default, in a worker whose threads are limited by `shared`."""
    ours = os.environ.get(_OURS)
    if ours is None:
        return
    default, _, names = ours.partition(":")
    threads = int(wanted) if wanted is not None and wanted > 1 else int(default)
    if os.environ.get(names.partition(",")[0], default) == str(threads):
        return
    os.environ.update(dict.fromkeys(names.split(","), str(threads)))  # for libraries loaded from now on
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(threads)
    if "numpy" in sys.modules or "scipy" in sys.modules:
        _limit_loaded(threads)


def _limit_loaded(threads: int) -> None:
    try:
        import threadpoolctl  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:  # loaded libraries keep their threads
        return
    control: Any = threadpoolctl
    control.threadpool_limits(limits=threads)
