"""A store in a container registry keeps the promises of every store, against a real registry, which deletes or refuses to."""

import atexit
import json
from collections.abc import Iterator
from typing import ClassVar

import httpx
import pytest
from servers.oci_registry import Registry

from persistable.stores import OCIStore, open_store
from persistable.stores.oci.manifest import MEDIA
from persistable.stores.oci.tags import tag_of
from persistable.testing.stores import StoreContract

pytestmark = pytest.mark.timeout(600)
_client = httpx.Client(trust_env=False)
atexit.register(_client.close)


class OCIContract(StoreContract):
    """What holds for any registry; the tests go around the store with httpx."""

    exclusive: ClassVar[bool] = False
    examples = 6
    rounds = 6
    many = 150

    @pytest.fixture
    def registry(self, oci_registry: Registry) -> Registry:
        return oci_registry

    @pytest.fixture
    def store(self, registry: Registry) -> Iterator[OCIStore]:
        self.registry_now = registry
        store = open_store(registry.repository())
        assert isinstance(store, OCIStore)
        yield store
        store.close()

    def _api(self, store: OCIStore) -> str:
        return store.url.replace("oci://", "http://").replace("/tests/", "/v2/tests/")

    def peek(self, store: OCIStore, path: str) -> bytes | None:
        answer = _client.get(f"{self._api(store)}/manifests/{tag_of(path)}", headers={"accept": MEDIA})
        if answer.status_code == 404:
            return None
        facts = json.loads(answer.content)
        assert facts["annotations"]["vnd.persistable.path"] == path
        if facts["artifactType"].endswith("deleted.v1"):
            return None
        found = store.get(path)
        blobs = [each["digest"] for each in facts["layers"] if "vnd.persistable.part" in each.get("annotations", {})]
        if blobs:
            assert b"".join(_client.get(f"{self._api(store)}/blobs/{digest}").content for digest in blobs) == found
        return found

    def leftovers(self, store: OCIStore) -> list[str]:
        answer = _client.get(f"{self._api(store)}/tags/list")
        return sorted((answer.json().get("tags") or []) if answer.status_code == 200 else []) + self.registry_now.uploads(store.url)


class TestRegistry(OCIContract):
    pass


class TestRegistryThatRefusesToDelete(OCIContract):
    """The part of the contract in which something is deleted."""

    examples = 3

    @pytest.fixture
    def registry(self, undeleting_registry: Registry) -> Registry:
        return undeleting_registry


_DELETING = {
    "test_delete_says_whether_something_was_there",
    "test_create_only_where_nothing_is",
    "test_good_names_stay_apart",
    "test_a_scan_is_a_listing_with_stats",
    "test_a_listing_survives_changes_made_meanwhile",
    "test_a_scan_survives_changes_made_meanwhile",
    "test_a_damaged_small_file_blocks_no_key",
    "test_it_behaves_like_a_dict",
}
for _name in dir(StoreContract):
    if _name.startswith("test_") and _name not in _DELETING:
        setattr(TestRegistryThatRefusesToDelete, _name, None)
