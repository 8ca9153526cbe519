"""Recipes: the calls that make nodes again, derived from the facts in records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from persistable.catalog.reproduce.classes import class_of
from persistable.catalog.reproduce.facts import Facts, refused
from persistable.errors import ParamsError, PersistableError
from persistable.nodes.construction import Construction, RecordedFacts, collection, grouped
from persistable.nodes.declaration import Declaration, declaration_of
from persistable.nodes.node import Persistable
from persistable.nodes.step import CAPTURED, Step
from persistable.params.annotations import home_of, own_annotations, signature_of
from persistable.params.encoding import encode
from persistable.params.fields import NO_PIN, spec_of
from persistable.params.reader import Reader
from persistable.params.reducers import dereference, main_of_record


class Recipe(NamedTuple):
    """The call that makes one node.

    reference: of the called class or function, ``module:qualname``. step: the step, if it is one: then `kwargs` are its arguments by
    parameter. args, kwargs: of the call, upstream nodes among them. params: for ``params=``, of classes that take their params whole.
    """

    facts: Facts
    reference: str
    called: Callable[..., Any]
    step: Step[..., Any] | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    params: Any = None

    def make(self) -> Persistable[Any, Any]:
        """Make the node. Raises the errors of its class."""
        if self.step is not None:
            node: Persistable[Any, Any] = self.step.maker.node(dict(self.kwargs))
            return node
        params = {} if self.params is None else {"params": self.params}
        made: Persistable[Any, Any] = self.called(*self.args, **params, **self.kwargs)
        return made


def recipe_of(facts: Facts, nodes: Mapping[str, Persistable[Any, Any]], store: Any = None, trusted: bool = False) -> Recipe:
    """The recipe of a node, given all nodes upstream of it by key.

    Parameters:
        store: used for stores among the arguments of constructors.
        trusted: whether the record may name a format that could run code; else that raises PayloadUntrusted.

    Raises NotRebuildable.
    """
    target = class_of(facts.key, facts.reference, facts.source, trusted)
    token = main_of_record.set(sys.modules.get(target.__module__) if facts.source else None)
    try:
        return _recipe(facts, target, nodes, store, trusted)
    finally:
        main_of_record.reset(token)


def _recipe(facts: Facts, maker: Any, nodes: Mapping[str, Persistable[Any, Any]], store: Any, trusted: bool) -> Recipe:
    if isinstance(maker, Step):
        return _of_step(facts, maker, nodes)  # pyright: ignore[reportUnknownArgumentType] - as any step
    construction: Callable[[RecordedFacts], Construction] | None = getattr(maker, "_node_construction", None)
    if construction is not None:
        how = construction(_recorded(facts, maker, nodes, trusted))
        return Recipe(facts, how.function, dereference(how.function), None, how.args, how.kwargs)
    if facts.call is not None:
        args, kwargs = _call(facts, maker, nodes, store)
        return Recipe(facts, facts.reference, maker, None, args, kwargs)
    if maker.__init__ is not cast("Any", Persistable).__init__:
        raise refused(facts, "call", "", "its class has an __init__ of its own, and the record has no arguments of that call")
    return _of_class(facts, maker, nodes)


def _recorded(facts: Facts, target: type[Persistable[Any, Any]], nodes: Mapping[str, Any], trusted: bool) -> RecordedFacts:
    from persistable.fileio.registry import fileio_from_spec
    from persistable.fileio.trust import declared_format

    upstream = {role: nodes[str(key)] for role, key in facts.upstream.items()}
    params, version = _params(facts, target, nodes), Reader().read(facts.version)

    def format_of(spec: dict[str, Any]) -> Any:
        return fileio_from_spec(spec) if trusted else declared_format(spec, None, facts.key)

    return RecordedFacts(facts.key.name, version, params, upstream, format_of)


# classes


def _of_class(facts: Facts, target: type[Persistable[Any, Any]], nodes: Mapping[str, Any]) -> Recipe:
    declaration = declaration_of(target)
    params = _params(facts, target, nodes)
    inside: list[tuple[str, Any]] = []
    if params is not None:
        try:
            encode(params, "", inside)
        except PersistableError as error:
            raise refused(facts, "params", "", str(error)) from error
    within = {role for role, _ in inside} - set(declaration.roles)
    upstream = {role: nodes[str(key)] for role, key in facts.upstream.items() if role not in within}
    kwargs, dependencies = _roles(target, declaration, upstream)
    if dependencies:
        kwargs["tracked_persistable_dependencies"] = dependencies
    if facts.key.name != declaration.name:
        kwargs["payload_name"] = facts.key.name
    return Recipe(facts, facts.reference, target, None, (), kwargs, params)


def _params(facts: Facts, target: type[Persistable[Any, Any]], nodes: Mapping[str, Any]) -> Any:
    """The params object; None for a class without params."""
    reader = Reader(nodes, facts.untracked)
    try:
        kind: Any = dereference(facts.params_class) if facts.params_class else declaration_of(target).params_type
        if isinstance(kind, type) and kind is not type(None) and spec_of(kind) is not None:
            listed: Any = facts.params.get("$dict")
            return reader.params(kind, facts.params if listed is None else dict(listed))
        if not facts.params and (kind is None or kind is type(None)):
            return None
        found: Any = reader.read(facts.params)
        is_dict = kind is dict or getattr(kind, "__origin__", None) is dict
        return found["params"] if not is_dict and found.__class__ is dict and found.keys() == {"params"} else found
    except ParamsError as error:
        path = str(error.__dict__.get("path", ""))
        raise refused(facts, "params", path, f"its params cannot be rebuilt: {error}") from error


def _roles(target: type, declaration: Declaration, upstream: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The nodes to be passed by keyword, and those to be passed in `tracked_persistable_dependencies`."""
    dependencies = [
        node
        for role, node in upstream.items()
        if role == node.payload_name and role not in declaration.annotated and not hasattr(target, role)
    ]
    given = {role: node for role, node in upstream.items() if not any(node is each for each in dependencies)}
    found = {name: collection(value, _kind_of(target, name)) for name, value in grouped(given).items()}
    for role, must in declaration.roles.items():
        if role not in found and must:
            kind = _kind_of(target, role)
            if role in declaration.many or kind.endswith(("dict", "mapping")):  # without one: it held no nodes
                found[role] = collection({}, kind)
        elif role not in found and not hasattr(target, role):
            found[role] = None
    return found, dependencies


