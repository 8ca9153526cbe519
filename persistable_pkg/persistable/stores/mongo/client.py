"""The way of a store to its collection: a client of the driver for each server and process; calls again where the server went away."""

from __future__ import annotations

import atexit
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConfigurationError, PyMongoError

from persistable.errors import StoreError
from persistable.params.masking import masked
from persistable.params.secret import Secret, revealed
from persistable.stores.mongo.address import Address
from persistable.stores.mongo.trouble import explained, kind_of

_T = TypeVar("_T")
Document = dict[str, Any]
PIECE = 4 << 20
"""Bytes of one chunk of a large item, and of an item in its document, at most; MongoDB's limit is 16 MB."""
_SELECTING = 5000
"""Milliseconds for which the driver looks for a server, unless the URL says otherwise."""
_LONGEST_PAUSE = 1.0

_THREADS = 4


class Place(NamedTuple):
    """The collections of a store: its items, and those of GridFS for large ones."""

    items: Collection[Document]
    files: Collection[Document]
    chunks: Collection[Document]


_clients: dict[object, Client] = {}
_lock = threading.Lock()
# what a process was forked with: kept, because its threads are those of the parent
_inherited: list[object] = []


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _inherited.append(dict(_clients))
    _clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _close_all() -> None:
    for client in list(_clients.values()):
        client.close()


class Client:
    """A client of this process, shared by the stores of one server and user."""

    def __init__(self, address: Address, password: str | None) -> None:
        options: dict[str, Any] = (
            {"serverSelectionTimeoutMS": _SELECTING} if "serverselectiontimeoutms" not in address.server.lower() else {}
        )
        if address.user is not None:
            options["username"] = address.user
        if password is not None:
            options["password"] = password
        self._client: MongoClient[Document] = MongoClient(address.server, appname="persistable", connect=False, **options)
        self._threads: ThreadPoolExecutor | None = None
        self.is_closed = False
        self.reached = False
        self.known: set[tuple[str, str]] = set()
        """Collections that were seen to be those of a store."""

    def database(self, name: str) -> Database[Document]:
        """The database, read from and written to so that what was done is seen by all, and stays."""
        return self._client.get_database(name, read_preference=ReadPreference.PRIMARY, write_concern=WriteConcern("majority"))

    def place(self, database: str, collection: str) -> Place:
        """The collections of a store."""
        found, large = self.database(database), f"{collection}.large"
        return Place(found[collection], found[f"{large}.files"], found[f"{large}.chunks"])

    def threads(self) -> ThreadPoolExecutor:
        """Threads for what goes on while the caller works."""
        with _lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="persistable-mongo")
            return self._threads

    def close(self) -> None:
        self.is_closed = True
        self._client.close()


class Connection:
    """The way to a collection. of_store: the collection has to be one of a store.

    timeout: seconds for which a server that went away is waited for.
    """

    def __init__(self, address: Address, password: str | Secret | None, timeout: float, of_store: bool = True) -> None:
        self._of_store = of_store
        self._address = address
        self._password = password
        self._timeout = timeout
        self._held: tuple[int, Client] | None = None
        self.was_reached = False

    @property
    def client(self) -> Client:
        held = self._held
        if held is None or held[0] != os.getpid() or held[1].is_closed:
            held = self._held = (os.getpid(), self._shared())
            held[1].reached = held[1].reached or self.was_reached
        return held[1]

    def _shared(self) -> Client:
        password = revealed(self._password) if self._password is not None else None
        identity = (self._address.server, self._address.user, password)
        with _lock:
            found = _clients.get(identity)
            if found is None or found.is_closed:
                try:
                    found = _clients[identity] = Client(self._address, password)
                except (ConfigurationError, PyMongoError) as error:
                    url = self._address.url
                    raise StoreError(f"{url}: {masked(' '.join(str(error).split()))}; correct its URL", url=url, path="") from None
            return found

    @property
    def reached(self) -> bool:
        """Tell whether the server was reached, by this process or the one that the store comes from."""
        return self.was_reached or (self._held is not None and self._held[1].reached)

    def close(self) -> None:
        if self._held is not None and self._held[0] == os.getpid():
            self._held[1].close()
        self._held = None

    def do(self, work: Callable[[Place], _T], path: str, *, writing: bool = False) -> _T:
        """`work` with the collections, again where the server went away: it has to see to it that this does no harm."""
        deadline, pause = 0.0, 0.05
        while True:
            client = self.client
            try:
                place = client.place(self._address.database, self._address.collection)
                if self._of_store:
                    self._check(client, place.items)
                done = work(place)
                client.reached = True
                return done
            except PyMongoError as error:
                now = time.monotonic()
                deadline = deadline or now + self._timeout
                passing = kind_of(error) == "unreachable"
                if client.is_closed and self._held is not None and now < deadline:
                    continue  # by another store of this process
                if not passing or not client.reached or now + pause > deadline:
                    raise explained(error, self._address.url, path, writing) from (None if passing else error)
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _check(self, client: Client, items: Collection[Document]) -> None:
        """Raise StoreError if the collection has documents that are none of a store; one is looked at, once in a process."""
        place = (self._address.database, self._address.collection)
        if place in client.known:
            return
        found = items.find_one({}, {"_id": 1, "size": 1, "stamp": 1})
        client.reached = True
        if found is not None and not (isinstance(found["_id"], str) and "size" in found and "stamp" in found):
            url = self._address.url
            raise StoreError(f"{url}: the collection there is not one of a store; name another in the URL", url=url, path="")
        client.known.add(place)
