"""The seeds and nodes of a workflow class, read from its body."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from persistable.errors import PersistableError, WorkflowError
from persistable.families.workspaces.graph import WorkflowGraph, made
from persistable.families.workspaces.seeds import GivenSeed, Seed
from persistable.nodes.declaration import declaration_of
from persistable.nodes.declared_type import UNKNOWN, evaluated, written
from persistable.nodes.node import Persistable
from persistable.nodes.roles import fits
from persistable.nodes.step import StepNode
from persistable.nodes.types import Node, open_inputs_of
from persistable.params.annotations import names_for, own_annotations


class Member:
    """Descriptor of a seed or node of a workflow class: the node on the class, its payload on an instance."""

    def __init__(self, name: str, node: Node) -> None:
        self.name = name
        self.node = node

    def __get__(self, instance: Any, owner: type) -> Any:
        return self.node if instance is None else instance._payload_of(self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        how = f"workspace.put(id, {self.name}=value)" if isinstance(self.node, Seed) else f"node({self.name!r}).put(value)"
        raise AttributeError(f"{self.name} of a {type(instance).__name__} cannot be set; {how} stores another")


def own_members(cls: type, reserved: type) -> dict[str, Any]:
    """The seeds and nodes in the body of `cls`, by name.

    Raises WorkflowError for one that would hide an attribute of `reserved`, and for a seed whose type disagrees with its annotation.
    """
    found: dict[str, Any] = {}
    annotations = dict(_annotated_in(cls))
    for name, value in vars(cls).items():
        if not isinstance(value, Persistable):
            continue
        if hasattr(reserved, name):
            raise WorkflowError(
                f"{cls.__name__}.{name}: every workflow has something of that name; choose another", where=f"{cls.__name__}.{name}"
            )
        if isinstance(value, Seed) and value.kind is not None and name in annotations and not _agree(value.kind, annotations[name]):
            raise WorkflowError(
                f"{cls.__name__}.{name} is annotated {written(annotations[name])} and is a seed of {written(value.kind)}; "
                "leave one of them out",
                where=f"{cls.__name__}.{name}",
            )
        found[name] = value  # pyright: ignore[reportUnknownMemberType]
    return found


def _agree(kind: Any, annotation: Any) -> bool:
    """Tell whether a seed of `kind` fits an annotation: of a more general or a narrower type, or of `Seed`."""
    if (typing.get_origin(annotation) or annotation) is Seed or (kind is int and annotation is float):
        return True
    return fits(kind, annotation) or fits(annotation, kind)


def all_members(cls: type) -> dict[str, Any]:
    """The seeds and nodes of `cls` and its bases by name, those of bases first."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Member):
                found[name] = value.node
            elif name in found:
                raise WorkflowError(
                    f"{cls.__name__}.{name}: it is a seed or node in a base class, and {type(value).__name__} {value!r:.40} here; "
                    "give a node, or seed(default=...)",
                    where=f"{cls.__name__}.{name}",
                )
    return found


def names_of(cls: type) -> dict[int, str]:
    """The names of all seeds and nodes of `cls` and its bases, replaced ones included, by id."""
    names: dict[int, str] = {}
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if isinstance(value, Member):
                names.setdefault(id(value.node), name)
    return names


def check(cls: type, graph: WorkflowGraph) -> None:
    """Make every node once with placeholders for the seeds, to raise WorkflowError for those that cannot be made."""
    nodes: dict[Any, Any] = {}
    for node_name, definition in graph.definitions.items():
        where = f"{cls.__name__}.{node_name if isinstance(node_name, str) else node_name[0]}"
        template = definition.template
        if isinstance(template, Seed):
            if not isinstance(node_name, str):
                raise WorkflowError(f"{where} uses a seed that has no name in it: write name = seed(...) in its body", where=where)
            nodes[node_name] = GivenSeed(node_name, None)
            continue
        if open_inputs_of(template):
            needs = ", ".join(open_inputs_of(template))
            raise WorkflowError(f"{where} still needs {needs}: give a seed, another node or a value for each", where=where)
        try:
            nodes[node_name] = made(definition, nodes)
        except (PersistableError, TypeError, ValueError) as error:
            raise WorkflowError(f"{where} cannot be made from its seeds: {error}", where=where) from error
        hidden = [role for role, node in nodes[node_name].upstream.items() if isinstance(node, Seed)]
        if hidden:
            raise WorkflowError(
                f"{where} holds a seed inside {hidden[0].partition('.')[0]}, where it cannot be replaced by its value; "
                "give it as an argument or role of its own, or in a list, tuple or dict",
                where=where,
            )


def declared(cls: type) -> dict[str, Any]:
    """The annotations in the bodies of `cls` and its bases, those that can be evaluated."""
    return {name: kind for base in reversed(cls.__mro__) for name, kind in _annotated_in(base)}


def _annotated_in(cls: type) -> Iterator[tuple[str, Any]]:
    names = names_for(cls)
    for name, annotation in own_annotations(cls).items():
        kind = evaluated(annotation, names)
        if kind is not UNKNOWN and typing.get_origin(kind) is not typing.ClassVar:
            yield name, kind


def kind_of(node: Node, annotation: Any) -> Any:
    """The declared type of the payload of a seed or node; None if none is declared."""
    if isinstance(node, Seed):
        return node.kind if node.kind is not None else annotation  # pyright: ignore[reportUnknownMemberType]
    if annotation is not None:
        return annotation
    if isinstance(node, StepNode):
        function = node.step.__wrapped__  # pyright: ignore[reportUnknownMemberType]
        try:
            return typing.get_type_hints(function).get("return")
        except Exception:  # noqa: BLE001 - a name that only a type checker knows, or anything else in an annotation
            return None
    cls: type[Any] = type(node)  # pyright: ignore[reportUnknownVariableType]
    return declaration_of(cls).payload_type
