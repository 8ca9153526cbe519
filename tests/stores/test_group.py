"""A folder of a group: what one user makes there another may read, make again and delete, as umask and setgid of the folder say."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persistable import allocate, append, step
from persistable.fileio import NumpyFileIO
from persistable.stores import LayeredStore, LocalStore, ObjectStore, SQLiteStore, Store, open_store

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act for two users")
GROUP = 54321
USERS = (54322, 54323)
SCRIPT = """
import os, stat, sys, traceback, warnings
warnings.simplefilter("ignore")
import numpy as np
from pathlib import Path
from persistable import Command, Persistable, append, run, step
from persistable.fileio import ArrowFileIO, BytesFileIO, FolderFileIO, NumpyFileIO
from persistable.stores import open_store

USERS, GROUP = (54322, 54323), 54321
os.environ["TMPDIR"] = sys.argv[2]
round = {"now": 0}

@step
def small(n: int) -> int: return n
@step(io=NumpyFileIO())
def large(n: int): return np.arange(n)
class Allocated(Persistable[object, None]):
    io = NumpyFileIO()
    def _generate_payload(self, **_):
        made = self.allocate((300_000,), "f8")
        (self.scratch / "note").write_text("x")
        made[:] = round["now"]
        return made
@step(io=NumpyFileIO())
def rows():
    for _ in range(3): append(np.arange(5.0))
@step
def items():
    for n in range(3): yield n, n
@step(io=FolderFileIO())
def folder():
    made = Path(os.environ["TMPDIR"], f"made-{os.getpid()}-{round['now']}")
    made.mkdir()
    (made / "a.txt").write_text("a")
    return made
@step
def fails():
    raise ValueError("no")
@step
def killed(n: int):
    from persistable import scratch
    (scratch() / "sub").mkdir(exist_ok=True)
    (scratch() / "sub" / "x").write_text("x")
    os._exit(9) if os.environ.get("DIES") else None
    return n

def nodes():
    return [small.step(1), large.step(300_000), Allocated(), rows.step(), items.step(), folder.step(),
            Command("echo hello > {{ output }}", payload_name="told")]

def work(url):
    store = open_store(url)
    for node in nodes():
        node.bind(store).generate()
        node.bind(store).load()
    try: fails.step().bind(store).payload
    except ValueError: pass
    small.over(n=list(range(10, 15))).run(store=store)

def remove(url):
    store = open_store(url)
    for node in [*nodes(), fails.step()]:
        node.bind(store).delete()
        assert not node.bind(store).exists()

def die(url):
    os.environ["DIES"] = "1"
    killed.step(1).bind(open_store(url)).generate()

def live(url):
    os.environ.pop("DIES", None)
    assert killed.step(1).bind(open_store(url)).payload == 1

def as_user(number, act, *arguments, code=0):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([GROUP]); os.setgid(USERS[number]); os.setuid(USERS[number]); os.umask(0o002)
            os.environ["TMPDIR"] = os.environ["HOME"] = os.path.join(sys.argv[2], str(number))
            import tempfile; tempfile.tempdir = None
            round["now"] += 1
            act(*arguments)
        except BaseException:
            traceback.print_exc(); sys.stderr.flush(); os._exit(1)
        os._exit(0)
    done = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert done == code, (number, act.__name__, done)

work("memory://warm")  # all is imported before the user changes: the interpreter's own files may be out of reach
url = sys.argv[1]
as_user(0, work, url)
as_user(1, work, url)   # makes all again, over what the other made
as_user(0, work, url)
as_user(1, remove, url)
as_user(1, work, url)
as_user(0, die, url, code=9)
as_user(1, live, url)
as_user(0, remove, url)
"""


def test_two_users_share_a_folder(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o055)
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 0, GROUP)
    shared.chmod(0o2775)
    for number, user in enumerate(USERS):
        (tmp_path / str(number)).mkdir(mode=0o700)
        os.chown(tmp_path / str(number), user, user)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(shared / "data"), str(tmp_path)], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-3000:]
    for path in shared.rglob("*"):
        found = path.stat()
        mode = stat.S_IMODE(found.st_mode)
        assert found.st_gid == GROUP, path
        assert mode & 0o070 == (0o070 if path.is_dir() else 0o060), (path, oct(mode))
        assert not path.is_dir() or mode & stat.S_ISGID, path


def _of_fsspec(folder: Path) -> Store:
    import fsspec

    return ObjectStore(fsspec.filesystem("file"), str(folder))


def _of_a_folder_of_fsspec(folder: Path) -> Store:
    import fsspec

    return ObjectStore(fsspec.filesystem("dir", path=str(folder), target_protocol="file"), "")


STORES: dict[str, Callable[[Path], Store]] = {
    "folder": LocalStore,
    "fsspec": _of_fsspec,
    "fsspec dir": _of_a_folder_of_fsspec,
    "sqlite": lambda folder: SQLiteStore(folder / "x.db"),
    "layers": lambda folder: LayeredStore(folder / "a", _of_fsspec(folder / "b")),
    "layers by url": lambda folder: open_store(f"layered://?layer={folder}/a&layer=sqlite:///{folder}/x.db"),
}


@step(io=NumpyFileIO())
def allocated(n: int) -> NDArray[np.float64]:
    array: NDArray[np.float64] = allocate((n,), "f8")
    array[:] = 1.0
    return array


@step(io=NumpyFileIO())
def appended() -> Any:
    for _ in range(3):
        append(np.arange(5.0))


@step
def items() -> Any:
    yield from enumerate(range(3))


@step
def kept(n: int) -> bytes:
    return bytes(n)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
@pytest.mark.parametrize("kind", STORES)
def test_files_are_of_the_group_of_their_folder_and_as_open_as_the_umask_says(tmp_path: Path, kind: str, umask: int) -> None:
    """While they are open, too: the log and the index of a database."""
    folder = tmp_path / "shared"
    folder.mkdir()
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2775)
    before = os.umask(umask)
    try:
        store = STORES[kind](folder)
        for node in (allocated.step(300_000), appended.step(), items.step(), kept.step(10), kept.step(3_000_000)):
            node.bind(store).generate()
            node.bind(store).load()
        kept.over(n=list(range(20, 30))).run(store=store)
        with store.write("w/written") as file:
            file.write(bytes(3_000_000))
        store.put("w/put", b"1")
        store.create("w/created", b"1")
        store.put_many({"w/many": b"1"})
        found = {path.relative_to(folder): path.stat() for path in folder.rglob("*")}
        assert kind != "sqlite" or {"x.db", "x.db-wal", "x.db-shm"} <= {path.name for path in found}
        wrong = {
            str(path): (oct(each.st_mode), each.st_gid)
            for path, each in found.items()
            if each.st_gid != GROUP or each.st_mode & 0o777 != (0o777 if stat.S_ISDIR(each.st_mode) else 0o666) & ~umask
        }
        assert wrong == {}
        store.close()
    finally:
        os.umask(before)
