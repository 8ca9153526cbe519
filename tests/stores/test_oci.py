"""A store in a container registry: what other clients find there, what requests it makes, and what goes wrong."""

import atexit
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from servers.answering import Answer, answering
from servers.lossy import Way, lossy
from servers.needs import free_port
from servers.oci_registry import Registry

from persistable import Catalog, step
from persistable.errors import CorruptPayloadWarning, MissingExtra, StoreError, StoreFull, StoreUnavailable, UnknownParam
from persistable.fileio import NumpyFileIO
from persistable.stores import OCIStore, open_store
from persistable.stores.oci.artifacts import Artifacts
from persistable.stores.oci.manifest import MEDIA, Entry
from persistable.testing.processes import Gate, in_processes

pytestmark = pytest.mark.timeout(300)
_client = httpx.Client(trust_env=False)
atexit.register(_client.close)


@step(io=NumpyFileIO())
def ramp(n: int) -> NDArray[np.float64]:
    return np.arange(n, dtype=float)


@pytest.fixture
def store(oci_registry: Registry) -> Iterator[OCIStore]:
    store = _opened(oci_registry.repository())
    yield store
    store.close()


def _opened(url: str, **options: Any) -> OCIStore:
    store = open_store(url, **options)
    assert isinstance(store, OCIStore)
    return store


def _api(store: OCIStore) -> str:
    return store.url.replace("oci://", "http://").replace("/tests/", "/v2/tests/")


def _manifest(store: OCIStore, tag: str) -> dict[str, Any]:
    answer = _client.get(f"{_api(store)}/manifests/{tag}", headers={"accept": MEDIA})
    assert answer.status_code == 200
    facts: dict[str, Any] = answer.json()
    return facts


@pytest.fixture
def way(oci_registry: Registry) -> Iterator[Way]:
    """A way to the registry on which requests are seen, and may be lost."""
    with lossy(f"http://{oci_registry.host}", lambda _method, _path: False) as way:
        yield way


def _through(way: Way, registry: Registry) -> OCIStore:
    return _opened(registry.repository().replace(registry.host, way.endpoint.removeprefix("http://")))


# --- what other clients find


def test_pulling_the_tag_of_a_key_gives_a_store_with_its_payload(store: OCIStore, tmp_path: Path) -> None:
    node = ramp.step(3000).bind(store)
    node.generate()
    manifest = _manifest(store, f"ramp__{node.key.digest}")
    for layer in manifest["layers"]:  # as `oras pull` does it
        data = _client.get(f"{_api(store)}/blobs/{layer['digest']}").content
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer["digest"]
        place = tmp_path / layer["annotations"]["org.opencontainers.image.title"]
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
    assert len(manifest["layers"]) == 2
    assert manifest["artifactType"] == "application/vnd.persistable.record.v1"
    assert ramp.step(3000).bind(open_store(tmp_path)).load().payload.tolist() == node.payload.tolist()


def test_the_record_still_names_its_payload_when_another_process_writes_it_again(store: OCIStore) -> None:
    node = ramp.step(3000).bind(store)
    node.generate()
    other = _opened(store.url, timeout=61.0)  # with connections, and a memory, of its own
    other.put(f"{node.key.path}.record.json", store.get(f"{node.key.path}.record.json"))
    assert len(_manifest(store, f"ramp__{node.key.digest}")["layers"]) == 2


def test_equal_payloads_are_one_blob(way: Way, oci_registry: Registry) -> None:
    store = _through(way, oci_registry)
    store.put("a", b"")
    for path in ("a", "b"):
        way.seen.clear()
        store.put(path, bytes(100_000))
        assert store.get(path) == bytes(100_000)
    assert [method for method, *_ in way.seen] == ["HEAD", "GET", "PUT", "GET", "GET"]


def test_tags_of_others_are_no_files(store: OCIStore) -> None:
    store.put("a/x", b"1")
    facts = _manifest(store, "a__x_.")
    del facts["artifactType"], facts["annotations"]
    for tag in ("latest", "v1.2.3", "_.ab"):
        _client.put(f"{_api(store)}/manifests/{tag}", content=json.dumps(facts), headers={"content-type": MEDIA}).raise_for_status()
    assert dict(store.scan()).keys() == {"a/x"}
    assert not store.exists("latest.record.json")
    assert Catalog(store).find().to_frame().empty


def test_a_path_too_long_for_a_tag_is_listed_beside_others(store: OCIStore) -> None:
    paths = [f"a/{'x' * 200}", f"a/{'é' * 60}/y.txt", "a/z"]
    store.put_many({path: path.encode() for path in paths})
    assert sorted(store.list("a")) == sorted(paths)
    assert {path: found.size for path, found in store.scan("a")} == {path: len(path.encode()) for path in paths}
    assert list(store.list("b")) == []


