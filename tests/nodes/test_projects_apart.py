"""Two projects whose modules have one name share a store: what one has made the other never takes for its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from persistable.nodes.code.project_name import project_at

STEPS = """
from persistable import step

@step
def load(year: int) -> list:
    return [year, {tag!r}]

@step
def total(values: list) -> int:
    return len(values)
"""
ASK = """
import json, sys, warnings
warnings.simplefilter("ignore")
from steps import load, total
from persistable import plan, run
from persistable.errors import PayloadForeign, RunFailed

def said(ask):
    try:
        return str(ask())
    except PayloadForeign as error:
        return "foreign: " + str(error)
    except Exception as error:
        return " ".join([str(error), *map(str, getattr(error, "exceptions", ()))])

def answers(make):
    node = make()
    return {
        "status": node.status.name,
        "payload": said(lambda: make().payload),
        "explain": str(make().explain()),
        "plan": said(lambda: plan(make())),
        "run": said(lambda: [run(node := make(), executor=EXECUTOR)[node].payload]),
    }
STORE, EXECUTOR = sys.argv[1:]
print(json.dumps({"load": answers(lambda: load.step(2000).bind(STORE)), "total": answers(lambda: total.step(load.step(2000)).bind(STORE))}))
"""
NODES = "import sys; from steps import load, total; nodes = [n.bind(sys.argv[1]) for n in (load.step(2000), total.step(load.step(2000)))]; "
MAKE = NODES + "[n.payload for n in nodes]"


def python(folder: Path, code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def project(folder: Path, tag: str, name: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "steps.py").write_text(STEPS.format(tag=tag))
    if name:
        (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    return folder


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_what_another_project_made_is_foreign_everywhere(tmp_path: Path, executor: str) -> None:
    store = str(tmp_path / "data")
    python(project(tmp_path / "one", "a"), MAKE, store)
    found = json.loads(python(project(tmp_path / "two", "b"), ASK, store, executor))
    for name in ("load", "total"):
        assert found[name]["status"] == "FOREIGN", (name, found[name])
        assert "of one" in found[name]["payload"] and "of two" in found[name]["payload"], found[name]
        for answer in ("payload", "explain", "plan", "run"):
            assert "oreign" in found[name][answer] or "was made by" in found[name][answer], (name, answer, found[name])


def test_a_check_out_elsewhere_is_the_same_project(tmp_path: Path) -> None:
    store = str(tmp_path / "data")
    python(project(tmp_path / "laptop", "a", "My_Flow"), MAKE, store)
    found = json.loads(python(project(tmp_path / "cluster", "b", "my-flow"), ASK, store, "inline"))
    assert found["load"]["status"] == found["total"]["status"] == "STALE"
    assert found["load"]["payload"] == "[2000, 'a']"


def test_the_same_code_in_another_project_is_no_stranger(tmp_path: Path) -> None:
    store = str(tmp_path / "data")
    python(project(tmp_path / "one", "a"), MAKE, store)
    found = json.loads(python(project(tmp_path / "two", "a"), ASK, store, "inline"))
    assert found["load"]["status"] == found["total"]["status"] == "DONE"


def test_what_is_accepted_is_of_this_project(tmp_path: Path) -> None:
    store = str(tmp_path / "data")
    python(project(tmp_path / "one", "a"), MAKE, store)
    two = project(tmp_path / "two", "b")
    python(two, NODES + "[n.accept_code('same') for n in nodes]", store)
    assert json.loads(python(two, ASK, store, "inline"))["load"]["status"] == "DONE"
    assert json.loads(python(tmp_path / "one", ASK, store, "inline"))["load"]["status"] == "FOREIGN"


def test_names_of_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def name(place: str, *, module: str = "m") -> Any:
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        held = type(sys)(module)
        held.__file__ = str(file)
        monkeypatch.setitem(sys.modules, module, held)
        return project_at(module)

    assert name("plain/m.py") == "plain"
    assert name("flat/pkg/sub/m.py", module="pkg.sub.m") == "flat"
    assert name("flat/pkg/__init__.py", module="pkg") == "flat"
    (tmp_path / "declared").mkdir()
    (tmp_path / "declared/pyproject.toml").write_text('[project]\nname = "Some.Thing"\n')
    assert name("declared/src/pkg/m.py", module="pkg.m2") == "some-thing"
    (tmp_path / "tools/sub").mkdir(parents=True)
    (tmp_path / "tools/pyproject.toml").write_text("[tool.x]\n")
    assert name("tools/sub/m3.py", module="m3") == "sub"
    (tmp_path / "repo/.git").mkdir(parents=True)
    assert name("repo/deep/m4.py", module="m4") == "repo"
    (tmp_path / "cloned/.git").mkdir(parents=True)
    (tmp_path / "cloned/.git/config").write_text(
        '[core]\n\tbare = false\n[remote "origin"]\n\turl = https://user:secret@example.org/team/flows.git\n'
    )
    assert name("cloned/deep/m5.py", module="m5") == "flows"
    assert project_at("json") is None and project_at("nowhere") is None


RUN = """
import enum, sys
from persistable import step

class Mode(enum.Enum):
    A = 1

    def next(self):
        return self.value + 1

@step
def after(mode: Mode) -> int:
    return mode.next()

def ask(store):
    node = after.step(Mode.A).bind(store)
    print(node.status.name)
    node.payload

if __name__ == "__main__":
    ask(sys.argv[1])
"""


def test_a_module_is_no_stranger_to_itself_run_by_its_name(tmp_path: Path) -> None:
    """``python -m pkg.flow`` and an import of it are of one project; code that a param brings goes by no module."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__init__.py").write_text("")
    (tmp_path / "pkg/flow.py").write_text(RUN)
    store = str(tmp_path / "data")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # two edits of one size in one second have the same byte code

    def asked(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert asked("-m", "pkg.flow", store) == "ABSENT"
    ask = ("-c", f"from pkg.flow import ask; ask({store!r})")
    assert asked(*ask) == "DONE"
    (tmp_path / "pkg/flow.py").write_text(RUN.replace("self.value + 1", "self.value + 2"))
    assert asked(*ask) == "STALE"
