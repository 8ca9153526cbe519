"""A server that speaks MongoDB's wire protocol (OP_MSG) and keeps its documents in mongomock: the real driver is tested over a socket.

It stands in for MongoDB, which cannot be had here. Each command is atomic under one lock, which is more than a real server promises; there
are no users, replica sets, transactions, read and write concerns. A database whose name begins with `full`, `forbidden` or `closed` answers
writes, or everything, with the error that a real server gives then; one that begins with `slow` takes a second for each command.

    python mongo_server.py PORT_FILE
"""

from __future__ import annotations

import itertools
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import bson
import mongomock
from processes import announce

Document = dict[str, Any]
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HELLO = {
    "isWritablePrimary": True, "ismaster": True, "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000, "minWireVersion": 0, "maxWireVersion": 21, "readOnly": False, "logicalSessionTimeoutMinutes": 30,
    "ok": 1.0,
}  # fmt: skip
REFUSALS = {
    "full": (14031, "OutOfDiskSpace", "no space left on device"),
    "forbidden": (13, "Unauthorized", "not authorized on this database"),
}
WRITES = {"insert", "update", "delete", "findAndModify", "createIndexes"}


class CommandError(Exception):
    """An error with the code that a server gives."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.answer = {"ok": 0.0, "code": code, "codeName": name, "errmsg": message}


class Commands:
    """The commands, each a method."""

    def __init__(self) -> None:
        self._client: Any = mongomock.MongoClient(tz_aware=False)
        self._lock = threading.RLock()
        self._cursors: dict[int, tuple[str, list[Document]]] = {}
        self._numbers = itertools.count(100)

    def answer(self, command: Document) -> Document:
        """The answer to one command; errors are answers as well."""
        name = next(iter(command))
        database = command.get("$db", "admin")
        if database.startswith("slow"):
            time.sleep(1)
        try:
            for word, refusal in REFUSALS.items():
                if database.startswith(word) and name in WRITES:
                    raise CommandError(*refusal)
            if database.startswith("closed") and name not in ("hello", "ismaster"):
                raise CommandError(13, "Unauthorized", "command requires authentication")
            if name in ("saslStart", "saslContinue"):
                raise CommandError(18, "AuthenticationFailed", "Authentication failed.")
            method: Callable[[Any, Document], Document] | None = getattr(self, f"do_{name.lower()}", None)
            if method is None:
                raise CommandError(59, "CommandNotFound", f"no such command: '{name}'")
            with self._lock:
                return method(self._client[database], command)
        except CommandError as error:
            return error.answer
        except mongomock.DuplicateKeyError as error:
            return CommandError(11000, "DuplicateKey", str(error)).answer

    def do_hello(self, database: Any, command: Document) -> Document:
        return dict(HELLO)

    do_ismaster = do_hello

    def do_ping(self, database: Any, command: Document) -> Document:
        return {"ok": 1.0}

    do_endsessions = do_killcursors = do_ping

    def do_find(self, database: Any, command: Document) -> Document:
        found = database[command["find"]].find(command.get("filter") or {}, command.get("projection") or None)
        if command.get("sort"):
            found = found.sort(list(command["sort"].items()))
        found = found.skip(command.get("skip", 0)).limit(abs(command.get("limit", 0)))
        return self._page(f"{database.name}.{command['find']}", found, command.get("batchSize") or 101)

    def do_getmore(self, database: Any, command: Document) -> Document:
        found = self._cursors.pop(command["getMore"], None)
        if found is None:
            raise CommandError(43, "CursorNotFound", "cursor not found")
        return self._page(*found, command.get("batchSize") or 1_000_000, "nextBatch")

    def _page(self, name: str, documents: Iterable[Document], count: int, key: str = "firstBatch") -> Document:
        every, number, size = list(documents), 0, 0
        here: list[Document] = []
        for document in every[:count]:
            size += len(bson.encode(document))
            if here and size > 16 << 20:
                break
            here.append(document)
        if len(here) < len(every):
            number = next(self._numbers)
            self._cursors[number] = (name, every[len(here) :])
        return {"cursor": {"id": bson.Int64(number), "ns": name, key: here}, "ok": 1.0}

    def do_count(self, database: Any, command: Document) -> Document:
        return {"n": database[command["count"]].count_documents(command.get("query") or {}), "ok": 1.0}

    def do_aggregate(self, database: Any, command: Document) -> Document:
        found = database[command["aggregate"]].aggregate(command["pipeline"])
        return self._page(f"{database.name}.{command['aggregate']}", found, (command.get("cursor") or {}).get("batchSize") or 101)

    def do_distinct(self, database: Any, command: Document) -> Document:
        return {"values": database[command["distinct"]].distinct(command["key"], command.get("query") or {}), "ok": 1.0}

    def do_insert(self, database: Any, command: Document) -> Document:
        def insert(_: int, document: Document) -> Document:
            database[command["insert"]].insert_one(document)
            return {"n": 1}

        return self._each(command, command["documents"], insert)

    def do_update(self, database: Any, command: Document) -> Document:
        def update(index: int, each: Document) -> Document:
            items, change = database[command["update"]], each["u"]
            replaces = not any(name.startswith("$") for name in change)
            method = items.replace_one if replaces else items.update_many if each.get("multi") else items.update_one
            done = method(each["q"], change, upsert=each.get("upsert", False))
            upserted = [{"index": index, "_id": done.upserted_id}] if done.upserted_id is not None else []
            return {"n": done.matched_count + len(upserted), "nModified": done.modified_count or 0, "upserted": upserted}

        return self._each(command, command["updates"], update)

    def do_delete(self, database: Any, command: Document) -> Document:
        def delete(_: int, each: Document) -> Document:
            items = database[command["delete"]]
            return {"n": (items.delete_one if each.get("limit") == 1 else items.delete_many)(each["q"]).deleted_count}

        return self._each(command, command["deletes"], delete)

    @staticmethod
    def _each(command: Document, items: Iterable[Document], do: Callable[[int, Document], Document]) -> Document:
        answer: Document = {"n": 0, "ok": 1.0}
        errors: list[Document] = []
        for index, item in enumerate(items):
            try:
                done = do(index, item)
            except mongomock.DuplicateKeyError as error:
                errors.append({"index": index, "code": 11000, "errmsg": str(error)})
                if command.get("ordered", True):
                    break
                continue
            answer["n"] += done["n"]
            if "nModified" in done:
                answer["nModified"] = answer.get("nModified", 0) + done["nModified"]
                answer.setdefault("upserted", []).extend(done["upserted"])
        if not answer.get("upserted", True):
            del answer["upserted"]
        if errors:
            answer["writeErrors"] = errors
        return answer

    def do_findandmodify(self, database: Any, command: Document) -> Document:
        items, query = database[command["findAndModify"]], command.get("query") or {}
        before = items.find_one(query, command.get("fields") or None)
        if command.get("remove"):
            items.delete_one(query)
        else:
            items.replace_one(query, command["update"], upsert=command.get("upsert", False))
        return {"value": before, "lastErrorObject": {"n": 1, "updatedExisting": before is not None}, "ok": 1.0}

    def do_createindexes(self, database: Any, command: Document) -> Document:
        for index in command["indexes"]:
            database[command["createIndexes"]].create_index(
                list(index["key"].items()), unique=index.get("unique", False), name=index["name"]
            )
        return {"ok": 1.0}

    def do_listindexes(self, database: Any, command: Document) -> Document:
        name = command["listIndexes"]
        found = [{"v": 2, "key": dict(each["key"]), "name": own} for own, each in database[name].index_information().items()]
        return self._page(f"{database.name}.{name}", found, 101)

    def do_dropdatabase(self, database: Any, command: Document) -> Document:
        self._client.drop_database(database.name)
        return {"ok": 1.0}


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        numbers = itertools.count(1)
        try:
            while True:
                length, request, _, kind = struct.unpack("<iiii", self._read(16))
                body = self._read(length - 16)
                if kind == OP_MSG:
                    answer = b"\0\0\0\0\0" + bson.encode(COMMANDS.answer(_command(body)))
                    head = OP_MSG
                elif kind == OP_QUERY:
                    end = body.index(0, 4)
                    command = {**bson.decode(body[end + 9 :]), "$db": "admin"}
                    answer = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(COMMANDS.answer(command))
                    head = OP_REPLY
                else:
                    return
                self.request.sendall(struct.pack("<iiii", 16 + len(answer), next(numbers), request, head) + answer)
        except OSError:
            return

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self.request.recv(count - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return bytes(data)


def _command(body: bytes) -> Document:
    """The command in a message: one document, and sequences of documents that belong to it."""
    flags = struct.unpack("<I", body[:4])[0]
    end, at = len(body) - (4 if flags & 1 else 0), 4
    command: Document = {}
    while at < end:
        kind, at = body[at], at + 1
        size = struct.unpack("<i", body[at : at + 4])[0]
        if kind == 0:
            command = {**bson.decode(body[at : at + size]), **command}
        else:
            name_end = body.index(0, at + 4)
            command[body[at + 4 : name_end].decode()] = bson.decode_all(body[name_end + 1 : at + size])
        at += size
    return command


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


COMMANDS = Commands()

if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        announce(sys.argv[1], server.server_address[1])
        server.serve_forever()
