"""Bytes at paths in a collection of a MongoDB database.

An item is a document whose ``_id`` is its path, so that the server's own unique index makes creation exclusive, and each item is replaced
whole. What is larger than a document may be goes to GridFS first, under an id that begins with the path; the document then names it.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from persistable.params.secret import Secret
from persistable.stores.base import HIDDEN, BaseStore, Bytes, Stat, byte_view, check_path, check_paths, check_prefix
from persistable.stores.chunked import random_number
from persistable.stores.mongo.address import address_of

if TYPE_CHECKING:
    from persistable.stores.mongo.client import Document, Place

_AT_ONCE = 16 << 20
_NAMES_AT_ONCE = 10_000
_PAGE = 10_000
_LAST = "\U0010ffff"


class MongoStore(BaseStore):
    """A collection of a MongoDB database, and its GridFS for items of more than 4 MB. They are made at the first write.

    The URL is the driver's, with the collection behind the database: ``mongodb://host/database/collection?replicaSet=rs0``;
    ``mongodb+srv://`` as well. ``password`` takes a `Secret`, or a text, which is pickled with the store, as is one in the URL: give it so
    only if it may travel. `url` never has it. It reads from the primary and writes to the majority, whatever the URL says.

    ``timeout``: seconds for which a server that was reached before, and went away, is waited for.
    """

    batches = True
    in_memory = False
    poll = 0.5

    def __init__(self, url: str, *, password: str | Secret | None = None, timeout: float = 20.0) -> None:
        self._address = address_of(url)
        self._password = password if password is not None else self._address.password
        self._address = self._address._replace(password=None)
        self.timeout = timeout
        self._reset()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> MongoStore:
        """The store of ``mongodb://host/database/collection``."""
        return cls(url, **options)

    @property
    def url(self) -> str:
        return self._address.url

    def __getstate__(self) -> dict[str, Any]:
        held = {name: value for name, value in self.__dict__.items() if name not in ("_connection", "_do", "large")}
        return {**held, "was_reached": self._connection.reached}

    def __setstate__(self, state: dict[str, Any]) -> None:
        was_reached = state.pop("was_reached", False)
        self.__dict__.update(state)
        self._reset()
        self._connection.was_reached = was_reached

    def _reset(self) -> None:
        from persistable.stores.mongo.client import Connection
        from persistable.stores.mongo.large import LargeItems

        self._connection = Connection(self._address, self._password, self.timeout)
        self._do = self._connection.do
        self.large = LargeItems(self._connection, self.url)

    # --- reading

    def get(self, path: str) -> bytes:
        found = self.get_many([path])
        if path not in found:
            raise self._absent(path)
        return found[path]

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        from persistable.stores.mongo.large import ReplacedError

        found: dict[str, bytes] = {}
        for document in self._documents(paths, ("size", "data", "body")):
            path, body = document["_id"], document["body"]
            try:
                found[path] = document["data"] if body is None else self.large.part(path, body, 0, document["size"])
            except ReplacedError:  # put anew since it was looked up
                with suppress(FileNotFoundError):
                    found[path] = self.get(path)
        return found

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

    def read(self, path: str) -> BinaryIO:
        document = next(self._documents([path], ("size", "data", "body")), None)
        if document is None:
            raise self._absent(path)
        if document["body"] is None:
            return io.BytesIO(document["data"])
        return self.large.reader(path, document["body"], document["size"])

    def read_range(self, path: str, first: int, last: int) -> bytes:
        document = next(self._documents([path], ("size", "data", "body")), None)
        if document is None:
            raise self._absent(path)
        last = min(last, document["size"])
        if document["body"] is None or last <= first:
            return bytes((document["data"] or b"")[first:last])
        return self.large.part(path, document["body"], first, last)

    def _absent(self, path: str) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, "nothing is stored here", f"{self.url} ({path})")

    def stat(self, path: str) -> Stat | None:
        return self.stat_many([path]).get(path)

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        return {found["_id"]: Stat(found["size"], found["stamp"]) for found in self._documents(paths, ("size", "stamp"))}

    def list(self, prefix: str = "") -> Iterator[str]:
        return (path for path, _ in self.scan(prefix))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return self._scanned(check_prefix(prefix))

    def _scanned(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        # "0" follows "/", so that a folder is all from one to the other; the hidden one is cut out of the whole
        for first, last in [(f"{prefix}/", f"{prefix}0")] if prefix else [("", f"{HIDDEN}/"), (f"{HIDDEN}/{_LAST}", _LAST * 64)]:
            page = self._page(first, last)
            yield from page
            while len(page) == _PAGE:  # by pages: no cursor stays open while the caller works
                page = self._page(page[-1][0], last)
                yield from page

    def _page(self, first: str, last: str) -> Sequence[tuple[str, Stat]]:
        def look(place: Place) -> Sequence[tuple[str, Stat]]:
            found = place.items.find({"_id": {"$gt": first, "$lt": last}}, {"size": 1, "stamp": 1}).sort("_id", 1).limit(_PAGE)
            return [(each["_id"], Stat(each["size"], each["stamp"])) for each in found]

        return self._do(look, "")

    # --- writing

    def put(self, path: str, data: Bytes) -> None:
        self.put_many({path: data})

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        documents = self._made(items)
        large = [document for document in documents if document["body"] is not None]
        for some in _portions([document for document in documents if document["body"] is None]):
            self._put_small(some)
        for document in large:
            self.commit(document)

    def _put_small(self, documents: Sequence[Document]) -> None:
        """Put these in one request, and one that asks which of them were large before."""
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
                self.commit(document)

    def commit(self, document: Document) -> None:
        """Put one document in the place of what is there, and remove the bytes that only that had."""
        self.large.check(document)

        def work(place: Place) -> Document | None:
            return place.items.find_one_and_replace({"_id": document["_id"]}, document, {"body": 1}, upsert=True)

        before = self._do(work, document["_id"], writing=True)
        if before is not None and before["body"] not in (None, document["body"]):
            self.large.drop([before["body"]])

    def create(self, path: str, data: Bytes) -> bool:
        return bool(self.create_many({path: data}))

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        documents = self._made(items)
        created = set[str]()
        for some in _portions(documents):
            created |= self._create(some)
        self.large.drop([each["body"] for each in documents if each["body"] is not None and each["_id"] not in created])
        return created

    def _create(self, documents: Sequence[Document]) -> set[str]:
        from pymongo.errors import BulkWriteError

        from persistable.stores.mongo.trouble import duplicates

        for document in documents:
            self.large.check(document)
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
            if tries > 1 and there:  # the answer of the one before may have been lost, and not what it did
                rest = place.items.find({"_id": {"$in": list(stamps.keys() - created)}}, {"stamp": 1})
                created |= {each["_id"] for each in rest if each["stamp"] == stamps[each["_id"]]}
            return created

        return self._do(work, documents[0]["_id"], writing=True)

    def _made(self, items: Mapping[str, Bytes]) -> Sequence[Document]:
        """The documents of these items; the bytes of large ones are sent."""
        check_paths(items)
        return [self._document(path, byte_view(data)) for path, data in items.items()]

    def _document(self, path: str, data: memoryview) -> Document:
        from persistable.stores.mongo.client import PIECE

        if data.nbytes <= PIECE:
            return new_document(path, data.nbytes, data=bytes(data))

        body = self.large.upload(path)
        body.write(data)
        self.large.finish(body)
        return new_document(path, data.nbytes, body=body.id)

    def write(self, path: str) -> _Write:
        return _Write(self, check_path(path))

    def delete(self, path: str) -> bool:
        check_path(path)

        def work(place: Place) -> Document | None:
            return place.items.find_one_and_delete({"_id": path}, {"body": 1})

        before = self._do(work, path, writing=True)
        if before is not None and before["body"] is not None:
            self.large.drop([before["body"]])
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
        self.large.drop(bodies)

    def clear_temporary(self, path: str) -> None:
        self.large.clear(check_path(path))

    def close(self) -> None:
        self._connection.close()


class _Write:
    """A stream whose bytes appear when the block ends well."""

    def __init__(self, store: MongoStore, path: str) -> None:
        self._store = store
        self._body = store.large.upload(path)

    def __enter__(self) -> BinaryIO:
        return cast(BinaryIO, self._body)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        body, large = self._body, self._store.large
        try:
            if error is None and body.is_small:
                self._store.put(body.place, body.rest())
            elif error is None:
                large.finish(body)
                self._store.commit(new_document(body.place, body.size, body=body.id))
        except BaseException as problem:
            large.abort(body)
            raise problem
        if error is not None:
            large.abort(body)


def new_document(path: str, size: int, *, data: bytes | None = None, body: str | None = None) -> Document:
    """The document of an item, with a stamp that no other has."""
    return {"_id": path, "size": size, "stamp": random_number(), "data": data, "body": body}


def _portions(documents: Sequence[Document]) -> Iterator[Sequence[Document]]:
    """`documents` in portions that fit a request."""
    portion: list[Document] = []
    size = 0
    for document in documents:
        own = len(document["data"] or b"")
        if portion and size + own > _AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(document)
        size += own
    if portion:
        yield portion
