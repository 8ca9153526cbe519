"""What a node is given when it is made, sorted into roles, params and what is still missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from persistable.declaration import Declaration
from persistable.errors import MissingUpstream, RoleClash, UnknownParam
from persistable.lineage import nodes_in, spread
from persistable.params.building import build
from persistable.params.trees import tree

_RESERVED = frozenset({"key", "logger", "params", "payload_name"})
_PLAIN = frozenset({int, float, str, bool, bytes, type(None)})


def take_roles(self: Any, declaration: Declaration, declared: dict[str, Any], root: type) -> dict[str, Any]:
    """Move the nodes among the keywords to their roles; the rest are fields."""
    fields: dict[str, Any] = {}
    for name, value in declared.items():
        if type(value) in _PLAIN:
            if name not in declaration.roles:
                fields[name] = value
            elif value is None and name not in declaration.required:
                self.__dict__[name] = None  # an optional role left empty
            else:
                raise MissingUpstream(f"{type(self).__name__} needs a node for {name}, not {value!r:.60}", roles=[name])
            continue
        value = spread(value)  # noqa: PLW2901
        found = list(nodes_in(value, root))
        if found:
            if name in _RESERVED or hasattr(root, name):
                raise RoleClash(
                    f"{type(self).__name__} cannot have a role named {name!r}: every node has something of that name; choose another",
                    role=name,
                )
            stray = _stray(value, root)
            if stray is not None:
                raise MissingUpstream(
                    f"{type(self).__name__} was given nodes for {name} and, at {name}{stray[0]}, {stray[1]!r:.60}: a role holds nodes "
                    "only, so this would not be part of its identity; give it as a param",
                    roles=[name],
                )
            for place, node in found:
                self._upstream[name + place] = node
            self.__dict__[name] = value
        elif name in declaration.roles:
            if value:
                raise MissingUpstream(f"{type(self).__name__} needs a node for {name}, not {value!r:.60}", roles=[name])
            self.__dict__[name] = value  # a collection with nothing in it
        else:
            fields[name] = value
    return fields


def check_one_node(self: Any, name: str, value: Any, root: type) -> None:
    """Raise TypeError for a family where a node holds one other node."""
    if getattr(value.__class__, "_is_family", False) and isinstance(self.__dict__.get(name), root):
        kind = type(self).__name__
        raise TypeError(
            f"{name} of {kind} is one node, and replace() was given a family, {value!r:.60}; {kind}.over({name}=family) makes a node "
            f"for each of its members, and {name}=list(family.values()) takes them all into one"
        )


def take_dependencies(self: Any, declaration: Declaration, dependencies: Iterable[Any], root: type) -> None:
    """Upstream nodes whose roles are their payload names."""
    for node in dependencies:
        if not issubclass(node.__class__, root):
            raise TypeError(f"tracked_persistable_dependencies of {type(self).__name__} holds {node!r}; it takes Persistable objects only")
        role = node.payload_name
        if role in self._upstream:
            raise RoleClash(
                f"two upstream nodes of {type(self).__name__} are named {role!r}; give them by keyword under roles of your choice",
                role=role,
            )
        self._upstream[role] = node
        if role in declaration.roles:
            self.__dict__[role] = node


def take_params(self: Any, declaration: Declaration, params: Any, fields: dict[str, Any]) -> Any:
    """The params object: the one given, or one made from its fields."""
    kind = declaration.params_type
    if params is not None:
        if fields:
            raise UnknownParam(
                f"{type(self).__name__} was given params= and also {', '.join(fields)}; give one or the other, "
                "or use replace() on the node to change some",
                name=next(iter(fields)),
                accepted=[],
            )
        if isinstance(kind, type) and not isinstance(params, kind):
            raise UnknownParam(
                f"{type(self).__name__} takes params of type {kind.__name__}, not {type(params).__name__} ({params!r:.60})",
                name="params",
                accepted=[kind.__name__],
            )
        return params
    if not isinstance(kind, type) or kind is type(None):
        if fields:
            roles = list(declaration.roles)
            raise UnknownParam(
                f"{type(self).__name__} takes no params, so {', '.join(fields)} means nothing to it; "
                f"its roles are {', '.join(roles) if roles else 'none'}; declare params as Persistable[Payload, Params]",
                name=next(iter(fields)),
                accepted=roles,
            )
        return None
    if "__dataclass_fields__" in kind.__dict__:
        try:
            return kind(**fields)  # names are checked by the call itself; what is wrong is said below
        except TypeError:
            pass
    return build(kind, fields, type(self).__name__)


def open_roles(node: Any, declaration: Declaration) -> tuple[str, ...]:
    """The roles that must have a node and were given none."""
    return tuple([role for role in declaration.required if role not in node.__dict__])


def _stray(value: Any, root: type) -> tuple[str, Any] | None:
    """The first of what is in `value` that is neither a node nor a collection of some, and its place."""
    if isinstance(value, root):
        return None
    if value.__class__ not in (list, tuple, dict):
        return "", value
    for name, item in value.items() if value.__class__ is dict else enumerate(value):
        found = _stray(item, root)
        if found is not None:
            return f".{name}{found[0]}", found[1]
    return None


def call_tree(call: tuple[tuple[Any, ...], dict[str, Any]]) -> dict[str, Any]:
    """The call that made a node, as a record has it."""

    def shown(argument: Any) -> Any:
        try:
            return tree(argument)
        except Exception:  # noqa: BLE001 - whatever cannot be shown is shown by its type
            return {"$repr": f"{type(argument).__module__}.{type(argument).__qualname__}"}

    arguments, keywords = call
    named: dict[str, Any] = {name: shown(argument) for name, argument in keywords.items()}
    return {"args": [shown(argument) for argument in arguments], "kwargs": named}


def signature_of(init: Any) -> Any:
    """What making a node takes: that of `__init__` without ``self``."""
    from inspect import signature

    found = signature(init)
    return found.replace(parameters=list(found.parameters.values())[1:])


def remember_call(cls: type[Any], *args: Any, **kwargs: Any) -> Any:
    """The ``__new__`` of a class with an ``__init__`` of its own: only it knows what its arguments mean, so the record keeps them."""
    node = object.__new__(cls)
    node._call = (args, kwargs)
    return node
