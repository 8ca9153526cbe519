"""Payloads that a rename or a new param has left behind: hints at those under an earlier name, and at code that keeps them in use.

Only explanations and printed plans ask. Reading is bounded: `LISTED` paths, and some records of each name.
"""

# Params are values of every type, so pyright may meet types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

# pyright: reportPrivateUsage=false

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from persistable.errors import PayloadCorrupted, PayloadUntrusted, StoreTooNew
from persistable.nodes import code
from persistable.nodes.provenance import facts_of
from persistable.nodes.types import Node
from persistable.params.fields import default_of
from persistable.params.trees import absent
from persistable.records.record import SUFFIX, Record
from persistable.stores.base import Store

LISTED = 10_000
"""Paths of a store searched for other names, at most."""
_NAMES = 100
_EACH = 20

Differences = Mapping[str, tuple[Any, Any]]


def hints(node: Node, compared: Sequence[tuple[Record, Differences]], best: Differences | None, store: Store) -> list[str]:
    """Hints at stored payloads that `node` would find, had nothing been renamed or added, each with the code that keeps them in use.

    compared: the records of its own name, each with its differences (asked for, stored); best: those of the nearest.
    """
    if best is not None:
        found = [*_of_fields(node, compared, best), *_of_classes(node, compared, best)]
        if found:
            return found
    return list(_of_names(node, store))


# ------------------------------------------------------------------ fields


def _of_fields(node: Node, compared: Sequence[Any], best: Differences) -> Iterator[str]:
    added = {path: asked for path, (asked, stored) in best.items() if stored is absent}
    gone = {path: stored for path, (asked, stored) in best.items() if asked is absent}
    for path, asked in added.items():
        number = _count(compared, lambda found, path=path: found.get(path, (None, None))[1] is absent)
        name = path.rpartition(".")[2]
        old = [each for each, stored in gone.items() if _beside(each, path) and _same(stored, asked)]
        if len(old) == 1 and sum(_same(each, asked) for each in added.values()) == 1:
            former = old[0].rpartition(".")[2]
            yield f"{number} stored with `{former}` and without `{name}`; if that was renamed, `formerly({former!r})` keeps them"
        elif type(asked) in _LITERAL and _same(_default(node, path), asked):
            written = f"Annotated[{type(asked).__name__}, omit_when({asked!r})]" if asked is not None else "omit_when(None)"
            yield f"{number} stored without `{path}`; `omit_when({asked!r})` keeps them, as in `{name}: {written} = {asked!r}`"


_LITERAL = (bool, int, float, str, type(None))


def _count(compared: Sequence[Any], fits: Any) -> str:
    number = sum(1 for _, found in compared if fits(found))
    return f"{number} are" if number != 1 else "1 is"


def _beside(path: str, other: str) -> bool:
    return path.rpartition(".")[0] == other.rpartition(".")[0]


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _default(node: Node, path: str) -> Any:
    """The default of the param at `path`; `absent` if it has none or that is unknown."""
    *before, name = path.split(".")
    step = getattr(node._node_made_by(), "__wrapped__", None)
    if step is not None and not before:
        found = inspect.signature(step).parameters.get(name)
        return absent if found is None or found.default is found.empty else found.default
    held: Any = node.params
    for each in before:
        try:
            held = held[int(each)] if each.isdecimal() else held[each] if isinstance(held, Mapping) else getattr(held, each)
        except (LookupError, AttributeError, TypeError):
            return absent
    return default_of(type(held), name)


# ------------------------------------------------------------------ params classes


def _of_classes(node: Node, compared: Sequence[Any], best: Differences) -> Iterator[str]:
    hints: set[str] = set()
    for path, (asked, stored) in best.items():
        now, before = _class_in(asked), _class_in(stored)
        if now is None or before is None or now == before or _is_there(node, before) or before in hints:
            continue
        hints.add(before)
        number = _count(compared, lambda found, path=path, before=before: _class_in(found.get(path, (None, None))[1]) == before)
        yield f'{number} stored with a `{before}` as {path}; if that is {now} now, `@formerly("{before}")` above class {now} keeps them'


def _class_in(tree: Any) -> str | None:
    """The name of the class in the tree of a param; None if there is none."""
    if not isinstance(tree, dict):
        return None
    if "$object" in tree:
        return str(tree["$object"])
    for tag in ("$enum", "$flag"):
        content = tree.get(tag)
        if isinstance(content, dict) and "class" in content:
            return str(content["class"])
    named = tree.get("$namedtuple")
    return str(named[0]) if isinstance(named, list) and named and isinstance(named[0], str) else None


def _is_there(node: Node, name: str) -> bool:
    """Tell whether the module of the node's code still has a `name`."""
    return name in vars(sys.modules.get(node.__class__.__module__, object))


# ------------------------------------------------------------------ names


def _of_names(node: Node, store: Store) -> Iterator[str]:
    """Hints at other names of stored payloads with the params and roles of `node`, made by its own code or a lost part of its module."""
    stored: dict[str, list[str]] = {}
    paths = [path for _, path in zip(range(LISTED), store.list(), strict=False)]
    for path in paths:
        name, _, rest = path.partition("/")
        if rest.endswith(SUFFIX) and name != node.key.name and not name.startswith("."):
            stored.setdefault(name, []).append(path)
    names = list(stored)[:_NAMES]
    first = records(store, [stored[name][0] for name in names])
    mine, wanted = code.class_reference(node.__class__), _shape(facts_of(node)["params"], node.upstream)
    for name in names:
        record = first.get(stored[name][0])
        if record is None or not _was_mine(node, mine, record.class_reference):
            continue
        some = records(store, stored[name][:_EACH])
        if any(_shape(each.params, each.upstream) == wanted for each in some.values()):
            number = len(stored[name])
            more = "at least " if len(paths) == LISTED else ""
            number_of = f"{more}{number} {'are' if number != 1 else 'is'}"
            keeps = f'`@step(name="{name}")`' if hasattr(node._node_made_by(), "__wrapped__") else f'`payload_name = "{name}"` in the class'
            yield f"{number_of} stored under `{name}`, by {record.class_reference}, which no longer exists; {keeps} keeps them"


def _was_mine(node: Node, mine: str, reference: str) -> bool:
    """Tell whether `reference` is the name of the code of `node`, or may be an earlier one, which its module no longer has."""
    if reference == mine:
        return True
    module, _, name = reference.partition(":")
    if module != mine.partition(":")[0]:
        return False
    held: Any = sys.modules.get(node.__class__.__module__)
    for part in name.split("."):
        held = getattr(held, part, None)
    return held is None


def _shape(params: Mapping[str, Any], upstream: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(params), frozenset(upstream)


def records(store: Store, paths: Iterable[str]) -> dict[str, Record]:
    """The sound records at `paths`, by path. The name of a folder need not be that in its records."""
    found: dict[str, Record] = {}
    for path, data in store.get_many(list(paths)).items():
        try:
            found[path] = Record.parse(data).checked()
        except (PayloadCorrupted, PayloadUntrusted, StoreTooNew):
            continue
    return found
