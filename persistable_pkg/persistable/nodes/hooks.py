"""Hooks that the author of a node class writes, and tools for their code."""

from __future__ import annotations

from collections.abc import Iterator, KeysView
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from persistable import events
from persistable.errors import NotGeneratable
from persistable.nodes import roles
from persistable.nodes.capture import watch_logging
from persistable.nodes.declaration import declaration_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from persistable.nodes.generation import Generation
    from persistable.nodes.types import Node
    from persistable.records.key import Key
    from persistable.stores.base import Store

PayloadT = TypeVar("PayloadT")


class Authored(Generic[PayloadT]):
    """The hooks that a subclass of `Persistable` overrides, and the tools that its `_generate_payload` may use."""

    if TYPE_CHECKING:
        key: Key
        payload_name: str
        _node_logger: Any

        def _node_use(self) -> Store: ...

    _node_generation: Generation | None

    # hooks (`*_: Any` so that type checkers accept an override with any keywords)

    def _generate_payload(self, *_: Any, **untracked_payload_params: Any) -> PayloadT | Iterator[Any]:
        """Override: make the payload from ``self.params`` and upstream payloads (``self.points.payload``), and return it.

        If it yields ``(key, payload)``, each of these items is committed as it comes: the payload is then `Collected`.
        """
        raise NotGeneratable(
            f"{type(self).__name__} does not say how to generate its payload: define _generate_payload(self, **untracked_payload_params)",
            key=self.key,
        )

    def _validate_payload(self, payload: PayloadT) -> None:
        """Override to raise if a payload, generated or loaded, is not fit for use."""

    def _post_generate(self, *_: Any, **untracked_payload_params: Any) -> None:
        """Override to act after the payload was generated and persisted; it is in ``self.payload``."""

    def _post_load(self, *_: Any, **untracked_payload_params: Any) -> None:
        """Override to act after the payload was loaded; it is in ``self.payload``."""

    def _node_validates(self) -> bool:
        """Tell whether the class overrides `_validate_payload`."""
        own: Any = type(self)
        return own._validate_payload is not NO_VALIDATION

    def _node_check_untracked(self, given: dict[str, Any]) -> None:
        """Raise UnknownParam for keywords that no hook takes: they would be lost. Each hook gets the keywords that it takes."""
        accepted: set[str] = set()
        for hook in ("_generate_payload", "_post_generate", "_post_load"):
            if getattr(type(self), hook) is getattr(Authored, hook):
                continue
            names = self._node_hook_names(hook)
            if names is None:
                return
            accepted |= names - {"self"}
        unknown = sorted(given.keys() - accepted)
        if unknown:
            raise roles.error_unused_keyword(type(self), unknown[0], sorted(accepted))

    def _node_hook_names(self, hook: str) -> frozenset[str] | None:
        """The keywords that a hook takes; None for any."""
        return declaration_of(type(self)).keywords(hook)

    # inside _generate_payload

    @property
    def logger(self) -> Any:
        """The `logging.Logger` for messages of the node's own code: ``persistable.<payload name>`` unless another was given, and quiet
        unless the application listens to it. Secrets are removed from the messages.
        """
        logger = events.logger_of(self.payload_name, self._node_logger)
        watch_logging()  # it may have been imported just now
        return logger

    @logger.setter
    def logger(self, logger: Any) -> None:
        self._node_logger = logger

    @property
    def rng(self) -> np.random.Generator:
        """Inside `_generate_payload`: a random generator seeded from the digest."""
        rng: np.random.Generator = self._node_running("rng").rng()
        return rng

    @property
    def scratch(self) -> Path:
        """Inside `_generate_payload`: a private folder for checkpoints; it survives a kill and a retry and is deleted at the commit."""
        return self._node_running("scratch").scratch()

    def allocate(self, shape: int | tuple[int, ...], dtype: DTypeLike = float) -> NDArray[Any]:
        """Inside `_generate_payload`: a zeroed array mapped in the payload's own uncommitted file.

        Fill it and return it (or something that holds it): it is committed without a copy, however much larger than memory it is. `shape`
        and `dtype` are as for `numpy.zeros`.
        """
        array: NDArray[Any] = self._node_running("allocate").allocate(shape, dtype)
        return array

    def append(self, block: Any) -> None:
        """Inside `_generate_payload`: add rows to the payload, which may be larger than memory.

        Arrays of one dtype and shape but for their first dimension make one array (``io=NumpyFileIO()``); frames and tables of the same
        columns make one (``io=ParquetFileIO()`` or ``ArrowFileIO()``). Return `appended`, or nothing. Appended rows survive a kill:
        the next attempt begins with them. Raises PayloadNotRepresentable for a block that does not fit those before.
        """
        self._node_running("append").get_row_writer().append(block)

    @property
    def appended(self) -> Any:
        """Inside `_generate_payload`: the number of rows so far, including those of an interrupted attempt; an integer.

        As a return value, it means the payload of these rows.
        """
        return self._node_running("appended").get_row_writer().rows

    @property
    def committed(self) -> KeysView[Any]:
        """Keys of the committed items, if `_generate_payload` yields ``(key, payload)``: inside it, to skip the work for them.

        Elsewhere: those in the store, sealed or not. ``len(node.committed)`` is their number so far.
        """
        if self._node_generation is not None and not self._node_generation.over:
            return self._node_generation.get_item_writer().keys
        from persistable.nodes.follow import committed

        return committed(cast("Node", self), self._node_use())

    def progress(self, done: float, total: float | None = None) -> None:
        """Inside `_generate_payload`: announce that `done` of `total` is done."""
        self._node_running("progress").progress(done, total)

    def _node_running(self, tool: str) -> Generation:
        if self._node_generation is None or self._node_generation.over:
            raise RuntimeError(
                f"{type(self).__name__}.{tool} exists only while {self.key} is being generated: use it inside _generate_payload"
            )
        return self._node_generation


NO_VALIDATION: Any = cast("Any", Authored)._validate_payload
"""The `_validate_payload` of a class that does not override it."""
