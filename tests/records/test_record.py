"""Records: what they hold, and that a damaged one is never believed."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import threading
import time
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes.test_persistable import OutlierParams, Outliers, Points

import persistable
from persistable import Command, Key, Persistable, Record, run, step
from persistable.errors import PayloadCorrupted
from persistable.nodes.code import checkout
from persistable.nodes.code.checkout import checkout_of
from persistable.records.failure import Failure
from persistable.records.units import usage_in_words

KEY = Key("x", "0" * 32)
HEAD = {"record": 1, "key": str(KEY), "token": "t", "io": {"io": "PickleFileIO"}, "class": "m:C", "code": None, "files": []}

REST = {"made": "generated", "version": 1, "params": {}, "versions": {}, "git_commit": None, "host": "h"}
REST |= {"started": 1.0, "seconds": 0.1, "attempts": 1}

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


members = st.dictionaries(st.text(), json_values, max_size=3)


@given(st.fixed_dictionaries({}, optional={"params": members, "untracked": members, "notes": members, "version": json_values}))
def test_what_is_composed_is_what_is_parsed(details: dict[str, Any]) -> None:
    record = Record.compose(KEY, HEAD, REST | details)
    again = Record.parse(record.to_bytes(), KEY)
    assert again == record and {name: again.to_dict()[name] for name in details} == details
    assert json.loads(record.to_bytes().decode("utf-8", "surrogatepass"))["key"] == str(KEY)


@settings(max_examples=200)
@given(st.data())
def test_any_changed_cut_or_added_byte_is_noticed(data: st.DataObject) -> None:
    good = Record.compose(KEY, HEAD, {"params": {"n": 1, "ä": "\ud800"}}).to_bytes()
    position = data.draw(st.integers(0, len(good) - 1))
    flipped = good[:position] + bytes([good[position] ^ data.draw(st.integers(1, 255))]) + good[position + 1 :]
    for bad in (flipped, good[:position], good + b"x", good[:position] + b"x" + good[position:]):
        if bad != good:
            with pytest.raises(PayloadCorrupted):
                Record.parse(bad, KEY)


def test_a_record_found_under_another_key_is_not_believed() -> None:
    with pytest.raises(PayloadCorrupted, match="moved there by hand"):
        Record.parse(Record.compose(KEY, HEAD, {"params": {}}).to_bytes(), Key("x", "1" * 32))


def test_a_record_says_all_that_is_known(tmp_path: Path) -> None:
    points = Points(tmp_path, n=3)
    node = Outliers(tmp_path, OutlierParams(k=1.0), points=points).generate()
    record = node.record
    assert record is not None
    assert record.key == node.key and record.params == {"k": 1.0} and record.upstream == {"points": points.key}
    assert record.version == 1 and record.made == "generated" and record.attempts == 1
    assert record.fileio["io"] == "PickleFileIO" and record.class_reference.endswith("test_persistable:Outliers")
    (file,) = record.files
    assert (tmp_path / file.path).stat().st_size == file.size == record.size
    assert set(record.code_parts) == {"Outliers._generate_payload"} or "Outliers._generate_payload" in record.code_parts
    assert record.versions["python"] and record.versions["numpy"]
    assert record.host and record.started > 1.7e9 and 0 <= record.seconds < 60
    assert record.lineage == {
        str(points.key): {"class": points.record.class_reference, "version": 1, "params": {"n": 3, "random_state": 100}, "upstream": {}}
    }  # type: ignore[union-attr]
    assert pickle.loads(pickle.dumps(record)) == record


def test_lineage_names_each_node_once(tmp_path: Path) -> None:
    from persistable import Persistable

    class Join(Persistable[int, None]):
        left: Persistable[Any, Any]
        right: Persistable[Any, Any]

        def _generate_payload(self, **_: Any) -> int:
            return 1

    node: Persistable[Any, Any] = Points(tmp_path, n=1)
    for _ in range(20):
        node = Join(tmp_path, left=node, right=node)
    node.generate()
    assert node.record is not None and len(node.record.lineage) == 20


def git_commit(folder: str) -> str | None:
    """The commit of the work tree around a folder, looked at anew."""
    checkout._found.clear()
    found = checkout_of(folder)
    return None if found is None else found.commit


def test_the_git_commit_is_read_without_running_git(tmp_path: Path) -> None:
    assert git_commit(str(tmp_path)) is None

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},  # set where a hook runs the tests
        ).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "one")
    head = git("rev-parse", "HEAD")
    (tmp_path / "deep").mkdir()
    assert git_commit(str(tmp_path / "deep")) == head
    git("pack-refs", "--all")
    assert git_commit(str(tmp_path)) == head
    git("checkout", "-q", "--detach")
    assert git_commit(str(tmp_path)) == head
    git("worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
    assert git_commit(str(tmp_path / "tree")) == head


@given(st.binary(max_size=200))
def test_a_failure_file_of_any_content_is_still_a_failure(data: bytes) -> None:
    assert Failure.parse(data, KEY).key == KEY


def test_a_failure_comes_back_whole() -> None:
    failure = Failure(KEY, "builtins.ValueError", "no", "Traceback", 3, {"n": 1}, "here", 1.0, 2.0)
    assert Failure.parse(failure.to_bytes(), KEY) == failure


PROGRAM = """
import json, sys
from persistable import run, step
@step
def double(n: int) -> int:
    return 2 * n
if __name__ == "__main__":
    nodes = [double.step(n) for n in range(2)]
    run(*nodes, store=sys.argv[1], executor=sys.argv[2])
    found = {(node.record.git_commit, node.record.git_dirty, node.record.git_diff) for node in nodes}
    assert len(found) == 1
    print(json.dumps(found.pop()))
