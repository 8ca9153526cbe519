"""What is particular to remote stores: conditions, secrets, and errors that say what to do."""

import gc
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from servers.fixtures import Bucket
from servers.lossy import Way, lossy
from servers.needs import need

from persistable.errors import MissingExtra, StoreError, StoreReadOnly, StoreUnavailable, UnknownParam
from persistable.stores import ObjectStore, open_store
from persistable.stores.base import Store, extended


def test_gcs_create_asks_the_server_to_refuse(gcs_bucket: Bucket) -> None:
    """The request carries ifGenerationMatch=0; a plain put does not."""
    store = open_store(gcs_bucket.url, **gcs_bucket.options)
    posts = gcs_bucket.client.posts
    before = len(posts.read_text())
    store.put("plain", b"1")
    assert "/upload/" in posts.read_text()[before:]
    assert "ifGenerationMatch" not in posts.read_text()[before:]
    store.create("claim", b"1")
    assert "ifGenerationMatch=0" in posts.read_text()[before:]


def once(*methods: str) -> Callable[[str, str], bool]:
    """Loses the answer to the first request of these methods."""
    left = [True]
    return lambda found, path: found in methods and bool(left) and left.pop()


@pytest.fixture(params=["s3fs", "obstore"])
def either(request: pytest.FixtureRequest, s3_bucket: Bucket) -> Bucket:
    """An S3 bucket, reached through one library and the other."""
    if request.param == "obstore":
        need("obstore")
        s3_bucket.options["client"] = "obstore"
    return s3_bucket


