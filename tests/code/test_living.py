"""Fingerprints taken where code lives: scripts, prompts, notebooks, test runs, and processes whose files change under them."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import pytest

from persistable.nodes.code import Fingerprint, compare, is_same_code

HELPER = "OFFSET = 3\n\ndef helper(x):\n    return x + OFFSET\n"
LOOK = "code_of(Points, ('_generate_payload',)).fingerprint().to_json()"
SHOW = "import json; from persistable.nodes.code import code_of; print(json.dumps(" + LOOK + "))\n"
SCRIPT = (
    "from helpers import helper\n\nclass Points:\n    def _generate_payload(self):\n        return helper(1)\n\n"
    "if __name__ == '__main__':\n    " + SHOW
)


def taken(data: Any) -> Fingerprint:
    return Fingerprint.from_json(data)


def test_a_script_reaches_the_modules_beside_it(project: Any) -> None:
    """A helper in the script's folder is the user's own."""
    project.write({"helpers.py": HELPER, "train.py": SCRIPT})
    before = taken(project.last("train.py"))
    assert before.parts.keys() == {"Points._generate_payload", "helper", "OFFSET"}
    project.edit("helpers.py", "x + OFFSET", "x - OFFSET")
    assert compare(before, taken(project.last("train.py"))).changed == ["helper"]


def test_a_script_and_the_module_it_also_is_have_the_same_code(project: Any) -> None:
    """Running ``train.py`` and importing ``train`` give equal fingerprints."""
    project.write({"helpers.py": HELPER, "train.py": SCRIPT})
    script, module = taken(project.last("train.py")), project.fingerprint("train:Points")
    assert script == module
    assert script.quick


def test_a_module_run_with_m_belongs_to_its_package(project: Any) -> None:
    """``python -m pk.train`` reaches the whole package, as importing it does."""
    project.write({"pk/__init__.py": "", "pk/helpers.py": HELPER, "pk/train.py": SCRIPT.replace("from helpers", "from pk.helpers")})
    assert taken(project.last("-m", "pk.train")) == project.fingerprint("pk.train:Points")


PROMPT = """
K = 2
COUNT = 0
def helper(x):
    "doc"
    return x * K

class Points:
    def _generate_payload(self):
        global COUNT
        COUNT += 1
        return helper(1)

"""


def test_the_prompt_notices_changes(project: Any) -> None:
    """Between two interactive sessions: equal code is equal, a changed helper or constant is named."""
    before = taken(project.last("-i", text=PROMPT + SHOW))
    assert compare(before, taken(project.last("-i", text=PROMPT + "Points()._generate_payload() and None\n" + SHOW))).same
    assert compare(before, taken(project.last("-i", text=PROMPT.replace("x * K", "x - K") + SHOW))).changed == ["helper"]
    assert compare(before, taken(project.last("-i", text=PROMPT.replace("K = 2", "K = 5") + SHOW))).changed == ["K"]


def test_the_prompt_knows_what_a_script_recorded(project: Any) -> None:
    """A record made by a file, where source was at hand, compares with a session that has bytecode only."""
    project.write({"train.py": PROMPT + SHOW})
    script, prompt = taken(project.last("train.py")), taken(project.last("-i", text=PROMPT + SHOW))
    assert script.parts["helper"].startswith("s:")
    assert compare(script, prompt).describe() == ""
    assert is_same_code(
        script._replace(quick="", parts={"helper": script.parts["helper"]}), prompt._replace(parts={"helper": prompt.parts["helper"]})
    )
    changed = taken(project.last("-i", text=PROMPT.replace("x * K", "x - K") + SHOW))
    assert compare(script, changed).changed == ["helper"]


NOTEBOOK = '''
import json, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shown = []

def cell(text):
    result = shell.run_cell(text, store_history=True)
    assert result.success, text

def show():
    cell("""
import json
from persistable.nodes.code import code_of
_seen = json.dumps(code_of(Points, ("_generate_payload",)).fingerprint().to_json())
""")
    shown.append(json.loads(shell.user_ns["_seen"]))
'''


def notebook(project: Any, steps: str) -> list[Fingerprint]:
    """The fingerprints `show()` took in one notebook session."""
    return [taken(data) for data in project.last("-c", NOTEBOOK + textwrap.dedent(steps) + "\nprint(json.dumps(shown))")]


CLASS_CELL = '''
cell("""
class Points:
    def _generate_payload(self):
        global COUNT
        COUNT += 1
        CALLS.append(COUNT)
        return helper(1)
