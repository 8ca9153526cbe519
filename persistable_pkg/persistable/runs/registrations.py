"""Registrations of the main program, sent to the processes that work for it."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

from persistable.errors import PersistableWarning
from persistable.fileio.registry import register_fileio
from persistable.params import extensions
from persistable.params.encoding import register_params
from persistable.stores.open import register_store


class Registrations:
    """All registrations at its creation; unpickling it registers them in that process and returns None.

    pickled: turns one into bytes. One that cannot be sent is left out with a warning, since few nodes need it.
    """

    def __init__(self, pickled: Callable[[Any], bytes]) -> None:
        self.data: list[bytes] = []
        for (kind, name), (target, value) in extensions.registered.items():
            try:
                self.data.append(pickled((kind, name, target, value)))
            except Exception as error:  # noqa: BLE001 - a user's function may refer to any object
                warnings.warn(
                    f"the registration for {name} ({kind}) cannot be sent to other processes, so it is not known there: {error}; "
                    "register a function at the top level of a module",
                    PersistableWarning,
                    stacklevel=2,
                )

    def __reduce__(self) -> tuple[Any, ...]:
        return take_over, (self.data,)


_taken: list[bytes] = []


def take_over(data: list[bytes]) -> None:
    """Register in this process the registrations of another one."""
    global _taken
    if data == _taken:
        return
    for each in data:
        try:
            _register(*pickle.loads(each))
        except Exception as error:  # noqa: BLE001 - importing a user's module may raise anything
            warnings.warn(
                f"a registration of the main program does not load here ({type(error).__name__}: {error}); "
                "install the package that defines it, or define it in the main program",
                PersistableWarning,
                stacklevel=2,
            )
    _taken = data


def _register(kind: str, name: Any, registered_for: Any, value: Any) -> None:
    known = extensions.registered.get((kind, name))
    if known is not None and known[0] is registered_for and known[1] is value:
        return
    if kind == "params":
        register_params(registered_for, value, replace=True)
    elif kind == "stores":
        register_store(registered_for, value, replace=True)
    elif isinstance(registered_for, str) and registered_for.startswith("."):
        register_fileio(value, suffixes=[registered_for], replace=True)
    else:
        register_fileio(value, types=[registered_for], replace=True)
