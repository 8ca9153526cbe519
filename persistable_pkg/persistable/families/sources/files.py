"""Files, and folders of files, as inputs: the files at the paths of a template."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import Any, TypeVar

from blake3 import blake3

from persistable.errors import InvalidName
from persistable.families.sources import content as contents
from persistable.families.sources.input_roots import InputRoot, segments_of
from persistable.families.sources.inputs import Values, changed, vanished
from persistable.fileio.base import FileIO
from persistable.records.files import folder_of_this_process
from persistable.records.template import Template

T = TypeVar("T")
R = TypeVar("R")
Keys = Iterable[Any] | Callable[[], Iterable[Any]]


class Files:
    """The files at the paths of `template`, one input for each. keys: instead of a listing (see `given`)."""

    def __init__(self, root: InputRoot, template: Template, keys: Keys | None = None) -> None:
        self._root = root
        self._template = template
        self._keys = keys

    @property
    def fields(self) -> tuple[str, ...]:
        return self._template.fields

    @property
    def at_once(self) -> int:
        return self._root.at_once

    def stamps(self) -> Mapping[Values, Any]:
        if self._keys is not None:
            every = given(self._keys, self.fields)
            return dict(zip(every, each(self._stamp, every, self.at_once), strict=True))
        return dict(sorted(self._listed(), key=itemgetter(0)))

    def _listed(self) -> Iterator[tuple[Values, Any]]:
        for path, stamp in self._root.found(self._template):
            values = self._values(path)
            if values is not None:
                yield values, stamp

    def _values(self, path: str) -> Values | None:
        """The values of the fields in a path; None if it does not match."""
        found = self._template.match(path)
        if found is None:
            return None
        other = found if self._template.is_certain else self._template.match_greedily(path)
        if other != found:
            raise InvalidName(
                f"{self._root.shown(path)} can be read in two ways by {self._template.text!r}: as {found} and as {other}; "
                "put a separator between the fields, or take both for one field and split it by rekey()",
                name=path,
            )
        return _checked(tuple(found.values()), path)

    def _stamp(self, values: Values) -> Any:
        try:
            return self._root.stamp(self._path(values))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _path(self, values: Values) -> str:
        filled = dict(zip(self.fields, values, strict=True))
        # a listed path exists, however odd; given keys are checked
        return self._template.format(**filled) if self._keys is not None else self._template.filled(filled)

    def content(self, values: Values, stamp: Any) -> str:
        path = self._path(values)
        if stamp is None:
            stamp = self._stamp(values)  # may show that the content is unchanged since it was read
        found = contents.known(self._root.url, path, stamp)
        if found is None:
            try:
                found = self._digest(path, stamp)
            except (FileNotFoundError, NotADirectoryError):
                raise vanished(self._root.shown(path)) from None
        return found

    def is_sure(self, values: Values, stamp: Any) -> bool:
        """Tell whether `content` returned the token of the content at the time of the listing, not of one put there since."""
        return contents.known(self._root.url, self._path(values), stamp) is not None

    def _digest(self, path: str, stamp: Any) -> str:
        """The digest of the current content, cached if that is the listed one: by the MD5 in the stamp, else by a second stat."""
        md5 = self._root.md5_in(stamp)
        with self._root.reading(path, stamp) as file:
            found, read = contents.digests_of(file, md5 is not None)
        same = stamp is not None and (read == md5 or self._root.stamp(path) == stamp)
        contents.remember(self._root.url, path, stamp if same else None, found)
        return found

    def load(self, values: Values, content: str, io: FileIO[Any]) -> Any:
        path = self._path(values)
        local = self._root.local(path) is not None
        try:
            with self._root.reading(path) as file:
                return contents.load(file, content, io, local=local)
        except contents.OtherContentError as error:
            raise changed(self._root.shown(path)) from error.__cause__
        except (FileNotFoundError, NotADirectoryError):
            raise vanished(self._root.shown(path)) from None

    def shown(self, values: Values) -> str:
        return self._root.shown(self._path(values))

    def only(self, values: Values) -> Files:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_keys": None if self._keys is None else ()}  # reading one input needs no others


class Folders(Files):
    """The folders that match a template that ends in a separator, one input for each that has a file in it.

    The content is the names and contents of all files in it and below.
    """

    def stamps(self) -> Mapping[Values, Any]:
        if self._keys is not None:
            return super().stamps()
        depth = len(segments_of(self._template))
        found: dict[Values, list[tuple[str, Any]]] = {}
        for path, stamp in self._root.found(self._template):
            parts = path.split("/")
            values = self._values("/".join(parts[:depth]))
            if values is not None:
                found.setdefault(values, []).append(("/".join(parts[depth:]), stamp))
        return {values: _together(found[values]) for values in sorted(found)}

    def _stamp(self, values: Values) -> Any:
        return _together(self._inside(self._path(values)))

    def _inside(self, folder: str) -> list[tuple[str, Any]]:
        """Relative path and stamp of each file in the folder and below, sorted."""
        return sorted([(path[len(folder) + 1 :], stamp) for path, stamp in self._root.files_in(folder)], key=itemgetter(0))

    def _digest(self, path: str, stamp: Any) -> str:
        files = self._inside(path)
        if not files:
            raise FileNotFoundError(path)
        hasher = blake3()
        listed = stamp is not None and _together(files) == stamp
        for name, own in files:
            file = f"{path}/{name}"
            found = contents.known(self._root.url, file, own)
            hasher.update(_line(name, found or super()._digest(file, own)))
            listed = listed and contents.known(self._root.url, file, own) is not None
        digest = hasher.hexdigest()
        # if each file has its listed stamp, the folder is the listed one
        contents.remember(self._root.url, path, stamp if listed else None, digest)
        return digest

    def load(self, values: Values, content: str, io: FileIO[Any]) -> Any:
        path = self._path(values)
        try:
            folder = self._root.local(path)
            if folder is None:
                folder = self._copied(path, content)
            elif self._present(path) != content:
                raise changed(self._root.shown(path))
            return io.load(folder)
        except (FileNotFoundError, NotADirectoryError):
            raise vanished(self._root.shown(path)) from None

    def _present(self, path: str) -> str:
        stamp = _together(self._inside(path))
        return contents.known(self._root.url, path, stamp) or self._digest(path, stamp)

    def _copied(self, path: str, content: str) -> str:
        """A local copy, kept for the rest of this process and shared by all readers of the same content."""
        known = _copies.get(content)
        if known is not None and os.path.isdir(known):
            return known
        root, hasher = folder_of_this_process(), blake3()
        files = self._inside(path)
        if not files:
            raise FileNotFoundError(path)
        for name, _ in files:
            target = root.joinpath(*_checked_parts(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._root.reading(f"{path}/{name}") as source, target.open("xb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            target.chmod(0o444)
            with target.open("rb") as copied:
                hasher.update(_line(name, contents.digest_of(copied)))
        if hasher.hexdigest() != content:
            shutil.rmtree(root, ignore_errors=True)
            raise changed(self._root.shown(path))
        _copies[content] = str(root)
        return str(root)


_copies: dict[str, str] = {}


def each(call: Callable[[T], R], items: Sequence[T], at_once: int) -> list[R]:
    """The results of `call` for each item, computed by up to `at_once` threads."""
    if at_once < 2 or len(items) < 2:
        return [call(item) for item in items]
    with ThreadPoolExecutor(min(at_once, len(items)), thread_name_prefix="persistable-source") as pool:
        return list(pool.map(call, items))


def given(keys: Keys, fields: tuple[str, ...]) -> list[Values]:
    """The values that `keys` name, each once: for one field the key itself, for several a tuple of them, or a dict by field."""
    found: dict[Values, None] = {}
    every = keys() if callable(keys) else keys
    if isinstance(every, str | bytes):
        raise TypeError(f"keys of a source is the text {every!r:.60}; give a list of keys: keys=[{every!r:.60}]")
    for key in every:
        values = _given(key, fields)
        if values in found:
            raise ValueError(f"the key {key!r:.60} is given twice; a key must find one input, so leave one out")
        found[values] = None
    return list(found)


def _given(key: Any, fields: tuple[str, ...]) -> Values:
    kind: Any = key.__class__
    by_field: Mapping[Any, Any] = key if issubclass(kind, Mapping) else {}
    values: Values = key if issubclass(kind, tuple) else tuple([by_field.get(field) for field in fields]) if by_field else (key,)
    if len(values) != len(fields) or (by_field and set(by_field) != set(fields)) or not all(isinstance(each, Hashable) for each in values):
        wanted = "one value" if len(fields) == 1 else "a tuple, or a dict by field"
        raise ValueError(f"a key of a source of {', '.join(fields)} is {wanted}, not {key!r:.60}")
    return values


def _checked(values: Values, path: str) -> Values:
    try:
        for value in values:
            value.encode()
    except UnicodeEncodeError:
        raise InvalidName(f"{path!r} is not the name of an input: it is no valid UTF-8; rename it", name=path) from None
    return values


def _checked_parts(name: str) -> list[str]:
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise InvalidName(f"{name!r} cannot be copied to a folder here: a part of it is empty, or leads out of it", name=name)
    return parts


def _together(files: Iterable[tuple[str, Any]]) -> str | None:
    """One stamp for several files; None where one of them has none, or where there are none."""
    hasher = blake3()
    number = 0
    for name, stamp in sorted(files, key=itemgetter(0)):
        if stamp is None:
            return None
        hasher.update(_line(name, repr(stamp)))
        number += 1
    return hasher.hexdigest() if number else None


def _line(name: str, text: str) -> bytes:
    data = name.encode("utf-8", "surrogateescape")
    return len(data).to_bytes(8, "little") + data + text.encode() + b"\n"