""")
'''


def test_a_cell_run_again_with_a_changed_helper_is_noticed(project: Any) -> None:
    """The class stays, its helper's cell is edited and run again, then put back."""
    steps = (
        'cell("K = 2\\nCOUNT = 0\\nCALLS = []")\ncell("def helper(x):\\n    return x + K")\n'
        + CLASS_CELL
        + """
show()
cell("Points()._generate_payload()")
show()
cell("def helper(x):\\n    return x - K")
show()
cell("def helper(x):\\n    # as it was\\n    return x + K")
show()
cell("K = 3")
show()
cell("K = 2")
show()
"""
    )
    first, ran, changed, restored, constant, again = notebook(project, steps)
    assert all(part.startswith("s:") for part in first.parts.values())
    assert compare(first, ran).same
    assert compare(first, changed).changed == ["helper"]
    assert compare(first, restored).same
    assert compare(first, constant).changed == ["K"]
    assert compare(first, again).same


LOOKS = (
    "",
    'cell("TABLE.total()")',
    'cell("TABLE.grow(1)")',
    'cell("TABLE = Table([5])\\nTABLE.total()")',
    'cell("print(math.pi)\\nmath.sqrt(4)")',
)


def test_a_cell_that_only_shows_something_changes_nothing(project: Any) -> None:
    """``frame.head()`` at the end of a cell is shown; what returns nothing may have changed it, and a new value is one."""
    table = """
class Table:
    def __init__(self, rows): self.rows = rows
    def total(self): return sum(self.rows)
    def grow(self, row): self.rows.append(row)
TABLE = Table([1, 2])
"""
    points = "class Points:\n    def _generate_payload(self):\n        return TABLE.total() + math.sqrt(4)"
    before = f"cell('import math')\ncell({table!r})\n"
    plain, shown, grown, rebound, used = (notebook(project, f"{before}{look}\ncell({points!r})\nshow()")[0] for look in LOOKS)
    assert compare(plain, shown).same
    assert compare(plain, grown).changed == ["TABLE"]
    assert compare(plain, rebound).changed == ["TABLE"]
    assert compare(plain, used).same


OBJECT = """
import json, sys
from persistable import step

class Rate:
    def __init__(self, of): self.of = of

RATE = Rate(1)

@step
def rated(n: int) -> int:
    return n * RATE.of

def ask():
    node = rated.step(2).bind("data")
    print(json.dumps([node.status.name, node.payload]))

if __name__ == "__main__":
    ask()
"""


@pytest.mark.parametrize("how", [("flat.py",), ("-m", "flat"), ("-c", "import flat; flat.ask()")])
def test_an_object_in_a_script_or_a_module_of_one_file_is_compared_by_its_source(project: Any, how: tuple[str, ...]) -> None:
    project.write({"flat.py": OBJECT})
    assert [project.last(*how), project.last(*how)] == [["ABSENT", 2], ["DONE", 2]]
    project.edit("flat.py", "Rate(1)", "Rate(3)")
    assert project.last(*how) == ["STALE", 2]


STARS = {
    "pk/__init__.py": "",
    "pk/flows.py": "class Points:\n    def _generate_payload(self):\n        from pk.late import K, go\n        return go(K)\n",
    "pk/late/__init__.py": "from .deep import *\nfrom .other import *\n",
    "pk/late/deep.py": "from pk.late.other import *\nK = 2\n",
    "pk/late/other.py": "from pk.late.deep import *\ndef go(x):\n    return x + 1\n",
}


@pytest.mark.parametrize(("file", "old", "new", "name"), [("deep", "K = 2", "K = 3", "K"), ("other", "x + 1", "x + 2", "go")])
def test_what_a_star_brings_to_a_module_that_is_imported_late_is_noticed(project: Any, file: str, old: str, new: str, name: str) -> None:
    """Also where two modules import all of each other."""
    before = project.write(STARS).fingerprint()
    after = project.edit(f"pk/late/{file}.py", old, new).fingerprint()
    assert compare(before, after).changed == [name]


