"""The contract of commits and claims, as tests: part of `StoreContract`."""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from persistable import Persistable
from persistable.errors import PersistableError, StoreUnavailable
from persistable.records.items_in_progress import base_of
from persistable.records.record import SUFFIX
from persistable.stores.base import Store, extended
from persistable.stores.reach import in_memory, is_shared

_DAMAGED = (b"", b"{", b"[]", b"\xff\xfe" * 40, b'{"pid": "x"}', b"x" * 300_000)
_LONG = ("/".join(["x" * 250] * 5), "/".join(["\u00e9" * 100] * 6), "/".join(["y" * 50] * 100))


class _Bytes(Persistable[bytes, None]):
    payload_name = "contract-bytes"
    made: ClassVar[bytes] = b""

    def _generate_payload(self, **_: Any) -> bytes:
        return self.made


class _Items(Persistable[Any, None]):
    payload_name = "contract-items"

    def _generate_payload(self, **_: Any) -> Iterator[tuple[int, int]]:
        yield from enumerate(range(3))


class CommitContract:
    """The tests, see `StoreContract`."""

    shared_between_processes: ClassVar[bool] = True

    @pytest.mark.parametrize("cut_short", [StoreUnavailable, KeyboardInterrupt])
    def test_a_commit_whose_answer_is_lost_is_never_undone(
        self, store: Store, cut_short: type[BaseException], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put = type(store).put

        def lost(own: Any, path: str, data: Any) -> None:
            put(own, path, data)
            if path.endswith(SUFFIX):
                raise StoreUnavailable("the answer was lost", url="", path=path) if cut_short is StoreUnavailable else cut_short

        for made in (b"old" * 40_000, b"new" * 40_000):  # the first time, and over a stored payload
            monkeypatch.setattr(_Bytes, "made", made)
            with monkeypatch.context() as patched, suppress(cut_short):
                patched.setattr(type(store), "put", lost)
                _Bytes(store).generate()
            assert _Bytes(store).load().payload == made

    @pytest.mark.parametrize("suffix", [".claim", ".beat", ".failed.json"])
    def test_a_damaged_small_file_blocks_no_key(self, store: Store, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("persistable.records.claim_watch._GRACE", 0.01)
        node = _Bytes(store)
        for damaged in _DAMAGED:
            store.put(node.key.path + suffix, damaged)
            assert node.status.name in ("ABSENT", "RUNNING", "FAILED")
            assert _Bytes(store).payload == b""
            assert node.delete()

    def test_a_damaged_note_of_items_under_way_blocks_no_key(self, store: Store) -> None:
        node = _Items(store)
        for damaged in _DAMAGED:
            store.put(f"{base_of(node.key)}/begun.json", damaged)
            assert len(_Items(store).payload) == 3
            assert node.delete()

    @pytest.mark.parametrize("path", _LONG)
    def test_a_name_that_is_too_long_is_refused_or_kept_as_it_is(self, store: Store, path: str) -> None:
        try:
            store.put(path, b"1")
        except PersistableError:
            with pytest.raises(PersistableError):
                store.create(path, b"2")
            with pytest.raises(PersistableError), store.write(path) as file:
                file.write(b"3")
            assert list(store.list()) == []
        else:
            assert store.get(path) == b"1"
            assert list(store.list()) == [path]

    def test_it_says_itself_whether_it_is_in_the_memory_of_this_process(self, store: Store) -> None:
        declared = extended(store).in_memory
        assert declared is None or type(declared) is bool
        assert in_memory(pickle.loads(pickle.dumps(store))) == in_memory(store)
        if self.shared_between_processes:
            assert not in_memory(store)
            assert is_shared(store)

    @pytest.mark.skipif(os.name == "nt", reason="there are no modes")
    def test_its_local_files_are_as_open_to_others_as_the_umask_says(self, store: Store) -> None:
        before = os.umask(0o002)
        try:
            store.put("modes/put", b"1")
            store.create("modes/created", b"2")
            store.put_many({"modes/first": b"3", "modes/second": b"4"})
            with store.write("modes/written") as file:
                file.write(bytes(100_000))
            _Bytes(store).generate()
            places = [place for path in store.list() if (place := store.local_path(path)) is not None]
            assert {path: oct(stat.S_IMODE(path.stat().st_mode)) for path in places} == dict.fromkeys(places, oct(0o664))
            assert {oct(stat.S_IMODE(path.parent.stat().st_mode) & 0o777) for path in places} <= {oct(0o775)}
        finally:
            os.umask(before)
