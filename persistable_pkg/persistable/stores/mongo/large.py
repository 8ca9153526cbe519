"""Large items of a collection, in GridFS: sent before the document that names them, read in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime

from pymongo.errors import DuplicateKeyError

from persistable.errors import StoreError, StoreUnavailable
from persistable.stores.chunked import ChunkedUpload, random_number
from persistable.stores.database import LAST
from persistable.stores.mongo.address import PIECE
from persistable.stores.mongo.client import Connection, Document, Place


class LargeItems:
    """The large items of one collection. url: that of the store, for errors."""

    def __init__(self, connection: Connection, url: str) -> None:
        self._connection = connection
        self._do = connection.do
        self._url = url

    def chunks(self, path: str, body: str, start: int, stop: int) -> Sequence[bytes]:
        """The chunks of those numbers that are there."""

        def look(place: Place) -> Sequence[bytes]:
            found = place.chunks.find({"files_id": body, "n": {"$gte": start, "$lt": stop}}, {"n": 1, "data": 1}).sort("n", 1)
            return [chunk["data"] for chunk in found]

        return self._do(look, path)

    def upload(self, path: str) -> Body:
        """Bytes on their way to GridFS."""
        return Body(self, path)

    def start(self, body: str, number: int, path: str, data: bytes) -> Future[None]:
        """Send one chunk while the caller goes on."""
        return self._connection.server.threads().submit(self._send, body, number, path, data)

    def _send(self, body: str, number: int, path: str, data: bytes) -> None:
        def work(place: Place) -> None:
            if number == 0:
                place.chunks.create_index([("files_id", 1), ("n", 1)], unique=True)
            with suppress(DuplicateKeyError):  # sent before, by a request whose answer was lost
                place.chunks.insert_one({"files_id": body, "n": number, "data": data})

        self._do(work, path, writing=True)

    def finish(self, body: Body) -> None:
        """Note the file, as GridFS has it, when all its chunks are there."""
        body.flush_all()
        file = {"_id": body.id, "length": body.size, "chunkSize": PIECE, "uploadDate": datetime.now(UTC), "filename": body.place}
        self._do(lambda place: place.files.replace_one({"_id": body.id}, file, upsert=True), body.place, writing=True)
        body.is_committing = True

    def check(self, document: Document) -> None:
        """Raise StoreUnavailable for a document whose large item was lost meanwhile, or taken for that of a dead writer."""
        body, path = document["body"], document["_id"]
        if body is None:
            return
        count = self._do(lambda place: place.chunks.count_documents({"files_id": body}), path)
        if count != -(-document["size"] // PIECE):
            message = f"{self._url} ({path}): a part of it was lost meanwhile; write it again"
            raise StoreUnavailable(message, url=self._url, path=path)

    def abort(self, body: Body) -> None:
        """Forget bytes that no document can name."""
        if body.count and not body.is_committing:
            with suppress(StoreError):
                body.settle()
            self.drop([body.id])

    def drop(self, bodies: Iterable[str]) -> None:
        """Remove what no document names. Where that fails, `clear` does it later."""
        gone = list(bodies)
        if gone:
            with suppress(StoreError):
                self._do(lambda place: _remove(place, gone), "", writing=True)

    def clear(self, path: str) -> None:
        """Remove what killed writers of items whose paths begin so have left."""

        def work(place: Place) -> None:
            inside = {"$gte": path, "$lt": path + LAST}
            found: set[str] = set(place.chunks.distinct("files_id", {"files_id": inside}))
            used = {each["body"] for each in place.items.find({"_id": inside, "body": {"$ne": None}}, {"body": 1})}
            _remove(place, list(found - used))

        self._do(work, path, writing=True)


class Body(ChunkedUpload):
    """The bytes of an item that are being sent.

    id: that of the file. It begins with the path, so that what a killed writer left is found.
    """

    def __init__(self, large: LargeItems, path: str) -> None:
        self.id = f"{path}\n{random_number():016x}"
        super().__init__(path, PIECE, lambda number, data: large.start(self.id, number, path, data))


def _remove(place: Place, bodies: list[str]) -> None:
    """Remove files, and chunks of files that were never finished."""
    if bodies:
        place.files.delete_many({"_id": {"$in": bodies}})
        place.chunks.delete_many({"files_id": {"$in": bodies}})