# --- requests


@pytest.mark.parametrize(
    ("call", "requests"),
    [
        (lambda store: store.get("small"), ["GET"]),
        (lambda store: store.get("large"), ["GET", "GET"]),
        (lambda store: store.stat("large"), ["GET"]),
        (lambda store: store.get_many(["absent"]), ["GET"]),
        (lambda store: store.read_range("large", 5, 10), ["GET", "GET"]),
        (lambda store: list(store.list()), ["GET"]),
        (lambda store: list(store.scan()), ["GET"] * 3),
        (lambda store: store.put("new", b"1"), ["POST", "PUT", "PUT"]),
        (lambda store: store.put("new", bytes(range(256)) * 100), ["HEAD", "POST", "PUT", "PUT"]),
        (lambda store: store.create("claim", b"1"), ["GET", "PUT", "GET"]),
        (lambda store: store.create("small", b"1"), ["GET"]),
        (lambda store: store.delete("small"), ["GET", "DELETE"]),
    ],
)
def test_requests_of_a_call(way: Way, oci_registry: Registry, call: Callable[[OCIStore], object], requests: list[str]) -> None:
    store = _through(way, oci_registry)
    store.put_many({"small": b"1", "large": bytes(range(250)) * 200})
    way.seen.clear()
    call(store)
    assert [method for method, *_ in way.seen] == requests


