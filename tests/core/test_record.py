"""Records: what they hold, and that a damaged one is never believed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.test_persistable import OutlierParams, Outliers, Points
from persistable import Key, Record
from persistable.errors import PayloadCorrupted
from persistable.record import Failure, git_commit

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
