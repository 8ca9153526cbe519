"""The connection of a store to its collection: one client of the driver per server and process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConfigurationError, PyMongoError

from persistable.errors import StoreError
from persistable.params.masking import masked
from persistable.params.secret import Secret, revealed
from persistable.stores.database import DatabaseConnector, Server
from persistable.stores.mongo.address import Address
from persistable.stores.mongo.errors import explained, kind_of

_T = TypeVar("_T")
Document = dict[str, Any]
_SELECTING = 5000
"""Milliseconds for which the driver looks for a server, unless the URL has another value."""


class Place(NamedTuple):
    """The collections of a store: its items, and those of GridFS for large ones."""

    items: Collection[Document]
    files: Collection[Document]
    chunks: Collection[Document]


class Client(Server):
    """A client of this process, shared by the stores of one server and user."""

    name = "mongo"

    def __init__(self, address: Address, password: str | None) -> None:
        super().__init__()
        options: dict[str, Any] = (
            {"serverSelectionTimeoutMS": _SELECTING} if "serverselectiontimeoutms" not in address.server.lower() else {}
        )
        if address.user is not None:
            options["username"] = address.user
        if password is not None:
            options["password"] = password
        self._client: MongoClient[Document] = MongoClient(address.server, appname="persistable", connect=False, **options)
        self.known: set[tuple[str, str]] = set()
        """Collections that were checked to be those of a store."""

    def database(self, name: str) -> Database[Document]:
        """The database, with reads from the primary and writes to the majority, so that writes are seen by all and durable."""
        return self._client.get_database(name, read_preference=ReadPreference.PRIMARY, write_concern=WriteConcern("majority"))

    def place(self, database: str, collection: str) -> Place:
        """The collections of a store."""
        found, large = self.database(database), f"{collection}.large"
        return Place(found[collection], found[f"{large}.files"], found[f"{large}.chunks"])

    def close(self) -> None:
        self.is_closed = True
        self._client.close()


class Connection(DatabaseConnector[Client]):
    """The link to a collection, with retries. of_store: the collection has to be one of a store."""

    trouble = PyMongoError

    def __init__(self, address: Address, password: str | Secret | None, timeout: float, of_store: bool = True) -> None:
        super().__init__(address.url, timeout)
        self._of_store = of_store
        self._address = address
        self._password = password

    def _connect(self) -> tuple[object, Callable[[], Client]]:
        password = revealed(self._password) if self._password is not None else None
        return (self._address.server, self._address.user, password), partial(self._client, password)

    def _client(self, password: str | None) -> Client:
        try:
            return Client(self._address, password)
        except (ConfigurationError, PyMongoError) as error:
            url = self._address.url
            raise StoreError(f"{url}: {masked(' '.join(str(error).split()))}; correct its URL", url=url, path="") from None

    def do(self, work: Callable[[Place], _T], path: str, *, writing: bool = False) -> _T:
        """Do `work` with the collections, again where the server became unreachable: `work` has to tolerate a repetition."""

        def act(client: Client) -> _T:
            place = client.place(self._address.database, self._address.collection)
            if self._of_store:
                self._check(client, place.items)
            done = work(place)
            client.reached = True
            return done

        return self.call_with_retries(act, path, writing)

    def _at_once(self, server: Client, error: Exception) -> bool:
        return server.is_closed and self._held is not None  # closed by another store of this process

    def _passes(self, error: Exception) -> bool:
        return kind_of(cast("PyMongoError", error)) == "unreachable"

    def _explained(self, error: Exception, path: str, writing: bool) -> StoreError:
        return explained(cast("PyMongoError", error), self._url, path, writing)

    def close(self) -> None:
        super().close()
        self._held = None

    def _check(self, client: Client, items: Collection[Document]) -> None:
        """Raise StoreError if the collection has foreign documents; one document is checked, once per process."""
        place = (self._address.database, self._address.collection)
        if place in client.known:
            return
        found = items.find_one({}, {"_id": 1, "size": 1, "stamp": 1})
        client.reached = True
        if found is not None and not (isinstance(found["_id"], str) and "size" in found and "stamp" in found):
            url = self._address.url
            raise StoreError(f"{url}: the collection there is not one of a store; name another in the URL", url=url, path="")
        client.known.add(place)
