"""What a script or notebook defines and gives as a param has its source in the key: the same in scripts, notebooks and workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEFINITIONS = '''
import functools
from typing import Any

from persistable import step


def activation(x: float) -> float:
    """Twice."""
    return x * 2  # and no more


class Model:
    factor = 2

    def predict(self, x: float) -> float:
        return x * self.factor

    @staticmethod
    def plain(x: float) -> float:
        return x + 2


@functools.lru_cache
def cached(x: float) -> float:
    return x * 2


def tripled(fn):
    @functools.wraps(fn)
    def wrapper(x):
        return fn(x) + 2

    return wrapper


wrapped = tripled(activation)
wrapped.__qualname__ = wrapped.__name__ = "wrapped"


@step
def apply(fn: Any, x: float = 3.0) -> float:
    return fn(x)


@step
def fitted(kind: type) -> float:
    return kind().predict(3.0)


def memoised() -> Any:
    return apply.step(cached)


def made(fn: Any) -> Any:
    @step(name="made")
    def inner() -> float:
        return fn(3.0)

    return inner.step()


def nodes() -> dict[str, Any]:
    return {
        "function": apply.step(activation),
        "partial": apply.step(functools.partial(activation)),
        "inside": fitted.step(Model),
        "static": apply.step(Model.plain),
        "wrapped": apply.step(wrapped),
        "captured": made(activation),
    }
'''
MAIN = """
if __name__ == "__main__":
    import concurrent.futures
    import multiprocessing
    import sys

    from persistable import open_store, run

    executor = sys.argv[2]
    if executor == "spawn":
        executor = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with open_store(sys.argv[1]) as store:
        found = nodes()
        run(*found.values(), executor=executor)
        for name, node in found.items():
            assert node.status.name == "DONE", (name, node.status, node.explain())
            assert node.record.to_dict()["params"] == node.params_tree, name
            print(name, node.key, node.payload)
"""


def said(folder: Path, script: str, *arguments: str) -> dict[str, tuple[str, str]]:
    """By name of the node, its key and payload, as a script printed them."""
    folder.mkdir(exist_ok=True)
    (folder / "flow.py").write_text(script)
    done = subprocess.run(
        [sys.executable, *arguments[:-2], "flow.py", *arguments[-2:]], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return {name: (key, payload) for name, key, payload in rows}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[str, str]]]:
    folder = tmp_path_factory.mktemp("scripts")
    return folder, said(folder / "one", DEFINITIONS + MAIN, str(folder / "data"), "inline")


def test_another_script_with_other_code_has_other_keys(first: tuple[Path, dict[str, tuple[str, str]]]) -> None:
    folder, one = first
    other = said(
        folder / "two",
        DEFINITIONS.replace("* 2", "* 5").replace("factor = 2", "factor = 5").replace("+ 2", "+ 5") + MAIN,
        str(folder / "data"),
        "inline",
    )
    assert {name for name in one if one[name] == other[name]} == set()
    assert {name for name in one if one[name][0] == other[name][0]} == set()


def test_a_script_with_the_same_code_otherwise_laid_out_shares_them(first: tuple[Path, dict[str, tuple[str, str]]]) -> None:
    folder, one = first
    text = DEFINITIONS.replace('"""Twice."""', '"""Two times."""').replace("  # and no more", "").replace("\n\n\n", "\n\n\n# here\n\n")
    assert said(folder / "three", text + MAIN, str(folder / "data"), "inline") == one


@pytest.mark.parametrize("executor", ["processes", "threads", "spawn"])
def test_workers_agree(first: tuple[Path, dict[str, tuple[str, str]]], executor: str, tmp_path: Path) -> None:
    assert said(tmp_path, DEFINITIONS + MAIN, str(tmp_path / "data"), executor) == first[1]


def test_a_notebook_agrees_and_so_do_its_workers(first: tuple[Path, dict[str, tuple[str, str]]], tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    session = f"""
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in ({DEFINITIONS!r}, "from persistable import run",
             "found = nodes(); run(*found.values(), store='{tmp_path}/data', executor='processes')",
             'for name, node in found.items(): print(name, node.key, node.payload)'):
    result = shell.run_cell(cell, store_history=True)
    result.raise_error()
"""
    done = subprocess.run(
        [sys.executable, "-c", session], capture_output=True, text=True, timeout=120, env={**os.environ, "IPYTHONDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if len(line.split()) == 3]
    assert {name: (key, payload) for name, key, payload in rows} == first[1]


def test_without_a_source_other_code_has_other_keys_too(tmp_path: Path) -> None:
    keys = []
    for factor in (2, 5, 2):
        code = DEFINITIONS.replace("* 2", f"* {factor}").replace("factor = 2", f"factor = {factor}").replace("+ 2", f"+ {factor}")
        done = subprocess.run(
            [sys.executable, "-c", code + "\nfor n in [memoised(), *nodes().values()]: print(n.key)"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        keys.append(done.stdout.split())
    assert keys[0] == keys[2]
    assert not set(keys[0]) & set(keys[1])


RICH = '''
def rich(items, *rest, scale: float = 1.5, **more):
    """What each Python compiles otherwise."""
    total = {f"{key!r:>{len(rest)}}-{value + 1:.2f}": (lambda x: x ** 2)(value) for key, value in items if value is not None}
    try:
        with open(__file__) as file:
            while line := file.readline():
                match line.split():
                    case [first, *_] if first.startswith("#"):
                        yield first, b"\\x00", 1_000, 0x10, 1e3, ...
                    case {"a": 1, **left} | [left]:
                        break
    except (OSError, ValueError) as error:
        raise RuntimeError("no") from error
    else:
        global state
        state = [*rest, *total] if scale else not more
    finally:
        del total


class Rich(dict, metaclass=type):
    """A class."""

    x: int = 1
    y = x << 2

    @property
    def z(self):
        return super().get("z", self.y)
'''


def test_marks_are_the_same_on_every_python_and_bring_back_only_what_they_are_of(tmp_path: Path) -> None:
    code = """
from persistable.errors import ParamsError
from persistable.params.reducers import dereference, reference
for thing in (rich, Rich):
    text = reference(thing)
    print(text)
    assert dereference(text) is thing
    try:
        dereference(text[:-1] + "?")
    except ParamsError as error:
        print("defined otherwise" in str(error))
"""
    (tmp_path / "rich.py").write_text(RICH + "import persistable.nodes.node\n" + code)
    done = subprocess.run([sys.executable, "rich.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["__main__:rich#69040dd6ac428dbf", "True", "__main__:Rich#f191704174caaded", "True"]