@pytest.fixture(params=["s3fs", "obstore", "gcsfs"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """The same, and one of GCS."""
    found: Bucket = request.getfixturevalue("gcs_bucket" if request.param == "gcsfs" else "s3_bucket")
    if request.param == "obstore":
        need("obstore")
        found.options["client"] = "obstore"
    return found


def test_tells_when_a_file_was_last_written(bucket: Bucket) -> None:
    with open_store(bucket.url, **bucket.options) as store:
        store.put("claim", b"mine")
        changed = extended(store).modified("claim")
        assert changed is not None and abs(changed - time.time()) < 60
        assert extended(store).modified("absent") is None


def creations(way: Way) -> list[bool]:
    """Of each attempt to create something, whether its answer was lost."""
    return [lost for method, path, lost in way.seen if method == "PUT" or "ifGenerationMatch=0" in path]


def test_who_created_knows_it_although_the_answer_was_lost(bucket: Bucket) -> None:
    with lossy(bucket.options["endpoint_url"], once("PUT", "POST")) as way:
        store = open_store(bucket.url, **{**bucket.options, "endpoint_url": way.endpoint})
        assert store.create("claim", b"mine")
        assert creations(way) == [True, False]  # lost, and sent again
        assert store.get("claim") == b"mine"
        assert not store.create("claim", b"mine")
        store.close()


def test_who_was_refused_knows_it_although_the_answer_was_lost(bucket: Bucket) -> None:
    assert open_store(bucket.url, **bucket.options).create("claim", b"same")
    with lossy(bucket.options["endpoint_url"], once("PUT", "POST")) as way:
        store = open_store(bucket.url, **{**bucket.options, "endpoint_url": way.endpoint})
        assert not store.create("claim", b"same")
        assert creations(way) == [True, False]
        store.close()


@pytest.mark.parametrize("kind", ["429", "500", "503", "dropped", "lost"])
def test_many_requests_on_a_bad_day(kind: str, either: Bucket) -> None:
    """Every third request fails once; each creation is decided once all the same."""
    lock, seen, failed = threading.Lock(), [0], set[tuple[str, str]]()

    def fails(method: str, path: str) -> bool:
        with lock:
            seen[0] += 1
            again = (method, path) in failed
            if seen[0] % 3 == 0 and not again:
                failed.add((method, path))
                return True
            return False

    def refused(method: str, path: str) -> int:
        return int(kind) if kind.isdigit() and fails(method, path) else 0

    def never(method: str, path: str) -> bool:
        return False

    lose, drop = fails if kind == "lost" else never, fails if kind == "dropped" else never
    paths = [f"name/{n:02}" for n in range(30)]
    with lossy(either.options["endpoint_url"], lose, drop, refused) as way:
        store = extended(open_store(either.url, **{**either.options, "endpoint_url": way.endpoint}))
        assert store.create_many(dict.fromkeys(paths, b"1")) == set(paths)
        assert store.create_many(dict.fromkeys(paths, b"2")) == set()
        assert store.get_many(paths) == dict.fromkeys(paths, b"1")
        store.put_many(dict.fromkeys(paths[:20], b"33"))
        assert [stat.size for stat in store.stat_many(paths).values()] == [2] * 20 + [1] * 10
        store.change_many(delete=paths)
        assert list(store.list()) == []
        store.close()
    assert len(failed) > 30


def test_a_missing_bucket_never_reads_as_a_missing_payload(bucket: Bucket) -> None:
    scheme = bucket.url.partition(":")[0]
    calls = [
        lambda store: store.get("x"),
        lambda store: store.read("x"),
        lambda store: store.exists("x"),
        lambda store: store.stat("x"),
        lambda store: store.delete("x"),
        lambda store: store.get_many(["x", "y"]),
        lambda store: list(store.list()),
        lambda store: store.put("x", b""),
        lambda store: store.put_many({"x": b""}),
        lambda store: store.create("x", b""),
    ]
    for call in calls:
        store = open_store(f"{scheme}://no-such-bucket-here/folder", **bucket.options)
        with pytest.raises(StoreError, match="no bucket 'no-such-bucket-here'") as caught:
            call(store)
        assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("more", [{"config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 2}}, {"client": "obstore"}])
def test_a_server_that_is_down_is_unavailable(more: dict[str, Any]) -> None:
    need("s3fs", "obstore")
    options = {"key": "k", "secret": "s", **more}
    with socket.socket() as deaf:  # bound, so that nobody else listens there, and refusing whoever comes
        deaf.bind(("127.0.0.1", 0))
        store = open_store("s3://bucket/folder", endpoint_url=f"http://127.0.0.1:{deaf.getsockname()[1]}", **options)
        with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            store.put("x", b"1")
        assert isinstance(caught.value, ConnectionError)
        with pytest.raises(StoreUnavailable):
            store.get("x")


def test_no_secret_is_shown(either: Bucket) -> None:
    options = {**either.options, "secret": "hush-hush"}
    store = open_store(either.url, **options)
    store.put("x", b"1")
    with pytest.raises(FileNotFoundError) as caught:
        store.get("absent")
    for text in (store.url, repr(store), str(caught.value), str(vars(caught.value))):
        assert "hush" not in text
    assert pickle.loads(pickle.dumps(store)).get("x") == b"1"  # given explicitly, they travel


@pytest.mark.parametrize("client", ["s3fs", "obstore"])
def test_credentials_that_were_replaced_are_found_after_a_refusal(
    client: str, s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(client)
    valid = ["FIRST"]

    def replace(key: str) -> None:
        if client == "s3fs":
            (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")
        else:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    replace("FIRST")
    with lossy(s3_bucket.options["endpoint_url"]) as way:
        way.refuse = lambda _method, _path: 0 if f"Credential={valid[0]}/" in way.authorization else 403
        store = open_store(s3_bucket.url, endpoint_url=way.endpoint, client=client)
        store.put("x", b"1")
        valid[0] = "SECOND"
        with pytest.raises(StoreError, match="may not be read with these credentials"):
            store.get("x")
        replace("SECOND")
        assert store.get("x") == b"1"


def test_passwords_in_urls_are_not_shown() -> None:
    need("sshfs")
    store = open_store("sftp://anna:hush@host.example:2222/data/runs")
    assert store.url == "sftp://anna@host.example:2222/data/runs"


def test_the_url_opens_an_equal_store(s3_bucket: Bucket) -> None:
    store = open_store(s3_bucket.url, **s3_bucket.options)
    again = open_store(store.url, key="testing", secret="testing")
    assert again == store
    store.put("x", b"1")
    assert again.get("x") == b"1"
    assert open_store(s3_bucket.url) != store  # another endpoint is another place


def test_listings_are_never_stale(s3_bucket: Bucket) -> None:
    store = open_store(s3_bucket.url, **s3_bucket.options)
    assert list(store.list("a")) == []
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="folder/a/x", Body=b"1")
    assert list(store.list("a")) == ["a/x"]
    assert store.exists("a/x")
    s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="folder/a/x")
    assert list(store.list("a")) == []
    assert not store.exists("a/x")


def test_folder_markers_and_strange_keys_are_not_listed(s3_bucket: Bucket) -> None:
    store = open_store(s3_bucket.url, **s3_bucket.options)
    for key in ("folder/", "folder/a/", "folder/a/x:y", "folder/a//b", "elsewhere/x", "folder/fine"):
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=b"")
    assert list(store.list()) == ["fine"]


def test_large_objects_go_in_parts_and_come_back(either: Bucket) -> None:
    store = open_store(either.url, **either.options)
    data = bytes(range(251)) * 240_000  # 60 MB, so that parts and ranges differ
    store.put("put", data)
    assert store.get("put") == data
    with store.write("written") as file:
        for start in range(0, len(data), 9_999_999):
            file.write(memoryview(data)[start : start + 9_999_999])
    assert "-" in either.client.head_object(Bucket=either.name, Key="folder/written")["ETag"]  # an upload of parts
    with store.read("written") as file:
        assert file.read(10) == data[:10]
        file.seek(30_000_000)
        assert file.read(20_000_000) == data[30_000_000:50_000_000]
        file.seek(0)
        assert file.read() == data


def test_a_large_object_replaced_while_it_is_read_is_an_error_not_a_mixture(either: Bucket) -> None:
    store = open_store(either.url, **either.options)
    store.put("x", b"a" * 200_000_000)  # more than is read ahead
    file = store.read("x")
    assert file.read(100) == b"a" * 100
    store.put("x", b"b" * 60_000_000)
    with pytest.raises(StoreError, match="was replaced or deleted while it was being read"):
        file.read()
    file.close()


def test_a_failed_upload_of_parts_leaves_no_parts(either: Bucket) -> None:
    store = open_store(either.url, **either.options)

    def fail() -> None:
        with store.write("x") as file:
            file.write(b"x" * 40_000_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    deadline = time.monotonic() + 60
    while either.client.list_multipart_uploads(Bucket=either.name).get("Uploads"):
        assert time.monotonic() < deadline
    assert not store.exists("x")


@contextmanager
def uncollected() -> Generator[None]:
    """A block in which no garbage is collected, for Python drops an interrupt that comes in a finalizer.

    That of s3fs waits until a connection is closed that nobody uses any more: those of earlier tests took the signal that was for this one.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("how", ["refused", "interrupted"])
@pytest.mark.parametrize("at", ["uploads", "partNumber=2", "partNumber=3", "end"])
def test_an_upload_that_is_cut_short_leaves_none_open(at: str, how: str, either: Bucket) -> None:
    """Whether the server refuses a request, or an interrupt comes during it: the first, one in the middle, the last part, and the end."""
    main, begun = threading.main_thread().ident, threading.Event()
    assert main is not None

    def is_it(method: str, path: str) -> bool:
        return (method == "POST" and "uploadId" in path) if at == "end" else at in path

    def refuse(method: str, path: str) -> int:
        if not is_it(method, path):
            return 0
        if how == "refused":
            return 403
        if not begun.is_set():
            begun.set()
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.3)  # it is still on its way when the interrupt comes
        return 0

    with lossy(either.options["endpoint_url"], refuse=refuse) as way:
        store = open_store(either.url, **{**either.options, "endpoint_url": way.endpoint})
        with uncollected(), pytest.raises(StoreReadOnly if how == "refused" else KeyboardInterrupt):
            store.put("x", bytes(40_000_000))  # two parts of 16 MB, and a rest
    uploads = either.client.list_multipart_uploads(Bucket=either.name).get("Uploads", [])
    assert [each["Key"] for each in uploads] == []
    # a request that is interrupted may be obeyed, and of obstore that is the whole upload once it has all its parts
    if how == "refused" or at == "uploads" or (at != "end" and "client" not in either.options):
        assert not open_store(either.url, **either.options).exists("x")


def test_a_client_is_chosen_by_name(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed changes nothing, and the store says through which library it is reached."""
    need("obstore")
    usual, other = (extended(open_store(s3_bucket.url, **s3_bucket.options, client=client)) for client in (None, "obstore"))
    assert usual.info()["client"] == extended(open_store(s3_bucket.url, **s3_bucket.options, client="s3fs")).info()["client"] == "s3fs"
    assert other.info()["client"] == "obstore"
    assert repr(other) == f"<ObjectStore {other.url} through obstore>"
    assert repr(usual) == f"<ObjectStore {usual.url}>"
    assert other == usual  # the same objects
    cast(Store, usual).put("x", b"1")
    assert usual.stat_many(["x"]) == other.stat_many(["x"])
    with pytest.raises(ValueError, match=r"client is 'boto', of s3://; give one of 's3fs', 'obstore', or nothing"):
        open_store(s3_bucket.url, client="boto")
    with pytest.raises(ValueError, match=r"client is 'obstore', of gs://; give one of 'gcsfs', or nothing"):
        open_store("gs://bucket/folder", client="obstore")
    with pytest.raises(UnknownParam, match=r"s3:// with client='obstore' has no option config_kwargs"):
        open_store(s3_bucket.url, client="obstore", config_kwargs={})
    monkeypatch.delitem(sys.modules, "persistable.stores.obstore")
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtra, match=r"needs obstore, which is not installed: pip install 'persistable\[obstore\]'"):
        open_store(s3_bucket.url, client="obstore")


_READS = """
import sys
from persistable.stores import open_store

url, endpoint = sys.argv[1:]
store = open_store(url, client="obstore", endpoint_url=endpoint, key="testing", secret="testing")
print(store.get("x"))
"""


def test_a_process_that_ends_after_an_answer_ends_well(s3_bucket: Bucket) -> None:
    """obstore's own threads hand answers over; one that is still in the interpreter when that goes would abort the process."""
    need("obstore")
    open_store(s3_bucket.url, **s3_bucket.options).put("x", b"1")
    command = [sys.executable, "-c", _READS, s3_bucket.url, s3_bucket.options["endpoint_url"]]
    for _ in range(5):
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
        for each in running:
            assert (*each.communicate(timeout=60), each.returncode) == (b"b'1'\n", b"", 0)


def test_obstore_says_that_it_cannot_list_some_names(s3_bucket: Bucket) -> None:
    need("obstore")
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="folder/a//b", Body=b"")
    store = open_store(s3_bucket.url, **s3_bucket.options, client="obstore")
    with pytest.raises(StoreError, match="open the store without client='obstore'"):
        list(store.list())


def test_a_file_system_that_cannot_write_says_so(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner/x", b"1")
    store = open_store(f"zip://::{tmp_path}/a.zip")
    assert store.get("inner/x") == b"1"
    assert list(store.list()) == ["inner/x"]
    with pytest.raises(StoreError):
        store.put("y", b"2")


def test_a_url_of_an_archive_names_the_archive(tmp_path: Path) -> None:
    for url in ("zip://inner", "tar://inner"):
        with pytest.raises(StoreError, match=r"names no archive; write (zip|tar)://::URL"):
            open_store(url)


def test_a_missing_package_names_what_to_install() -> None:
    import importlib.util

    if importlib.util.find_spec("adlfs") is not None:
        pytest.fail("this test needs a scheme whose package is absent")
    with pytest.raises(MissingExtra, match="pip install adlfs") as caught:
        open_store("az://container/folder")
    assert caught.value.package == "adlfs"


def test_a_url_without_a_bucket_is_refused() -> None:
    need("s3fs")
    with pytest.raises(StoreError, match="names no bucket"):
        open_store("s3://")


def test_readonly_refuses_before_anything_is_sent(s3_bucket: Bucket) -> None:
    open_store(s3_bucket.url, **s3_bucket.options).put("x", b"1")
    store = open_store(s3_bucket.url, readonly=True, **s3_bucket.options)
    assert store.get("x") == b"1"
    with pytest.raises(StoreReadOnly, match="readonly=True"):
        store.put("x", b"2")
    assert store.get("x") == b"1"


def test_stores_of_equal_options_share_one_connection(s3_bucket: Bucket) -> None:
    first, second = (ObjectStore(s3_bucket.url, **s3_bucket.options) for _ in range(2))
    assert first.remote.fs is second.remote.fs
