"""Rebuilding of a node from its record: class or step imported, params and everything upstream rebuilt, keys compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from persistable.catalog.reproduce.facts import Facts, Find, gathered, refused
from persistable.catalog.reproduce.kept_source import merged
from persistable.catalog.reproduce.recipe import Recipe, recipe_of
from persistable.errors import PersistableError
from persistable.nodes.binding import move_to
from persistable.nodes.node import Persistable
from persistable.nodes.types import open_inputs_of
from persistable.params.trees import differences, fields_tree, tree
from persistable.records.record import Record
from persistable.stores.base import Store


def node_of(record: Record, store: Store, find: Find, *, trusted: bool = False) -> Persistable[Any, Any]:
    """Rebuild the node of `record`, bound to `store` like everything upstream of it, with the key that the record has.

    Its class or step is imported as by an import statement: asking for a node means trusting the modules on the path of this process.
    Nothing else that a record names is called. Scripts are never imported; the source that a record keeps of one (``source=True``) is
    executed where it is `trusted`.

    Parameters:
        record: a committed one.
        store: that of the record.
        find: returns the record of an upstream key, None for one that is gone; facts of that node are then taken from `record`.
        trusted: whether the records may have code run here: the source that a record keeps of a script or notebook, and formats that run
        code, of commands and downloads, whose formats are params.

    Raises NotRebuildable for anything that is missing, has moved or changed; PayloadUntrusted for such a format; PayloadCorrupted for a
    malformed record.
    """
    node: Persistable[Any, Any] | None = None
    for _, node in recipes(record, store, find, trusted):  # noqa: B007 - the last is the one
        pass
    assert node is not None
    return node


def recipes(record: Record, store: Store, find: Find, trusted: bool = False) -> Iterator[tuple[Recipe, Persistable[Any, Any]]]:
    """Yield recipe and node of everything upstream, each once, upstream first, and of `record` itself at the end. Raises as `node_of`."""
    nodes: dict[str, Persistable[Any, Any]] = {}
    every = gathered(record, find)
    sources = merged(every)
    for each in every:
        facts = each._replace(source=sources.get(each.script, each.source))
        signed = facts.record is not None and facts.record.trusted  # by a signer that the store trusts
        recipe = recipe_of(facts, nodes, store, trusted or signed)
        node: Persistable[Any, Any] = _made(recipe, store)
        nodes[str(facts.key)] = node
        yield recipe, node


def _made(recipe: Recipe, store: Store) -> Any:
    facts = recipe.facts
    try:
        node: Persistable[Any, Any] = recipe.make()
    except PersistableError as error:
        raise refused(facts, "params", str(error.__dict__.get("path") or error.__dict__.get("name") or ""), str(error)) from error
    except Exception as error:
        raise refused(facts, "call", "", f"its class raised {type(error).__name__}: {error}") from error
    missing = open_inputs_of(node)
    if missing:
        raise refused(facts, "params", missing[0], f"it needs {', '.join(missing)} now, which the record does not have")
    if node.key != facts.key:
        path, text = _why_another(facts, node)
        raise refused(facts, "key", path, f"the rebuilt node is {node.key}: {text}", node.key)
    move_to(node, store)
    return node


def _why_another(facts: Facts, node: Persistable[Any, Any]) -> tuple[str, str]:
    """The path of the param, role or version by which a node differs from its record, and the difference in words."""
    if node.key.name != facts.key.name:
        keeps = "payload_name=, of a step @step(name=...), keeps the old name"
        return "", f"its payload is named {node.key.name} now, and was named {facts.key.name}; {keeps}"
    if tree(node.version) != facts.version:
        return "version", f"its version is {node.version!r} now, and was {facts.version!r}: another version is another payload"
    for role in {**facts.upstream, **node.upstream}:
        then, now = facts.upstream.get(role), node.upstream.get(role)
        if then is None:
            return role, f"it takes a node as {role} now, which it did not then"
        if now is None:
            return role, f"it took {then} as {role}, which it does not any more"
        if now.key != then:
            return role, f"its {role} is {now.key} now, and was {then}"
    found = differences(facts.params, fields_tree(node.params))
    for path, (then, now) in found.items():
        return path, f"{_in_words(path, then, now)}{_advice(path, then, now)}"
    return "", (
        "all its params are the same, so the class of its params was renamed, or is another: @formerly('OldName') above the new one keeps "
        "the keys"
    )


def _in_words(path: str, then: Any, now: Any) -> str:
    if repr(then) == "absent":
        return f"its param {path} is {now!r:.60} now, and the record has none of that name"
    if repr(now) == "absent":
        return f"its param {path} was {then!r:.60}, and is not there any more"
    return f"its param {path} is {now!r:.60} now, and was {then!r:.60}"


def _advice(path: str, then: Any, now: Any) -> str:
    if repr(then) == "absent" and "." not in path:
        return f"; mark it Annotated[..., omit_when({now!r:.40})], and payloads stored before keep their keys"
    return ""
