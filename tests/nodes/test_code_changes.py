"""A payload made by code that has changed since: noticed, named, served, and accepted or refused as asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HELPERS = """
SCALE = 2

def scaled(x):
    return x * SCALE
"""
MIDDLE = """
from flow import helpers

def twice(x):
    return helpers.scaled(x)
"""
NODES = """
from typing import Any
from persistable import Persistable
from flow.middle import twice

class Number(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        return twice(3)
"""
MAIN = """
import json, sys, warnings
from flow.nodes import Number
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        node = Number(sys.argv[1])
        exec(sys.argv[2])
print(json.dumps({"warnings": [str(w.message) for w in caught], "kinds": [type(w.message).__name__ for w in caught],
                  "files": [w.filename for w in caught], "status": Number(sys.argv[1]).status.value}))
"""


class Project:
    """A user's package on disk, run in processes of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "flow").mkdir()
        self.write("__init__", "")
        self.write("helpers", HELPERS)
        self.write("middle", MIDDLE)
        self.write("nodes", NODES)

    def write(self, module: str, text: str) -> None:
        (self.root / "flow" / f"{module}.py").write_text(text)

    def run(self, act: str) -> dict[str, object]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.root), *sys.path]), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", MAIN, str(self.root / "data"), act], capture_output=True, text=True, env=environment, cwd=self.root
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found


def test_a_changed_helper_two_modules_away_is_served_with_one_warning_that_names_it(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert project.run("node.generate()")["status"] == "done"
    project.write("helpers", HELPERS.replace("x * SCALE", "x * SCALE + 1"))
    found = project.run("assert node.load().payload == 6")
    assert found["status"] == "stale"
    assert found["kinds"] == ["StaleCodeWarning"]
    (text,) = found["warnings"]  # type: ignore[misc]
    assert "scaled" in text and "twice" not in text
    assert found["files"] == ["<string>"]  # the user's own line, not one of the library
    assert project.run("assert node.generate().payload == 7")["status"] == "done"


def test_a_changed_constant_is_noticed(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("node.generate()")
    project.write("helpers", HELPERS.replace("SCALE = 2", "SCALE = 5"))
    found = project.run("node.payload")
    assert found["status"] == "stale" and "SCALE" in str(found["warnings"])


def test_comments_docstrings_and_layout_do_not_make_a_payload_stale(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("node.generate()")
    project.write(
        "helpers",
        '"""Now with words."""\n\n\nSCALE = (\n    2\n)\n\n\ndef scaled(x):\n    """Doc."""\n'
        "    # why\n    return (\n        x\n        * SCALE\n    )\n",
    )
    assert project.run("node.load()") == {"warnings": [], "kinds": [], "files": [], "status": "done"}


def test_accepting_the_code_makes_the_payload_current_and_keeps_the_reason(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("node.generate()")
    project.write("helpers", HELPERS.replace("x * SCALE", "SCALE * x"))
    assert project.run("node.status")["status"] == "stale"
    project.run("node.accept_code('commutes')")
    found = project.run("assert node.load().payload == 6; assert node.record.to_dict()['accepted'][0]['reason'] == 'commutes'")
    assert found["status"] == "done" and not found["warnings"]


def test_moved_but_unchanged_code_is_no_stranger(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("node.generate()")
    (tmp_path / "flow" / "nodes.py").rename(tmp_path / "flow" / "elsewhere.py")
    project.write("nodes", "from flow.elsewhere import Number\n")
    assert project.run("assert node.load().payload == 6") == {"warnings": [], "kinds": [], "files": [], "status": "done"}


def test_a_record_of_another_class_with_other_code_is_refused_naming_both(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("node.generate()")
    project.write("rival", NODES.replace("twice(3)", "twice(4)"))
    project.write("nodes", "from flow.rival import Number\n")
    found = project.run(
        """
from persistable.errors import PayloadForeign
for ask in (node.load, node.load_generate, lambda: node.payload):
    try: ask()
    except PayloadForeign as error:
        assert "flow.nodes:Number" in str(error) and "flow.rival:Number" in str(error), error
        assert error.made_by == "flow.nodes:Number" and error.asked_by == "flow.rival:Number"
    else: raise SystemExit("a stranger's payload was served")
"""
    )
    assert not found["warnings"]


def test_two_scripts_with_a_class_of_one_name_do_not_share_payloads_unless_their_code_is_equal(tmp_path: Path) -> None:
    script = """
import sys
from persistable import Persistable
from persistable.errors import PayloadForeign
class Number(Persistable[int, None]):
    def _generate_payload(self, **_):
        return FACTOR
try: print(Number(sys.argv[1]).payload)
except PayloadForeign: print("foreign")
"""
    for name, factor in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / f"{name}.py").write_text(script.replace("FACTOR", factor))
    printed = [
        subprocess.run([sys.executable, str(tmp_path / f"{name}.py"), str(tmp_path / "data")], capture_output=True, text=True, check=True)
        for name in "abc"
    ]
    assert [done.stdout.strip() for done in printed] == ["1", "1", "foreign"]
    assert all(not done.stderr for done in printed)


def test_a_script_that_is_edited_and_then_imported_is_the_same_code_changed_and_no_stranger(tmp_path: Path) -> None:
    script = "from persistable import step\n@step\ndef mean(n: int) -> int:\n    return n + PLUS\nif __name__ == '__main__':\n"
    script += "    print(mean.step(1).bind('data').payload)\n"
    ask = "import flow; node = flow.mean.step(1).bind('data'); print(node.status.name, node.payload)"

    def printed(*arguments: str) -> str:
        command = [sys.executable, "-W", "ignore", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    (tmp_path / "flow.py").write_text(script.replace("PLUS", "1"))
    assert printed("flow.py") == "2"
    assert printed("-c", ask) == "DONE 2"
    (tmp_path / "flow.py").write_text(script.replace("PLUS", "100"))
    assert printed("-c", ask) == "STALE 2"
    (tmp_path / "other.py").write_text(script.replace("PLUS", "100"))
    assert printed("-c", ask.replace("flow", "other").replace("node.payload", "''")) == "FOREIGN"


def test_code_is_not_judged_across_python_versions(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("node.generate()")
    edit = """
from persistable.records.record import Record
from persistable.nodes.loading import find_record
record = find_record(node.store, node.key)
node.store.put(node.key.path + ".record.json", record.revise({"code": {"python": "cpython-310", "quick": "0"}}, {}).to_bytes())
"""
    project.run(edit)
    project.write("helpers", HELPERS.replace("x * SCALE", "x * SCALE + 1"))
    found = project.run("node.load()")
    assert found["status"] == "done" and not found["warnings"]


def test_a_helper_redefined_in_a_session_is_noticed_and_redefined_back_is_not(tmp_path: Path) -> None:
    session = f"""
import warnings
from persistable import Persistable, Status
def helper(): return 1
class Number(Persistable[int, None]):
    def _generate_payload(self, **_): return helper()
node = Number({str(tmp_path)!r}).generate()
assert node.status is Status.DONE
def helper(): return 2
assert node.status is Status.STALE, node.status
def helper(): return 1
assert node.status is Status.DONE, node.status
"""
    done = subprocess.run([sys.executable, "-c", session], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