def test_a_helper_replaced_in_place_is_noticed(project: Any) -> None:
    """Autoreload gives a function a new ``__code__`` and keeps the object; nothing is rebound."""
    project.write({"helpers.py": HELPER})
    steps = """
import pathlib, os
cell("%load_ext autoreload\\n%autoreload 2\\nfrom helpers import helper")
cell("class Points:\\n    def _generate_payload(self):\\n        return helper(1)")
show()
path = pathlib.Path("helpers.py")
path.write_text(path.read_text().replace("x + OFFSET", "x * 2 + OFFSET"))
os.utime(path, (2e9, 2e9))
show()
path.write_text(path.read_text().replace("OFFSET = 3", "OFFSET = 33"))
os.utime(path, (2.1e9, 2.1e9))
show()
"""
    first, code, constant = notebook(project, steps)
    assert compare(first, code).changed == ["helper"]
    assert compare(code, constant).changed == ["OFFSET"]


def test_a_notebook_and_a_module_with_the_same_text_agree(project: Any) -> None:
    """Code developed in a notebook and moved to a module unchanged is the same code."""
    steps = 'cell("K = 2\\nCOUNT = 0\\nCALLS = []")\ncell("def helper(x):\\n    return x + K")\n' + CLASS_CELL + "\nshow()\n"
    (cells,) = notebook(project, steps)
    body = CLASS_CELL.split('"""')[1]
    project.write({"moved.py": "K = 2\nCOUNT = 0\nCALLS = []\ndef helper(x):\n    return x + K\n" + body})
    assert is_same_code(cells, project.fingerprint("moved:Points"))


def test_a_real_kernel_is_a_notebook(project: Any) -> None:
    """Under ipykernel: cells have sources, and a changed helper is named."""
    driver = """
    import json
    from jupyter_client.manager import start_new_kernel
    manager, client = start_new_kernel(startup_timeout=240, kernel_name="python3")
    def cell(text):
        out = []
        client.execute_interactive(text, timeout=240, output_hook=lambda m: out.append(m["content"].get("text", "")))
        return "".join(out)
    show = '''import json; from persistable.nodes.code import code_of; print(json.dumps(
    code_of(Points, ("_generate_payload",)).fingerprint().to_json()))'''
    cell("def helper(x):\\n    return x + 1")
    cell("class Points:\\n    def _generate_payload(self):\\n        return helper(1)")
    first = cell(show)
    cell("def helper(x):\\n    return x + 2")
    second = cell(show)
    client.stop_channels(); manager.shutdown_kernel(now=True)
    print(json.dumps([json.loads(first), json.loads(second)]))
    """
    first, second = map(taken, project.last("-c", textwrap.dedent(driver)))
    assert first.parts["helper"].startswith("s:")
    assert compare(first, second).changed == ["helper"]


def test_optimised_python_is_compared_with_itself(project: Any) -> None:
    """``-O`` drops asserts from bytecode: its fingerprints are no evidence against those of plain Python."""
    project.write(
        {"pk/__init__.py": "", "pk/flows.py": "class Points:\n    def _generate_payload(self):\n        assert self\n        return 1\n"}
    )
    plain, fast = project.fingerprint(), project.fingerprint("pk.flows:Points", "-O")
    assert fast.python == plain.python + "-O1"
    assert not compare(plain, fast).comparable
    assert compare(plain, fast).same
    assert fast == project.fingerprint("pk.flows:Points", "-O")
    project.edit("pk/flows.py", "return 1", "return 2")
    assert compare(fast, project.fingerprint("pk.flows:Points", "-O")).changed == ["Points._generate_payload"]


TEST_MODULE = """
import json

def helper(x):
    assert x > 0, "positive"
    return x

class Points:
    def _generate_payload(self):
        assert helper(1) == 1
        return helper(2)

def test_show():
    from persistable.nodes.code import code_of
    open("out.json", "w").write(json.dumps(code_of(Points, ("_generate_payload",)).fingerprint().to_json()))
"""


def test_test_modules_with_rewritten_asserts(project: Any) -> None:
    """pytest rewrites asserts: bytecode stands in for the source, comments change nothing, a change is named."""

    def run() -> Fingerprint:
        project.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")
        return taken(json.loads((project.folder / "out.json").read_text()))

    project.write({"test_it.py": TEST_MODULE})
    before = run()
    assert before.parts["helper"].startswith("b:")
    project.edit("test_it.py", "    return x\n", "    # as it is\n\n    return x\n")
    assert compare(before, run()).same
    project.edit("test_it.py", "    return x\n", "    return +x\n")
    assert compare(before, run()).changed == ["helper"]


