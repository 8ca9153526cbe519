"""The promises of every store against a real S3 server, the only one here that checks signatures and bodies."""

import pytest
from servers.fixtures import Bucket
from servers.needs import need

from persistable.errors import StoreError, StoreReadOnly
from persistable.stores import open_store
from stores.test_contract_remote import S3Contract

pytestmark = pytest.mark.cluster


class TestCeph(S3Contract):
    @pytest.fixture
    def bucket(self, ceph_bucket: Bucket) -> Bucket:
        return ceph_bucket


class TestCephThroughObstore(S3Contract):
    @pytest.fixture
    def bucket(self, ceph_bucket: Bucket) -> Bucket:
        need("obstore")
        ceph_bucket.options["client"] = "obstore"
        return ceph_bucket


@pytest.mark.parametrize("client", ["s3fs", "obstore"])
def test_a_wrong_secret_may_neither_read_nor_write(client: str, ceph_bucket: Bucket) -> None:
    ceph_bucket.options["client"] = client
    store = open_store(ceph_bucket.url, **{**ceph_bucket.options, "secret": "wrong"})
    with pytest.raises(StoreError, match="may not be read with these credentials") as caught:
        store.get("x")
    assert not isinstance(caught.value, FileNotFoundError)
    for change in (lambda: store.put("x", b"1"), lambda: store.create("x", b"1"), lambda: store.put_many({"x": b"1"})):
        with pytest.raises(StoreReadOnly, match="may not be written with these credentials"):
            change()
