"""Stores that may only be read: a shared layer, an archive, a bucket of another owner."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, NoReturn

from persistable.errors import StoreReadOnly
from persistable.stores.base import BaseStore, Bytes, Store, check_path
from persistable.stores.forwarding import ForwardingStore


class Unwritable(BaseStore):
    """The base of read-only stores: every call that would change something raises StoreReadOnly, with the reason `why`."""

    why: str
    """The reason why nothing is changed here, and the alternative."""

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        self._refuse(path)

    def create(self, path: str, data: Bytes) -> bool:
        self._refuse(path)

    def put(self, path: str, data: Bytes) -> None:
        self._refuse(path)

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        for path in items:
            self._refuse(path)

    def delete(self, path: str) -> bool:
        self._refuse(path)

    def _refuse(self, path: str) -> NoReturn:
        check_path(path)
        raise StoreReadOnly(f"{path} cannot be changed in {self.url}: {self.why}", url=self.url, path=path)


class ReadOnlyStore(Unwritable, ForwardingStore):
    """A read-only view of a store: every call that would change something raises StoreReadOnly."""

    pickled_options = BaseStore.pickled_options
    # it is a single store, even over layers, and has none of the wrapped store's optional calls that write
    batches, adopts, layers, signer = BaseStore.batches, BaseStore.adopts, BaseStore.layers, BaseStore.signer
    create_many, create_fresh, change_many = BaseStore.create_many, BaseStore.create_fresh, BaseStore.change_many
    new_file, adopt = BaseStore.new_file, BaseStore.adopt
    heal, clear_temporary, clear_sources = BaseStore.heal, BaseStore.clear_temporary, BaseStore.clear_sources

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        how, mend = ("readonly=True", "open it without") if self.trust is None else ("trust= and without sign=", "give the key to sign by")
        self.why = f"it was opened with {how}; {mend}"

    @property
    def primary_store(self) -> Store:
        return self

    @property
    def deciding_store(self) -> Store:
        return self

    def info(self) -> dict[str, Any]:
        """Facts about this store, with the keys it trusts, if it requires signatures."""
        return {**super().info(), **({"trust": list(self.trust)} if self.trust is not None else {})}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.store,), self.pickled_options()
