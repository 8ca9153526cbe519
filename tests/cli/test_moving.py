"""`rm` and `cp`, and what is below them: dependants and copies found from records."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from placed import stored_at
from tests.cli.conftest import Shell
from tests.cli.test_running import in_terminal

from persistable import Catalog, open_store, run, step
from persistable.catalog.cleanup.reachability import stored_downstream, stored_upstream
from persistable.errors import PayloadCorrupted, StoreError
from persistable.nodes.binding import bound_to
from persistable.records import claims
from persistable.records.copy import copy
from persistable.records.listing import Listed, entries
from persistable.records.removal import removals, remove
from persistable.stores import LayeredStore, LocalStore


@step
def first(n: int) -> bytes:
    return b"x" * n


@step(persist=False)
def between(first: bytes) -> int:
    return len(first)


@step
def last(between: int) -> int:
    return between + 1


def test_what_was_made_from_a_payload_is_found_over_what_is_not_stored(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    start = first.step(n=3)
    middle = first.step(n=4)
    end = last.step(between.step(start))
    run(end, last.step(between.step(middle)), store=store)
    assert [place.key for place in stored_downstream(Catalog(store, index=None), [start.key])] == [end.key]
    assert [place.key for place in stored_upstream(Catalog(store, index=None), [end.key])] == [start.key]
    assert stored_downstream(Catalog(store, index=None), [end.key]) == []
    second = last.step(end)
    run(second, store=store)
    bound_to(end, store).delete()  # its own record is gone; that of `second` still tells what it was made from
    assert [place.key for place in stored_downstream(Catalog(store, index=None), [start.key])] == [second.key]


def test_a_large_payload_is_copied_whole_or_not_at_all(tmp_path: Path) -> None:
    source, target = open_store(tmp_path / "a"), open_store(f"sqlite:///{tmp_path}/b.db")
    node = first.step(n=3_000_000)
    run(node, store=source)
    (done,) = copy(entries(source), source, target)
    assert not done.there and done.size > 3_000_000
    assert bound_to(node, target).load().payload == b"x" * 3_000_000
    (again,) = copy(entries(source), source, target)
    assert again.there

    (file,) = (tmp_path / "a/first").glob("*.pickle")
    whole = file.read_bytes()
    for damaged in (whole[:-1] + b"y", whole[:-1]):
        file.write_bytes(damaged)
        other = open_store(tmp_path / "c")
        with pytest.raises(PayloadCorrupted):
            list(copy(entries(source), source, other))
        assert [path for path in other.list() if "record" in path or "pickle" in path] == []
    file.unlink()
    with pytest.raises(PayloadCorrupted, match="is not in"):
        list(copy(entries(source), source, open_store(tmp_path / "c")))
    with pytest.raises(PayloadCorrupted, match="damaged"):
        list(copy([Listed(node.key, None)], source, open_store(tmp_path / "c")))


def test_a_damaged_copy_is_made_good(tmp_path: Path) -> None:
    source, target = open_store(tmp_path / "a"), open_store(tmp_path / "b")
    run(first.step(n=5), store=source)
    list(copy(entries(source), source, target))
    (file,) = (tmp_path / "b/first").glob("*.pickle")
    file.write_bytes(b"")
    (again,) = copy(entries(source), source, target)
    assert not again.there and file.stat().st_size > 0


def test_a_middle_product_is_removed_with_all_that_was_made_from_it(project: Shell) -> None:
    project("run", "finish", "grid")
    looked = project("rm", "points", "--downstream", "--dry-run", "--json").json
    assert [row["key"].partition("/")[0] for row in looked["would_remove"]] == ["report", "total", "points"]
    assert len(project("ls", "--json").json) == 6
    text = project("rm", "total", "--downstream", "--yes").out
    assert "made from it" in text and "removed 2" in text
    assert {row["name"] for row in project("ls", "--json").json} == {"points", "square"}
    plan = project("plan", "report", "--json").json
    assert [(row["name"], row["action"]) for row in plan] == [("points", "reuse"), ("total", "generate"), ("report", "generate")]
    assert "2 done, 1 reused" in project("run", "report").out


def test_without_a_terminal_nothing_goes_unless_told_so(project: Shell) -> None:
    project("run", "points")
    done = project("rm", "points", expect=2)
    assert "remove" in done.out and "--yes" in done.err
    assert project("rm", expect=2).err
    assert len(project("ls", "--json").json) == 1
    status, shown = in_terminal(project, "rm", "points", answer=b"n\n")
    assert status == 1 and "Remove 1 payload" in shown and "nothing was removed" in shown
    status, shown = in_terminal(project, "rm", "points", answer=b"y\n")
    assert status == 0 and "removed 1" in shown
    assert project("ls", "--json").json == []
    assert "none of it is stored" in project("rm", "points", "--yes").err


def test_what_was_put_in_by_hand_stays_unless_it_is_named(project: Shell) -> None:
    (project.folder / "mine.json").write_text("7")
    project("run", "points", "grid")
    project("put", "total", "mine.json")
    project("put", "grid[2]", "mine.json")
    answer = project("rm", "points", "grid", "--downstream", "--yes", "--json").json
    assert sorted(row["key"].partition("/")[0] for row in answer["removed"]) == ["points", "square", "square"]
    assert [row["why"] for row in answer["kept"]] == ["it was put in by hand"] * 2
    assert {row["name"] for row in project("ls", "--json").json} == {"total", "square"}
    assert len(project("rm", "total", "grid[2]", "--yes", "--json").json["removed"]) == 2


@step
def waits(folder: str) -> int:
    Path(folder, "begun").touch()
    until = time.monotonic() + 100
    while not Path(folder, "go").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    return 1


def test_what_is_generated_by_now_stays(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data")
    node, other = bound_to(waits.step(folder=str(tmp_path)), store), bound_to(first.step(n=3), store)
    (tmp_path / "go").touch()
    run(node, other)
    going = removals(store, [node.place, other.place])
    assert [removal.kept for removal in going] == ["", ""]
    for name in ("go", "begun"):
        (tmp_path / name).unlink()
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(lambda: bound_to(node, store).generate().payload)
        while not (tmp_path / "begun").exists():
            assert not again.done()
            time.sleep(0.01)
        assert [remove(store, removal).kept for removal in going] == ["it is being generated", ""]
        assert node.exists() and not other.exists()
        (tmp_path / "go").touch()
        assert again.result(100) == 1
    assert node.exists() and remove(store, going[0]).kept == "" and not node.exists()
    assert not [path for path in store.list() if "claim" in path]


def test_what_is_put_in_by_hand_meanwhile_stays(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data")
    nodes = [bound_to(first.step(n=n), store) for n in (3, 4)]
    run(nodes)
    going = removals(store, [nodes[0].place], groups=[nodes[1].place])
    for node in nodes:
        node.put(b"mine")
    assert [remove(store, removal).kept for removal in going] == ["it was put in by hand", ""]
    assert [node.exists() for node in nodes] == [False, True]


def test_a_generation_that_begins_while_rm_asks_is_left_alone(project: Shell) -> None:
    slow = "\n\n@step\ndef slow(folder: str) -> int:\n" + SLOW
    with (project.folder / "flows.py").open("a") as flows:
        flows.write(slow)
    with (project.folder / "persistable.toml").open("a") as toml:
        toml.write('\n[targets.slow]\nuse = "flows:slow"\nparams = { folder = "." }\n')
    (project.folder / "go").touch()
    project("run", "slow")
    command = [sys.executable, "-c", "from persistable import Project; print(Project.load()['slow'].generate().payload)"]

    def begin() -> None:
        for name in ("go", "begun"):
            (project.folder / name).unlink()
        running.append(subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE))
        until = time.monotonic() + 100
        while not (project.folder / "begun").exists():
            assert time.monotonic() < until and running[0].poll() is None
            time.sleep(0.01)

    running: list[subprocess.Popen[bytes]] = []
    try:
        status, shown = in_terminal(project, "rm", "slow", answer=b"y\n", asked=begin)
        assert status == 1 and "not removed: slow/" in shown and "being generated by now" in shown and "removed 0" in shown
        assert "keep" in project("rm", "slow", "--yes").out
        (project.folder / "go").touch()
        out, _ = running[0].communicate(timeout=100)
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert out.strip().endswith(b"1") and len(project("ls", "slow", "--json").json) == 1
    assert "removed 1" in project("rm", "slow", "--yes").out


SLOW = """    import time
    from pathlib import Path
    Path("begun").touch()
    until = time.monotonic() + 100
    while not Path("go").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    return 1
