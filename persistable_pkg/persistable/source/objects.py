"""Objects in the memory of this process as inputs."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from blake3 import blake3

from persistable.fileio.base import FileIO
from persistable.params.canonical import encode
from persistable.source.inputs import Values, changed, vanished


class Objects:
    """The items of a mapping, each told by what it is: anything that can be a param."""

    at_once = 1

    def __init__(self, objects: Mapping[Any, Any], field: str) -> None:
        self._objects = objects
        self.fields = (field,)

    def stamps(self) -> Mapping[Values, Any]:
        return {(key,): None for key in list(self._objects)}

    def content(self, values: Values, stamp: Any) -> str:
        return blake3(encode(self._get(values), self.shown(values))).hexdigest()

    def load(self, values: Values, content: str, io: FileIO[Any]) -> Any:
        found = deepcopy(self._get(values))  # what a node does to it must not come back here
        if blake3(encode(found, self.shown(values))).hexdigest() != content:
            raise changed(self.shown(values))
        return found

    def _get(self, values: Values) -> Any:
        try:
            return self._objects[values[0]]
        except KeyError:
            raise vanished(self.shown(values)) from None

    def shown(self, values: Values) -> str:
        return f"{self.fields[0]}[{values[0]!r}]"

    def only(self, values: Values) -> Objects:
        return Objects({key: self._objects[key] for key in values if key in self._objects}, self.fields[0])
