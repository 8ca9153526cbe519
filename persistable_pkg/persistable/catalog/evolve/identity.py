"""The key of a node, computed from its facts in an index or record, and the key that it would have under other names."""

# Trees hold values of every type, so pyright may find unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from persistable.catalog.evolve.changes import Changes
from persistable.errors import ParamsError, PersistableError
from persistable.params.tree_bytes import BYTES_READINGS, canonical, object_bytes
from persistable.params.trees import from_tree, rewritten
from persistable.records.key import Key, digest_of

BARE, DICT = "", "{}"
"""Names in place of that of a params class: the params are one value, or a dict."""


class NodeFacts(NamedTuple):
    """The facts of a node: its key, the reference of its class, trees of version and own params, and the keys upstream by role.

    params_class: the reference of the class of its params, where the record names it.
    """

    key: str
    reference: str
    version: Any
    params: dict[str, Any]
    upstream: dict[str, str]
    params_class: str = ""

    @property
    def name(self) -> str:
        """The payload name."""
        return self.key.rpartition("/")[0]


class ParamsForm(NamedTuple):
    """The form in which params are part of a key: the name of their class (or BARE, or DICT), and the way to read short buffers."""

    params_class: str
    bytes_reading: int


def digest(node: NodeFacts, form: ParamsForm, name: str) -> str:
    """The digest of a node that is called `name`. Raises ParamsError where a record has only the digest of a large value."""
    upstream = {role: key.rpartition("/")[2] for role, key in node.upstream.items()}
    return digest_of(name, from_tree(node.version), _params(node.params, form), upstream)


def _params(params: dict[str, Any], form: ParamsForm) -> bytes:
    if form.params_class == BARE:
        return b"N" if not params else canonical(params["params"], form.bytes_reading)
    if form.params_class == DICT:
        return canonical(params, form.bytes_reading)
    listed = params.get("$dict")
    return object_bytes(form.params_class, params.items() if listed is None else [(key, item) for key, item in listed], form.bytes_reading)


class Forms:
    """Finds the form of nodes, the one that yields their key. A known form is tried first for other nodes of the class."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._known: dict[tuple[str, str], ParamsForm] = {}

    def of(self, node: NodeFacts) -> ParamsForm:
        """The form of `node`. Raises ParamsError, with the reason, if there is none."""
        known = self._known.get((node.reference, node.name))
        for form in ([known] if known is not None else []) + [
            ParamsForm(name, reading) for name in self._names(node) for reading in range(BYTES_READINGS)
        ]:
            try:
                if digest(node, form, node.name) == node.key.rpartition("/")[2]:
                    self._known[node.reference, node.name] = form
                    return form
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, ParamsError):
                    raise
        raise ParamsError(
            "its key does not follow from its record: the name of its params class is not known; classes={'Name': 'Name'} tells it"
        )

    def _names(self, node: NodeFacts) -> Iterator[str]:
        """Yield names that the class of its params may have, likely ones first; the class of the node is imported only at last."""
        if not node.params:
            yield BARE
        yield node.name  # of a step
        cls = node.reference.rpartition(":")[2].rpartition(".")[2]
        for reference in (node.params_class, f":{cls}Params", *self._changes.classes):
            if reference and not reference.endswith(":"):
                yield reference.rpartition(":")[2].rpartition(".")[2]
        if node.params.keys() == {"params"}:
            yield BARE
        yield DICT
        yield from _imported(node.key, [node.reference, self._changes.reference(node.reference)])


def _imported(key: str, references: list[str]) -> Iterator[str]:
    """Yield the names of the params classes that the classes at these references declare."""
    from persistable.catalog.reproduce.classes import class_of
    from persistable.nodes.declaration import declaration_of
    from persistable.params.fields import name_in_identity

    for reference in dict.fromkeys(references):
        try:
            found: Any = class_of(Key.parse(key), reference)
            kind = declaration_of(found).params_type if isinstance(found, type) else None
        except (PersistableError, ImportError, AttributeError):
            continue
        if isinstance(kind, type) and kind is not type(None):
            yield name_in_identity(kind)


def renamed(node: NodeFacts, form: ParamsForm, changes: Changes, keys: Mapping[str, str], own: bool) -> tuple[NodeFacts, ParamsForm]:
    """`node` after the changes, with its new key. keys: new keys by old ones. own: whether `changes` apply to it, not only to its upstream.

    Raises Taken, ParamsError.
    """
    params = changes.fields(node.params) if own else node.params
    params = rekeyed(params, keys)
    upstream = {changes.role(role) if own else role: keys.get(key, key) for role, key in node.upstream.items()}
    name, reference = node.name, node.reference
    if own:
        name, reference = changes.named(node.name), changes.reference(node.reference)
        if form.params_class == node.name:  # of a step
            form = form._replace(params_class=name)
        elif form.params_class not in (BARE, DICT):
            where = node.params_class or f"{node.reference.partition(':')[0]}:{form.params_class}"
            form = form._replace(params_class=changes.class_name(form.params_class, where))
    found = node._replace(params=params, upstream=upstream, reference=reference)
    return found._replace(key=f"{name}/{digest(found, form, name)}"), form


def rekeyed(data: Any, keys: Mapping[str, str]) -> Any:
    """A tree in which every node has its new key."""
    return rewritten(data, lambda found: {**found, "$node": keys.get(found["$node"], found["$node"])} if "$node" in found else found)
