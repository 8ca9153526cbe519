"""Remote stores keep the promises of every store, against servers that really answer."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
import requests
from servers.fixtures import Bucket, MongoCollection, SSHServer
from servers.needs import need
from servers.postgres import Schema

from persistable.stores import MongoStore, ObjectStore, PostgresStore, open_store
from persistable.testing.processes import GOOD_PATHS, everything_below
from persistable.testing.stores import StoreContract

pytestmark = pytest.mark.timeout(900)  # thousands of requests to servers that share a busy machine with their clients


class S3Contract(StoreContract):
    """What holds for any S3 server; `bucket` goes around the store with boto3."""

    examples = 12
    rounds = 12

    @pytest.fixture
    def bucket(self, s3_bucket: Bucket) -> Bucket:
        return s3_bucket

    @pytest.fixture
    def store(self, bucket: Bucket) -> Iterator[ObjectStore]:
        store = open_store(bucket.url, **bucket.options)
        assert isinstance(store, ObjectStore)
        self.bucket_now = bucket
        yield store
        store.close()

    def plant(self, store: ObjectStore, path: str, data: bytes) -> None:
        self.bucket_now.client.put_object(Bucket=self.bucket_now.name, Key=f"folder/{path}", Body=data)

    def peek(self, store: ObjectStore, path: str) -> bytes | None:
        client = self.bucket_now.client
        try:
            data: bytes = client.get_object(Bucket=self.bucket_now.name, Key=f"folder/{path}")["Body"].read()
        except client.exceptions.NoSuchKey:
            return None
        return data

    def leftovers(self, store: ObjectStore) -> list[str]:
        client, name = self.bucket_now.client, self.bucket_now.name
        uploads = client.list_multipart_uploads(Bucket=name).get("Uploads", [])
        return sorted(
            [entry["Key"] for entry in client.list_objects_v2(Bucket=name).get("Contents", [])] + [each["UploadId"] for each in uploads]
        )


class TestS3(S3Contract):
    pass


class TestObstore(S3Contract):
    """The same through obstore."""

    @pytest.fixture
    def bucket(self, s3_bucket: Bucket) -> Bucket:
        need("obstore")
        s3_bucket.options["client"] = "obstore"
        return s3_bucket


class TestGCS(StoreContract):
    good_paths: ClassVar[list[str]] = [path for path in GOOD_PATHS if path != "a;b"]  # the emulator cuts a URL at a semicolon
    many = 150  # the emulator drops connections under more; S3 lists over several pages
    examples = 8
    rounds = 5

    @pytest.fixture
    def store(self, gcs_bucket: Bucket) -> Iterator[ObjectStore]:
        store = open_store(gcs_bucket.url, **gcs_bucket.options)
        assert isinstance(store, ObjectStore)
        self.bucket = gcs_bucket
        yield store
        store.close()

    def peek(self, store: ObjectStore, path: str) -> bytes | None:
        place = quote(f"folder/{path}", safe="")
        answer = requests.get(f"{self.bucket.client.endpoint}/download/storage/v1/b/{self.bucket.name}/o/{place}?alt=media", timeout=60)
        return answer.content if answer.status_code == 200 else None


class TestFsspecMemory(StoreContract):
    shared_between_processes = False
    examples = 30

    @pytest.fixture
    def store(self) -> ObjectStore:
        import fsspec

        return ObjectStore(fsspec.filesystem("memory"), f"/{uuid.uuid4().hex}")


class TestFsspecLocal(StoreContract):
    """fsspec's local files stand in for remotes that behave like a disk."""

    examples = 20
    rounds = 20
    many = 300

    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        import fsspec

        self.folder = tmp_path / "root"
        return ObjectStore(fsspec.filesystem("file"), str(self.folder))

    def leftovers(self, store: Any) -> list[str]:
        return everything_below(self.folder)


class TestSFTP(StoreContract):
    """A real sshd, through sshfs."""

    stamps = False  # SFTP tells time in seconds
    examples = 5
    rounds = 5
    many = 200

    @pytest.fixture
    def store(self, ssh_server: SSHServer, tmp_path: Path) -> Iterator[ObjectStore]:
        need("sshfs", "asyncssh")
        self.folder = tmp_path / "root"
        url = f"sftp://{ssh_server.user}@127.0.0.1:{ssh_server.port}{self.folder}"
        store = open_store(url, client_keys=[str(ssh_server.key)], known_hosts=str(ssh_server.known_hosts))
        assert isinstance(store, ObjectStore)
        yield store
        store.close()

    def plant(self, store: Any, path: str, data: bytes) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def peek(self, store: Any, path: str) -> bytes | None:
        target = self.folder / path
        return target.read_bytes() if target.is_file() else None

    def leftovers(self, store: Any) -> list[str]:
        return everything_below(self.folder)


class TestPostgres(StoreContract):
    """A real PostgreSQL server."""

    examples = 20
    rounds = 12

    @pytest.fixture
    def store(self, postgres_schema: Schema) -> Iterator[PostgresStore]:
        self.schema = postgres_schema
        store = open_store(postgres_schema.url)
        assert isinstance(store, PostgresStore)
        yield store
        store.close()

    def peek(self, store: PostgresStore, path: str) -> bytes | None:
        rows = self.schema.admin.execute("SELECT to_regclass(%s)", (f"{self.schema.name}.persistable",)).fetchall()
        if rows == [(None,)]:
            return None
        row = self.schema.admin.execute(f"SELECT size, data, body FROM {self.schema.name}.persistable WHERE path = %s", (path,)).fetchone()
        if row is None:
            return None
        parts = self.schema.admin.execute(
            f"SELECT data FROM {self.schema.name}.persistable_chunks WHERE body = %s ORDER BY number", (row[2],)
        )
        data = row[1] if row[2] is None else b"".join(part for (part,) in parts)
        assert len(data) == row[0]
        return bytes(data)

    def leftovers(self, store: PostgresStore) -> list[str]:
        chunks = self.schema.admin.execute(f"SELECT body, number FROM {self.schema.name}.persistable_chunks").fetchall()
        return [*store.list(), *map(str, chunks)]


class TestPymongoOverTheWireToMongomock(StoreContract):
    """The real driver, and a server that keeps what it is told in mongomock: no MongoDB."""

    examples = 15
    rounds = 10

    @pytest.fixture
    def store(self, mongo_collection: MongoCollection) -> Iterator[MongoStore]:
        self.collection = mongo_collection
        store = open_store(mongo_collection.url)
        assert isinstance(store, MongoStore)
        yield store
        store.close()

    def peek(self, store: MongoStore, path: str) -> bytes | None:
        document = self.collection.database["results"].find_one({"_id": path})
        if document is None:
            return None
        chunks = self.collection.database["results.large.chunks"].find({"files_id": document["body"]}).sort("n", 1)
        data = document["data"] if document["body"] is None else b"".join(each["data"] for each in chunks)
        assert len(data) == document["size"]
        return bytes(data)

    def leftovers(self, store: MongoStore) -> list[str]:
        found = [each["_id"] for name in ("chunks", "files") for each in self.collection.database[f"results.large.{name}"].find()]
        return [*store.list(), *map(str, found)]
