"""Documents of a MongoDB collection as inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from persistable.families.sources.inputs import Values
from persistable.families.sources.rows import Table, names_of, plain
from persistable.params.secret import Secret
from persistable.stores.mongo.address import address_of

if TYPE_CHECKING:
    from persistable.stores.mongo.client import Connection, Document, Place

_HEX = 24
"""Digits of an id that the driver has drawn."""


class MongoDocuments(Table):
    """A collection.

    key: the field, or fields, that tell documents apart. columns: the fields of the payload, a dict; one name: its value. Default: all but
    the key and ``_id``. stamp: a field that changes with each change of a document; without one, all are read at each look.
    password, timeout: as for `MongoStore`.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | Sequence[str],
        columns: str | Sequence[str] | None = None,
        stamp: str | None = None,
        password: str | Secret | None = None,
        timeout: float = 20.0,
    ) -> None:
        address = address_of(url)
        self._password = password if password is not None else address.password
        self._address = address._replace(password=None)
        self.url = address.url
        self.key = names_of(key) or ()
        self.columns = columns
        self._columns = names_of(columns)
        self._is_one = isinstance(columns, str)
        self._stamp = stamp
        self._timeout = timeout
        self._held: Connection | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}

    def _connection(self) -> Connection:
        from persistable.stores.mongo.client import Connection

        if self._held is None:
            self._held = Connection(self._address, self._password, self._timeout, of_store=False)
        return self._held

    def stamps(self) -> Iterator[tuple[Values, Any]]:
        wanted = dict.fromkeys([*self.key, *([self._stamp] if self._stamp else [])], 1)

        def look(place: Place) -> list[tuple[Values, Any]]:
            found = place.items.find({}, wanted if "_id" in wanted else {**wanted, "_id": 0}).sort([(name, 1) for name in self.key])
            return [(self._values(document), self._stamp_in(document)) for document in found]

        yield from self._connection().do(look, "")

    def rows(self, wanted: Sequence[Values]) -> Iterator[tuple[Values, Any, Any]]:
        names = dict.fromkeys([*self.key, *(self._columns or ()), *([self._stamp] if self._stamp else [])], 1)
        asked = None if self._columns is None else names if "_id" in names else {**names, "_id": 0}

        def look(place: Place) -> list[tuple[Values, Any, Any]]:
            found = place.items.find(_query(self.key, wanted), asked)
            return [(self._values(document), self._stamp_in(document), self._payload(document)) for document in found]

        yield from self._connection().do(look, "")

    def _values(self, document: Document) -> Values:
        return tuple(_plain(document.get(name)) for name in self.key)

    def _stamp_in(self, document: Document) -> Any:
        return None if self._stamp is None else _plain(document.get(self._stamp))

    def _payload(self, document: Document) -> Any:
        if self._is_one and self._columns:
            return _plain(document.get(self._columns[0]))
        names = self._columns or [name for name in document if name not in (*self.key, "_id")]
        return {name: _plain(document.get(name)) for name in names}


def _query(key: Sequence[str], wanted: Sequence[Values]) -> dict[str, Any]:
    if len(key) == 1:
        return {key[0]: {"$in": [each for (value,) in wanted for each in _spellings(value)]}}
    return {"$or": [{name: {"$in": _spellings(value)} for name, value in zip(key, values, strict=True)} for values in wanted]}


def _spellings(value: Any) -> list[Any]:
    """The value as a document may have it: an id drawn by the driver is given as its digits."""
    from bson import ObjectId

    return [value, ObjectId(value)] if isinstance(value, str) and len(value) == _HEX and ObjectId.is_valid(value) else [value]


def _plain(value: Any) -> Any:
    """A value of BSON as one of Python."""
    from bson import Binary, Decimal128, Int64, ObjectId

    if isinstance(value, dict):
        return {name: _plain(each) for name, each in cast("Document", value).items()}
    if isinstance(value, list):
        return [_plain(each) for each in cast("Sequence[Any]", value)]
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, Int64):
        return int(value)
    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, Binary):
        return value.as_uuid() if value.subtype == 4 else bytes(value)
    return plain(value)
