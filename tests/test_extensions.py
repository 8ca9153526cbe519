"""What packages bring by entry points, and what a program registers: known when it is needed, here and in worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persistable import open_store, register_fileio, register_params, run, step
from persistable.errors import RegistrationError, StoreError, UnknownFormat
from persistable.fileio import TextFileIO, fileio_for
from persistable.params import extensions
from persistable.stores import register_store

HERE = Path(__file__).parent / "extension"
PACKAGE = HERE.parent.parent / "persistable_pkg"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "extension"
    subprocess.run(["cp", "-r", str(HERE), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def python(code: list[str], *paths: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}  # that is of the cluster that other tests share
    environment = {**own, "PYTHONPATH": os.pathsep.join(map(str, [*paths, PACKAGE]))}
    return subprocess.run([sys.executable, *code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


def test_an_installed_package_brings_a_store_a_format_a_param_and_an_executor(installed: Path, tmp_path: Path) -> None:
    done = python([str(HERE / "flow.py")], installed, cwd=tmp_path)
    assert done.stdout == "as it should be\n", done.stderr


def test_nothing_is_listed_for_names_that_are_known(installed: Path, tmp_path: Path) -> None:
    code = """
import sys, numpy as np
from persistable import open_store, run, step
from persistable.fileio import fileio_for
@step(io="auto")
def f(x: np.ndarray, n: int = 1) -> np.ndarray: return x
run(f.step(np.arange(3)), store="data", executor="threads")
open_store("memory://x"), fileio_for("x.csv"), fileio_for(dict[str, int])
from persistable.params import extensions
assert not extensions._listed and "persistable_thermo" not in sys.modules
"""
    done = python(["-c", code], installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def brought(folder: Path, name: str, entries: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture
def listed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(extensions, "_listed", {})
    monkeypatch.setattr(extensions, "registered", {})
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def test_two_packages_with_one_name_and_one_that_does_not_load_are_named(listed_anew: Path) -> None:
    brought(listed_anew, "one", "[persistable.stores]\nboth = os:getcwd\nalone = absent_module:Store\n")
    brought(listed_anew, "two", "[persistable.stores]\nboth = os:listdir\n[persistable.formats]\n.odd = os:nothing\n")
    with pytest.raises(RegistrationError, match=r"one \(os:getcwd\).*two \(os:listdir\)|two \(os:listdir\).*one"):
        open_store("both://x")
    with pytest.raises(RegistrationError, match=r"absent_module:Store, which one brings for 'alone' .*absent_module"):
        open_store("alone://x")
    with pytest.raises(RegistrationError, match="which two brings"):
        fileio_for("x.odd")
    with pytest.raises(StoreError, match=r"alone.*both"):
        open_store("neither://x")
    with pytest.raises(UnknownFormat, match=r"\.odd"):
        fileio_for("x.neither")
    with pytest.raises(ValueError, match='"threads", "processes", one of'):
        run(executor="no-such")


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def in_cents(money: Money) -> int:
    return money.cents


def in_euros(money: Money) -> float:
    return money.cents / 100


def remade(factor: int) -> Callable[[Money], int]:
    return lambda money: money.cents * factor


def text() -> TextFileIO:
    return TextFileIO()


REGISTERING: list[tuple[Any, Any, Any]] = [
    (lambda value, **options: register_params(Money, value, **options), in_cents, in_euros),
    (lambda value, **options: register_params(f"{__name__}:Money", value, **options), in_cents, in_euros),
    (lambda value, **options: register_params(Money, value, **options), remade(1), remade(2)),
    (lambda value, **options: register_fileio(value, types=[Money], **options), text, TextFileIO),
    (lambda value, **options: register_fileio(value, types=[list[Money]], **options), text, TextFileIO),
    (lambda value, **options: register_fileio(value, suffixes=[".money"], **options), text, TextFileIO),
    (lambda value, **options: register_store("money", value, **options), "os:getcwd", "os:listdir"),
]


@pytest.mark.parametrize(("register", "first", "second"), REGISTERING)
def test_another_registration_of_one_name_is_refused_unless_it_is_to_replace(
    register: Any, first: Any, second: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extensions, "registered", {})
    register(first)
    register(first)
    with pytest.raises(RegistrationError, match="replace=True"):
        register(second)
    register(second, replace=True)
    register(second)
    with pytest.raises(ValueError, match="registered for"):
        register(first)


def test_a_function_made_again_and_a_class_made_again_are_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "registered", {})
    cell = "class Cell:\n    n = 1\nregister_params(Cell, lambda cell: cell.n)\nregister_params(Money, lambda money: money.cents)"
    for _ in range(2):
        exec(cell, {"register_params": register_params, "Money": Money, "__name__": "__main__"})
    with pytest.raises(RegistrationError):
        register_params(Money, lambda money: money.cents + 1)
    with pytest.raises(RegistrationError):
        register_params(f"{__name__}:Money", in_cents)


PROGRAM = """
import sys, warnings
warnings.simplefilter("error")
from concurrent.futures import ProcessPoolExecutor
from persistable import Persistable, register_fileio, register_params, run, step, open_store
from persistable.fileio import TextFileIO, fileio_for
from persistable.stores import register_store
from persistable import executors

