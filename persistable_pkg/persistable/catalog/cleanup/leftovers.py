"""Leftovers of crashes in a store: files that no record names, claims of processes that are gone, checkpoints, and unfinished writes.

Files of a key that is being generated do not count. A file that no record names may belong to a write in progress: a copy from another
store has no claim, and writes the record last. So it counts only where a claim shows that its writer is gone, or after an hour; where a
store does not report the age of files, the trash waits for that hour. Checkpoints and items of a killed attempt, from which the next one
would resume, count once the payload is stored, or after a week.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from persistable.catalog.cleanup import trash_files
from persistable.catalog.index.change_detection import bare
from persistable.records import claim_watch, claims, commit, heartbeat, owners
from persistable.records.key import Key
from persistable.records.leftovers import HANDED
from persistable.records.record import OUTPUT_SUFFIX, SUFFIX, Record
from persistable.stores.base import HIDDEN, Stat, Store, extended
from persistable.stores.custom_path import PLACED, PLACING
from persistable.stores.local import LocalStore

ABANDONED_AFTER = 86400.0
"""Seconds without a change after which a write counts as abandoned."""
RESUMABLE_FOR = 7 * ABANDONED_AFTER
"""Seconds for which files are kept that the next attempt would resume from."""

CUT_OFF = "left by an attempt that was killed"
UNNAMED = "files that no record names"
CLAIM = "claim of a process that is gone"
CHECKPOINTS = "checkpoints of a payload that is stored"
OLD_CHECKPOINTS = "checkpoints that nothing resumed"
OLD_ITEMS = "items that nothing resumed"
UNFINISHED = "unfinished write"
HANDED_OVER = "passed on by a run that is gone"
TRIAL = "trial of whether the store answers"

_PAYLOAD = re.compile(r"(?P<base>[^/]+/[0-9a-f]{32})\.(?P<token>[0-9a-f]{8})(?:[./].*)?", re.DOTALL)
_PLACED_ITEMS = re.compile(rf"(?P<base>{re.escape(PLACED)}/.+)\.(?P<token>[0-9a-f]{{8}})\.(?:items/.*|output\.txt)", re.DOTALL)
_CLAIM = re.compile(rf"(?P<base>[^/]+/[0-9a-f]{{32}}|{re.escape(PLACED)}/.+)\.(?:claim(?:\.(?:[0-9]+|waits))?|beat)", re.DOTALL)
_PLACING = re.compile(rf"{re.escape(PLACING)}/(?P<folder>.*/)?(?P<token>[0-9a-f]{{8}})-(?P<name>[^/]+)(?:/.*)?", re.DOTALL)
_PARTIAL = re.compile(rf"{HIDDEN}/partial/(?P<rest>.+?)/(?:begun\.json|[0-9a-f]{{8}}/[0-9]+\.json)", re.DOTALL)
_SCRATCH = re.compile(rf"{HIDDEN}/scratch/(?P<to>.+?)/(?P<digest>[0-9a-f]{{32}})(?:/.*)?", re.DOTALL)
_OF_KEY = re.compile(r"\.([0-9a-f]{32})\.")


class Leftover(NamedTuple):
    """The leftovers of one crash of one payload. base: the path prefix of its record and claim; "" for files of no payload.

    paths: in the store, or on this machine. age: seconds since the last write, None where the store does not report it. sure: False for
    files that a record may still name later. moves: False for files that are deleted, not moved to the trash, where they would be of no
    use. here: True where paths are of this machine, and not in the store.
    """

    base: str
    reason: str
    paths: tuple[str, ...]
    size: int
    age: float | None
    sure: bool = True
    moves: bool = True
    here: bool = False

    @property
    def name(self) -> str:
        """The name of the payload; "" where that is not known."""
        return self.base.partition("/")[0] if self.base and not self.base.startswith(HIDDEN) else ""


class ClaimStates(NamedTuple):
    """The path prefixes with a claim.

    live: those that are being generated, or may be. dead: those whose owner is gone. since: when the oldest live claim was made, as far as
    known, seconds since 1970; None where there is none.
    """

    live: frozenset[str]
    dead: frozenset[str]
    since: float | None


def read_claims(store: Store) -> ClaimStates:
    """The claims in `store`."""
    found: dict[str, list[tuple[str, Stat]]] = {}
    for prefix in ("", PLACED):
        for path, stat in extended(store).scan(prefix):
            claim = _CLAIM.fullmatch(path)
            if claim is not None:
                found.setdefault(claim["base"], []).append((path, stat))
    live: dict[str, float] = {}
    for base, files in found.items():
        owner = claim_watch.holder_of(store, base)
        if owner is not None and not (owners.state_of(owner) == "unknown" and _is_silent(store, files)):
            live[base] = _begun(store, base, files)
    return ClaimStates(frozenset(live), frozenset(found.keys() - live.keys()), min(live.values(), default=None))


def _is_silent(store: Store, files: Sequence[tuple[str, Stat]]) -> bool:
    """Tell whether a claim has had no heartbeat for a day: its owner, on another host or stopped, would have lost it long ago."""
    times = [extended(store).modified(path) for path, _ in files]
    return all(changed is not None and time.time() - changed > ABANDONED_AFTER for changed in times)


def _begun(store: Store, base: str, files: list[tuple[str, Stat]]) -> float:
    """The time of the claim: from the number of its heartbeats, or, where that is later, from the time of the file."""
    try:
        beats = int(store.get(base + ".beat"))
    except (FileNotFoundError, ValueError):
        beats = 0
    last_beat = time.time() - (beats + 2) * heartbeat.beat_of(store)
    times = [changed for path, stat in files if ".claim" in path and (changed := changed_at(store, stat)) is not None]
    return max([last_beat, *times[:1]])  # the owner of an older claim with fewer heartbeats is gone with its host


def changed_at(store: Store, stat: Stat) -> float | None:
    """The time of the last write of a file, in seconds since 1970; None where its listing does not have that."""
    if isinstance(bare(store), LocalStore) and isinstance(stat.stamp, tuple):
        stamp: tuple[Any, ...] = stat.stamp  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        return float(stamp[3]) / 1e9
    return None


@dataclass(eq=False, slots=True)
class _Bucket:
    """A group of files: paths, total size, and time of the last write."""

    paths: list[str] = field(default_factory=list[str])
    size: int = 0
    changed: float = 0.0
    told: bool = True

    def add(self, path: str, size: int, changed: float | None) -> None:
        self.paths.append(path)
        self.size += size
        self.told = self.told and changed is not None
        self.changed = max(self.changed, changed or 0.0)

    def age(self, now: float) -> float | None:
        return max(0.0, now - self.changed) if self.told else None


class Survey:
    """A survey of all files of one store.

    stores: all layers, since a record in one names files in others. sizes: by base, the bytes of payloads according to their records; None
    for damaged records. taken: the claims. resumed: seconds for which resumable files are kept.
    """

    def __init__(
        self, store: Store, stores: Sequence[Store], sizes: Mapping[str, int | None], taken: ClaimStates, resumed: float | None = None
    ) -> None:
        self._store = store
        self._stores = stores
        self._sizes = sizes
        self._taken = taken
        self._resumed = RESUMABLE_FOR if resumed is None else resumed
        self._now = time.time()
        self._payloads: dict[str, dict[str, _Bucket]] = {}
        self._claims: dict[str, _Bucket] = {}
        self._partial: dict[str, _Bucket] = {}
        self._scratch: dict[str, _Bucket] = {}
        self._placing: dict[tuple[str, str], _Bucket] = {}
        self._others: dict[tuple[str, str], _Bucket] = {}

    def leftovers(self) -> Iterator[Leftover]:
        """Yield all leftovers of crashes."""
        self._look()
        yield from self._unnamed()
        yield from self._of_claims()
        yield from self._of_placing()
        yield from self._of_scratch()
        for (_, reason), bucket in self._others.items():
            yield Leftover("", reason, tuple(bucket.paths), bucket.size, bucket.age(self._now), moves=False)
        inner = bare(self._store)
        if isinstance(inner, LocalStore):
            yield from self._unfinished(inner)

    def _look(self) -> None:
        for prefix in ("", HIDDEN):
            for path, stat in extended(self._store).scan(prefix):
                if not path.startswith(trash_files.FOLDER + "/"):
                    self._sort(path, stat)

    def _sort(self, path: str, stat: Stat) -> None:
        changed = changed_at(self._store, stat)
        found = _PAYLOAD.fullmatch(path) or _PLACED_ITEMS.fullmatch(path)
        if found is not None:
            size = 0 if path.endswith(OUTPUT_SUFFIX) else stat.size  # uncounted, so that a payload alone has the size in its record
            self._payloads.setdefault(found["base"], {}).setdefault(found["token"], _Bucket()).add(path, size, changed)
            return
        bucket = self._bucket_of(path)
        if bucket is None:
            self._sort_other(path, stat, changed)
        else:
            bucket.add(path, stat.size, changed)

    def _bucket_of(self, path: str) -> _Bucket | None:
        """The group that the file at `path` belongs to, if any."""
        found = _CLAIM.fullmatch(path)
        if found is not None:
            return self._claims.setdefault(found["base"], _Bucket())
        found = _PARTIAL.fullmatch(path)
        if found is not None:
            rest = found["rest"]
            return self._partial.setdefault(f"{HIDDEN}/{rest}" if rest.startswith("placed/") else rest, _Bucket())
        found = _SCRATCH.fullmatch(path)
        if found is not None:
            return self._scratch.setdefault(_scratch_base(found), _Bucket())
        found = _PLACING.fullmatch(path)
        if found is not None:
            base = f"{PLACED}/{found['folder'] or ''}{found['name']}"
            return self._placing.setdefault((base, found["token"]), _Bucket())
        return None

    def _sort_other(self, path: str, stat: Stat, changed: float | None) -> None:
        if path.startswith(HANDED + "/"):
            name = path.removeprefix(HANDED + "/").partition(".")[0]
            if owners.is_dead_name(name):
                self._others.setdefault((name, HANDED_OVER), _Bucket()).add(path, stat.size, changed)
        elif (
            path.startswith((f"{HIDDEN}/reach/", f"{HIDDEN}/probe/")) and changed is not None and self._now - changed > trash_files.SETTLED
        ):
            self._others.setdefault(("", TRIAL), _Bucket()).add(path, stat.size, changed)

    # ---------------------------------------------------------------- payloads

    def _unnamed(self) -> Iterator[Leftover]:
        held = {path for store in self._stores for path in trash_files.restorable_files(store)}
        for base, tokens in self._payloads.items():
            if base in self._taken.live or self._is_plain(base, tokens):
                continue
            known = [trash_files.named_files(store, base) for store in self._stores]
            if None in known:
                continue
            named = {path for each in known for path in each or ()}
            begun = self._begun_folder(base)
            for token, bucket in tokens.items():
                if token in commit.uncertain_tokens:
                    continue
                left = _Bucket()
                for path in bucket.paths:
                    if path not in named and path not in held:
                        left.add(path, 0, None)
                if not left.paths:
                    continue
                yield from self._of_token(base, token, left.paths, bucket, begun)
        for base, bucket in self._partial.items():
            if base not in self._payloads and base not in self._taken.live:
                age = bucket.age(self._now)
                if self._is_over(base, age):
                    yield Leftover(base, CUT_OFF if base in self._sizes else OLD_ITEMS, tuple(bucket.paths), bucket.size, age)

    def _of_token(self, base: str, token: str, paths: list[str], bucket: _Bucket, begun: str | None) -> Iterator[Leftover]:
        age = bucket.age(self._now)
        size = bucket.size if len(paths) == len(bucket.paths) else sum(self._size_of(path) for path in paths)
        if begun is not None and all(path.startswith(begun + "/") for path in paths):
            notes = self._partial.get(base)
            if self._is_over(base, age):
                reason = CUT_OFF if base in self._sizes else OLD_ITEMS
                yield Leftover(base, reason, (*paths, *(notes.paths if notes else ())), size, age)
            return
        dead = base in self._taken.dead
        if dead or age is None or age > trash_files.SETTLED:
            yield Leftover(base, CUT_OFF if dead else UNNAMED, tuple(paths), size, age, sure=dead)

    def _size_of(self, path: str) -> int:
        found = self._store.stat(path)
        return 0 if found is None else found.size

    def _is_plain(self, base: str, tokens: Mapping[str, _Bucket]) -> bool:
        """Tell whether the files are surely those of the record: of one attempt, and of the same number of bytes."""
        size = self._sizes.get(base)
        return len(tokens) == 1 and size is not None and size == next(iter(tokens.values())).size and base not in self._partial

    def _begun_folder(self, base: str) -> str | None:
        """The folder of the items that the next attempt would resume from."""
        from persistable.records.items_in_progress import Unsealed

        if base not in self._partial:
            return None
        path = f"{HIDDEN}/partial/{base.removeprefix(HIDDEN + '/')}"
        data = self._store.get_many([f"{path}/begun.json"]).get(f"{path}/begun.json")
        begun = None if data is None else Unsealed.parse(path, data)
        return None if begun is None else begun.folder

    def _is_over(self, base: str, age: float | None) -> bool:
        """Tell whether no attempt resumes from leftovers of this age: the payload is stored, or they are too old."""
        return base in self._sizes or (age is not None and age > self._resumed)

    # ---------------------------------------------------------------- the rest

    def _of_claims(self) -> Iterator[Leftover]:
        for base, bucket in self._claims.items():
            if base in self._taken.dead:
                yield Leftover(base, CLAIM, tuple(bucket.paths), bucket.size, bucket.age(self._now), moves=False)

    def _of_placing(self) -> Iterator[Leftover]:
        for (base, token), bucket in self._placing.items():
            if base in self._taken.live or token in commit.uncertain_tokens:
                continue
            if self._may_be_committed(base, token):
                continue
            age, dead = bucket.age(self._now), base in self._taken.dead
            if dead or age is None or age > trash_files.SETTLED:
                yield Leftover(base, CUT_OFF if dead else UNNAMED, tuple(bucket.paths), bucket.size, age, sure=dead)

    def _may_be_committed(self, base: str, token: str) -> bool:
        """Tell whether that attempt has a record, so that the next load moves its files to their place."""
        data = self._store.get_many([base + SUFFIX]).get(base + SUFFIX)
        try:
            return data is not None and Record.parse(data).attempt_token == token
        except trash_files.UNREADABLE:
            return True

    def _of_scratch(self, here: bool = False) -> Iterator[Leftover]:
        for base, bucket in self._scratch.items():
            if base in self._taken.live or f"{PLACED}/{base.rpartition('/')[0]}" in self._taken.live:
                continue
            age = bucket.age(self._now)
            if self._is_over(base, age):
                reason = CHECKPOINTS if base in self._sizes else OLD_CHECKPOINTS
                yield Leftover(base, reason, tuple(bucket.paths), bucket.size, age, moves=not here, here=here)

    def elsewhere(self, folder: Path) -> Iterator[Leftover]:
        """Yield the checkpoints in `folder`, on this machine, that no attempt resumes: those of a store that keeps no files here."""
        self._scratch.clear()
        for root, _, names in os.walk(folder):
            for name in names:
                place = Path(root, name)
                found = _SCRATCH.fullmatch(f"{HIDDEN}/scratch/{place.relative_to(folder).as_posix()}")
                try:
                    stat = place.lstat()
                except OSError:
                    continue
                if found is not None:
                    self._scratch.setdefault(_scratch_base(found), _Bucket()).add(str(place), stat.st_size, stat.st_mtime)
        yield from self._of_scratch(here=True)

    def _unfinished(self, store: LocalStore) -> Iterator[Leftover]:
        """Yield the files of killed writes: paths of this machine, since a store does not list them."""
        for place, found in store.unfinished():
            inside = place.relative_to(store.root).as_posix()
            if inside.startswith(trash_files.FOLDER + "/"):
                continue
            age = self._now - found.st_mtime
            key = _OF_KEY.match(place.name)
            base = f"{place.parent.name}/{key[1]}" if key is not None else ""
            if base not in self._taken.live and (base in self._taken.dead or age > ABANDONED_AFTER or _is_of_dead(place)):
                yield Leftover(base, UNFINISHED, (str(place),), found.st_size, age, moves=False, here=True)


def _is_of_dead(place: Path) -> bool:
    """Tell whether it is a file from the creation of a claim whose process is gone."""
    if not place.name.startswith(".create."):
        return False
    try:
        return owners.is_dead(place.read_bytes())
    except OSError:
        return False


def _scratch_base(found: re.Match[str]) -> str:
    """The path prefix of the claim on the payload with these checkpoints."""
    return f"{PLACED}/{found['to']}" if "/" in found["to"] else f"{found['to']}/{found['digest']}"


def remove(store: Store, whole: Store, found: Sequence[Leftover], abandoned: Collection[str] = ()) -> None:
    """Delete leftovers that would be of no use in the trash. The caller holds the claims on their keys in `whole`, of which `store` is the
    layer with `found`, and releases them afterwards.

    abandoned: the path prefixes with a claim of a process that is gone.
    """
    stood_in = bare(store) is not bare(extended(whole).primary_store)
    for each in found:
        for path in each.paths:
            if each.here:
                with suppress(OSError):
                    os.unlink(path)
            elif each.reason != CLAIM or path.endswith((".beat", ".waits")):  # the caller's release removes the claims
                store.delete(path)
        if stood_in and each.reason == CLAIM:  # the claim is in another layer
            claim = claims.take_over(store, each.base, claims.current_frame(), silent=each.base in abandoned)
            if claim is not None:
                claim.release()


def key_of(base: str) -> Key | None:
    """The key with this path prefix; None for a custom path."""
    try:
        return Key.parse(base)
    except ValueError:
        return None