"""


def git_in(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def ran(folder: Path, store: str, executor: str) -> Any:
    command = [sys.executable, str(folder / "deep" / "main.py"), store, executor]
    environment = {**os.environ, "PYTHONPATH": str(Path(persistable.__file__).parents[1])}
    return json.loads(subprocess.run(command, cwd=folder.parent, env=environment, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_record_says_whether_the_work_tree_was_dirty_and_how(executor: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "main.py").write_text(PROGRAM)
    (tree / "other.bin").write_bytes(b"\0one")
    git_in(tree, "init", "-q")
    git_in(tree, "add", ".")
    git_in(tree, "commit", "-q", "-m", "one")
    commit, dirty, diff = ran(tree, "clean", executor)
    assert (commit, dirty, diff) == (git_in(tree, "rev-parse", "HEAD"), False, None)
    (tree / "untracked").write_text("x")
    assert ran(tree, "untracked", executor)[1:3] == [False, None]
    (tree / "other.bin").write_bytes(b"\0two")
    git_in(tree, "config", "diff.noprefix", "true")
    commit, dirty, first = ran(tree, "dirty", executor)
    assert dirty is True and first
    git_in(tree, "config", "diff.noprefix", "false")
    git_in(tree, "add", "other.bin")
    assert ran(tree, "staged", executor)[1:3] == [True, first]
    (tree / "other.bin").write_bytes(b"\0six")
    assert ran(tree, "otherwise", executor)[2] not in (first, None)


def test_git_is_asked_once_for_a_repository_and_its_absence_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
    git_in(tmp_path, "init", "-q")
    git_in(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    asked = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: asked.append(args) or real(*args, **kwargs))
    found = [checkout_of(str(tmp_path / folder)) for folder in ("a", "b/c", "a")]
    assert len(asked) == 1 and found == [(git_commit(str(tmp_path)), "")] * 3
    monkeypatch.setattr(checkout, "_found", {})
    monkeypatch.setenv("PATH", "")
    assert checkout_of(str(tmp_path)) == (git_commit(str(tmp_path)), None)


def test_versions_name_every_distribution_that_is_imported(tmp_path: Path) -> None:
    import sklearn  # noqa: F401 - a module that is not called like its distribution
    import yaml  # noqa: F401

    versions = Leaf(tmp_path).generate().record.versions  # type: ignore[union-attr]
    brought = packages_distributions()
    imported = [name for name in sys.modules if name in brought and getattr(sys.modules[name], "__file__", None)]
    plain = {re.sub(r"[-_.]+", "-", name).lower(): stated for name, stated in versions.items()}
    names = {name for module in imported if not module.startswith("__") for name in brought[module][:1] if len(brought[module]) == 1}
    assert len(names) > 15 and {"scikit-learn", "pyyaml", "numpy"} <= plain.keys()
    assert {name: plain.get(re.sub(r"[-_.]+", "-", name).lower()) for name in names} == {name: version(name) for name in names}


class Leaf(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        return 1


class Busy(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        end = time.process_time() + 0.15
        held = np.ones(30_000_000)
        threads = [threading.Thread(target=spin, args=(end,)) for _ in range(2)]
        [thread.start() for thread in threads]  # type: ignore[func-returns-value]
        [thread.join() for thread in threads]  # type: ignore[func-returns-value]
        return int(held[0])


def spin(end: float) -> None:
    while time.process_time() < end:
        pass


def test_a_record_says_what_the_generation_needed_of_the_machine(tmp_path: Path) -> None:
    node = Busy(tmp_path).generate()
    record = node.record
    assert record is not None and record.usage["of"] == "process"
    assert record.cpu_seconds is not None and 0.1 < record.cpu_seconds < 60
    assert record.peak_memory is not None and record.peak_memory > 240_000_000 and record.usage["memory_rise"] >= 0
    assert "of CPU, at most" in usage_in_words(record.usage)
    put = Leaf(tmp_path).put(3).record
    assert put is not None and put.usage == {} and put.cpu_seconds is None


def test_two_at_work_at_once_are_measured_by_their_threads(tmp_path: Path) -> None:
    @step
    def spinning(n: int) -> int:
        both.wait(20)
        end = time.thread_time() + 0.05 * (n + 1)
        while time.thread_time() < end:
            pass
        both.wait(20)
        return n

    nodes = [spinning.step(n) for n in range(2)]
    result = run(*nodes, store=tmp_path, executor="threads", max_workers=2)
    usages = [result.records[node].usage for node in nodes]
    assert [usage["of"] for usage in usages] == ["thread", "thread"]
    assert 0.04 < usages[0]["cpu_seconds"] < usages[1]["cpu_seconds"]


both = threading.Barrier(2)


def test_a_script_s_processes_count_and_short_members_are_not_measured(tmp_path: Path) -> None:
    script = f"{sys.executable} -c 'import time\nwhile time.process_time() < 0.2: pass' > {{{{ output }}}}"
    record = Command(script, persist_data_dir=tmp_path).generate().record
    assert record is not None and record.cpu_seconds is not None and record.cpu_seconds > 0.15

    @step
    def napping(n: int) -> int:
        time.sleep(0.003 if n == 90 else 0)
        return n

    family = napping.over(n=list(range(600))).bind(f"sqlite:///{tmp_path}/family.db")
    family.run()
    records = [node.record for node in family.nodes]
    measured = [n for n, record in enumerate(records) if record is not None and record.usage]
    assert 90 in measured and len(measured) < 300
