"""One input as a node: read where it lies by whoever needs it, and never stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from persistable.core import Persistable
from persistable.errors import PersistableError
from persistable.fileio.base import FileIO
from persistable.source.inputs import Inputs, Values

PayloadT = TypeVar("PayloadT")


@dataclass(frozen=True)
class InputParams:
    """The identity of an input: its key by field, its content, and how it is read. Where it lies is no part of it."""

    key: dict[str, Any]
    content: str
    reads: dict[str, Any]


def params_of(inputs: Inputs, values: Values, content: str, io: FileIO[Any] | None) -> InputParams:
    """The identity of the input at `values` among `inputs`."""
    return InputParams(dict(zip(inputs.fields, values, strict=True)), content, io.spec() if io is not None else {})


class Input(Persistable[PayloadT, InputParams]):
    """A member of a `Source`; made by it."""

    __module__ = "persistable"  # in records for ever, wherever the class is defined
    _external = True
    _persisted = False
    params: InputParams
    _inputs: Inputs
    _values: Values

    @classmethod
    def of(cls, inputs: Inputs, name: str, values: Values, content: str, io: FileIO[Any] | None) -> Input[Any]:
        """The input at `values` among `inputs`."""
        made: Input[Any] = cls(params=params_of(inputs, values, content, io), payload_name=name, payload_io=io)
        made._inputs = inputs
        made._values = values
        return made

    def _generate_payload(self, **_: Any) -> Any:
        try:
            return self._inputs.load(self._values, self.params.content, self._format())
        except PersistableError as error:
            if "key" not in error.__dict__:
                error.__dict__["key"] = self.key
            raise

    def _look(self) -> str:
        try:
            if self._inputs.content(self._values, None) == self.params.content:
                return ""
            return f"{self._inputs.shown(self._values)} has changed since this node was made"
        except FileNotFoundError:
            return f"{self._inputs.shown(self._values)} is not there any more"

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_inputs": self._inputs.only(self._values)}

    def __repr__(self) -> str:
        return f"<input {self.payload_name}: {self._inputs.shown(self._values)} [{self.key.digest[:8]}]>"
