"""Sources elsewhere than on disk: stores, S3 and HTTP, on real servers."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.fixtures import Bucket
from servers.lossy import lossy
from servers.needs import need
from tests.source.flows import length, names_in, shouted
from tests.source.pages import Pages, serving
from tests.source.seeing import done

from persistable import Source, Status, open_store, plan, run
from persistable.errors import HttpFailed, InputChanged, InputVanished, InvalidName, ParamsError, StoreError
from persistable.params.secret import Secret
from persistable.stores import Store


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    with open_store(tmp_path / "store") as store:
        yield store


# stores


@pytest.mark.parametrize("url", ["memory://sources-{number}", "sqlite:///inputs.db", "inputs"])
def test_any_store_can_hold_inputs(url: str, tmp_path: Path) -> None:
    where = open_store(url.format(number=tmp_path.name))
    for name in ("a", "b"):
        where.put(f"texts/{name}.txt", name.encode())
        where.put(f"texts/deeper/{name}.txt", b"not meant")
    books: Source[str] = Source("texts/{book}.txt", store=where)
    lengths = shouted.over(books)
    assert done(run(lengths), lengths) == ["a", "b"] and lengths["a"].payload == "A"
    assert done(run(lengths), lengths) == []
    where.put("texts/b.txt", b"bb")
    where.put("texts/c.txt", b"c")
    assert done(run(lengths), lengths) == ["b", "c"]
    node = books["c"]
    where.put("texts/c.txt", b"another")
    with pytest.raises(InputChanged, match=r"texts/c.txt has changed"):
        node.payload
    where.delete("texts/c.txt")
    with pytest.raises(InputVanished, match=r"texts/c.txt is not there"):
        node.payload
    assert done(run(lengths), lengths) == [] and list(lengths) == ["a", "b"]


def test_a_memory_url_names_the_store_and_a_path_in_it(tmp_path: Path) -> None:
    open_store(f"memory://{tmp_path.name}").put("a/b/x.txt", b"x")
    assert Source(f"memory://{tmp_path.name}/a/b/{{it}}.txt")["x"].payload == "x"
    with open_store(f"memory://{tmp_path.name}", readonly=True) as readonly:
        assert list(Source("a/b/{it}.txt", store=readonly)) == ["x"]


@pytest.mark.parametrize(
    "where", ["zip://texts/{it}.txt::{place}", "zip://texts/{it}.txt::file://{place}", "simplecache::file://{texts}/{it}.txt"]
)
def test_files_in_an_archive_or_behind_another_file_system_are_inputs(where: str, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "x.txt").write_text("x")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "texts" / "x.txt", "texts/x.txt")
    texts: Source[str] = Source(where.replace("{place}", str(tmp_path / "a.zip")).replace("{texts}", str(tmp_path / "texts")))
    assert list(texts) == ["x"] and texts["x"].payload == "x"


def test_folders_in_a_store_are_copied_to_where_they_are_needed(tmp_path: Path) -> None:
    where = open_store(f"memory://{tmp_path.name}")
    where.put("scans/s1/a.txt", b"1")
    where.put("scans/s1/deep/b.txt", b"2")
    where.put("scans/s2/a.txt", b"1")
    scans: Source[Path] = Source("scans/{subject}/", store=where)
    listed = names_in.over(scans)
    assert done(run(listed), listed) == ["s1", "s2"] and listed["s1"].payload == ["a.txt", "deep/b.txt"]
    assert (scans["s1"].payload / "deep" / "b.txt").read_bytes() == b"2"
    node = scans["s1"]
    where.put("scans/s1/deep/b.txt", b"3")
    assert (node.payload / "deep" / "b.txt").read_bytes() == b"2", "the copy of that content is still here"
    assert done(run(listed), listed) == ["s1"]
    where.put("scans/s2/a.txt", b"4")
    node = scans.refresh()["s2"]
    where.put("scans/s2/a.txt", b"5")
    with pytest.raises(InputChanged, match=r"scans/s2 has changed"):
        node.payload


def test_keys_may_be_given_where_a_listing_is_not_wanted(tmp_path: Path) -> None:
    where = open_store(f"memory://{tmp_path.name}")
    for name in "abc":
        where.put(f"{name}/x.txt", name.encode())
    wanted = ["c", "a"]
    some: Source[str] = Source("{n}/x.txt", store=where, keys=lambda: wanted)
    assert list(some) == ["c", "a"] and some["a"].payload == "a"
    wanted.append("d")
    assert list(some) == ["c", "a"] and list(some.refresh()) == ["c", "a", "d"]
    with pytest.raises(InputVanished, match=r"d/x.txt"):
        some["d"]
    assert list(Source("{n}/{m}.txt", store=where, keys=[("a", "x"), {"m": "x", "n": "b"}])) == [("a", "x"), ("b", "x")]
    for wrong, error in [("..", InvalidName), ("a/b", InvalidName), (("a", "b"), ValueError), ({"m": "a"}, ValueError)]:
        with pytest.raises(error):
            list(Source("{n}/x.txt", store=where, keys=[wrong]).nodes)
    with pytest.raises(ValueError, match="given twice"):
        list(Source("{n}/x.txt", store=where, keys=["a", "a"]))
    with pytest.raises(TypeError, match=r"is the text 'abc'; give a list of keys: keys=\['abc'\]"):
        list(Source("{n}/x.txt", store=where, keys="abc"))
    with pytest.raises(ValueError, match=r"is one value, not \['a'\]"):
        list(Source("{n}/x.txt", store=where, keys=[["a"]]))


# S3


def test_objects_in_a_bucket_are_listed_once_and_read_again_only_when_they_change(s3_bucket: Bucket) -> None:
    def put(key: str, text: str) -> None:
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=text.encode())

    for key in ("books/a/x.txt", "books/b/2024-01-01T10:00.txt", "books/b/y.txt", "books/top.txt", "books/b/deep/z.txt"):
        put(key, key[-5:])
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="books/b/", Body=b"")
    with lossy(s3_bucket.options["endpoint_url"], lambda _method, _path: False) as way:
        options = {**s3_bucket.options, "endpoint_url": way.endpoint}
        books: Source[str] = Source(f"s3://{s3_bucket.name}/books/{{subject}}/{{session}}.txt", **options)
        shouts = shouted.over(books)
        assert way.seen == []
        assert list(books) == [("a", "x"), ("b", "2024-01-01T10:00"), ("b", "y")]
        assert len(way.seen) == 1
        assert done(run(shouts), shouts) == list(books)
        assert shouts["b", "2024-01-01T10:00"].payload == "0.TXT"
        before = len(way.seen)
        assert done(run(shouts), shouts) == []
        assert len(way.seen) == before + 1, "one listing, and no content"
        put("books/b/y.txt", "other")
        put("books/c/new.txt", "new")
        before = len(way.seen)
        assert done(run(shouts), shouts) == [("b", "y"), ("c", "new")]
        assert len(way.seen) == before + 1 + 2 * 2, "one listing; of each its content, and its use"
        node = books["c", "new"]
        put("books/c/new.txt", "newer")
        with pytest.raises(InputChanged, match=r"s3://.*c/new.txt"):
            node.payload
        s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="books/c/new.txt")
        with pytest.raises(InputVanished, match=r"s3://.*c/new.txt"):
            node.payload


def test_the_first_plan_asks_for_each_object_once(s3_bucket: Bucket) -> None:
    for number in range(40):
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=f"in/{number}.txt", Body=b"%d" % number)
    upload = s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key="in/parts.txt")["UploadId"]
    about = {"Bucket": s3_bucket.name, "Key": "in/parts.txt", "UploadId": upload}
    part = s3_bucket.client.upload_part(**about, PartNumber=1, Body=b"of one part")
    s3_bucket.client.complete_multipart_upload(**about, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    with lossy(s3_bucket.options["endpoint_url"], lambda _method, _path: False) as way:
        options = {**s3_bucket.options, "endpoint_url": way.endpoint}
        source = Source(f"s3://{s3_bucket.name}/in/{{n}}.txt", **options)
        plan(length.over(source))
        methods = Counter(method for method, _, _ in way.seen)
        assert methods == {"GET": 1 + 41, "HEAD": 1}, "one listing, each content once, and a last look at what has no MD5 for its tag"
        assert source["parts"].status is Status.DONE
        assert Counter(method for method, _, _ in way.seen) == {"GET": 1 + 41, "HEAD": 2}, "what was read is known by its tag"
        given = Source(f"s3://{s3_bucket.name}/in/{{n}}.txt", keys=map(str, range(20)), **options)
        way.seen.clear()
        plan(length.over(given))
        assert Counter(method for method, _, _ in way.seen) == {"HEAD": 20}, "the process knows these contents"


def test_what_is_written_between_listing_and_reading_is_not_taken_for_what_was_listed(s3_bucket: Bucket) -> None:
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="a.txt", Body=b"one")
    source = Source(f"s3://{s3_bucket.name}/{{n}}.txt", **s3_bucket.options)
    assert list(source) == ["a"]
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="a.txt", Body=b"two")
    node = source["a"]
    assert node.payload == "two"
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="a.txt", Body=b"one")
    assert source.refresh()["a"].key != node.key and source["a"].payload == "one"


def test_objects_on_gcs_are_told_by_their_md5(gcs_bucket: Bucket) -> None:
    where = open_store(gcs_bucket.url, **gcs_bucket.options)
    for name in ("a", "b"):
        where.put(f"in/{name}.txt", name.encode())
    shouts = shouted.over(Source(f"{gcs_bucket.url}/in/{{n}}.txt", **gcs_bucket.options))
    assert done(run(shouts), shouts) == ["a", "b"] and shouts["a"].payload == "A"
    where.put("in/b.txt", b"bb")
    assert done(run(shouts), shouts) == ["b"] and shouts["b"].payload == "BB"


def test_folders_in_a_bucket(s3_bucket: Bucket) -> None:
    for key in ("scans/s1/a.txt", "scans/s1/deep/b.txt", "scans/s2/a.txt"):
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=key.encode())
    scans: Source[Path] = Source(f"s3://{s3_bucket.name}/scans/{{subject}}/", **s3_bucket.options)
    listed = names_in.over(scans)
    assert done(run(listed), listed) == ["s1", "s2"] and listed["s1"].payload == ["a.txt", "deep/b.txt"]
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="scans/s2/c.txt", Body=b"new")
    assert done(run(listed), listed) == ["s2"]


@pytest.mark.timeout(300)
def test_workers_read_from_the_bucket_themselves(s3_bucket: Bucket, tmp_path: Path) -> None:
    for name in ("a", "b"):
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=f"texts/{name}.txt", Body=name.encode() * 3)
    lengths = length.over(Source(f"s3://{s3_bucket.name}/texts/{{book}}.txt", **s3_bucket.options))
    assert done(run(lengths, executor="processes", max_workers=2), lengths) == ["a", "b"]
    assert lengths["b"].payload == 3


def test_a_large_object_is_parsed_in_a_local_copy(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    from persistable.families.sources import content

    need("pandas")
    monkeypatch.setattr(content, "IN_MEMORY", 1000)
    text = "x\n" + "\n".join(map(str, range(2000)))
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="a.csv", Body=text.encode())
    source = Source(f"s3://{s3_bucket.name}/{{n}}.csv", **s3_bucket.options)
    node = source["a"]
    assert node.payload["x"].sum() == sum(range(2000))
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="a.csv", Body=text.encode() + b"0")
    node.reset_payload()
    with pytest.raises(InputChanged):
        node.payload


def test_a_bucket_that_is_not_there_is_an_error(s3_bucket: Bucket) -> None:
    with pytest.raises(StoreError, match="there is no bucket"):
        list(Source("s3://no-such-bucket-here/{x}.txt", **s3_bucket.options))
    assert list(Source(f"s3://{s3_bucket.name}/nothing/{{x}}.txt", **s3_bucket.options)) == []


# HTTP


@pytest.fixture
def site() -> Iterator[Pages]:
    need("httpx")
    with serving() as found:
        yield found


def gets(site: Pages) -> list[str]:
    return [path for method, path in site.seen if method == "GET"]


@pytest.mark.parametrize("heads", [True, False])
def test_pages_are_told_by_their_etag_and_read_when_they_are_needed(site: Pages, heads: bool) -> None:
    site.heads = heads
    for name in ("a", "b"):
        site.put(f"/d/{name}.txt", name.encode(), ETag='"1"')
    texts: Source[str] = Source(site.url + "/d/{name}.txt", keys=["a", "b"])
    shouts = shouted.over(texts)
    assert site.seen == [] and list(texts) == ["a", "b"] and site.seen == []
    assert done(run(shouts), shouts) == ["a", "b"] and shouts["a"].payload == "A"
    if heads:
        assert sorted(gets(site)) == ["/d/a.txt", "/d/b.txt"]
    site.seen.clear()
    assert done(run(shouts), shouts) == []
    assert len(site.seen) == (2 if heads else 4), "each is asked for its tag"
    site.put("/d/b.txt", b"new", ETag='"2"')
    assert done(run(shouts), shouts) == ["b"] and shouts["b"].payload == "NEW"


def test_a_tag_means_something_at_its_own_address_only(site: Pages) -> None:
    site.put("/x/a.txt", b"one", ETag='"1"')
    site.put("/y/a.txt", b"two", ETag='"1"')
    one, two = (Source(f"{site.url}/{place}/{{name}}.txt", keys=["a"])["a"] for place in "xy")
    assert one.key != two.key and (one.payload, two.payload) == ("one", "two")


def test_without_a_tag_the_date_counts_and_without_that_the_bytes(site: Pages) -> None:
    shouts = shouted.over(Source(site.url + "/{name}.txt", keys=["a"]))
    site.put("/a.txt", b"one", Last_Modified="Sat, 01 Jan 2022 00:00:00 GMT")
    assert done(run(shouts), shouts) == ["a"]
    site.put("/a.txt", b"two", Last_Modified="Sun, 02 Jan 2022 00:00:00 GMT")
    assert done(run(shouts), shouts) == ["a"] and shouts["a"].payload == "TWO"
    site.put("/a.txt", b"two")
    assert done(run(shouts), shouts) == ["a"]
    assert done(run(shouts), shouts) == []
    site.put("/a.txt", b"six")
    assert done(run(shouts), shouts) == ["a"] and shouts["a"].payload == "SIX"


def test_a_page_that_changed_or_went_after_the_plan(site: Pages) -> None:
    texts: Source[str] = Source(site.url + "/{name}.txt", keys=["a", "b"])
    site.put("/a.txt", b"one", ETag='"1"')
    site.put("/b.txt", b"one")
    nodes = [texts["a"], texts["b"]]
    site.put("/a.txt", b"one", ETag='"2"')
    site.put("/b.txt", b"two")
    for node in nodes:
        with pytest.raises(InputChanged):
            node.payload
    site.pages.clear()
    for node in nodes:
        with pytest.raises(InputVanished, match=r"http://127.0.0.1:\d+/. is not there|\.txt is not there"):
            node.payload
    with pytest.raises(InputVanished, match=r"/a\.txt is not there"):
        texts.refresh()["a"]
    assert not nodes[0].exists()


def test_keys_are_quoted_and_cannot_lead_elsewhere(site: Pages) -> None:
    site.put("/d/a%20b%3F%C3%BC.txt?key=a%20b%3F%C3%BC", b"odd", ETag='"1"')
    texts: Source[Any] = Source(site.url + "/d/{name}.txt?key={name}", keys=["a b?ü"], io=".txt")
    assert texts["a b?ü"].payload == "odd"
    for wrong in ("..", "a/b", "", 1.5):
        with pytest.raises(InvalidName):
            list(Source(site.url + "/d/{name}.txt", keys=[wrong]).nodes)
    with pytest.raises(TypeError, match=r"cannot be listed.*keys=\[\.\.\.\]"):
        Source(site.url + "/{name}.txt")
    with pytest.raises(InvalidName):
        Source("http://{host}/{name}.txt", keys=["a"])
    with pytest.raises(ParamsError):
        Source("http://me:word@host/{name}.txt", keys=["a"])


def test_secrets_go_into_headers_and_errors_of_the_server_are_told(site: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_TOKEN", "very-secret-token")
    site.put("/a.txt", b"one", ETag='"1"')
    texts: Source[str] = Source(site.url + "/{name}.txt", keys=["a"], headers={"Authorization": Secret("SOURCE_TOKEN", "Bearer {}")})
    node = texts["a"]
    assert node.payload == "one" and set(site.authorizations) == {"Bearer very-secret-token"}
    assert "very-secret" not in repr(node) + str(node.params_tree)
    with pytest.raises(ParamsError):
        Source(site.url + "/{name}.txt", keys=["a"], headers={"Authorization": "Bearer plain"})
    with pytest.raises(HttpFailed):
        Source("http://127.0.0.1:9/{name}.txt", keys=["a"], attempts=1)["a"]


def test_many_pages_are_asked_for_over_few_connections_some_at_a_time(site: Pages) -> None:
    names = [f"p{number}" for number in range(60)]
    for name in names:
        site.put(f"/{name}.txt", name.encode(), ETag=f'"{name}"')
    site.delay = 0.02
    lengths = length.over(Source(site.url + "/{name}.txt", keys=names))
    plan(lengths)
    assert [method for method, _ in site.seen] == ["HEAD"] * 60
    assert 1 < site.most <= 16 and len(site.connections) <= 16
    site.connections.clear()
    assert run(lengths).counts["done"] == 60
    assert len(site.connections) <= 16 + 1, "those of the plan, and the one that the run reads by"


def test_workers_read_pages_themselves(site: Pages) -> None:
    for name in ("a", "b"):
        site.put(f"/{name}.txt", name.encode(), ETag='"1"')
    lengths = length.over(Source(site.url + "/{name}.txt", keys=lambda: ["a", "b"]))
    assert done(run(lengths, executor="processes", max_workers=2), lengths) == ["a", "b"]
