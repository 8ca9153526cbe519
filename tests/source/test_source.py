"""Sources in local folders and in memory: which members there are, under which keys, what they are, and when the disk is asked."""

import gzip
import os
import pickle
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from servers.needs import need
from tests.source.flows import both, length, names_in, shouted, together
from tests.source.seeing import calls_below, done, settle, write

from persistable import Family, PersistableError, Source, Status, open_store, plan, run
from persistable.errors import (
    InputChanged,
    InputVanished,
    InvalidName,
    MalformedFile,
    StoreError,
    UnknownMember,
    UnknownParam,
    UntrackableParam,
)
from persistable.fileio import BytesFileIO, CsvFileIO, FolderFileIO, JsonFileIO, NumpyFileIO, PickleFileIO, TextFileIO
from persistable.stores import Store


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of nodes that name none; the current folder is empty beside it."""
    monkeypatch.chdir(tmp_path)
    with open_store(tmp_path / "store") as store:
        yield store


# which members there are


def test_each_file_is_a_member_under_what_stands_in_the_field(tmp_path: Path) -> None:
    write(tmp_path / "texts", moby="whale", emma="love")
    (tmp_path / "texts" / "notes.md").write_text("of another kind")
    (tmp_path / "texts" / ".hidden.txt").write_text("hidden")
    (tmp_path / "texts" / "._moby.txt").write_text("made by another system")
    (tmp_path / "texts" / "deeper").mkdir()
    (tmp_path / "texts" / "deeper" / "ulysses.txt").write_text("yes")
    books: Source[str] = Source("texts/{book}.txt")
    assert list(books) == ["emma", "moby"] and len(books) == 2
    assert books["moby"].payload == "whale"
    assert books["moby"].payload_name == "book" and books.axes[0].name == "book"
    assert repr(books) == "<Source book: book (2)>"
    assert "moby" in books and "ulysses" not in books
    with pytest.raises(UnknownMember, match="nearest is 'moby'"):
        books["mobi"]
    assert isinstance(books, Family)


def test_several_fields_are_one_axis_of_tuples(tmp_path: Path) -> None:
    for subject, session in [("s1", "a"), ("s1", "b"), ("s2", "a")]:
        write(tmp_path / "data" / subject, **{f"{session}-raw": subject + session})
    raw: Source[str] = Source("data/{subject}/{session}-raw.txt")
    assert list(raw) == [("s1", "a"), ("s1", "b"), ("s2", "a")]
    assert raw["s1", "b"].payload == "s1b" and raw["s1", "b"].payload_name == "session"
    assert list(raw.sel(subject="s1")) == [("s1", "a"), ("s1", "b")]
    assert raw.sel(subject="s2", session="a").payload == "s2a"
    assert list(length.over(raw)) == list(raw)


def test_a_field_that_comes_twice_is_the_same_both_times(tmp_path: Path) -> None:
    write(tmp_path / "s1", s1="yes", s2="no")
    assert list(Source("{subject}/{subject}.txt")) == ["s1"]


@pytest.mark.parametrize("name", ["ünïcode ✓", "with space ", "dots.in.it", "a:b?c*", "%41", "{brace}", "CON", "x" * 200, "'\"\n"])
def test_odd_names_are_keys_like_others(tmp_path: Path, name: str) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / f"{name}.txt").write_text(name)
    texts: Source[str] = Source("odd/{it}.txt")
    assert list(texts) == [name]
    assert texts[name].payload == name
    lengths = length.over(texts)
    run(lengths)
    assert lengths[name].payload == len(name)


def test_names_that_are_no_text_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    with open(os.path.join(os.fsencode(tmp_path), b"odd", b"\xff.txt"), "w"):
        pass
    with pytest.raises(InvalidName, match="no valid UTF-8"):
        list(Source("odd/{it}.txt"))


def test_a_name_that_can_be_read_in_two_ways_is_refused_with_both(tmp_path: Path) -> None:
    write(tmp_path / "d", **{"s1-a": "fine"})
    raw: Source[str] = Source("d/{subject}-{session}.txt")
    assert list(raw) == [("s1", "a")]
    write(tmp_path / "d", **{"s1-a-b": "?"})
    with pytest.raises(InvalidName, match=r"s1-a-b.txt can be read in two ways.*'s1'.*'a-b'.*'s1-a'.*'b'"):
        raw.refresh()


@pytest.mark.parametrize(
    "where", ["texts/all.txt", "texts/{a}{b}.txt", "texts/{a:d}.txt", "texts/{0}.txt", "{a}/../{b}.txt", "s3://{bucket}/{x}"]
)
def test_templates_that_cannot_be_are_refused_at_once(where: str) -> None:
    with pytest.raises(InvalidName):
        Source(where)


def test_a_folder_that_is_not_there_yet_is_an_empty_source(tmp_path: Path) -> None:
    books: Source[str] = Source("texts/{book}.txt")
    assert list(books) == [] and run(length.over(books)).counts["done"] == 0
    write(tmp_path / "texts", moby="whale")
    assert list(books) == [] and list(books.refresh()) == ["moby"]


def test_a_folder_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(StoreError, match=r"cannot be read.*check its permissions"):
        list(Source("x" * 300 + "/{x}.txt"))


def test_paths_and_file_urls_and_a_folder_above_name_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "texts", moby="whale")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    every = [
        Source("../texts/{book}.txt"),
        Source(tmp_path / "texts" / "{book}.txt"),
        Source(f"{tmp_path}/texts/{{book}}.txt"),
        Source(f"file://{tmp_path}/texts/{{book}}.txt"),
        Source("texts/{book}.txt", store=tmp_path),
    ]
    assert {source["moby"].key for source in every} == {every[0]["moby"].key}
    monkeypatch.chdir(tmp_path)
    assert every[0].refresh()["moby"].payload == "whale"  # a relative path counts from where it was written


def test_symbolic_links_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    write(tmp_path / "real" / "one", a="text")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "s1").symlink_to(tmp_path / "real" / "one")
    (tmp_path / "real" / "one" / "loop").symlink_to(tmp_path / "real" / "one")
    (tmp_path / "links" / "gone").symlink_to(tmp_path / "nowhere")
    for folder in ("links", "real/one"):
        (tmp_path / folder / "itself.txt").symlink_to("itself.txt")
    assert list(Source("links/{s}/{f}.txt")) == [("s1", "a")]
    folders: Source[Path] = Source("links/{s}/")
    assert list(folders) == ["s1"]
    with pytest.raises(MalformedFile, match=r"loop in .* is a symlink"):  # a folder as a payload is what is in it
        folders["s1"].payload
    for name in ("loop", "itself.txt"):
        (tmp_path / "real" / "one" / name).unlink()
    assert (folders.refresh()["s1"].payload / "a.txt").read_text() == "text"


# what they are


def test_identity_is_name_key_content_and_format_but_not_the_place(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write(tmp_path / place, moby="whale", emma="whale")
    here: Source[str] = Source("here/{book}.txt")
    key = here["moby"].key
    assert Source("there/{book}.txt")["moby"].key == key
    assert Source("here/{novel}.txt", name="book")["moby"].key != key
    others = [here["emma"], Source("here/{book}.txt", name="other")["moby"], Source("here/{book}.txt", io=".json")["moby"]]
    assert len({key, *(node.key for node in others)}) == 4
    write(tmp_path / "here", moby="another whale")
    assert here["moby"].key == key
    assert here.refresh()["moby"].key != key
    write(tmp_path / "here", moby="whale")
    assert here.refresh()["moby"].key == key


def test_the_format_is_that_of_the_suffix_or_the_one_given(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": [1, 2]}')
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / "a.dat").write_bytes(b"\x00\x01")
    np.save(tmp_path / "a.npy", np.arange(3))
    assert Source("{n}.json")["a"].payload == {"x": [1, 2]}
    assert Source("{n}.json", io=TextFileIO())["a"].payload == '{"x": [1, 2]}'
    assert Source("{n}.json", io=".bin")["a"].payload == b'{"x": [1, 2]}'
    assert Source("{n}.txt.gz")["a"].payload == "packed"
    assert Source("{n}.dat")["a"].payload == b"\x00\x01"
    assert Source("{n}.npy")["a"].payload.tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="names folders"):
        Source("{n}/", io=BytesFileIO())
    with pytest.raises(TypeError, match="io of Source"):
        Source("{n}.txt", io=3)  # type: ignore[arg-type]


def test_what_a_format_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    said = f"the input {tmp_path / 'a.json'}: not a whole file of JsonFileIO"
    with pytest.raises(MalformedFile, match=re.escape(said)):
        Source("{n}.json")["a"].payload
    counted = length.over(Source("{n}.json"))
    assert said in run(counted, errors="return").failures[0].text and said in str(counted["a"].explain())


def test_payloads_may_be_written_to_without_harm(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(200_000))
    node = Source("{n}.npy")["a"]
    node.payload[:] = 1
    assert Source("{n}.npy")["a"].payload.sum() == 0 and np.load(tmp_path / "a.npy").sum() == 0


def test_members_pickle_and_so_do_sources(tmp_path: Path) -> None:
    write(tmp_path / "texts", moby="whale", emma="love")
    books: Source[str] = Source("texts/{book}.txt")
    twin = pickle.loads(pickle.dumps(books["moby"]))
    assert twin.key == books["moby"].key and twin.payload == "whale"
    for family in (books, books[:1], length.over(books), books.rekey(str.upper), books.join(books[:1]), books.part([[1]])):
        again = pickle.loads(pickle.dumps(family))
        assert list(again) == list(family) and [node.key for node in again.nodes] == [node.key for node in family.nodes]
    some = cloudpickle.loads(cloudpickle.dumps(books.where(lambda key: key < "f")))
    assert list(some) == ["emma"]
    given: Source[str] = Source({"a": "x"})
    assert pickle.loads(pickle.dumps(given["a"])).payload == "x"


def test_status_and_exists_say_whether_it_is_there_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "texts", moby="whale")
    node = Source("texts/{book}.txt")["moby"]
    assert node.status is Status.DONE and node.exists()
    (tmp_path / "texts" / "moby.txt").write_text("another")
    assert node.status is Status.ABSENT
    (tmp_path / "texts" / "moby.txt").unlink()
    assert not node.exists()


# folders


def test_a_template_that_ends_in_a_separator_takes_folders(tmp_path: Path) -> None:
    write(tmp_path / "scans" / "s1" / "raw", a="1", b="2")
    write(tmp_path / "scans" / "s2", a="1")
    (tmp_path / "scans" / "empty").mkdir()
    (tmp_path / "scans" / "file.txt").write_text("no folder")
    scans: Source[Path] = Source("scans/{subject}/")
    assert list(scans) == ["s1", "s2"]
    assert scans["s1"].payload == tmp_path / "scans" / "s1" and isinstance(scans["s1"].payload_io, FolderFileIO)
    listed = names_in.over(scans)
    assert done(run(listed), listed) == ["s1", "s2"]
    assert listed["s1"].payload == ["raw/a.txt", "raw/b.txt"]
    for change in (
        lambda: (tmp_path / "scans" / "s1" / "raw" / "a.txt").write_text("3"),
        lambda: (tmp_path / "scans" / "s1" / "raw" / "c.txt").write_text("4"),
        lambda: (tmp_path / "scans" / "s1" / "raw" / "c.txt").rename(tmp_path / "scans" / "s1" / "raw" / "d.txt"),
        (tmp_path / "scans" / "s1" / "raw" / "b.txt").unlink,
    ):
        settle()
        change()
        assert done(run(listed), listed) == ["s1"]
    assert listed["s1"].payload == ["raw/a.txt", "raw/d.txt"]
    settle()
    with calls_below(tmp_path / "scans") as calls:
        assert done(run(listed), listed) == []
        again = list(calls.opened)
        run(listed)
    assert calls.opened == again, "what nobody wrote to is not read again"


def test_a_folder_that_changed_or_went_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "scans" / "s1", a="1")
    node = Source("scans/{subject}/")["s1"]
    (tmp_path / "scans" / "s1" / "b.txt").write_text("2")
    with pytest.raises(InputChanged, match="scans/s1 has changed"):
        node.payload
    (tmp_path / "scans" / "s1" / "a.txt").unlink()
    (tmp_path / "scans" / "s1" / "b.txt").unlink()
    with pytest.raises(InputVanished, match="scans/s1 is not there"):
        node.payload


# in memory


def test_a_mapping_is_a_source_whose_members_are_told_by_what_they_are() -> None:
    objects: dict[str, Any] = {"a": [1, 2], "b": {"x": np.arange(3)}}
    source: Source[Any] = Source(objects, name="thing")
    assert list(source) == ["a", "b"] and source.axes[0].name == "thing" and source["a"].payload_name == "thing"
    assert source["a"].payload == [1, 2] and source["a"].payload is not objects["a"]
    assert source["a"].key == Source({"a": [1, 2], "c": 0}, name="thing")["a"].key != Source({"a": [1, 2.0]}, name="thing")["a"].key
    assert list(Source({"x": 1})) == ["x"] and Source({"x": 1})["x"].payload_name == "item"
    node = source["a"]
    objects["a"].append(3)
    with pytest.raises(InputChanged, match=r"thing\['a'\]"):
        node.payload
    assert source.refresh()["a"].payload == [1, 2, 3]
    gone = source["b"]
    del objects["b"]
    with pytest.raises(InputVanished):
        gone.payload
    assert list(source.refresh()) == ["a"]
    with pytest.raises(UntrackableParam):
        Source({"a": object()})["a"]
    with pytest.raises(TypeError, match="keys of Source is for paths"):
        Source({"a": 1}, keys=["a"])
    with pytest.raises(TypeError, match="a source is a path"):
        Source(3)  # type: ignore[arg-type]


def test_what_changes_in_memory_makes_only_its_own_dependants_new() -> None:
    texts = {"a": "one", "b": "two"}
    lengths = length.over(Source(texts))
    assert done(run(lengths), lengths) == ["a", "b"]
    texts["b"] = "three"
    texts["c"] = "four"
    assert done(run(lengths), lengths) == ["b", "c"]
    assert [node.payload for node in lengths.nodes] == [3, 5, 4]


# fewer, other and joined keys


def test_where_keeps_some_and_is_asked_again(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="1", b="2")
    some = Source("texts/{book}.txt").where(lambda book: book != "b")
    assert isinstance(some, Source) and list(some) == ["a"]
    lengths = length.over(some)
    assert done(run(lengths), lengths) == ["a"]
    write(tmp_path / "texts", c="3")
    assert done(run(lengths), lengths) == ["c"]


def test_rekey_gives_other_keys_to_the_same_nodes(tmp_path: Path) -> None:
    write(tmp_path / "texts", **{"2024-01": "x", "2023-12": "y"})
    raw: Source[str] = Source("texts/{month}.txt")
    dated = raw.rekey(lambda month: {"year": int(month[:4]), "month": int(month[5:])})
    assert list(dated) == [(2023, 12), (2024, 1)]
    assert dated[2024, 1].key == raw["2024-01"].key and list(dated.sel(year=2024)) == [(2024, 1)]
    assert list(raw.rekey(str.upper).rekey(lambda month: month[-2:])) == ["12", "01"]
    with pytest.raises(ValueError, match=r"gives 20 for both '2023-12' and '2024-01'"):
        list(raw.rekey(lambda month: int(month[:2])))
    with pytest.raises(TypeError, match="give a dict"):
        list(dated.rekey(lambda key: 3))
    frame = length.over(dated).to_frame()
    assert frame["year"].tolist() == [2023, 2024]


def test_sources_with_fields_of_one_name_are_joined_by_it(tmp_path: Path) -> None:
    write(tmp_path / "left", a="la", b="lb", c="lc")
    write(tmp_path / "right", b="rb", c="rc", d="rd")
    left, right = Source("left/{name}.txt"), Source("right/{name}.txt")
    pairs = both.over(left, right)
    assert list(pairs) == ["b", "c"]
    run(pairs)
    assert [node.payload for node in pairs.nodes] == ["lb+rb", "lc+rc"]
    assert pairs["b"].key == both.step(left["b"], right["b"]).key
    write(tmp_path / "right", a="ra")
    assert done(run(pairs), pairs) == ["a"]
    assert list(left.join(right)) == ["a", "b", "c"] and list(right.join(left)[:1]) == ["a"]
    crossed = both.over(left, right.rename(name="other"))
    assert crossed.shape == (3, 4) and crossed["a", "d"].key == both.step(left["a"], right["d"]).key
    with pytest.raises(UnknownParam, match="no name in common"):
        list(left.join(right.rename(name="other")))


def test_a_source_of_fewer_fields_goes_with_each_of_more(tmp_path: Path) -> None:
    write(tmp_path / "subjects", s1="one", s2="two", s4="four")
    for subject, session in [("s1", "a"), ("s1", "b"), ("s2", "a"), ("s3", "a")]:
        write(tmp_path / "sessions" / subject, **{session: subject + session})
    sessions, subjects = Source("sessions/{subject}/{session}.txt"), Source("subjects/{subject}.txt")
    family = both.over(sessions, subjects)
    assert list(family) == [("s1", "a"), ("s1", "b"), ("s2", "a")]
    assert family["s1", "b"].key == both.step(sessions["s1", "b"], subjects["s1"]).key
    turned = both.over(subjects, sessions)
    assert list(turned) == [("s1", "a"), ("s1", "b"), ("s2", "a")]
    assert turned["s2", "a"].key == both.step(subjects["s2"], sessions["s2", "a"]).key
    chain = both.over(family, length.over(sessions))
    assert list(chain) == list(family)
    two = both.over(Source({"x": "1"}, name="session"), subjects)  # nothing in common: crossed
    assert two.shape == (1, 3)
    three = both.over(two, sessions.where(lambda key: key[0] != "s1"))
    assert list(three) == []  # no session is called x


def test_axes_of_params_are_crossed_with_a_source(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="x", b="y")
    grid = shouted.over(Source("texts/{book}.txt"), times=[1, 2])
    assert grid.shape == (2, 2) and run(grid).counts["done"] == 4
    assert grid["b", 2].payload == "YY" and grid.sel(book="b").shape == (2,)
    write(tmp_path / "texts", c="z")
    part = grid.sel(times=2)
    assert done(run(part), part) == ["c"]
    assert list(grid[1:]) == [("b", 1), ("b", 2), ("c", 1), ("c", 2)]
    assert list(grid.rename(book="text").axes[0].columns) == ["text"]
    in_another = grid.bind("elsewhere")
    assert in_another.status() == {Status.ABSENT: 6} and grid.status()[Status.DONE] == 5
    write(tmp_path / "texts", d="z")
    assert in_another.status() == {Status.ABSENT: 8}, "a bound family follows as well"


def test_all_members_as_one_list(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="x", b="y")
    books: Source[str] = Source("texts/{book}.txt")
    assert together.step(books).payload == "xy"
    assert (books >> together.step()).key == together.step(books).key


# changes


def test_a_change_makes_exactly_its_own_dependants_ready(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="1", b="2", c="3")
    books: Source[str] = Source("texts/{book}.txt")
    shouts = shouted.over(books)
    lengths = length.over(shouts)
    assert done(run(lengths), lengths) == ["a", "b", "c"]
    assert done(run(lengths), lengths) == []
    write(tmp_path / "texts", b="22")
    assert [row.action for row in plan(lengths) if row.key.name in ("length", "shouted")].count("generate") == 2
    assert lengths.status() == {Status.DONE: 2, Status.ABSENT: 1}
    result = run(lengths)
    assert done(result, lengths) == ["b"] and done(result, shouts) == ["b"]
    write(tmp_path / "texts", d="4")
    assert lengths.to_frame()["status"].tolist() == ["done", "done", "done", "absent"]
    assert done(run(lengths), lengths) == ["d"]
    (tmp_path / "texts" / "a.txt").unlink()
    result = run(lengths)
    assert done(result, lengths) == [] and list(lengths) == ["b", "c", "d"]
    lengths["c"].delete()
    assert done(run(lengths), lengths) == ["c"]
    write(tmp_path / "texts", b="2")  # as it was: its payload is still there
    assert done(run(lengths), lengths) == []


def test_a_change_in_the_same_instant_and_of_the_same_size_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    texts: Source[str] = Source("{n}.txt")
    lengths = shouted.over(texts)
    for text in ("two", "six", "ten"):
        run(lengths)
        (tmp_path / "a.txt").write_text(text)
        assert done(run(lengths), lengths) == ["a"]
        assert lengths["a"].payload == text.upper()


def test_a_change_that_hides_its_time_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, a="one")
    found = (tmp_path / "a.txt").stat()
    shouts = shouted.over(Source("{n}.txt"))
    run(shouts)
    (tmp_path / "a.txt").write_text("two")
    os.utime(tmp_path / "a.txt", ns=(found.st_atime_ns, found.st_mtime_ns))
    assert done(run(shouts), shouts) == ["a"]


def test_a_file_that_was_only_touched_is_read_and_nothing_is_made(tmp_path: Path) -> None:
    write(tmp_path, a="one")
    shouts = shouted.over(Source("{n}.txt"))
    run(shouts)
    os.utime(tmp_path / "a.txt")
    assert done(run(shouts), shouts) == []


def test_an_input_that_changed_after_the_plan_stores_nothing_under_the_old_key(tmp_path: Path) -> None:
    write(tmp_path, a="one", b="two")
    texts: Source[str] = Source("{n}.txt")
    nodes = [shouted.step(texts[key]) for key in "ab"]  # planned
    (tmp_path / "a.txt").write_text("changed")
    result = run(nodes, errors="return")
    assert result.counts["failed"] == 1 and result.status(nodes[1]) == "done"
    error = result.failures[0].error
    assert isinstance(error, InputChanged) and error.place == str(tmp_path / "a.txt") and "a.txt has changed" in str(error)
    assert not nodes[0].exists()
    shouts = shouted.over(texts)
    assert done(run(shouts), shouts) == ["a"] and shouts["a"].payload == "CHANGED"


def test_an_input_that_went_after_the_plan_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, a="one")
    texts: Source[str] = Source("{n}.txt")
    node = shouted.step(texts["a"])
    (tmp_path / "a.txt").unlink()
    result = run(node, errors="return")
    error = result.failures[0].error
    assert isinstance(error, InputVanished) and isinstance(error, FileNotFoundError) and error.place == str(tmp_path / "a.txt")
    write(tmp_path, b="two")
    assert list(texts.refresh()) == ["b"]
    (tmp_path / "b.txt").unlink()
    with pytest.raises(InputVanished, match=r"b.txt is not there any more; put it back"):
        texts["b"]  # listed, and gone before its content was asked for
    assert run(shouted.over(texts)).counts["done"] == 0


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_inputs_are_read_where_the_work_is_done(tmp_path: Path, executor: str) -> None:
    from tests.source.flows import worker_of

    write(tmp_path / "texts", a="one", b="two")
    texts: Source[str] = Source("texts/{n}.txt")
    family = worker_of.over(texts)
    with calls_below(tmp_path / "texts") as calls:
        list(family.nodes)  # contents are asked for here
        read = len(calls.opened)
        result = run(family, executor=executor, max_workers=2)
    assert done(result, family) == ["a", "b"] and [node.payload[1] for node in family.nodes] == ["one", "two"]
    elsewhere = {node.payload[0] for node in family.nodes} - {os.getpid()}
    assert bool(elsewhere) == (executor == "processes")
    if executor == "processes":
        assert len(calls.opened) <= 2 * read, "the driver reads contents for identity only"
    (tmp_path / "texts" / "a.txt").write_text("changed")
    node = shouted.step(family["a"].upstream["text"])
    failed = run(node, executor=executor, errors="return").failures[0].error
    assert isinstance(failed, InputChanged) and failed.place.endswith("a.txt")


def test_objects_in_memory_go_to_workers_one_by_one() -> None:
    source = Source({"a": "one", "b": "two"})
    lengths = length.over(source)
    assert done(run(lengths, executor="processes", max_workers=2), lengths) == ["a", "b"]
    assert b"two" not in pickle.dumps(source["a"])


# lazy


def test_nothing_is_listed_before_it_is_used_and_contents_only_of_what_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="1", b="2", c="3")
    with calls_below(tmp_path / "texts") as calls:
        books: Source[str] = Source("texts/{book}.txt")
        lengths = length.over(shouted.over(books.where(lambda key: key != "c"), times=[1, 2]))
        part = lengths[:1]
        other = books.rename(book="title").rekey(str.upper)
        assert calls.listed == [] and calls.opened == []
        assert len(books) == 3 and list(lengths.axes[0].labels) == ["a", "b"] and list(other) == ["A", "B", "C"]
        assert len(calls.listed) == 1 and calls.opened == []
        lengths["b", 1].key
        assert calls.opened == [str(tmp_path / "texts" / "b.txt")]
        part.nodes[0].key
        assert len(calls.opened) == 2 and len(calls.listed) == 1
        books.refresh()
        assert len(calls.listed) == 2
        books["a"].key
        assert len(calls.opened) == 2, "what was not written to is not read again"
        with open(os.fsencode(tmp_path / "texts" / "a.txt"), "w") as file:  # as bytes: the test's own writing is not counted
            file.write("11")
        books.refresh()["a"].key
        books["b"].key
        assert calls.opened[2:] == [str(tmp_path / "texts" / "a.txt")]


def test_a_run_lists_once_for_all_its_targets(tmp_path: Path) -> None:
    write(tmp_path / "texts", a="1", b="2")
    books: Source[str] = Source("texts/{book}.txt")
    families = [length.over(books), shouted.over(books), both.over(books, shouted.over(books))]
    run(*families)
    with calls_below(tmp_path / "texts") as calls:
        run(*families)
    assert len(calls.listed) == 1 and calls.opened == []


def test_only_folders_that_the_template_can_reach_are_looked_into(tmp_path: Path) -> None:
    for folder in ("data/s1/raw", "data/s1/other", "data/s2/raw/deeper", "elsewhere"):
        write(tmp_path / folder, a="x")
    with calls_below(tmp_path) as calls:
        assert list(Source("data/{subject}/raw/{file}.txt")) == [("s1", "a")]
    assert sorted(path[len(str(tmp_path)) + 1 :] for path in calls.listed) == ["data/", "data/s1/raw/", "data/s2/raw/"]


def test_thousands_of_files_are_one_listing_and_no_contents(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5000):
        (folder / f"{number:06}.txt").touch()
    settle()
    books: Source[str] = Source("many/{book}.txt")
    lengths = length.over(books)
    with calls_below(folder) as calls:
        assert len(lengths) == 5000 and lengths["001234"].payload == 0
        assert lengths.sel(book=["000001", "004999"]).nodes[1].key == length.step(books["004999"]).key
        books.refresh()
        lengths["001234"].key
    assert len(calls.listed) == 2 and len(set(calls.opened)) == 2


# your own


class Table:
    """Inputs that are rows of a dict, told by their values; says what it was asked."""

    fields = ("row",)
    at_once = 1

    def __init__(self, rows: dict[str, str]) -> None:
        self.rows = rows
        self.asked: list[str] = []

    def stamps(self) -> dict[tuple[Any, ...], Any]:
        self.asked.append("stamps")
        return {(row,): text for row, text in self.rows.items()}

    def content(self, values: tuple[Any, ...], stamp: Any) -> str:
        self.asked.append(values[0])
        return self.rows[values[0]]

    def load(self, values: tuple[Any, ...], content: str, io: Any) -> Any:
        return self.rows[values[0]]

    def shown(self, values: tuple[Any, ...]) -> str:
        return f"row {values[0]}"

    def only(self, values: tuple[Any, ...]) -> "Table":
        return self


def test_anything_that_lists_and_reads_can_be_a_source() -> None:
    table = Table({"a": "one", "b": "two"})
    lengths = length.over(Source(table))
    assert done(run(lengths), lengths) == ["a", "b"]
    table.rows |= {"b": "three", "c": "four"}
    assert done(run(lengths), lengths) == ["b", "c"]


def test_a_hundred_thousand_inputs_cost_their_keys() -> None:
    table = Table(dict.fromkeys([f"{number:06}" for number in range(100_000)], "text"))
    tracemalloc.start()
    books = Source(table)
    lengths = length.over(books)
    part = lengths[50_000:]
    assert len(lengths) == 100_000 and len(part) == 50_000 and part.nodes[7].key == lengths["050007"].key
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table.asked == ["stamps", "050007"]
    assert used < 100_000 * 300, f"{used / 100_000:.0f} bytes a key"
    lengths.refresh()
    assert table.asked[2:] == ["stamps"] and lengths["050007"].key and table.asked[3:] == []


def test_large_files_are_parsed_where_they_lie_and_checked_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from persistable.families.sources import content

    monkeypatch.setattr(content, "IN_MEMORY", 1000)
    need("pandas")
    lines = "\n".join(f"{number},{number * 2}" for number in range(2000))
    (tmp_path / "a.csv").write_text("x,y\n" + lines)
    node = Source("{n}.csv", io=CsvFileIO())["a"]
    assert node.payload["y"].sum() == sum(range(2000)) * 2
    (tmp_path / "a.csv").write_text("x,y\n" + lines.replace("1999,3998", "1999,3999"))
    node.reset_payload()
    with pytest.raises(InputChanged):
        node.payload
    (tmp_path / "a.csv").write_text('"' * 5001)
    with pytest.raises(InputChanged):
        node.payload


def test_errors_are_of_the_tree_and_pickle(tmp_path: Path) -> None:
    write(tmp_path, a="one")
    node = Source("{n}.txt")["a"]
    (tmp_path / "a.txt").unlink()
    with pytest.raises(InputVanished) as caught:
        node.payload
    twin = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(twin, PersistableError) and twin.place == caught.value.place and twin.key == node.key


def test_formats_that_could_be_told_apart_by_options_are_other_nodes(tmp_path: Path) -> None:
    write(tmp_path, a="1")
    keys = {Source("{n}.txt", io=io)["a"].key for io in (TextFileIO(), TextFileIO("latin-1"), JsonFileIO(), PickleFileIO(), NumpyFileIO())}
    assert len(keys) == 5
