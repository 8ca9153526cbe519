"""Targets on the command line: the project and store of a command, and the objects that its words name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from persistable.cli.output import reserve
from persistable.cli.usage import BadUsage, as_bad_usage, suggestion
from persistable.nodes.types import Node, is_family, is_node
from persistable.stores.base import Store
from persistable.stores.open import PROJECT_FILE, default_url, nearest_file, open_store

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog
    from persistable.cli.options import CommonOptions
    from persistable.project import Project
    from persistable.records.key import Key, Place


SHORTEST_DIGEST = 4
_SHAPE = re.compile(r"(?P<base>[^\[\]]+)(?:\[(?P<labels>.*)\](?:\.(?P<node>\w+))?)?", re.DOTALL)
_OBJECT = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_DIGEST = re.compile(r"[0-9a-f]{%d,32}" % SHORTEST_DIGEST)


class Address(NamedTuple):
    """A word, parsed. labels: the text between the brackets, None without any. node: the name after them, or empty."""

    text: str
    base: str
    labels: str | None = None
    node: str = ""

    @property
    def is_object(self) -> bool:
        """Tell whether it is ``module:object``."""
        return ":" in self.base

    @property
    def is_key(self) -> bool:
        """Tell whether it can only be ``name/digest``, whole or cut short."""
        return "/" in self.base and self.labels is None

    @property
    def is_digest(self) -> bool:
        """Tell whether it may be a digest, whole or cut short."""
        return self.labels is None and _DIGEST.fullmatch(self.base) is not None


def parse(text: str) -> Address:
    """Parse `text`. Raises BadUsage for text of another form, or a key whose name is invalid."""
    found = _SHAPE.fullmatch(text)
    if found is None or not text.isprintable():
        raise BadUsage(
            f"{text!r} names nothing: write TARGET, TARGET[label], WORKSPACE[id].node, module:object, or name/digest of a payload"
        )
    address = Address(text, found["base"].strip(), found["labels"], found["node"] or "")
    if address.is_object and not _OBJECT.fullmatch(address.base):
        raise BadUsage(f"{address.base!r} is no module:object: both are names, with dots between them")
    if address.is_key:
        _check_key(address.base)
    elif "/" in address.base:
        raise BadUsage(f"{text!r} names nothing: a target's name has no '/', and a key has no labels")
    return address


def _check_key(text: str) -> None:
    from persistable.errors import InvalidName
    from persistable.records.key import check_payload_name

    name, _, digest = text.rpartition("/")
    try:
        check_payload_name(name)
    except InvalidName as error:
        raise BadUsage(f"{text!r} is no key: no payload can be called {name!r}") from error
    if not _DIGEST.fullmatch(digest):
        raise BadUsage(f"{text!r} is no key: after {name}/ come {SHORTEST_DIGEST} to 32 hexadecimal digits")


def label_in(text: str, axes: Sequence[tuple[str, Iterable[Any]]], whole: str) -> tuple[Any, ...]:
    """The labels, one for each axis (its name, its labels), whose texts, joined by commas, are `text`.

    Raises BadUsage, which suggests the nearest, if none match; `whole` is the user's text, for the error.
    """
    known = [(name, {each: label for label in labels for each in _texts(label)}) for name, labels in axes]
    found = _match(text, known) or _match(re.sub(r"\s*,\s*", ",", text.strip()), known)
    if found is not None:
        return found
    if len(known) == 1:
        name, labels = known[0]
        raise BadUsage(f"{whole}: nothing on the axis {name} is called {text!r}; {suggestion(text, labels)}")
    parts = text.split(",")
    if len(parts) == len(known):
        for part, (name, labels) in zip(parts, known, strict=True):
            if part.strip() not in labels:
                raise BadUsage(f"{whole}: nothing on the axis {name} is called {part.strip()!r}; {suggestion(part.strip(), labels)}")
    raise BadUsage(f"{whole}: give a label for each of {', '.join(name for name, _ in known)}, with commas between them")


def _texts(label: Any) -> Iterator[str]:
    """The ways to write a label: as `str` does, and for a tuple also without quotes and parentheses."""
    if isinstance(label, tuple):
        yield ",".join(map(str, label))  # pyright: ignore[reportUnknownArgumentType]
    yield str(label)  # pyright: ignore[reportUnknownArgumentType]


def _match(text: str, axes: Sequence[tuple[str, dict[str, Any]]]) -> tuple[Any, ...] | None:
    """Match `text` against a label of each axis, trying every way to split it, since labels may contain commas."""
    (_, labels), others = axes[0], axes[1:]
    if not others:
        return (labels[text],) if text in labels else None
    place = text.find(",")
    while place >= 0:
        if text[:place] in labels:
            rest = _match(text[place + 1 :], others)
            if rest is not None:
                return (labels[text[:place]], *rest)
        place = text.find(",", place + 1)
    return None


class ResolvedTarget(NamedTuple):
    """The object that a word names: a target, or a payload known by its key alone, stored at `place`."""

    target: object
    place: Place | None

    @property
    def is_node(self) -> bool:
        """Tell whether it is one node."""
        return is_node(self.target)


class CommandContext:
    """The project and the store of one command, each loaded at the first use."""

    def __init__(self, common: CommonOptions, changes: Sequence[str] = ()) -> None:
        self.common = common
        self._changes = changes
        reserve()

    @cached_property
    def project(self) -> Project | None:
        """The project; None without a project file. Raises BadUsage if a file was named that does not exist."""
        named = self.common.project
        if named is None and nearest_file(os.getcwd()) is None:
            if self._changes:
                raise BadUsage(
                    f"--set changes params of a project, and there is no {PROJECT_FILE} here or above; `persistable init` writes one"
                )
            return None
        from persistable.project import Project

        try:
            return Project.load(named, set=self._changes, store=self.common.store)
        except FileNotFoundError as error:
            raise BadUsage(f"--project {named}: {error.strerror or error}; name a {PROJECT_FILE} or its folder") from error

    def needed_project(self) -> Project:
        """The project. Raises BadUsage if there is none."""
        if self.project is None:
            raise BadUsage(
                f"there is no {PROJECT_FILE} in {os.getcwd()} or above; `persistable init` writes one, --project names one, "
                "and module:object is something outside a project"
            )
        return self.project

    @cached_property
    def store(self) -> Store:
        """The store: that of ``--store``, else that of the project, else the default one."""
        if self.common.store is not None:
            return open_store(self.common.store)
        if self.common.project is not None:
            return self.needed_project().store
        return open_store(default_url())

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog of the store. Its imports may be in the folder of the project, or else in the current folder."""
        from persistable.catalog.catalog import Catalog

        self._import_from_here()
        return Catalog(self.store)

    def catalog_of(self, store: Store) -> Catalog:
        """The catalog of `store`, in which one payload is stored."""
        from persistable.catalog.catalog import Catalog

        return self.catalog if store.url == self.store.url else Catalog(store)

    # words

    def find(self, text: str) -> ResolvedTarget:
        """The object that `text` names. Raises BadUsage for an unknown name, suggesting the nearest."""
        if os.path.lexists(text) and not self.is_name(text):
            made = self._made_file(text)
            if made is not None:
                return ResolvedTarget(None, made)
            if not os.path.isdir(text):  # folders may have names of payloads: those in a store do
                raise BadUsage(f"{text} is no file of a payload in {self.store.url}")
        address = parse(text)
        if address.is_key:
            return ResolvedTarget(None, self._stored(address))
        if not address.is_object and address.labels is None and self.common.store is not None and self.project is None:
            return ResolvedTarget(None, self._called(address))
        if address.is_object or address.labels is not None or not address.is_digest or self.is_name(address.base):
            return ResolvedTarget(self.target(address), None)
        return ResolvedTarget(None, self._stored(address))

    def target(self, address: Address) -> Any:
        """The target that `address` names."""
        found = self._object(address) if address.is_object else self._named(address)
        if address.labels is not None:
            found = _member(found, address)
        return self._bound(found) if address.is_object and self.common.store is not None else found

    def pairs(self, *targets: Any) -> list[tuple[Any, Store]]:
        """Every node of `targets` and its store."""
        from persistable.runs.targets import pairs

        with as_bad_usage(TypeError):
            return pairs(targets, self.store)

    def node_of(self, key: Key) -> Any | None:
        """The node with this key among the targets of the project and their upstream. Targets are made until it is found."""
        from persistable.nodes.lineage import walk

        project = self.project
        if project is None:
            return None
        for name in sorted(project, key=lambda name: key.name.casefold() not in name.casefold()):  # the name of a target is usually similar
            for node in walk(*(node for node, _ in self.pairs(project[name]))):
                if node.key == key:
                    return node
        return None

    def node_at(self, place: Place) -> Node:
        """The node of the payload at `place`: that of the project, else rebuilt from its record. Raises NotRebuildable."""
        found = self.node_of(place.key)
        return self.catalog.node(place.key) if found is None else found

    def is_name(self, name: str) -> bool:
        """Tell whether it is a target or stage of the project."""
        return self.project is not None and (name in self.project.targets or name in self.project.stages)

    def _named(self, address: Address) -> Any:
        project = self.needed_project()
        name = address.base
        if name in project.targets:
            return project[name]
        if name in project.stages:
            if address.labels is not None:
                raise BadUsage(f"{address.text}: {name} is a stage, which has no members; name one of its targets")
            return [project[each] for each in project.stages[name]]
        raise BadUsage(f"the project has no target or stage {name!r}; {suggestion(name, [*project.targets, *project.stages])}")

    def _object(self, address: Address) -> Any:
        module, _, path = address.base.partition(":")
        folder = self._import_from_here()
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not (module + ".").startswith(error.name + "."):
                raise  # a module that the module itself imports
            raise BadUsage(f"there is no module {module!r} in {folder} or on Python's path") from error
        for name in path.split("."):
            try:
                found = getattr(found, name)
            except AttributeError:
                known = [each for each in dir(found) if not each.startswith("_")]
                raise BadUsage(f"{address.base}: there is no {name!r} in it; {suggestion(name, known)}") from None
        return found

    def _import_from_here(self) -> str:
        """Make modules in the folder of the project, else the current folder, importable, and return the folder."""
        folder = str(self.project.folder) if self.project is not None else os.getcwd()
        if folder not in sys.path:
            sys.path.insert(0, folder)
        return folder

    def _made_file(self, path: str) -> Place | None:
        """The payload of the file or folder at `path`; None if it belongs to none.

        If no store is named and the file is in another one, that becomes the store.
        """
        from persistable.errors import UnknownKey

        try:
            return self.catalog[os.path.abspath(path)].place
        except UnknownKey:
            around = _store_around(path) if self.common.store is None else None
            if around is None or open_store(around).url == self.store.url:
                return None
        self.store = open_store(around)
        self.__dict__.pop("catalog")
        return self._made_file(path)

    def _bound(self, found: Any) -> Any:
        if is_node(found):
            from persistable.nodes.binding import bound_to  # not needed without nodes

            return bound_to(found, self.store)
        return found.bind(self.store) if is_family(found) else found

    def _called(self, address: Address) -> Place:
        """The single payload of this name in a store without a project, or the one with this digest."""
        names = self.catalog.names()
        if address.base not in names:
            if address.is_digest:
                return self._stored(address)
            raise BadUsage(f"nothing called {address.base!r} is stored in {self.store.url}; {suggestion(address.base, names)}")
        found = self.catalog.find(address.base)
        if len(found) != 1:
            raise BadUsage(
                f"{len(found)} payloads are called {address.base} in {self.store.url}; name one by key: `persistable ls {address.base}` "
                f"lists them, such as {found[0].key}"
            )
        return found[0].place

    def _stored(self, address: Address) -> Place:
        from persistable.catalog.lookup import beginning
        from persistable.errors import UnknownKey

        with as_bad_usage(UnknownKey, hint="; `persistable ls` lists them"):
            return beginning(self.catalog, address.base).place


