"""The tags of a container registry as inputs."""

import json
import pickle
from collections.abc import Callable

import httpx
import pytest
from servers.oci_registry import Registry

from persistable import Source, run, step
from persistable.errors import InputChanged, InputVanished, StoreError
from persistable.stores import open_store
from persistable.stores.oci.manifest import MEDIA, digest_of

Push = Callable[[str, dict[str, bytes]], None]


@step
def size(data: bytes) -> int:
    return len(data)


@pytest.fixture
def url(oci_registry: Registry) -> str:
    return oci_registry.repository()


@pytest.fixture
def push(url: str) -> Push:
    """Push an artifact as any tool does, given its layers by title."""
    api = url.replace("oci://", "http://").replace("/tests/", "/v2/tests/")

    def blob(data: bytes, **more: object) -> dict[str, object]:
        with httpx.Client(trust_env=False) as client:
            place = client.post(f"{api}/blobs/uploads/").headers["location"]
            client.put(f"{place}&digest={digest_of(data)}", content=data).raise_for_status()
        return {"mediaType": "application/octet-stream", "digest": digest_of(data), "size": len(data), **more}

    def push(tag: str, layers: dict[str, bytes]) -> None:
        named = [blob(data, annotations={"org.opencontainers.image.title": title} if title else {}) for title, data in layers.items()]
        manifest = {"schemaVersion": 2, "mediaType": MEDIA, "config": blob(b"{}"), "layers": named}
        answer = httpx.put(f"{api}/manifests/{tag}", content=json.dumps(manifest), headers={"content-type": MEDIA}, trust_env=False)
        answer.raise_for_status()

    return push


def test_each_tag_is_an_input(url: str, push: Push) -> None:
    push("v1", {"data.csv": b"one"})
    push("v2", {"": b"two, longer"})
    push("latest", {"data.csv": b"other"})
    source = Source(url, tags="v*")
    assert source["v1"].payload == b"one"
    sizes = size.over(source).bind("memory://")
    assert run(sizes).counts["done"] == 2
    assert [node.payload for node in sizes.nodes] == [3, 11]
    push("v2", {"": b"three"})
    push("v3", {"": b""})
    assert run(sizes).counts["done"] == 2
    assert [node.payload for node in sizes.nodes] == [3, 5, 0]
    assert [node.payload for node in pickle.loads(pickle.dumps(source)).nodes] == [b"one", b"three", b""]


def test_layers_by_title(url: str, push: Push) -> None:
    push("v1", {"a.json": b'{"a": 1}', "b.bin": b"2"})
    assert Source(url)["v1"].payload == {"a.json": b'{"a": 1}', "b.bin": b"2"}
    assert Source(url, columns=["b.bin"])["v1"].payload == {"b.bin": b"2"}
    assert Source(url, columns="b.bin")["v1"].payload == b"2"
    assert Source(url, columns="a.json", io=".json")["v1"].payload == {"a": 1}
    with pytest.raises(StoreError, match=r"has no layer 'c'; it has a\.json, b\.bin"):
        Source(url, columns="c")["v1"].key.digest


def test_the_same_content_elsewhere_is_the_same_input(url: str, push: Push, oci_registry: Registry) -> None:
    push("v1", {"data": b"same"})
    key = Source(url)["v1"].key
    push("v1", {"data": b"other"})
    assert Source(url)["v1"].key != key
    push("v1", {"moved": b"same"})
    assert Source(url)["v1"].key == key


def test_what_has_changed_or_gone_is_said(url: str, push: Push) -> None:
    push("v1", {"data": b"one"})
    node = Source(url)["v1"]
    assert node.key
    push("v1", {"data": b"two"})
    with pytest.raises(InputChanged):
        node.payload
    store = open_store(url)
    store.put("gone.bin", b"1")
    node = Source(url)["gone.bin"]
    assert node.payload == b"1"
    node = Source(url, tags="gone*")["gone.bin"]
    assert node.key
    store.delete("gone.bin")
    with pytest.raises(InputVanished):
        node.payload


def test_a_damaged_layer_is_an_error(url: str, push: Push, oci_registry: Registry) -> None:
    push("v1", {"data": url.encode() * 100})
    blob = oci_registry.blob(digest_of(url.encode() * 100))
    blob.write_bytes(blob.read_bytes().replace(b"oci", b"ico", 1))
    with pytest.raises(StoreError, match="lost or damaged"):
        Source(url)["v1"].payload


def test_an_index_of_several_is_refused_by_name(url: str, push: Push) -> None:
    push("v1", {"data": b"one"})
    api = url.replace("oci://", "http://").replace("/tests/", "/v2/tests/")
    kind = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": []}
    httpx.put(f"{api}/manifests/all", content=json.dumps(index), headers={"content-type": kind}, trust_env=False).raise_for_status()
    assert [node.payload for node in Source(url, tags="v*").nodes] == [b"one"]
    with pytest.raises(StoreError, match="index of several"):
        list(Source(url).nodes)
