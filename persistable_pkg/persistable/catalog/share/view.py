"""A view: a tree of links to payload files, named after params; the same call updates it, and changes its own links only."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, cast

from persistable.catalog.entry import Entry, value_of
from persistable.catalog.index.change_detection import parts_of
from persistable.catalog.index.leaves import form, walk
from persistable.catalog.share.links import Links
from persistable.errors import InvalidName, InvalidQuery, PayloadNotFound, StoreError
from persistable.params.display import in_words
from persistable.params.unset import UNSET
from persistable.records import items
from persistable.records.key import Key, Placed
from persistable.stores.base import Store, check_name, check_path

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

_LONGEST = 100
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\/:*?"<>|]+')
_UPSTREAM = "upstream"


@dataclass(repr=False)
class View:
    """A tree of links."""

    folder: Path
    """The folder of the tree."""
    links: dict[str, Key] = field(default_factory=dict[str, Key])
    """The key that each link leads to, by its path in the folder."""
    made: int = 0
    """The number of links that were made."""
    kept: int = 0
    """The number of links that were there already."""
    removed: int = 0
    """The number of stale links."""
    missing: list[Key] = field(default_factory=list[Key])
    """Keys of payloads that are not stored."""
    dry_run: bool = False
    """True where nothing was touched."""

    def __repr__(self) -> str:
        verb = "would make" if self.dry_run else "made"
        links = "link" if self.made == 1 else "links"
        text = f"{verb} {self.made} {links} in {self.folder}, {self.kept} there already, {self.removed} removed"
        return f"{text}; {len(self.missing)} payloads are not stored" if self.missing else text


def view(catalog: Catalog, folder: str | os.PathLike[str], entries: Iterable[Entry], by: str, *, dry_run: bool) -> View:
    """Make or renew the view, as `Catalog.view` says."""
    found = [entry for entry in entries if entry.key is not None]
    fields = _Fields(by)
    root = Path(os.path.realpath(os.path.expanduser(folder)))
    _check_folder(root, catalog.store)
    result = View(root, dry_run=dry_run)
    targets: dict[str, Path] = {}
    names: set[str] = set()
    for base, entry in _bases(fields, found):
        key = cast("Key", entry.key)
        files = _files(catalog.store, entry, key, result)
        checked = base
        while any((checked + rest).casefold() in names for rest in files):
            checked = _with_digest(checked, str(key))
        for rest, target in files.items():
            path = check_path(checked + rest)
            names.add(path.casefold())
            targets[path] = target
            result.links[path] = key
    result.made, result.kept, result.removed = Links(root).renew(targets, {"by": by, "store": catalog.store.url}, dry_run)
    return result


# names


class _Fields:
    """The fields of a path such as ``{alpha}/{upstream.points.n}``. Raises InvalidQuery for a malformed one."""

    def __init__(self, by: str) -> None:
        self._by = by
        self._values: dict[tuple[Any, str], Any] = {}
        try:
            self.parts = [(literal, name, spec or "", conversion) for literal, name, spec, conversion in Formatter().parse(by)]
        except ValueError as error:
            raise InvalidQuery(f"by={by!r}: {error}", where=by, part=by) from None
        names = [name for _, name, _, _ in self.parts if name is not None]
        if not names or any(conversion for *_, conversion in self.parts) or any(not name or "[" in name for name in names):
            raise InvalidQuery(
                f"by={by!r}: name params in braces, dotted where they are deeper: {{alpha}}/{{upstream.points.n}}",
                where=by,
                part=by,
            )
        frame = "".join(literal + ("x" if name is not None else "") for literal, name, _, _ in self.parts)
        if any(part in ("", ".", "..") for part in frame.split("/")):
            raise InvalidQuery(f"by={by!r}: a path in the folder of the view, so neither absolute nor with ..", where=by, part=by)

    def check(self, entries: list[Entry]) -> None:
        """Raise InvalidQuery for a field that none of the entries has."""
        for _, name, _, _ in self.parts:
            if name is not None and entries and all(self.value(entry, name) is UNSET for entry in entries):
                known = sorted({path for entry in entries[:20] for path in self._known(entry)})
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise InvalidQuery(
                    f"by={self._by!r}: none of the {len(entries)} entries has {name!r}; {hint}There are {', '.join(known[:20])}",
                    where=self._by, part=name,
                )  # fmt: skip

    def path(self, entry: Entry) -> str:
        """The path of an entry in the view, without suffix; every part is a valid name on every platform."""
        text = ""
        for literal, name, spec, _ in self.parts:
            text += literal
            if name is not None:
                text += _UNSAFE.sub("-", _in_words(self.value(entry, name), spec))
        return "/".join(map(_safe, text.split("/")))

    def value(self, entry: Entry, name: str) -> Any:
        """The tree of a param, or a fact; `UNSET` where there is none."""
        if name in _FACTS:
            return _FACTS[name](entry)
        found = self._values.get((entry, name))
        if found is None:
            found = self._values[entry, name] = self._param(entry, name)
        return found

    def _param(self, entry: Entry, name: str) -> Any:
        head, _, rest = name.partition(".")
        if head == "params" and rest:
            return self._own(entry).get(rest, UNSET)
        if head == _UPSTREAM and rest:
            role, _, inner = rest.partition(".")
            source = entry.upstream.get(role)
            if source is None:
                return UNSET
            return self.value(source, inner) if inner else str(source.key)
        return self._own(entry).get(name, UNSET)

    @staticmethod
    def _own(entry: Entry) -> dict[str, Any]:
        return dict(walk(entry.params_tree))

    def _known(self, entry: Entry) -> Iterator[str]:
        yield from self._own(entry)
        yield from (f"{_UPSTREAM}.{role}.{path}" for role, source in entry.upstream.items() for path in self._own(source))


_FACTS: dict[str, Callable[[Entry], Any]] = {
    "name": lambda entry: entry.name,
    "key": lambda entry: str(entry.key).replace("/", "-"),
    "digest": lambda entry: entry.key.digest if entry.key is not None else "",
    "status": lambda entry: entry.status,
    "made": lambda entry: entry.made,
}


def _in_words(tree: Any, spec: str) -> str:
    """A value as part of a name. Raises InvalidQuery where it cannot be formatted by `spec`."""
    if tree is UNSET or tree is None:
        return "none"
    if spec:
        try:
            return format(value_of(tree), spec)
        except (ValueError, TypeError) as error:
            raise InvalidQuery(f"{in_words(tree)} cannot be written as {spec!r}: {error}", where=spec, part=spec) from None
    simple = form(tree)
    return str(simple) if simple is not None and tree.__class__ is not list else in_words(tree)


def _safe(name: str) -> str:
    """`name` as one part of a path that is valid on every platform."""
    text = unicodedata.normalize("NFC", name).encode("utf-8", "replace").decode()
    while len(text.encode()) > _LONGEST:
        text = text[:-1]
    text = text.rstrip(". ").lstrip(" ") or "_"
    text = f"_{text}" if text.startswith(".") else text
    try:
        return check_name(text)
    except InvalidName:  # a name that Windows takes for a device
        return f"_{text}"


def _bases(fields: _Fields, entries: list[Entry]) -> Iterator[tuple[str, Entry]]:
    """Yield each entry with its path; to a path that several would share, the beginning of the digest is appended."""
    fields.check(entries)
    paths = sorted([(fields.path(entry), str(entry.key), entry.at or "", entry) for entry in entries], key=lambda each: each[:3])
    taken = Counter(path.casefold() for path, *_ in paths)
    for path, key, _, entry in paths:
        yield (_with_digest(path, key) if taken[path.casefold()] > 1 else path), entry


def _with_digest(path: str, key: str) -> str:
    return f"{path}~{key[-32:-22]}"


# files


def _files(store: Store, entry: Entry, key: Key, result: View) -> dict[str, Path]:
    """The files of a payload by the end of their names, from the suffix on. Raises StoreError for a store without files on this machine."""
    try:
        record = entry.record
        files = [*record.files, *items.item_files(store, record)]
    except (PayloadNotFound, FileNotFoundError):
        result.missing.append(key)
        return {}
    place = entry.place
    begins = place.to if isinstance(place, Placed) else f"{key}.{record.attempt_token}"
    suffix = os.path.splitext(place.to)[1] if isinstance(place, Placed) else ""
    found: dict[str, Path] = {}
    for file in files:
        target = store.local_path(file.path)
        if target is None:
            raise StoreError(
                f"{store.url} has no files of this machine to link to; bring its payloads into a folder first, by import_",
                url=store.url,
                path=file.path,
            )
        if not target.is_file():
            result.missing.append(key)
            return {}
        found[suffix + file.path.removeprefix(begins)] = target
    return found


def _check_folder(root: Path, store: Store) -> None:
    """Raise StoreError for a folder in the store itself, or a layer of it: files there count as payloads."""
    for part in parts_of(store):
        if part.root is not None and Path(os.path.realpath(part.root)) in (root, *root.parents):
            raise StoreError(f"{root} is in the store; make the view beside it", url=store.url, path="")
