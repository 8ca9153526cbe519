"""`seed`: an input of a workflow, as its class has it: a place to be filled."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar, overload

from persistable.core import Persistable
from persistable.errors import NotGeneratable

PayloadT = TypeVar("PayloadT")


class _Nothing:
    """No default: unlike None, which may be one."""

    def __repr__(self) -> str:
        return "no default"

    def __reduce__(self) -> str:
        return "NOTHING"


NOTHING = _Nothing()


@dataclass(frozen=True)
class _Place:
    token: str


class Seed(Persistable[PayloadT, _Place], Generic[PayloadT]):
    """The object that `seed` gives: it stands for an input in the steps of a workflow class, and has a value only in an instance.

    kind: the declared type, None where nothing is. default: its value where nothing else is given.
    """

    payload_name = "seed"
    _external = True
    _persisted = False

    def __init__(self, kind: Any = None, default: Any = NOTHING) -> None:
        super().__init__(params=_Place(os.urandom(8).hex()))
        self._store = None
        self.kind = kind
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        if self.payload_name == "seed":
            self.payload_name = name

    @property
    def has_default(self) -> bool:
        """Tell whether it needs not be given."""
        return self.default is not NOTHING

    def _generate_payload(self, **_: Any) -> PayloadT:
        raise self._without_value()

    @property
    def place(self) -> NoReturn:
        """None: who plans what is made from it asks for one, and is told here that nothing of it can be performed."""
        raise self._without_value()

    def _without_value(self) -> NotGeneratable:
        name = self.payload_name
        return NotGeneratable(
            f"{name} is a seed: on the class of a workflow neither it nor what is made from it has a value; take them from an instance, "
            f"workspace[id].{name} and workspace[id].node(...), run them for all ids, workspace.run(...), or give it, Workflow({name}=...)",
            key=self.key,
        )

    def _look(self) -> str:
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

    In a workspace it is a file whose path a template says; what is computed from it depends on the content of that file.

    Parameters:
        kind: its type. With the suffix of the file it decides how that is read.
        default: its value where there is no file, and where it is not given. It is part of identity, so it must be something that a param
            may be.
    """
    made: Seed[Any] = Seed(kind, default)
    return made
