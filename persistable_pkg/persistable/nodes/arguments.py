"""Constructor arguments of a node: split into roles and params, and kept for its record."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any, ForwardRef, get_args

from persistable.errors import MissingUpstream, RoleClash, UnknownParam
from persistable.nodes import roles
from persistable.nodes.declaration import Declaration, root_of
from persistable.nodes.lineage import expand_families, nodes_in, replace_nodes
from persistable.nodes.types import Node, is_family, is_node
from persistable.params.annotations import own_annotations
from persistable.params.coercion import coerce_params, typed_params
from persistable.params.field_checks import convert_to_redefinition, is_redefined_as
from persistable.params.mismatch import listed
from persistable.params.trees import item_tree

_PLAIN = frozenset({int, float, str, bool, bytes, type(None)})


def take_roles(self: Any, declaration: Declaration, declared: dict[str, Any]) -> dict[str, Any]:
    """Move the nodes among the keyword arguments to their roles; the rest are fields of the params."""
    fields: dict[str, Any] = {}
    for name, value in declared.items():
        if type(value) in _PLAIN:
            if name not in declaration.roles:
                fields[name] = value
            elif value is None and name not in declaration.required:
                self.__dict__[name] = None  # an optional role left empty
            else:
                raise roles.not_a_node(self.__class__, name, value)
            continue
        node: Node = value
        if declaration.admitted.get(name) is value.__class__ and not node._node_open:
            self._node_upstream[name] = self.__dict__[name] = value
            continue
        value = expand_families(value)  # noqa: PLW2901
        if name in declaration.many and value.__class__ not in (list, tuple, dict):
            value = listed(value) or value  # noqa: PLW2901
        if _take_role(self, declaration, name, value):
            self.__dict__[name] = replace_nodes(value, _itself)  # in new containers: those of the caller may change
        else:
            fields[name] = value
    return fields


def _itself(node: Node) -> Node:
    return node


def _take_role(self: Any, declaration: Declaration, name: str, value: Any) -> bool:
    """Move the nodes in `value` to the role `name`; False if it is a field."""
    kind: Any = self.__class__
    root = root_of(kind)
    found = list(nodes_in(value))
    if not found:
        if name not in declaration.roles:
            return False
        if not (value.__class__ in (list, tuple, dict) and not value):  # an empty collection is a valid role
            raise roles.not_a_node(kind, name, value)
        return True
    if name not in declaration.annotated and not hasattr(kind, name) and kind.__init__ is root.__init__:
        known = declaration.fields()
        if name in known:
            return False
        raise roles.unknown(kind, declaration, name, found[0][1], known)
    if name in root.__annotations__ or hasattr(root, name):
        raise RoleClash(
            f"{kind.__name__} cannot have a role named {name!r}: every node has something of that name; choose another",
            role=name,
        )
    stray = _stray(value)
    if stray is not None:
        raise MissingUpstream(
            f"{kind.__name__} was given nodes for {name} and, at {name}{stray[0]}, {stray[1]!r:.60}: a role holds nodes "
            "only, so this would not be part of its identity; give it as a param",
            roles=[name],
        )
    roles.refuse_open(kind.__name__, name, found)
    roles.check(kind, declaration, name, value)
    for place, node in found:
        self._node_upstream[name + place] = node
    if is_node(value) and roles.is_known_by_class(value):
        declaration.admitted[name] = value.__class__
    return True


def check_one_node(self: Any, name: str, value: Any) -> None:
    """Raise TypeError if `value` is a family and the role `name` of the node holds a single node."""
    if is_family(value) and is_node(self.__dict__.get(name)):
        kind = type(self).__name__
        raise TypeError(
            f"{name} of {kind} is one node, and replace() was given a family, {value!r:.60}; {kind}.over({name}=family) makes a node "
            f"for each of its members, and {name}=list(family.values()) takes them all into one"
        )


def take_dependencies(self: Any, declaration: Declaration, dependencies: Iterable[Any]) -> None:
    """Add `dependencies` to the upstream nodes, each under its payload name as its role."""
    if is_node(dependencies):
        raise TypeError(f"tracked_persistable_dependencies of {type(self).__name__} is one node, {dependencies!r}; give a list of nodes")
    for node in dependencies:
        if not is_node(node):
            raise TypeError(f"tracked_persistable_dependencies of {type(self).__name__} holds {node!r}; it takes Persistable objects only")
        roles.refuse_open(self.__class__.__name__, "tracked_persistable_dependencies", [("", node)])
        role = node.payload_name
        if role in self._node_upstream:
            raise RoleClash(
                f"two upstream nodes of {type(self).__name__} are named {role!r}; give them by keyword under roles of your choice",
                role=role,
            )
        self._node_upstream[role] = node
        if role in declaration.roles:
            roles.check(self.__class__, declaration, role, node)
            self.__dict__[role] = node


def take_params(self: Any, declaration: Declaration, params: Any, fields: dict[str, Any]) -> Any:
    """The params object: the one given, or one made from its fields."""
    kind = declaration.params_type
    if params.__class__ is dict and isinstance(kind, type) and not issubclass(kind, dict):
        twice = sorted(fields.keys() & params.keys())
        if twice:
            raise UnknownParam(
                f"{type(self).__name__} was given {', '.join(twice)} in params= and as a keyword", name=twice[0], accepted=[]
            )
        params, fields = None, {**params, **fields}
    if params is not None:
        if fields:
            raise UnknownParam(
                f"{type(self).__name__} was given params= and also {', '.join(fields)}; give one or the other, "
                "or use replace() on the node to change some",
                name=next(iter(fields)),
                accepted=[],
            )
        if isinstance(kind, type) and not isinstance(params, kind):
            again = convert_to_redefinition(params, kind) if is_redefined_as(type(params), kind) else None
            if again is not None:
                return coerce_params(again, declaration.params_arguments)
            raise UnknownParam(
                f"{type(self).__name__} takes params of type {kind.__name__}, not {type(params).__name__} ({params!r:.60})",
                name="params",
                accepted=[kind.__name__],
            )
        return coerce_params(params, declaration.params_arguments)
    if isinstance(kind, str):
        raise UnknownParam(
            f"{type(self).__name__} declares its params as {kind!r}, and nothing has that name where it is declared; "
            "import it there, or give params=",
            name="params",
            accepted=[],
        )
    if not isinstance(kind, type) or kind is type(None):
        if fields:
            known = list(declaration.roles)
            raise UnknownParam(
                f"{type(self).__name__} takes no params, so {', '.join(fields)} cannot be used; "
                f"its roles are {', '.join(known) if known else 'none'}; declare params as Persistable[Payload, Params]",
                name=next(iter(fields)),
                accepted=known,
            )
        return None
    return typed_params(kind, fields, type(self).__name__, declaration.params_arguments)


def open_roles(node: Node, declaration: Declaration) -> tuple[str, ...]:
    """The required roles that have no node yet."""
    return tuple([role for role in declaration.required if role not in node.__dict__])


def _stray(value: Any) -> tuple[str, Any] | None:
    """The place and value of the first item in `value` that is neither a node nor a collection of nodes; None if there is none."""
    if is_node(value):
        return None
    if value.__class__ not in (list, tuple, dict):
        return "", value
    for name, item in value.items() if value.__class__ is dict else enumerate(value):
        found = _stray(item)
        if found is not None:
            return f".{name}{found[0]}", found[1]
    return None


def how_made(node: Node, declaration: Declaration) -> dict[str, Any]:
    """Facts about the construction of a node: the call, if its class has its own ``__init__``, and the class of its params, if the
    declaration of its class does not name it.
    """
    found: dict[str, Any] = {}
    kind: Any = node.params.__class__
    if not (node._node_by_payload or node.params is None or kind is declaration.params_type or kind.__module__ == "builtins"):
        found["params_class"] = f"{kind.__module__}:{kind.__qualname__}"
    call = node.__dict__.get("_node_call")
    if call is not None:
        found["call"] = call_tree(call)
    return found


def call_tree(call: tuple[tuple[Any, ...], dict[str, Any]]) -> dict[str, Any]:
    """The call that made a node, as a record stores it."""

    def shown(argument: Any) -> Any:
        try:
            return item_tree(argument)
        except Exception:  # noqa: BLE001 - an argument without a tree is recorded by its type
            return {"$repr": f"{type(argument).__module__}.{type(argument).__qualname__}"}

    arguments, keywords = call
    named: dict[str, Any] = {name: shown(argument) for name, argument in keywords.items()}
    return {"args": [shown(argument) for argument in arguments], "kwargs": named}


def signature_of(init: Any) -> Any:
    """The signature of a node's constructor: that of `__init__` without ``self``."""
    from inspect import signature

    found = signature(init)
    return found.replace(parameters=list(found.parameters.values())[1:])


def remember_call(cls: type[Any], *args: Any, **kwargs: Any) -> Any:
    """The ``__new__`` of a class with its own ``__init__``: keeps the arguments for the record, as only that class can read them."""
    node = object.__new__(cls)
    node._node_call = (args, kwargs)
    return node


def remember_names(cls: Any) -> None:
    """Keep on a class defined inside a function the local classes of that function that its text annotations name."""
    if "<locals>" not in cls.__qualname__ and cls.__module__ in sys.modules:
        return
    texts = [each for each in own_annotations(cls).values() if isinstance(each, str)]
    for base in cls.__dict__.get("__orig_bases__", ()):
        texts += [each.__forward_arg__ for each in get_args(base) if isinstance(each, ForwardRef)]
    words = set(re.findall(r"\w+", " ".join(texts))) if texts else set[str]()
    if not words:
        return
    around = sys._getframe(2).f_locals  # pyright: ignore[reportPrivateUsage] - the frame of the class statement
    names = {word: around[word] for word in words if isinstance(around.get(word), type)}
    if names:
        cls._node_around = names