"""


def test_a_failure_is_removed_too(project: Shell) -> None:
    project("run", "broken", expect=1)
    project("rm", "broken", "--yes")
    assert project("status", "broken", "--json").json[0]["absent"] == 1


def test_inputs_that_lie_elsewhere_are_never_removed(project: Shell) -> None:
    (project.folder / "texts").mkdir()
    for name in ("a", "b"):
        (project.folder / f"texts/{name}.txt").write_text(name * 3)
    with (project.folder / "flows.py").open("a") as flows:
        flows.write(
            "\n\nfrom persistable import Source\n\nbooks = Source('texts/{book}.txt')\n\n\n"
            "@step\ndef length(text: str) -> int:\n    return len(text)\n\n\nlengths = length.over(books)\n"
        )
    with (project.folder / "persistable.toml").open("a") as toml:
        toml.write('\n[targets.books]\nuse = "flows:books"\n\n[targets.lengths]\nuse = "flows:lengths"\n')
    project("run", "lengths")
    assert project("cat", "lengths[b]").out == "3\n"
    rows = {row["name"]: row for row in project("status", "lengths", "--json").json}
    assert rows["length"]["done"] == 2
    assert "never removes" in project("rm", "books[a]", "--yes", expect=2).err
    project("rm", "books", "lengths", "--downstream", "--yes")
    assert sorted(file.name for file in (project.folder / "texts").iterdir()) == ["a.txt", "b.txt"]
    assert project("cat", "books[a]").out.strip() == "aaa"
    assert "input" in project("explain", "books[a]").out
    assert "input" in project("put", "books[a]", "texts/b.txt", expect=2).err
    (project.folder / "texts/a.txt").write_text("longer")
    rows = {row["name"]: row for row in project("status", "lengths", "--json").json}
    assert rows["length"]["absent"] == 2


WORKSPACE = """
from persistable import Workflow, Workspace, seed, step, stored