def _store_around(path: str) -> Path | None:
    """The folder of the store that contains a file; None if no store does."""
    from persistable.records.store_format import PATH

    return next((folder for folder in Path(path).resolve().parents if (folder / PATH).is_file()), None)


def _member(whole: Any, address: Address) -> Any:
    """The member of a family, workspace or other mapping that the labels name."""
    labels = cast("str", address.labels)
    kind: type = whole.__class__
    if is_family(whole):
        found = label_in(labels, [(axis.name, axis.labels) for axis in whole.axes], address.text) if whole.axes else ()
        member = whole[found[0] if len(found) == 1 else found]
    elif issubclass(kind, Mapping):
        member = whole[label_in(labels, [("id", whole)], address.text)[0]]
    else:
        raise BadUsage(f"{address.text}: {address.base} has no members; it is {whole!r:.60}")
    return _node_in(member, address) if address.node else member


def _node_in(member: Any, address: Address) -> Any:
    """The node of that name in `member`, a workflow."""
    find = getattr(member, "node", None)
    if find is None:
        raise BadUsage(f"{address.text}: {address.base}[{address.labels}] is a node itself; write it without .{address.node}")
    try:
        return find(address.node)
    except (AttributeError, KeyError) as error:
        raise BadUsage(f"{address.text}: {error.args[0] if error.args else error}") from error


class NamedPayload(NamedTuple):
    """One payload: its location, store, and node if it was named as a target."""

    place: Place
    store: Store
    node: Node | None

    @property
    def key(self) -> Key:
        """The key of the payload."""
        return self.place.key


def resolve_one(here: CommandContext, text: str) -> NamedPayload:
    """The one payload that `text` names. Raises BadUsage for a family, a stage, or any other target of several payloads."""
    found = here.find(text)
    if found.place is not None:
        return NamedPayload(found.place, here.store, None)
    several = here.pairs(found.target)
    if len(several) != 1:
        raise BadUsage(f"{text} stands for {len(several)} payloads; name one of them, such as {text.partition('[')[0]}[label]")
    ((node, store),) = several
    return NamedPayload(node.place, store, node)


def resolve_all(here: CommandContext, text: str) -> tuple[list[NamedPayload], bool]:
    """The payloads that `text` names, and whether it names a single one instead of a target with members."""
    found = here.find(text)
    if found.place is not None:
        return [NamedPayload(found.place, here.store, None)], True
    return [NamedPayload(node.place, store, node) for node, store in here.pairs(found.target)], found.is_node
