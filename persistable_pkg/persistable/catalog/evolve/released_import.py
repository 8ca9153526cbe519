"""Import of folders that persistable 1.1 to 1.3 wrote: their payloads get the keys of today.

Those versions wrote ``name(md5).persistable``, a pickle, and ``name(md5).params.json``: the params of the payload, with those of each
dependency under its name. md5 is that of ``str({name: params})``. The params that a class declares today are read from the JSON, and the
md5 shows whether they are the same: a file whose params do not fit is reported and left.
"""

# Params are of types that are known at run time only
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import pickle
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from persistable.catalog.evolve.adoption import ADOPTED, bound
from persistable.errors import PayloadExists, PersistableError
from persistable.nodes import generation
from persistable.nodes.declaration import Declaration, declaration_of
from persistable.nodes.node import Persistable
from persistable.nodes.types import Node
from persistable.params.fields import spec_of
from persistable.records.key import Key

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

PARAMS = ".params.json"
_STEM = re.compile(r"(.+)\(([0-9a-f]{32})\)")


class NotImported(NamedTuple):
    """A file that was not imported."""

    file: Path
    """The file."""
    why: str
    """The reason why it was left."""


@dataclass(repr=False)
class ReleasedImportResult:
    """The import of a folder of an earlier version."""

    imported: dict[Path, Key] = field(default_factory=dict[Path, Key])
    """The key of each file."""
    kept: list[Key] = field(default_factory=list[Key])
    """Keys of payloads that were there already, and stay."""
    left: list[NotImported] = field(default_factory=list[NotImported])
    """Files that were not imported, with the reason."""

    def __repr__(self) -> str:
        head = f"<{len(self.imported)} imported, {len(self.kept)} there already, {len(self.left)} left>"
        return "\n".join([head, *(f"  left: {each.file.name}: {each.why}" for each in self.left)])


class _Unfit(Exception):
    """Error for a file that is not imported, with the reason."""


class _Found(NamedTuple):
    """A payload of an earlier version: its name, the md5 of its params, its params as JSON, and its file."""

    name: str
    digest: str
    params: dict[str, Any]
    file: Path


def import_released(
    catalog: Catalog, folder: str, classes: Iterable[type[Any]] | Mapping[str, type[Any]], replace: bool
) -> ReleasedImportResult:
    """Import the payloads in `folder` into the store of `catalog`, as `Catalog.import_released` says."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    kinds = classes.values() if isinstance(classes, Mapping) else (classes := tuple(classes))
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Persistable)):
            raise TypeError(f"classes holds {kind!r:.60}; give subclasses of Persistable, or a dict of them by payload name")
    given = cast("Mapping[str, type[Any]]", classes) if isinstance(classes, Mapping) else {declaration_of(cls).name: cls for cls in classes}
    known = dict(given)
    done = ReleasedImportResult()
    for found in sorted(_found(Path(folder), done.left), key=lambda each: (_depth(each.params), each.file)):
        try:
            _import(catalog, found, known, replace, done)
        except _Unfit as error:
            done.left.append(NotImported(found.file, str(error)))
    return done


def _found(folder: Path, left: list[NotImported]) -> Iterator[_Found]:
    """Yield the payloads in `folder` that have a params file; note other files in `left`."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for file in files:
        if file.name.endswith(PARAMS) or file.suffix == ".log":
            continue
        match = _STEM.fullmatch(file.stem)
        params = file.with_name(file.stem + PARAMS)
        if match is None:
            left.append(NotImported(file, "it is not called name(md5)"))
        elif not params.exists():
            left.append(NotImported(file, f"there is no {params.name} beside it"))
        else:
            try:
                tree: Any = json.loads(params.read_text())
                if not isinstance(tree, dict):
                    raise ValueError("it is no object")
            except (ValueError, RecursionError) as error:
                left.append(NotImported(file, f"{params.name} cannot be read: {error}"))
            else:
                yield _Found(match[1], match[2], tree, file)


def _depth(params: Any) -> int:
    return 1 + max((_depth(each) for each in params.values()), default=0) if isinstance(params, dict) else 0


def _import(catalog: Catalog, found: _Found, known: Mapping[str, type[Any]], replace: bool, done: ReleasedImportResult) -> None:
    node = _node(found.name, found.params, known)
    if found.digest not in {_digest(found.name, found.params), _digest(found.name, _tree(node, found.params))}:
        raise _Unfit("its params are not those of its name: the md5 of them is another")
    try:
        twin = cast("Persistable[Any, Any]", bound(catalog, node, replace))
    except PayloadExists:
        done.kept.append(node.key)
        return
    try:
        payload = _payload(twin, found.file)
        twin.validate_payload(payload)
        generation.persist(twin, twin.store, payload, made=ADOPTED, notes={ADOPTED: found.file.name})
    except Exception as error:
        raise _Unfit(f"its payload cannot be taken: {type(error).__name__}: {error}") from error
    done.imported[found.file] = node.key