LIVING = """
import sys, typing
class _Pair(typing.NamedTuple):  # from Python 3.14 on, that imports ast
    a: int
_before = set(sys.modules)
import importlib, json, os, pathlib
from persistable.nodes.code import code_of, compare
import pk.flows, pk.helpers

def take():
    return code_of(pk.flows.Points, ("_generate_payload",)).fingerprint()

def edit(name, old, new, at=[2_000_000_000]):
    path = pathlib.Path(name)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    at[0] += 10
    os.utime(path, (at[0], at[0]))
"""
LIVING_FILES = {
    "pk/__init__.py": "",
    "pk/helpers.py": HELPER,
    "pk/flows.py": "from pk.helpers import OFFSET, helper\n\nCALLS = []\n\nclass Points:\n    def _generate_payload(self):\n"
    "        CALLS.append(1)\n        return helper(1) + OFFSET\n",
}


def living(project: Any, steps: str) -> list[Any]:
    project.write(LIVING_FILES)
    out = project.last("-c", LIVING + textwrap.dedent(steps))
    assert isinstance(out, list)
    return out


def test_a_file_edited_after_import_is_not_the_running_code(project: Any) -> None:
    """A process that keeps running old code records the old code, whether or not it looked before the edit."""
    before = project.write(LIVING_FILES).fingerprint()
    steps = """
    edit("pk/helpers.py", "x + OFFSET", "x - OFFSET")
    edit("pk/helpers.py", "OFFSET = 3", "OFFSET = 4")
    late = take()
    print(json.dumps([late.to_json()]))
    """
    (late,) = map(taken, living(project, steps))
    assert compare(before, late).same
    assert sorted(compare(late, project.fingerprint()).changed) == ["OFFSET", "helper"]
    project.write(LIVING_FILES)
    steps = """
    early = take()
    edit("pk/helpers.py", "x + OFFSET", "x - OFFSET")
    edit("pk/helpers.py", "OFFSET = 3", "OFFSET = 4")
    from persistable.nodes.code import live
    live._kept.clear()
    print(json.dumps([early.to_json(), take().to_json()]))
    """
    early, again = map(taken, living(project, steps))
    assert early == before
    assert compare(early, again).same
    assert sorted(compare(again, project.fingerprint()).changed) == ["OFFSET", "helper"]


def test_a_reloaded_module_is_new_code(project: Any) -> None:
    """After `importlib.reload` the class uses the new helper, and the fingerprint says so."""
    steps = """
    first = take()
    edit("pk/helpers.py", "x + OFFSET", "x - OFFSET")
    edit("pk/helpers.py", "OFFSET = 3", "OFFSET = 4")
    importlib.reload(pk.helpers)
    unchanged = take()
    importlib.reload(pk.flows)
    print(json.dumps([first.to_json(), unchanged.to_json(), take().to_json()]))
    """
    first, unchanged, reloaded = map(taken, living(project, steps))
    assert "OFFSET" in compare(first, unchanged).describe()  # it holds the function it imported, which reads the new constant
    assert "helper" not in compare(first, unchanged).describe()
    assert sorted(compare(first, reloaded).changed) == ["OFFSET", "helper"]


def test_what_a_run_changes_in_memory_is_no_change_of_code(project: Any) -> None:
    """Lists appended to, counters bumped, constants patched by a test: the source decides."""
    steps = """
    first = take()
    for _ in range(3):
        pk.flows.Points()._generate_payload()
    from persistable.nodes.code import live
    live._kept.clear()
    ran = take()
    pk.flows.OFFSET = 99
    print(json.dumps([first.to_json(), ran.to_json(), take().to_json()]))
    """
    first, ran, patched = map(taken, living(project, steps))
    assert first.quick != ran.quick
    assert compare(first, ran).same
    assert compare(first, patched).same


def test_a_run_in_between_keeps_the_quick_digest(project: Any) -> None:
    """Code looked at before a generation keeps its quick digest after it: the next process needs no source."""
    steps = """
    first = take()
    pk.flows.Points()._generate_payload()
    print(json.dumps([first.quick == take().quick]))
    """
    assert living(project, steps) == [True]


def test_looking_reads_no_source(project: Any) -> None:
    """The first look in a process neither parses nor disassembles, and imports nothing for it."""
    steps = """
    code = code_of(pk.flows.Points, ("_generate_payload",))
    assert code.quick
    same = compare(code, code_of(pk.flows.Points, ("_generate_payload",))).same
    readers = {"ast", "dis", "inspect", "tokenize", "linecache", "persistable.nodes.code.source"}
    print(json.dumps([same, *sorted(readers & (set(sys.modules) - _before))]))
    """
    assert living(project, steps) == [True]