@step
def scaled(raw: str, factor: int) -> str:
    return raw * factor


class Scaling(Workflow):
    raw = seed(str)
    scaled = scaled.step(raw, factor=3)


class Files(Workspace[Scaling]):
    raw = stored("raw/{workflow_id}.txt")
    scaled = stored("scaled/{workflow_id}.txt")
"""


def test_workflows_of_a_workspace(shell: Shell) -> None:
    (shell.folder / "flows.py").write_text(WORKSPACE)
    (shell.folder / "persistable.toml").write_text('store = "data"\n\n[targets.files]\nuse = "flows:Files"\n')
    (shell.folder / "data/raw").mkdir(parents=True)
    for name in ("001", "002"):
        (shell.folder / f"data/raw/{name}.txt").write_text(name)
    shell("run", "files[001]")
    assert (shell.folder / "data/scaled/001.txt").read_text() == "001001001"
    assert shell("cat", "files[001].scaled").out == "001001001"
    rows = {row["name"]: row for row in shell("status", "--json").json}
    assert rows["scaled"]["done"] == 1 and rows["scaled"]["absent"] == 1
    assert [row["at"] for row in shell("ls", "--json").json] == ["scaled/001.txt"]
    assert "did you mean 00" in shell("cat", "files[003].scaled", expect=2).err
    assert "scaled" in shell("cat", "files[001].scald", expect=2).err
    assert "never removes" in shell("rm", "files[001].raw", "--yes", expect=2).err
    shell("rm", "files", "--yes")
    assert sorted(file.name for file in (shell.folder / "data").rglob("*.txt")) == ["001.txt", "002.txt"]


def test_files_at_the_same_readable_path_are_not_written_over(shell: Shell) -> None:
    (shell.folder / "flows.py").write_text(WORKSPACE)
    (shell.folder / "persistable.toml").write_text('store = "data"\n\n[targets.files]\nuse = "flows:Files"\n')
    (shell.folder / "data/raw").mkdir(parents=True)
    for name in ("001", "002"):
        (shell.folder / f"data/raw/{name}.txt").write_text("same")
    shell("run", "files")
    other = shell.folder / "other/scaled"
    other.mkdir(parents=True)
    (other / "002.txt").write_text("mine")
    refused = shell("cp", "files", "--to", "other", expect=2).err
    assert "has other files at scaled/002.txt; nothing was copied" in refused and "--force" in refused
    assert [file.name for file in other.iterdir()] == ["002.txt"] and (other / "002.txt").read_text() == "mine"
    assert "copied 1" in shell("cp", "files[001].scaled", "--to", "other").out
    done = shell("cp", "files", "--to", "other", "--force", "--json").json
    assert (len(done["copied"]), len(done["there"])) == (1, 1) and (other / "002.txt").read_text() == "same" * 3
    (shell.folder / "data/raw/001.txt").write_text("new")
    shell("run", "files")
    assert "scaled/001.txt" in shell("cp", "files", "--to", "other", expect=2).err  # that of another key
    assert (other / "001.txt").read_text() == "same" * 3
    (other / "001.txt").unlink()
    assert "copied 1" in shell("cp", "files", "--to", "other").out and (other / "001.txt").read_text() == "new" * 3


def test_a_copy_waits_for_nobody_who_writes_the_same_file(tmp_path: Path) -> None:
    source, target = open_store(tmp_path / "a"), open_store(tmp_path / "b")
    node = stored_at(first.step(n=5), "here/x.bin")
    run(node, store=source)
    claim = claims.take_over(target, node.place.path)
    assert claim is not None
    with pytest.raises(StoreError, match="is being generated"):
        list(copy(entries(source), source, target))
    assert not target.exists("here/x.bin")
    claim.release()
    assert [copied.there for copied in copy(entries(source), source, target)] == [False]
    assert target.get("here/x.bin") == source.get("here/x.bin") and not [path for path in target.list(".persistable") if "claim" in path]


def test_what_one_key_made_at_several_paths_goes_with_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    start = bound_to(first.step(n=3), store)
    ends = [stored_at(last.step(between.step(start)), f"{name}/x.bin") for name in "ab"]
    run(ends, store=store)
    assert set(stored_downstream(Catalog(store, index=None), [start.key])) == {end.place for end in ends}
    for removal in removals(store, [start.place], downstream=stored_downstream(Catalog(store, index=None), [start.key])):
        assert not remove(store, removal).kept
    assert not list(store.list())


def test_payloads_are_copied_with_what_they_were_made_from(project: Shell) -> None:
    project("run", "report")
    answer = project("cp", "report", "--to", "other", "--upstream", "--json").json
    assert [row["key"].partition("/")[0] for row in answer["copied"]] == ["points", "total", "report"] and answer["missing"] == []
    assert project("cat", "report", "--store", "other").out == "sum: 6.0\n"
    again = project("cp", "report", "points", "--to", "other").out
    assert again == "copied 0 (0 B), 2 there already\n"
    done = project("cp", "report", "grid[1]", "--to", "sqlite:///more.db", expect=1)
    assert "copied 1" in done.out and "not stored, so not copied: square/" in done.err
    assert [row["name"] for row in project("ls", "--store", "sqlite:///more.db", "--json").json] == ["report"]
    assert "the store they are in" in project("cp", "report", "--to", "data", expect=2).err
    assert "--to" in project("cp", "report", expect=2).err
    key = project.keys("total")[0]
    size = project("show", key, "--json").json["size"]
    assert project("cp", key, "--to", "third", "--json").json["copied"] == [{"key": key, "size": size}]


@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
def test_what_was_kept_while_the_slow_layer_was_down_is_brought_there(project: Shell, tmp_path: Path) -> None:
    (tmp_path / "slow").write_bytes(b"in the way")
    store = LayeredStore(tmp_path / "fast", tmp_path / "slow")
    store.put("a/x", b"1")
    (tmp_path / "slow").unlink()
    assert "brought 1 files" in project("cp", "--sync", "--store", store.url).out
    assert LocalStore(tmp_path / "slow").get("a/x") == b"1"
    assert "has no layers" in project("cp", "--sync", expect=2).err
