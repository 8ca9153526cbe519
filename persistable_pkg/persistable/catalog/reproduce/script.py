"""Python text that makes a node again from its record, written as a person would write it."""

from __future__ import annotations

import builtins
import keyword
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from persistable.catalog.reproduce.facts import Find
from persistable.catalog.reproduce.kept_source import FUTURE, merged, text_of
from persistable.catalog.reproduce.literals import Literals, NoText, is_same
from persistable.catalog.reproduce.rebuild import recipes
from persistable.catalog.reproduce.recipe import Recipe
from persistable.errors import NotRebuildable
from persistable.nodes.declaration import declaration_of
from persistable.nodes.node import Persistable
from persistable.params.encoding import fields_of
from persistable.params.fields import NO_PIN
from persistable.params.masking import masked
from persistable.records.record import Record
from persistable.stores.base import Store


def code_of(record: Record, store: Store, find: Find, *, trusted: bool = False) -> str:
    """Python text with imports that makes everything upstream of the node of `record`, each once, and assigns the node to ``node``.

    Executed in any process that can import its classes and steps, that node has the key of `record`. It is bound to no store; a comment
    says where it is stored. Parameters and errors are those of `node_of`; raises NotRebuildable, too, where a value has no text.
    """
    made = list(recipes(record, store, find, trusted))
    sources = merged(recipe.facts for recipe, _ in made)
    statements: dict[str, str] = {}
    for source in sources.values():
        statements.update(source)
    names = _names(made, statements)
    literals = Literals([*names.values(), *statements], lambda node: names[str(node.key)], store)
    lines: list[str] = []
    for recipe, _ in made:
        name = names[str(recipe.facts.key)]
        try:
            lines.append(f"{name} = {_call(recipe, literals)}")
        except NoText as error:
            path = ".".join(error.path)
            raise NotRebuildable(
                f"{recipe.facts.key} cannot be written as Python: {path + ': ' if path else ''}{error}; its node can be had without that: "
                "Catalog.node(key)",
                key=recipe.facts.key,
                reason="params",
                reference=recipe.facts.reference,
                path=path,
                found=None,
            ) from error
    where = masked(store.url)
    head = [f"# {record.key}; node.bind({where!r}).load() has what is stored"]
    if not literals.here:
        statements = {}
    if literals.here.keys() - statements.keys():
        script = record.class_reference.partition(":")[0]
        shown = ", ".join(name for name in literals.here if name not in statements)
        head.append(
            f"# defined in a notebook or script{f' ({script})' if script.endswith('.py') else ''}, so run this where it is: {shown}"
        )
    imports = literals.imports()
    future = [statements.pop(FUTURE)] if FUTURE in statements else []
    kept = [text_of(statements), ""] if statements else []
    return "\n".join([*head, *future, *imports, *([""] if imports or future else []), *kept, *lines]) + "\n"


def _names(made: list[tuple[Recipe, Persistable[Any, Any]]], more: Iterable[str]) -> dict[str, str]:
    """The name of the variable of each node, by key: that of its payload, numbered where there are several or it is taken."""
    taken = {"node", *dir(builtins), *more}
    taken.update(recipe.reference.partition(":")[2].partition(".")[0] for recipe, _ in made)
    plain = [re.sub(r"\W", "_", recipe.facts.key.name, flags=re.ASCII) for recipe, _ in made[:-1]]
    often = Counter(plain)
    numbers: Counter[str] = Counter()
    found: dict[str, str] = {}
    for (recipe, _), name in zip(made, plain, strict=False):
        first = name if name.isidentifier() and not keyword.iskeyword(name) else f"node_{name}"
        chosen = first if often[name] == 1 else ""
        while not chosen or chosen in taken:
            numbers[first] += 1
            chosen = f"{first}_{numbers[first]}"
        taken.add(chosen)
        found[str(recipe.facts.key)] = chosen
    found[str(made[-1][0].facts.key)] = "node"
    return found


def _call(recipe: Recipe, literals: Literals) -> str:
    if recipe.step is not None:
        return _step_call(recipe, literals)
    args = [literals.at(i, value) for i, value in enumerate(recipe.args)]
    kwargs = [(name, literals.at(name, value)) for name, value in recipe.kwargs.items()]
    function = literals.name(recipe.reference)
    return literals.call(function, args, [*_params(recipe, literals), *kwargs])


def _params(recipe: Recipe, literals: Literals) -> list[tuple[str, str]]:
    """The params as keywords of the node, or whole."""
    params: Any = recipe.params
    if params is None:
        return []
    cls: Any = params.__class__
    declaration = declaration_of(recipe.called)  # type: ignore[arg-type]
    if cls is declaration.params_type and fields_of(cls) is not None and not declaration.settings:
        keywords = literals.keywords(params)
        clash = {*recipe.kwargs, *declaration.roles}
        if keywords is not None and not any(name in clash for name, _ in keywords):
            return keywords
    return [("params", literals.text(params))]


def _step_call(recipe: Recipe, literals: Literals) -> str:
    step = recipe.step
    assert step is not None
    maker = step.maker
    starred = next((name for name, each in maker.parameters.items() if each.kind is each.VAR_POSITIONAL), None)
    by_position = bool(starred and recipe.kwargs.get(starred))
    args: list[str] = []
    kwargs: list[tuple[str, str]] = []
    for name, each in maker.parameters.items():
        if name not in recipe.kwargs or (not by_position and _is_default(recipe, name)):
            continue
        value = recipe.kwargs[name]
        if each.kind is each.VAR_POSITIONAL:
            args += [literals.at(f"{name}.{i}", item) for i, item in enumerate(value)]
        elif each.kind is each.VAR_KEYWORD:
            kwargs += [(key, literals.at(f"{name}.{key}", item)) for key, item in value.items()]
        elif each.kind is each.POSITIONAL_ONLY or (by_position and each.kind is each.POSITIONAL_OR_KEYWORD):
            args.append(literals.at(name, value))
        else:
            kwargs.append((name, literals.at(name, value)))
    return literals.call(f"{literals.name(recipe.reference)}.step", args, kwargs)


def _is_default(recipe: Recipe, name: str) -> bool:
    """Tell whether an argument that identity leaves out equals the default, so that it needs no text."""
    step = recipe.step
    assert step is not None
    parameter, markers = step.maker.parameters[name], step.maker.markers.get(name)
    if markers is None or parameter.default is parameter.empty or parameter.kind is parameter.POSITIONAL_ONLY:
        return False
    if not markers.untracked and markers.pin is NO_PIN:
        return False
    return is_same(recipe.kwargs[name], parameter.default)