def _kind_of(target: type, role: str) -> Any:
    """The kind of collection that a role is annotated as."""
    annotation = own_annotations(home_of(target, role)).get(role)
    if isinstance(annotation, str):
        return annotation.partition("[")[0].rpartition(".")[2].lower()
    return getattr(getattr(annotation, "__origin__", annotation), "__name__", "").lower()


def _call(facts: Facts, target: type, nodes: Mapping[str, Any], store: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with which the constructor was called."""
    assert facts.call is not None
    given_args: list[Any] = facts.call["args"]
    given_kwargs: dict[str, Any] = facts.call["kwargs"]
    parameters = list(signature_of(cast("Any", target).__init__).parameters.values())[1:]
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    args: list[Any] = []
    for number, data in enumerate(given_args):
        name = names[number] if number < len(names) else str(number)
        args.append(_argument(facts, target, name, data, nodes, store, defaults))
    return tuple(args), {name: _argument(facts, target, name, data, nodes, store, defaults) for name, data in given_kwargs.items()}


def _argument(facts: Facts, target: type, name: str, data: Any, nodes: Mapping[str, Any], store: Any, defaults: Mapping[str, Any]) -> Any:
    if name in ("persist_data_dir", "data_dir"):
        return store
    if isinstance(data, dict) and "$repr" in data:
        if str(cast("Any", data)["$repr"]).startswith("persistable.stores."):
            return store
        if name in defaults:
            return defaults[name]
        raise refused(facts, "call", name, f"its class was made with a {data['$repr']} as {name}, which a record cannot keep")
    if isinstance(data, dict) and data and data == facts.params and "$object" not in data:  # params, as records had them before
        kind = declaration_of(target).params_type
        if isinstance(kind, type) and spec_of(kind) is not None:
            return _params(facts, target, nodes)
    try:
        return Reader(nodes, facts.untracked if _is_params(data, facts) else None).read(data)
    except ParamsError as error:
        raise refused(facts, "call", name, f"the argument {name} of its class cannot be rebuilt: {error}") from error


def _is_params(data: Any, facts: Facts) -> bool:
    """Tell whether an argument is the params of the node, of which the record has the untracked fields as well."""
    if not (isinstance(data, dict) and "$object" in data):
        return False
    fields = cast("dict[str, Any]", data)
    return {name: value for name, value in fields.items() if name not in ("$object", "$class")} == facts.params


# steps


def _of_step(facts: Facts, step: Step[..., Any], nodes: Mapping[str, Any]) -> Recipe:
    try:
        maker = step.maker
        names = {(markers.former or name): name for name, markers in maker.markers.items()}
        reader = Reader(nodes, facts.untracked)
        fields = {name: data for name, data in facts.params.items() if name != CAPTURED}
        unknown = next((name for name in fields if names.get(name, name) not in maker.parameters), None)
        if unknown is not None:
            raise refused(
                facts,
                "params",
                unknown,
                f"{step.__name__} takes no {unknown!r} any more; where it was renamed, mark it formerly({unknown!r})",
            )
        arguments: dict[str, Any] = {str(names.get(name, name)): value for name, value in reader.read(fields).items()}
    except ParamsError as error:
        raise refused(facts, "params", str(error.__dict__.get("path", "")), f"its arguments cannot be rebuilt: {error}") from error
    for name in maker.untracked:
        data = facts.untracked.get(name)
        if data is not None and not (isinstance(data, dict) and "$repr" in data):
            try:
                arguments[name] = Reader(nodes).read(data)
            except ParamsError:
                continue  # the default serves as well: it changes nothing that was made
    for role, key in facts.upstream.items():
        if role in maker.parameters and role not in arguments:
            arguments[role] = nodes[str(key)]
    for name, markers in maker.markers.items():
        if markers.pin is not NO_PIN and name not in arguments:
            arguments[name] = markers.pin
    gone = next((role for role in facts.upstream if role.partition(".")[0] not in {*arguments, CAPTURED}), None)
    if gone is not None:
        raise refused(facts, "params", gone, f"{step.__name__} takes no {gone.partition('.')[0]!r} any more, which was a node")
    missing = [each.name for each in maker.open_inputs(arguments) if each.name in maker.ordinary]
    if missing:
        raise refused(
            facts,
            "params",
            missing[0],
            f"{step.__name__} needs {', '.join(missing)} now, which it did not take then; give it a default and mark it omit_when(default)",
        )
    return Recipe(facts, facts.reference, step.step, step, (), {name: arguments[name] for name in maker.parameters if name in arguments})