class Money:
    def __init__(self, cents): self.cents = cents

class MoneyFileIO(TextFileIO):
    suffix = ".money"

class Price(Money): pass

register_params(Money, lambda money: money.cents)
register_fileio(MoneyFileIO, types=[Money], suffixes=[".money"])
register_store("vault", "persistable.stores.memory:MemoryStore.from_url")

@step
def cost(money: Money) -> int:
    return money.cents

@step
def inside(n: int) -> list[str]:
    return [str(cost.step(Money(n)).key), str(cost.step(Price(n)).key), type(fileio_for(Money)).__name__,
            type(fileio_for("x.money")).__name__, open_store("vault://x").url]

if __name__ == "__main__":
    made = {
        "processes": lambda: executors.ProcessExecutor(2), "dask": lambda: executors.DaskExecutor(n_workers=1),
        "ray": lambda: executors.RayExecutor(num_cpus=2),
        "pool": lambda: ProcessPoolExecutor(1), "loky": lambda: __import__("loky").ProcessPoolExecutor(1),
        "threads": lambda: executors.ThreadExecutor(2),
    }
    with made[sys.argv[1]]() as executor:
        nodes = [inside.step(n) for n in range(2)]
        result = run(*nodes, cost.step(Money(7)), store="single", executor=executor)
        assert [result[node].payload for node in nodes] == [inside(n) for n in range(2)]
        family = inside.over(n=list(range(60)))
        assert dict(run(family, store="family", executor=executor)[family].payloads()) == {n: inside(n) for n in range(60)}
    print("as it should be")
"""


@pytest.mark.parametrize("executor", ["processes", "dask", "ray", "pool", "loky", "threads"])
def test_registrations_of_the_main_program_hold_in_the_workers_of_every_executor(executor: str, tmp_path: Path) -> None:
    if executor in ("ray", "loky"):
        pytest.importorskip(executor)
    (tmp_path / "main.py").write_text(PROGRAM)
    done = python(["main.py", executor], cwd=tmp_path)
    assert done.stdout.endswith("as it should be\n"), done.stderr


def test_one_that_cannot_be_sent_is_warned_of_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(extensions, "registered", {})
    lock = threading.Lock()

    def locked(money: Money) -> int:
        with lock:
            return money.cents

    register_params(Money, locked)
    with pytest.warns(UserWarning, match=r"registration for .*:Money \(params\) cannot be sent"):
        assert run(double.step(2), store=tmp_path / "data", executor="processes").counts["done"] == 1


@step
def double(n: int) -> int:
    return 2 * n
