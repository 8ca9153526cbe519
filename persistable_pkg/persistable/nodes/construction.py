"""The call that makes a node again, for classes whose constructor is not that of every node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from persistable.nodes.declaration import check_policies

if TYPE_CHECKING:
    from persistable.fileio.base import FileIO


class Construction(NamedTuple):
    """A call. function: its ``module:qualname``. The arguments include the nodes upstream."""

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class RecordedFacts(NamedTuple):
    """The facts of a node in a record, from which it is made again.

    name: the payload name. upstream: nodes by role. format: makes a format from its description in a record; raises PayloadUntrusted
    for one that could run code.
    """

    name: str
    version: Any
    params: Any
    upstream: Mapping[str, Any]
    format: Callable[[dict[str, Any]], FileIO[Any]]


def set_given(node: object, **attributes: Any) -> None:
    """Set the attributes of a node that are not None; the others stay those of its class. Raises TypeError as `check_policies` does."""
    given = {name: value for name, value in attributes.items() if value is not None}
    check_policies(type(node).__name__, given)
    for name, value in given.items():
        setattr(node, name, value)


def grouped(upstream: Mapping[str, Any]) -> dict[str, Any]:
    """Nodes by argument name: those of ``models.0``, ``models.1``, ``models.best`` in a dict, as `collection` takes it."""
    found: dict[str, Any] = {}
    for role, node in upstream.items():
        first, *rest = role.split(".")
        if not rest:
            found[first] = node
            continue
        inner = found.setdefault(first, {})
        for part in rest[:-1]:
            inner = inner.setdefault(part, {})
        inner[rest[-1]] = node
    return found


def collection(value: Any, kind: str = "") -> Any:
    """A value of `grouped` as a list, or tuple, if its names are numbers. kind: its annotation, such as ``"tuple"`` or ``"dict"``."""
    if value.__class__ is not dict:
        return value
    inner: dict[str, Any] = {name: collection(item) for name, item in value.items()}
    if not kind.endswith(("dict", "mapping")) and inner.keys() == {str(number) for number in range(len(inner))}:
        items = [inner[str(number)] for number in range(len(inner))]
        return tuple(items) if kind == "tuple" else items
    return inner