def _payload(node: Node, file: Path) -> Any:
    """The payload in a file: unpickled if it begins like a pickle, else loaded in the format of the node."""
    with file.open("rb") as reading:
        if reading.read(1) != b"\x80":
            return node.payload_io.load(file)
        reading.seek(0)
        return pickle.load(reading)


def _digest(name: str, tree: Any) -> str:
    return md5(str({name: tree}).encode(), usedforsecurity=False).hexdigest()


# nodes


def _node(name: str, tree: Mapping[str, Any], known: Mapping[str, type[Any]]) -> Persistable[Any, Any]:
    """The node in today's classes that has this payload name and the params in `tree`."""
    cls = known.get(name)
    if cls is None:
        raise _Unfit(f"none of the classes given has payloads called {name}; those given have {', '.join(known) or 'none'}")
    declaration = declaration_of(cls)
    kind: Any = declaration.params_type
    fields = _fields(kind) if isinstance(kind, type) and kind is not type(None) else {}
    own = {key: value for key, value in tree.items() if key in fields}
    others = {key: _node(key, value, known) for key, value in tree.items() if key not in own and isinstance(value, dict) and key in known}
    strange = [key for key in tree if key not in own and key not in others]
    if strange:
        raise _Unfit(f"{cls.__name__} has no param {strange[0]} today; where it was renamed, mark it formerly({strange[0]!r})")
    try:
        params = _params(kind, own) if fields or (isinstance(kind, type) and kind is not type(None)) else None
        named = {} if declaration.name == name else {"payload_name": name}
        own = {} if params is None else {"params": params}
        return cast("Persistable[Any, Any]", cls(**own, **named, **_upstream(declaration, others)))
    except _Unfit:
        raise
    except (PersistableError, TypeError, ValueError, KeyError) as error:
        raise _Unfit(f"{cls.__name__} does not take its params: {error}") from error


def _upstream(declaration: Declaration, others: Mapping[str, Any]) -> dict[str, Any]:
    """Nodes by the roles that a class declares; nodes without role are passed as ``tracked_persistable_dependencies``, as then."""
    given = {name: node for name, node in others.items() if name in declaration.roles}
    rest = [node for name, node in others.items() if name not in given]
    for role in declaration.roles:
        if role not in given and len(rest) == 1 and len(declaration.roles) == 1:
            given[role] = rest.pop()
    return {**given, **({"tracked_persistable_dependencies": rest} if rest else {})}


def _fields(kind: type[Any]) -> dict[str, Any]:
    """Each `Field` by the name that it had then."""
    spec = spec_of(kind)
    return {each.name: each for each in spec.fields} if spec is not None else {}


def _params(kind: Any, tree: Mapping[str, Any]) -> Any:
    fields, hints = _fields(kind), typing.get_type_hints(kind)
    return kind(**{fields[name].attr: _value(hints.get(fields[name].attr, Any), value) for name, value in tree.items()})


def _value(hint: Any, value: Any) -> Any:
    """A JSON value converted to the type that the field declares: paths and enums were text, tuples lists, params dicts."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        kind = typing.get_origin(option) or option
        if not isinstance(kind, type):
            continue
        if issubclass(kind, Enum) and isinstance(value, str) and value in kind.__members__:
            return kind[value]
        if isinstance(value, dict) and spec_of(kind) is not None:
            unknown = [name for name in value if name not in _fields(kind)]
            if unknown:
                raise _Unfit(f"{kind.__name__} has no param {unknown[0]} today; where it was renamed, mark it formerly({unknown[0]!r})")
            return _params(kind, value)
        if isinstance(value, str) and issubclass(kind, Path):
            return kind(value)
        if isinstance(value, list) and kind in (tuple, set, frozenset):
            return kind(value)
    return value


def _tree(node: Node, like: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a node as the earlier versions wrote them, for the names in `like`, in its order."""
    fields = _fields(type(node.params)) if node.params is not None else {}
    upstream = {each.payload_name: each for each in node.upstream.values()}
    return {
        name: _plain(getattr(node.params, fields[name].attr), value) if name in fields else _tree(upstream[name], value)
        for name, value in like.items()
    }


def _plain(value: Any, like: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if isinstance(like, dict) and not isinstance(value, dict):
        fields = _fields(type(value))
        return {name: _plain(getattr(value, fields[name].attr), each) for name, each in like.items()}
    return str(value) if isinstance(value, Path) else value