LAZY = {
    "pk/__init__.py": "",
    "pk/heavy.py": "import sys\nfrom pk.light import light\nfrom . import more\nRAN = sys.modules\nSCALE = 3\n\n"
    "def heavy(x):\n    return light(x) * SCALE + more.more(x) + Model(x).fit()\n\n"
    "class Model:\n    def __init__(self, x):\n        self.x = x\n    def fit(self):\n        return self.x\n",
    "pk/light.py": "def light(x):\n    return x + 1\n",
    "pk/more.py": "def more(x):\n    return x + 2\n",
    "pk/flows.py": "class Points:\n    def _generate_payload(self):\n"
    "        from .heavy import heavy\n        import pk.more as m\n        return heavy(1) + m.more(1)\n",
}


def test_imports_inside_functions_are_followed_without_importing(project: Any) -> None:
    """A module that only generating would import is read, not run; the record of a process that did run it compares equal."""
    project.write(LAZY)
    script = """
import json, sys
import pk.flows
from persistable.nodes.code import code_of
if sys.argv[1:]: pk.flows.Points()._generate_payload()
out = code_of(pk.flows.Points, ("_generate_payload",)).fingerprint().to_json()
print(json.dumps([out, "pk.heavy" in sys.modules]))
"""
    ran, loaded = project.last("-c", script, "generate")
    cold, not_loaded = project.last("-c", script)
    assert (loaded, not_loaded) == (True, False)
    assert set(ran["parts"]) == set(cold["parts"]) - {"import pk.heavy", "import pk.light", "import pk.more"}
    assert compare(taken(ran), taken(cold)).describe() == ""
    for file, old, new, name in (
        ("pk/heavy.py", "* SCALE", "- SCALE", "heavy"),
        ("pk/heavy.py", "SCALE = 3", "SCALE = 4", "SCALE"),
        ("pk/heavy.py", "return self.x", "return -self.x", "Model.fit"),
        ("pk/light.py", "x + 1", "x + 10", "light"),
        ("pk/more.py", "x + 2", "x + 20", "more"),
    ):
        project.write(LAZY).edit(file, old, new)
        assert compare(taken(ran), taken(project.last("-c", script)[0])).changed == [name]


def test_moved_but_unchanged_code_is_the_same(project: Any) -> None:
    """Another module, another file, nested in a function: the same code; one operator changed: not."""
    body = "class Points:\n    K = 3\n    def _generate_payload(self):\n        return helper(1) + self.K\n"
    helper = "def helper(x):\n    return x + 1\n"
    project.write(
        {
            "one.py": helper + body,
            "two/__init__.py": "",
            "two/parts.py": "import os\n\n" + helper,
            "two/flows.py": "from two.parts import helper\n" + body,
            "three.py": "def make():\n" + textwrap.indent(helper + body, "    ") + "    return Points\n\nPoints = make()\n",
            "four.py": helper.replace("+", "-") + body,
        }
    )
    one, two, three, four = (project.fingerprint(f"{module}:Points") for module in ("one", "two.flows", "three", "four"))
    assert is_same_code(one, two)
    assert is_same_code(one, three)
    assert not is_same_code(one, four)


def test_installed_packages_are_not_followed(project: Any) -> None:
    """Only the user's own package is read; a node library in site-packages is a project of its own."""
    project.write(
        {
            "site-packages/other.py": "def outside(x):\n    return x\n\n"
            "class Node:\n    def _generate_payload(self):\n        return outside(1)\n",
            "site-packages/lib/__init__.py": "from lib.inner import inner\n\n"
            "class Node:\n    def _generate_payload(self):\n        return inner(1)\n",
            "site-packages/lib/inner.py": "import other\n\ndef inner(x):\n    return other.outside(x)\n",
            "mine.py": "import other\n\nclass Points:\n    def _generate_payload(self):\n        return other.outside(1)\n\n"
            "class Theirs(other.Node):\n    pass\n",
        }
    )
    path = str(project.folder / "site-packages")

    def parts(target: str) -> set[str]:
        return set(project.fingerprint(target, PYTHONPATH=f"{project.folder}:{path}:{_package_root()}").parts)

    assert parts("mine:Points") == {"Points._generate_payload", "other"}  # a name of it, and nothing below
    assert parts("lib:Node") == {"Node._generate_payload", "inner", "other"}
    assert parts("mine:Theirs") == {"Node._generate_payload", "outside"}


def _package_root() -> str:
    from pathlib import Path

    import persistable

    return str(Path(persistable.__path__[0]).parent)
