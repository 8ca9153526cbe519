"""Several payloads under fixed names, each in its own format."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, ClassVar

from persistable.errors import MalformedFile, PayloadNotRepresentable
from persistable.fileio.base import FileIO, Parts, PartsFileIO
from persistable.fileio.parts import SubParts, checked_name


class BundleFileIO(PartsFileIO[dict[str, Any]]):
    """A dict with exactly the names of `parts`; each value is a file ``name + suffix`` (or folder) in its own format.

    The dict is loaded in the order of `parts`.
    """

    name: ClassVar[str] = "BundleFileIO"
    suffix = ".bundle"

    def __init__(self, parts: Mapping[str, FileIO[Any]]) -> None:
        for name in parts:
            if "/" in checked_name(name):
                raise ValueError(f"{name!r} cannot name a part: it contains '/'")
        self.parts = dict(parts)

    def require(self) -> None:
        for format_ in self.parts.values():
            format_.require()

    def check(self, payload: Any) -> None:
        if type(payload) is not dict:
            self._refuse(f"it is a {type(payload).__name__}, not a dict")
        if payload.keys() != self.parts.keys():
            self._refuse(f"its names are {sorted(map(str, payload))}, the bundle's are {sorted(self.parts)}")
        for name, format_ in self.parts.items():
            try:
                format_.check(payload[name])
            except PayloadNotRepresentable as error:
                self._refuse(f"{name!r}: {error}")

    def schema(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        schemas = {name: format_.schema(payload[name]) for name, format_ in self.parts.items()}
        known = {name: schema for name, schema in schemas.items() if schema is not None}
        return known or None

    def with_schema(self, schema: dict[str, Any]) -> BundleFileIO:
        return BundleFileIO({n: format_.with_schema(schema[n]) if n in schema else format_ for n, format_ in self.parts.items()})

    def dump_parts(self, payload: dict[str, Any], create: Callable[[str], AbstractContextManager[BinaryIO]]) -> None:
        for name, format_ in self.parts.items():
            place = name + format_.suffix
            if isinstance(format_, PartsFileIO):
                format_.dump_parts(payload[name], _below(place, create))
            else:
                with create(place) as file:
                    format_.dump(payload[name], file)

    def load_parts(self, parts: Parts) -> dict[str, Any]:
        names = set(parts.names())
        payload: dict[str, Any] = {}
        for name, format_ in self.parts.items():
            place = name + format_.suffix
            if isinstance(format_, PartsFileIO):
                payload[name] = format_.load_parts(SubParts(parts, place))
            elif place not in names:
                raise MalformedFile(f"the bundle has no {place}; it has {sorted(names)}", format=type(self).__name__)
            else:
                with parts.open(place) as file:
                    payload[name] = format_.load(file)
        return payload


def _below(folder: str, create: Callable[[str], AbstractContextManager[BinaryIO]]) -> Callable[[str], AbstractContextManager[BinaryIO]]:
    @contextmanager
    def create_below(name: str) -> Any:
        with create(f"{folder}/{name}") as file:
            yield file

    return create_below
