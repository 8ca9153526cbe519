"""The contract of listings, as tests: part of `StoreContract`."""

from __future__ import annotations

from persistable.stores.base import Store
from persistable.testing.store_access import StoreAccess


class ListingContract(StoreAccess):
    """The tests, see `StoreContract`."""

    def test_listing_is_complete(self, store: Store) -> None:
        names = {f"many/{number % 7}/{number:05d}" for number in range(self.many)}
        store.put_many({name: name.encode() for name in names})
        listed = list(store.list("many"))
        assert len(listed) == len(names)
        assert set(listed) == names
        assert set(store.list()) == names

    def test_a_scan_is_a_listing_with_stats(self, store: Store) -> None:
        for number, path in enumerate(("a/1", "a/b/2", "ab/3", "c", ".persistable/x", ".persistable/deep/y")):
            self.plant(store, path, b"x" * number)
        store.put_many({f"many/{number}": b"many" * number for number in range(20)})
        store.put("many/3", b"changed")
        store.delete("many/4")
        for prefix in ("", "a", "many", ".persistable", ".persistable/deep", "c", "nowhere"):
            scanned = list(store.scan(prefix))
            assert sorted(path for path, _ in scanned) == sorted(store.list(prefix))
            assert dict(scanned) == {path: store.stat(path) for path, _ in scanned}
        assert {path: found.size for path, found in store.scan("a")} == {"a/1": 0, "a/b/2": 1}
        assert dict(store.scan("many"))["many/3"].size == 7

    def test_a_scan_survives_changes_made_meanwhile(self, store: Store) -> None:
        names = {f"a/{number}" for number in range(30)}
        store.put_many(dict.fromkeys(names, b"x"))
        seen: set[str] = set()
        for path, _ in store.scan("a"):
            seen.add(path)
            if len(seen) == 1:
                for other in names - {path}:
                    store.delete(other)
        assert seen <= names
        assert list(store.scan("a")) == [(path, store.stat(path)) for path in seen if store.exists(path)]

    def test_the_hidden_folder_is_listed_only_by_name(self, store: Store) -> None:
        for path in (".persistable/x", ".persistable/deep/y", ".persistable-not/z", "a/.persistable/w"):
            self.plant(store, path, b"1")
        assert sorted(store.list()) == [".persistable-not/z", "a/.persistable/w"]
        assert sorted(store.list(".persistable")) == [".persistable/deep/y", ".persistable/x"]
        assert list(store.list(".persistable/deep")) == [".persistable/deep/y"]
        assert store.get(".persistable/x") == b"1"

    def test_a_listing_survives_changes_made_meanwhile(self, store: Store) -> None:
        for number in range(30):
            self.plant(store, f"a/{number}", b"")
        seen: set[str] = set()
        for path in store.list("a"):
            seen.add(path)
            store.delete(path)
            store.put(f"b/{len(seen)}", b"")
        assert seen == {f"a/{number}" for number in range(30)}
