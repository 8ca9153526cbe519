"""No password of a URL is shown."""

import pickle

import pytest

from persistable.errors import PersistableError
from persistable.stores import LayeredStore, open_store
from persistable.stores.masked import masked


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host/a",
        "http://hunter2@host/a",
        "s3://key:hunter2@bucket/a",
        "sftp://user:hunter2@host/a",
        "ftp://user:hun@ter2@host/a".replace("hun@ter2", "x@hunter2"),
        "filecache::https://user:hunter2@host/a",
        "https://host/a?token=hunter2&x=1",
        "https://host/a?X-Amz-Signature=hunter2",
        "https://host/a?sig=hunter2",
        "webdav://user:hunter2@host/a?api_key=hunter2",
    ],
)
def test_what_is_secret_is_masked(url: str) -> None:
    assert "hunter2" not in masked(f"cannot reach {url} now")
    assert "host" in masked(url) or "bucket" in masked(url)


def test_stores_show_none() -> None:
    store = open_store("simplecache::https://user:hunter2@127.0.0.1:9/a")
    again = pickle.loads(pickle.dumps(store))
    for text in (store.url, repr(store), LayeredStore("memory://a", store).url, repr(again)):
        assert "hunter2" not in text
        assert "user" in text
    assert again == store
    assert store != open_store("simplecache::https://user:hunter2@127.0.0.1:9/b")
    with pytest.raises(PersistableError) as caught:
        open_store("nosuch://user:hunter2@host/a")
    assert "hunter2" not in str(caught.value)
