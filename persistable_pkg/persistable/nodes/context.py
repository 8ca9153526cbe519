"""`rng`, `scratch`, `allocate`, `append`, `committed`, `appended` and `progress` for steps.

Functions import these, methods have them on ``self``.
"""

from __future__ import annotations

from collections.abc import KeysView
from typing import TYPE_CHECKING, Any

from persistable.nodes.generation import Generation, running_generations
from persistable.nodes.generation import running as running_now

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import DTypeLike, NDArray


def _generation(tool: str) -> Generation:
    running = running_now()
    if running is not None:
        return running
    if len(running_generations) > 1:
        raise RuntimeError(
            f"{len(running_generations)} payloads are being generated in this process, and nothing tells to which of them this thread "
            f"belongs: it has no {tool}; take it before the thread begins, or start it in contextvars.copy_context()"
        )
    raise RuntimeError(f"{tool} exists only while a payload is being generated: use it inside a step that runs as a node")


def allocate(shape: int | tuple[int, ...], dtype: DTypeLike = float) -> NDArray[Any]:
    """Inside a step: a zeroed array mapped in the payload's own uncommitted file, see `Persistable.allocate`."""
    array: NDArray[Any] = _generation("allocate").allocate(shape, dtype)
    return array


def progress(done: float, total: float | None = None) -> None:
    """Announce that `done` of `total` is done. In a plain call of the function it does nothing."""
    running = running_now()
    if running is not None:
        running.progress(done, total)


def append(block: Any) -> None:
    """Inside a step: add rows to the payload, which may be larger than memory, see `Persistable.append`."""
    _generation("append").get_row_writer().append(block)


def appended() -> Any:
    """Inside a step: the number of rows so far; as a return value, it means the payload of these rows. See `Persistable.appended`."""
    return _generation("appended").get_row_writer().rows


def committed() -> KeysView[Any]:
    """Inside a step that yields ``(key, payload)``: the keys of the items committed already, to skip the work for them.

    In a plain call of the function they are empty.
    """
    running = running_now()
    return running.get_item_writer().keys if running is not None else _NONE.keys()


_NONE: dict[Any, Any] = {}


class _Proxy:
    """A proxy for an object of the running generation: its attributes are that object's, and a call returns the object itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self) -> Any:
        return getattr(_generation(self._name), self._name)()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # requested by copy, pickle, inspect and others while nothing runs
            raise AttributeError(name)
        return getattr(self(), name)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The class of the represented object, so that ``isinstance(rng, np.random.Generator)`` holds inside a step."""
        found: Any = self if running_now() is None else self()
        return type(found)  # pyright: ignore[reportUnknownVariableType]

    def __fspath__(self) -> str:
        return str(self())

    def __truediv__(self, name: str) -> Any:
        return self() / name

    def __repr__(self) -> str:
        return f"<{self._name} of the running generation>" if running_now() is None else repr(self())

    def __reduce__(self) -> str:
        return self._name


if TYPE_CHECKING:
    rng: np.random.Generator
    scratch: Path
else:
    rng = _Proxy("rng")
    """Inside a step: a `numpy.random.Generator` seeded from the digest of the node."""
    scratch = _Proxy("scratch")
    """Inside a step: a private folder for checkpoints (a `Path`) that survives a kill and a retry and is deleted at the commit."""
