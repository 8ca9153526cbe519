"""`BatchedStore`: the calls about many paths, for a store whose server takes many requests at once and lists a folder by pages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from persistable.stores.base import BaseStore, Bytes, Listed, Stat, check_paths, notify_of_writes, stem_of
from persistable.stores.filesystem import Remote, Result

MIN_NAMES = 16
"""Requests that a page of a listing has to save: it takes longer, and costs more, than one request."""
_LOOKS = 3
"""Requests for each path that the claimer of a key makes, unless a listing shows that there is nothing else of that key."""


class BatchedStore(BaseStore):
    """A store whose work `remote` does, through `ask`; `errors` raises its errors as those of stores."""

    _root: str

    if TYPE_CHECKING:

        @property
        def remote(self) -> Remote: ...

        def ask(self, path: str, act: Callable[[Remote], Result], *, writing: bool = False, absent_is_error: bool = True) -> Result: ...

        def errors(self, path: str, writing: bool, absent_is_error: bool = True) -> AbstractContextManager[None]: ...

    # --- reading

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: data for path, (data, _) in self.get_stamped(paths).items()}

    def get_stamped(self, paths: Iterable[str]) -> dict[str, tuple[bytes, object | None]]:
        wanted = check_paths(dict.fromkeys(paths))
        if not wanted:
            return {}
        answers = self.ask(wanted[0], lambda remote: remote.get_many([self._placed(path) for path in wanted]))
        found: dict[str, tuple[bytes, object | None]] = {}
        for path, answer in zip(wanted, answers, strict=True):
            if not isinstance(answer, BaseException):
                found[path] = answer
                continue
            try:
                with self.errors(path, writing=False):
                    raise answer
            except FileNotFoundError:
                pass
        return found

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        wanted = check_paths(dict.fromkeys(paths))
        if len(wanted) < 2:
            return super().stat_many(wanted)
        listed = self.list_around(wanted)
        found = {path: listed.found[path] for path in wanted if path in listed.found}
        if not listed.unknown:
            return found
        answers = self.ask(listed.unknown[0], lambda remote: remote.info_many([self._placed(path) for path in listed.unknown]))
        self._refuse(listed.unknown, answers, writing=False)
        return found | {path: answer for path, answer in zip(listed.unknown, answers, strict=True) if isinstance(answer, Stat)}

    def list_around(self, paths: Iterable[str]) -> Listed:
        return self._list_around(paths, MIN_NAMES)

    def _list_around(self, paths: Iterable[str], min_names: int) -> Listed:
        """List as `list_around`, as long as a page covers at least `min_names` names."""
        folders: dict[str, dict[str, list[str]]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, {}).setdefault(f"{folder}/{name.partition('.')[0]}", []).append(path)
        whole = Listed({}, [])
        for folder, stems in folders.items():
            if not self.remote.batches or not folder or len(stems) < min_names:
                whole.unknown.extend(path for some in stems.values() for path in some)
                continue
            order = sorted(stems, key=_end)
            with self.errors(folder, writing=False):
                known = self._list_folder(folder, order, whole.found, min_names)
            whole.unknown.extend(path for stem in order[known:] for path in stems[stem])
        return whole

    def _list_folder(self, folder: str, order: Sequence[str], found: dict[str, Stat], min_names: int) -> int:
        """List `folder` into `found` while that pays; the number of stems in `order` that are completely known then."""
        ends = [_end(stem) for stem in order]
        wanted, skip, known = set(order), self._skipped, 0
        for page in self.remote.pages(self._placed(folder), self._placed(min(order)[:-1])):
            for place, stat in page.files.items():
                path = place[skip:]
                if stem_of(path) in wanted:
                    found[path] = stat
            before, known = known, len(ends) if page.last is None else bisect_right(ends, page.last[skip:])
            if known - before < min_names:
                break
        return known

    # --- writing

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        check_paths(items)
        if not items:
            return
        placed = {self._placed(path): data for path, data in items.items()}
        answers = self.ask(next(iter(items)), lambda remote: remote.put_many(placed), writing=True)
        self._written({path: (data, stamp) for (path, data), stamp in zip(items.items(), answers, strict=True)})
        self._refuse(items, answers)

    def _written(self, items: Mapping[str, tuple[Bytes, object | None]]) -> None:
        """Note the items that were put, as far as their stamps are known."""
        notify_of_writes(self, {path: (data, stamp) for path, (data, stamp) in items.items() if isinstance(stamp, str)})

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        if not self.batches:
            return super().create_many(items)
        check_paths(items)
        if not items:
            return set()
        placed = {self._placed(path): data for path, data in items.items()}
        answers = self.ask(next(iter(items)), lambda remote: remote.create_many(placed), writing=True)
        self._refuse(items, answers)
        return {path for path, answer in zip(items, answers, strict=True) if answer is True}

    def create_fresh(self, items: Mapping[str, Bytes]) -> tuple[set[str], set[str]]:
        created = self.create_many(items)
        listed = self._list_around(created, MIN_NAMES // _LOOKS)
        met = {stem_of(path) for path in listed.found.keys() - created}
        return created, {path for path in created.difference(listed.unknown) if stem_of(path) not in met}

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        for stage in stages:
            self.put_many(stage)
        gone = check_paths(delete)
        if gone:
            places = [self._placed(path) for path in gone]
            failed = self.ask(gone[0], lambda remote: remote.delete_many(places), writing=True, absent_is_error=False)
            self._refuse([place[self._skipped :] for place, _ in failed], [error for _, error in failed])

    def _refuse(self, paths: Iterable[str], answers: Sequence[object], writing: bool = True) -> None:
        """Raise the first error among the answers about these paths."""
        for path, answer in zip(paths, answers, strict=True):
            if isinstance(answer, BaseException):
                with self.errors(path, writing=writing):
                    raise answer

    def _placed(self, path: str) -> str:
        return f"{self._root}/{path}" if self._root else path

    @property
    def _skipped(self) -> int:
        """The length of the prefix of a place before its path."""
        return len(self._root) + 1 if self._root else 0


def _end(stem: str) -> str:
    """The first path, in the order of paths, after all that begin with `stem` and a dot."""
    return f"{stem}/"
