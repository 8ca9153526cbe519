"""`seed`: the inputs of a workflow, each the content of a file or a given value."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, NoReturn, TypeVar, cast, overload

from persistable.errors import InputVanished, MalformedFile, NotGeneratable
from persistable.families.sources.inputs import Unlocated, Values
from persistable.families.workspaces.files import SeedFiles
from persistable.fileio.memory_copy import private_copy
from persistable.fileio.plain import KINDS
from persistable.nodes.binding import move_to
from persistable.nodes.construction import Construction, RecordedFacts
from persistable.nodes.node import Persistable


@dataclass(frozen=True)
class FileSeedParams:
    """The identity of a seed: its name, its content, and its format."""

    seed: str
    content: str
    read_by: dict[str, Any]


class FileSeed(Persistable[Any, FileSeedParams]):
    """A seed stored in a file, read by each node that needs it. Its identity is the content of the file, not its path."""

    __module__ = "persistable"  # records name it, wherever the class is defined
    is_external = True
    is_persisted = False

    def __init__(self, files: SeedFiles, values: Values, content: str, kind: Any) -> None:
        super().__init__(params=FileSeedParams(files.name, content, files.io.spec()), payload_name=files.name)
        move_to(self, None)
        self._node_call = None  # its params contain all of its arguments
        self._files = files
        self._values = values
        self._scalar = next((name for name, known in KINDS.items() if known is kind), "")

    @classmethod
    def recorded(cls, name: str, content: str, read_by: dict[str, Any]) -> FileSeed:
        """The seed with the identity in a record, of unknown location, so that it cannot be read."""
        return cls(cast("Any", _Unlocated(name, read_by)), (), content, None)

    @classmethod
    def _node_construction(cls, recorded: RecordedFacts) -> Construction:
        params: FileSeedParams = recorded.params
        return Construction("persistable:FileSeed.recorded", (params.seed, params.content, params.read_by), {})

    def _generate_payload(self, **_: Any) -> Any:
        loaded = self._files.load(self._values, self.params.content)
        if not self._scalar or type(loaded) is KINDS[self._scalar]:
            return loaded
        if self._scalar == "float" and type(loaded) is int:
            return float(loaded)
        where = self._files.shown(self._values)
        raise MalformedFile(
            f"{where} holds {loaded!r:.60}, a {type(loaded).__name__}, where the seed {self._files.name} is declared {self._scalar}",
            format=type(self._files.io).__name__,
        )

    def _node_shown_params(self) -> dict[str, Any]:
        return {"content": self.params.content[:8]}

    @property
    def shown(self) -> str:
        """The path or URL, for people."""
        return self._files.shown(self._values)

    def _node_look(self) -> str:
        try:
            found = self._files.content(self._values, self._files.stamp(self._values))
        except InputVanished as error:
            return str(error)
        return "" if found == self.params.content else f"{self._files.shown(self._values)} has other content now"


class _Unlocated(Unlocated):
    """A seed whose file is not known. io: itself, which only provides the format spec."""

    def __init__(self, name: str, read_by: dict[str, Any]) -> None:
        super().__init__(f"seed {name}")
        self.name = name
        self.io = self
        self._read_by = read_by

    def spec(self) -> dict[str, Any]:
        return self._read_by

    def stamp(self, values: Values) -> Any:
        return None


@dataclass(frozen=True)
class GivenSeedParams:
    """The name and value of a seed."""

    seed: str
    value: Any


class GivenSeed(Persistable[Any, GivenSeedParams]):
    """A seed that was given as a value, which is its identity."""

    __module__ = "persistable"  # records name it, wherever the class is defined
    is_external = True
    is_persisted = False

    def __init__(self, name: str, value: Any) -> None:
        super().__init__(params=GivenSeedParams(name, value), payload_name=name)
        move_to(self, None)
        self._node_call = None

    @classmethod
    def _node_construction(cls, recorded: RecordedFacts) -> Construction:
        return Construction("persistable:GivenSeed", (recorded.params.seed, recorded.params.value), {})

    def _generate_payload(self, **_: Any) -> Any:
        return private_copy(self.params.value)


PayloadT = TypeVar("PayloadT")


class _Nothing(Enum):
    """The absence of a default, unlike None, which may be one."""

    NOTHING = "no default"

    def __repr__(self) -> str:
        return "no default"


NOTHING: Final = _Nothing.NOTHING


@dataclass(frozen=True)
class _Place:
    token: str


class Seed(Persistable[PayloadT, _Place], Generic[PayloadT]):
    """Placeholder that `seed` returns: an input of the steps of a workflow class, which has a value only in an instance.

    kind: the declared type, None if there is none. default: its value if none is given.
    """

    payload_name = "seed"
    is_external = True
    is_persisted = False

    def __init__(self, kind: Any = None, default: Any = NOTHING) -> None:
        super().__init__(params=_Place(os.urandom(8).hex()))
        move_to(self, None)
        self.kind = kind
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        if self.payload_name == "seed":
            self.payload_name = name

    @property
    def has_default(self) -> bool:
        """Tell whether the seed is optional."""
        return self.default is not NOTHING

    def _generate_payload(self, **_: Any) -> PayloadT:
        raise self._without_value()

    @property
    def place(self) -> NoReturn:
        """Raise NotGeneratable: planning needs a location, and nothing downstream of a placeholder can be generated."""
        raise self._without_value()

    def _without_value(self) -> NotGeneratable:
        name = self.payload_name
        return NotGeneratable(
            f"{name} is a seed: on the class of a workflow neither it nor what is made from it has a value; take them from an instance, "
            f"workspace[id].{name} and workspace[id].node(...), run them for all ids, workspace.run(...), or give it, Workflow({name}=...)",
            key=self.key,
        )

    def _node_look(self) -> str:
        return "it is a seed, which has a value only in an instance of the workflow"

    def _repr_html_(self) -> str:
        return f"<code>{repr(self).strip('<>')}</code>"

    def __repr__(self) -> str:
        shown = getattr(self.kind, "__name__", repr(self.kind)) if self.kind is not None else ""
        return f"<seed {self.payload_name}{': ' if shown else ''}{shown}>"


@overload
def seed(kind: type[PayloadT], *, default: PayloadT = ...) -> Seed[PayloadT]: ...
@overload
def seed(kind: None = None, *, default: Any = ...) -> Any: ...
@overload
def seed(kind: Any, *, default: Any = ...) -> Seed[Any]: ...
def seed(kind: Any = None, *, default: Any = NOTHING) -> Any:
    """An input of a `Workflow`: ``raw = seed(pd.DataFrame)``, or ``raw: pd.DataFrame = seed()``.

    In a workspace it is a file whose path a template gives; everything downstream depends on the content of that file.

    Parameters:
        kind: its type, which with the suffix of the file determines the format.
        default: its value if there is no file, or no value is given. It is part of identity, so it must be a valid value of a param.
    """
    made: Seed[Any] = Seed(kind, default)
    return made
