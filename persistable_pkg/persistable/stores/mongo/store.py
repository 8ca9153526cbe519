"""Bytes at paths in a collection of a MongoDB database.

An item is a document whose ``_id`` is its path, so that the server's own unique index makes creation exclusive, and each item is replaced
whole. An item too large for a document goes to GridFS first, under an id that begins with the path; the document then names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from persistable.errors import StoreError, StoreUnavailable
from persistable.params.secret import Secret
from persistable.stores.base import Bytes, Stat, byte_view, check_path, check_paths
from persistable.stores.chunked import ChunkedUpload, random_number
from persistable.stores.database import LAST, DatabaseStore, Item, portions
from persistable.stores.mongo.address import PIECE, address_of

if TYPE_CHECKING:
    from persistable.stores.mongo.client import Document, Place

_NAMES_AT_ONCE = 10_000


class MongoStore(DatabaseStore["Body"]):
    """A collection of a MongoDB database, and its GridFS for items of more than 4 MB. They are made at the first write.

    The URL is the driver's, with the collection behind the database: ``mongodb://host/database/collection?replicaSet=rs0``;
    ``mongodb+srv://`` as well. ``password`` takes a `Secret`, or a text, which is pickled with the store, as is one in the URL: give it so
    only if other processes may get it. `url` never has it. Reads go to the primary and writes to the majority, with any URL.

    ``timeout``: seconds to wait for a server that was reached before and is no longer reachable.
    """

    chunk = PIECE
    not_pickled = ("_link", "_do")

    def __init__(self, url: str, *, password: str | Secret | None = None, timeout: float = 20.0) -> None:
        self._address = address_of(url)
        self._password = password if password is not None else self._address.password
        self._address = self._address._replace(password=None)
        self.timeout = timeout
        self._reset()

    @property
    def url(self) -> str:
        return self._address.url

    def _reset(self) -> None:
        from persistable.stores.mongo.client import Connection

        self._link = link = Connection(self._address, self._password, self.timeout)
        self._do = link.do

    # --- reading

    def _items(self, paths: Iterable[str]) -> dict[str, Item]:
        found = self._documents(paths, ("size", "data", "body"))
        return {each["_id"]: Item(each["size"], each["data"], each["body"]) for each in found}

    def _chunks(self, path: str, body: Any, start: int, stop: int) -> Sequence[bytes]:
        def look(place: Place) -> Sequence[bytes]:
            found = place.chunks.find({"files_id": body, "n": {"$gte": start, "$lt": stop}}, {"n": 1, "data": 1}).sort("n", 1)
            return [chunk["data"] for chunk in found]

        return self._do(look, path)

    def _documents(self, paths: Iterable[str], fields: Iterable[str]) -> Iterator[Document]:
        wanted = check_paths(dict.fromkeys(paths))
        for first in range(0, len(wanted), _NAMES_AT_ONCE):
            some = wanted[first : first + _NAMES_AT_ONCE]

            def look(place: Place, some: Sequence[str] = some) -> Sequence[Document]:
                if len(some) == 1:
                    found = place.items.find_one({"_id": some[0]}, dict.fromkeys(fields, 1))
                    return [] if found is None else [found]
                return list(place.items.find({"_id": {"$in": list(some)}}, dict.fromkeys(fields, 1)))

            yield from self._do(look, wanted[first])

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        return {found["_id"]: Stat(found["size"], found["stamp"]) for found in self._documents(paths, ("size", "stamp"))}

    def _page(self, first: str, last: str, most: int) -> Sequence[tuple[str, Stat]]:
        def look(place: Place) -> Sequence[tuple[str, Stat]]:
            found = place.items.find({"_id": {"$gt": first, "$lt": last}}, {"size": 1, "stamp": 1}).sort("_id", 1).limit(most)
            return [(each["_id"], Stat(each["size"], each["stamp"])) for each in found]

        return self._do(look, "")

    # --- writing

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        documents = self._made(items)
        large = [document for document in documents if document["body"] is not None]
        for some in portions([each for each in documents if each["body"] is None], _size_of):
            self._put_small(some)
        for document in large:
            self._replace(document)

    def _put_small(self, documents: Sequence[Document]) -> None:
        """Put small items in one request, after one that asks which of them were large before; those are put one by one."""
        from pymongo import ReplaceOne

        paths = [document["_id"] for document in documents]

        def look(place: Place) -> set[str]:
            return {found["_id"] for found in place.items.find({"_id": {"$in": paths}, "body": {"$ne": None}}, {"_id": 1})}

        def work(place: Place) -> None:
            place.items.bulk_write([ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in alone], ordered=False)

        were_large = self._do(look, paths[0])
        alone = [document for document in documents if document["_id"] not in were_large]
        if alone:
            self._do(work, paths[0], writing=True)
        for document in documents:
            if document["_id"] in were_large:
                self._replace(document)

    def _replace(self, document: Document) -> None:
        """Put one document, and remove the large item of the document that it replaces."""
        self._check_large(document)

        def work(place: Place) -> Document | None:
            return place.items.find_one_and_replace({"_id": document["_id"]}, document, {"body": 1}, upsert=True)

        before = self._do(work, document["_id"], writing=True)
        if before is not None and before["body"] not in (None, document["body"]):
            self._drop([before["body"]])

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        documents = self._made(items)
        created = set[str]()
        for some in portions(documents, _size_of):
            created |= self._create(some)
        self._drop([each["body"] for each in documents if each["body"] is not None and each["_id"] not in created])
        return created

    def _create(self, documents: Sequence[Document]) -> set[str]:
        from pymongo.errors import BulkWriteError

        from persistable.stores.mongo.errors import duplicates

        for document in documents:
            self._check_large(document)
        stamps = {document["_id"]: document["stamp"] for document in documents}
        tries = 0

        def work(place: Place) -> set[str]:
            nonlocal tries
            tries += 1
            try:
                place.items.insert_many(documents, ordered=False)
                there = set[int]()
            except BulkWriteError as error:
                found = duplicates(error)
                if found is None:
                    raise
                there = found
            created = {document["_id"] for index, document in enumerate(documents) if index not in there}
            if tries > 1 and there:  # a retry: the previous request may have succeeded, and its answer been lost
                rest = place.items.find({"_id": {"$in": list(stamps.keys() - created)}}, {"stamp": 1})
                created |= {each["_id"] for each in rest if each["stamp"] == stamps[each["_id"]]}
            return created

        return self._do(work, documents[0]["_id"], writing=True)

    def _made(self, items: Mapping[str, Bytes]) -> Sequence[Document]:
        """The documents of these items; the bytes of large ones are sent to GridFS."""
        check_paths(items)
        return [self._document(path, byte_view(data)) for path, data in items.items()]

    def _document(self, path: str, data: memoryview) -> Document:
        if data.nbytes <= PIECE:
            return new_document(path, data.nbytes, data=bytes(data))

        body = Body(self, path)
        body.write(data)
        self._finish(body)
        return new_document(path, data.nbytes, body=body.id)

    def upload(self, path: str) -> Body:
        return Body(self, path)

    def start(self, body: str, number: int, path: str, data: bytes) -> Future[None]:
        """Send one chunk of a large item in the background."""
        return self.threads().submit(self._send, body, number, path, data)

    def _send(self, body: str, number: int, path: str, data: bytes) -> None:
        from pymongo.errors import DuplicateKeyError

        def work(place: Place) -> None:
            if number == 0:
                place.chunks.create_index([("files_id", 1), ("n", 1)], unique=True)
            with suppress(DuplicateKeyError):  # sent before, by a request whose answer was lost
                place.chunks.insert_one({"files_id": body, "n": number, "data": data})

        self._do(work, path, writing=True)

    def _finish(self, body: Body) -> None:
        """Send the rest, and write the file document of GridFS once all chunks are there."""
        body.flush_all()
        file = {"_id": body.id, "length": body.size, "chunkSize": PIECE, "uploadDate": datetime.now(UTC), "filename": body.place}
        self._do(lambda place: place.files.replace_one({"_id": body.id}, file, upsert=True), body.place, writing=True)
        body.is_committing = True

    def commit(self, body: Body) -> None:
        self._finish(body)
        self._replace(new_document(body.place, body.size, body=body.id))

    def abort(self, body: Body, error: BaseException) -> None:
        if body.count and not body.is_committing:  # else a document may name its bytes
            with suppress(StoreError):
                body.settle()
            self._drop([body.id])

    def _check_large(self, document: Document) -> None:
        """Raise StoreUnavailable for a document whose chunks are missing: lost, or removed as leftovers of a killed writer."""
        body, path = document["body"], document["_id"]
        if body is None:
            return
        count = self._do(lambda place: place.chunks.count_documents({"files_id": body}), path)
        if count != -(-document["size"] // PIECE):
            message = f"{self.url} ({path}): a part of it was lost meanwhile; write it again"
            raise StoreUnavailable(message, url=self.url, path=path)

    def _drop(self, bodies: Iterable[str]) -> None:
        """Remove large items that no document names. Where that fails, `clear_temporary` does so later."""
        gone = list(bodies)
        if gone:
            with suppress(StoreError):
                self._do(lambda place: _remove(place, gone), "", writing=True)

    def delete(self, path: str) -> bool:
        check_path(path)

        def work(place: Place) -> Document | None:
            return place.items.find_one_and_delete({"_id": path}, {"body": 1})

        before = self._do(work, path, writing=True)
        if before is not None and before["body"] is not None:
            self._drop([before["body"]])
        return before is not None

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        gone = check_paths(delete)
        for stage in stages:
            self.put_many(stage)
        if not gone:
            return
        bodies = [found["body"] for found in self._documents(gone, ("body",)) if found["body"] is not None]

        def work(place: Place) -> None:
            place.items.delete_many({"_id": {"$in": gone}})

        self._do(work, gone[0], writing=True)
        self._drop(bodies)

    def clear_temporary(self, path: str) -> None:
        def work(place: Place) -> None:
            inside = {"$gte": path, "$lt": path + LAST}
            found: set[str] = set(place.chunks.distinct("files_id", {"files_id": inside}))
            used = {each["body"] for each in place.items.find({"_id": inside, "body": {"$ne": None}}, {"body": 1})}
            _remove(place, list(found - used))

        self._do(work, check_path(path), writing=True)


class Body(ChunkedUpload):
    """An upload to GridFS.

    id: that of the file. It begins with the path, so that leftovers of a killed writer can be found.
    """

    def __init__(self, store: MongoStore, path: str) -> None:
        self.id = f"{path}\n{random_number():016x}"
        super().__init__(path, PIECE, lambda number, data: store.start(self.id, number, path, data))


def _remove(place: Place, bodies: list[str]) -> None:
    """Remove files, and chunks of files that were never finished."""
    if bodies:
        place.files.delete_many({"_id": {"$in": bodies}})
        place.chunks.delete_many({"files_id": {"$in": bodies}})


def new_document(path: str, size: int, *, data: bytes | None = None, body: str | None = None) -> Document:
    """The document of an item, with a random stamp."""
    return {"_id": path, "size": size, "stamp": random_number(), "data": data, "body": body}


def _size_of(document: Document) -> int:
    return len(document["data"] or b"")