def test_a_lost_answer_changes_nothing(way: Way, oci_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistable.stores.oci.registry.PIECE", 100_000)
    lost: set[tuple[str, str]] = set()

    def first_of_its_kind(method: str, path: str) -> bool:
        kind = method, path.partition("?")[0].split("/tests/")[1].split("/")[1]
        return kind not in lost and not lost.add(kind)  # type: ignore[func-returns-value]

    store = _through(way, oci_registry)
    data = bytes(range(256)) * 2000
    way.lose = first_of_its_kind
    with store.write("a/large") as file:
        file.write(data)
    assert store.create("a/claim", b"1")
    assert store.get("a/large") == data
    assert sorted(store.list()) == ["a/claim", "a/large"]
    assert store.delete("a/claim")
    assert list(store.list()) == ["a/large"]
    assert {method for method, _ in lost} == {"GET", "PUT", "POST", "PATCH", "HEAD", "DELETE"}


def test_a_long_listing_is_read_by_the_page() -> None:
    paths = [f"a/{number:04}.txt" for number in range(2500)]

    def answer(_method: str, path: str, _headers: Message) -> Answer:
        asked = parse_qs(urlsplit(path).query)
        tags = [path.replace("/", "__") for path in paths]
        rest = [tag for tag in tags if tag > asked.get("last", [""])[0]][: int(asked["n"][0])]
        link = {"link": f'</v2/x/tags/list?n={asked["n"][0]}&last={rest[-1]}>; rel="next"'} if rest and rest[-1] != tags[-1] else {}
        return 200, link, json.dumps({"name": "x", "tags": rest}).encode()

    with answering(answer) as host:
        assert list(_opened(f"oci://{host}/x").list()) == paths


def test_a_server_that_asks_for_patience_is_asked_again() -> None:
    answers = iter([429, 503, 404])

    def answer(_method: str, _path: str, _headers: Message) -> Answer:
        return next(answers), {"retry-after": "0"}, b""

    with answering(answer) as host:
        assert not _opened(f"oci://{host}/x").exists("a")
    assert next(answers, None) is None


def test_a_server_may_ask_for_patience_until_a_date() -> None:
    until = datetime.now(UTC) + timedelta(seconds=3)
    answers = iter([503, 404])

    def answer(_method: str, _path: str, _headers: Message) -> Answer:
        return next(answers), {"retry-after": format_datetime(until, usegmt=True)}, b""

    with answering(answer) as host:
        assert not _opened(f"oci://{host}/x").exists("a")
    assert datetime.now(UTC) >= until - timedelta(seconds=1.1)  # the date has whole seconds


# --- who creates


def test_a_create_that_another_overtakes_is_none(store: OCIStore, monkeypatch: pytest.MonkeyPatch) -> None:
    other = _opened(store.url, timeout=61.0)
    monkeypatch.setattr("persistable.stores.oci.store.sleep", lambda _: other.put("claim", b"theirs"))
    assert not store.create("claim", b"mine")
    assert store.get("claim") == b"theirs"


def test_of_many_that_found_nothing_the_last_to_set_the_tag_has_created_it(store: OCIStore, monkeypatch: pytest.MonkeyPatch) -> None:
    all_looked, all_set = threading.Barrier(6), threading.Barrier(6)
    find = Artifacts.find
    looked: set[int] = set()

    def find_with_all(own: Artifacts, path: str) -> Entry | None:
        found = find(own, path)
        if threading.get_ident() not in looked:
            looked.add(threading.get_ident())
            all_looked.wait(60)
        return found

    won: dict[int, bool] = {}

    def create(number: int) -> None:
        try:
            won[number] = store.create("claim", b"%d" % number)
        except BaseException:
            all_looked.abort()
            all_set.abort()
            raise

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    with monkeypatch.context() as patched:
        patched.setattr(Artifacts, "find", find_with_all)
        patched.setattr("persistable.stores.oci.store.sleep", lambda _: all_set.wait(60))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(won.values()) == [False] * 5 + [True]
    assert store.get("claim") == b"%d" % next(number for number, mine in won.items() if mine)


def _generate(_number: int, gate: Gate, store: OCIStore) -> list[float]:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    gate.wait()
    found: list[float] = ramp.step(4000).bind(store).payload.tolist()
    return found


def test_several_processes_get_one_payload(store: OCIStore) -> None:
    assert in_processes(4, _generate, store) == [list(range(4000))] * 4
    assert Catalog(store).verify().corrupt == []
    assert len(Catalog(store).find()) == 1


# --- damage


def _payload_blob(store: OCIStore, node: Any, registry: Registry) -> Path:
    return registry.blob(_manifest(store, f"ramp__{node.key.digest}")["layers"][1]["digest"])


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_blob_is_told_and_heals(store: OCIStore, oci_registry: Registry, damage: str) -> None:
    n = 4000 + len(damage)  # a payload of its own: the registry has one blob for equal ones
    ramp.step(n).bind(store).generate()
    blob = _payload_blob(store, ramp.step(n), oci_registry)
    data = bytearray(blob.read_bytes())
    data[5000] ^= 1
    blob.write_bytes(data if damage == "flip" else data[:5000])
    if damage == "remove":
        blob.unlink()
    with pytest.warns(CorruptPayloadWarning):
        assert ramp.step(n).bind(store).payload[-1] == n - 1
    assert ramp.step(n).bind(store).load().payload[-1] == n - 1
    assert Catalog(store).verify().sound


def test_a_damaged_manifest_is_as_good_as_none(store: OCIStore, oci_registry: Registry) -> None:
    store.put("a/x", b"1")
    store.put("a/y", b"2")
    answer = _client.get(f"{_api(store)}/manifests/a__x_.", headers={"accept": MEDIA})
    manifest = oci_registry.blob(answer.headers["docker-content-digest"])
    manifest.write_bytes(answer.content.replace(b"vnd.persistable.path", b"vnd.persistable.pat_"))
    assert store.stat("a/x") is None
    with pytest.raises(FileNotFoundError):
        store.get("a/x")
    assert dict(store.scan()).keys() == {"a/y"}
    assert store.create("a/x", b"3")
    assert store.get("a/x") == b"3"


# --- what goes wrong


@pytest.mark.parametrize(
    "url",
    [
        "oci://",
        "oci:///name",
        "oci://host",
        "oci://host/",
        "oci://host/Name",
        "oci://host/a//b",
        "oci://host/name:tag",
        "oci://host/name@sha256:ab",
        "oci://host/name?x=1",
        "oci://ho st/name",
        "oci://host/" + "x" * 300,
    ],
)
def test_a_url_that_is_no_repository_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(StoreError, match="names"):
        open_store(url)


def test_equal_urls_are_one_store() -> None:
    assert open_store("oci://Host:5000/name/") == open_store("oci://host:5000/name")
    assert open_store("oci://host/name", namespace="ann").url == "oci://host/name.ann"
    assert open_store("oci://host/name").info()["exclusive"] is False


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(UnknownParam, match="did you mean auth"):
        open_store("oci://host/name", authn="env:X")


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "registry.invalid"])
def test_a_registry_that_cannot_be_reached(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistable.stores.oci.registry.TRIES", 2)
    store = _opened(f"oci://{host.format(port=free_port())}/name")
    for call in (lambda: store.get("a"), lambda: store.create("a", b""), lambda: list(store.list())):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            call()


def test_what_is_no_registry_is_said() -> None:
    with answering(lambda *_: (200, {}, b"<html>")) as host, pytest.raises(StoreError, match="is it a registry"):
        list(_opened(f"oci://{host}/name").list())


def test_a_full_disk_of_the_registry_is_said() -> None:
    def answer(method: str, _path: str, _headers: Message) -> Answer:
        return (404 if method in ("GET", "HEAD") else 500), {}, b'{"errors":[{"detail":"write /data: no space left on device"}]}'

    with answering(answer) as host, pytest.raises(StoreFull, match="free some space"):
        _opened(f"oci://{host}/name").put("a", b"1")


def test_the_extra_is_named_where_a_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'persistable\[oci\]'"):
        _opened("oci://host/name", timeout=62.0).get("a")
