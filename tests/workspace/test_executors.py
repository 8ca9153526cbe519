"""A workspace on every executor, and several processes over one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from servers.needs import need
from servers.ray_cluster import RayCluster
from store_kinds import opened
from tests.workspace.conftest import filled
from tests.workspace.flows import Files, calls

from persistable import Status
from persistable.executors import DaskExecutor, RayExecutor
from persistable.stores import open_store

ROOT = Path(__file__).resolve().parents[2]
MANY = tuple(f"{number:03}" for number in range(1, 21))


def check(ws: Files, executor: Any) -> None:
    """Everything is computed elsewhere, and then what changed."""
    assert ws.run(executor=executor).counts["done"] == 3
    ws.put("001", raw=ws["002"].raw)
    assert ws.run(executor=executor).counts["done"] == 1
    assert [workflow.top for workflow in ws.values()] == [6, 6, 9]


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_run_of_all(executor: str, tmp_path: Path) -> None:
    store = filled(open_store(tmp_path / "data"), MANY)
    ws = Files(store)
    assert ws.run("scaled", "top", executor=executor, max_workers=2).counts["done"] == 40
    assert calls() == ["first_cell"] * 20 + ["multiply"] * 20
    assert ws["020"].scaled["x"].tolist() == [60, 60]
    ws.put("001", raw=ws["020"].raw)
    result = ws.run("scaled", "top", executor=executor, max_workers=2)
    assert result[ws["001"].node("top")].payload == 60
    assert calls() == ["first_cell"] * 19 + ["multiply"]  # of two ids with the same content `top` is one node
    assert ws.run(executor=executor).counts["done"] == 0


@pytest.mark.parametrize("kind", ["sqlite", "s3"])
def test_workers_read_the_seeds_themselves(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    store = opened(kind, tmp_path, request)
    with filled(store):
        check(Files(store), "processes")


@pytest.mark.xdist_group("ray")
def test_on_ray(ray_cluster: RayCluster, tmp_path: Path) -> None:
    ws = Files(filled(open_store(tmp_path / "data")))
    with RayExecutor() as executor:
        check(ws, executor)


def test_on_dask(tmp_path: Path) -> None:
    need("distributed")
    with DaskExecutor(n_workers=1) as executor:
        check(Files(filled(open_store(tmp_path / "data"))), executor)


RUN = """
import sys
from tests.workspace.flows import Files

print("ready", flush=True)
sys.stdin.readline()
ws = Files(sys.argv[1])
ws.run()
print(sum(workflow.top for workflow in ws.values()), flush=True)
"""


@pytest.mark.parametrize("url", ["{}/data", "sqlite:///{}/data.db"])
def test_processes_over_one_store_compute_each_once(url: str, tmp_path: Path) -> None:
    where = url.format(tmp_path)
    with filled(open_store(where), MANY):
        pass
    script = tmp_path / "run.py"
    script.write_text(RUN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "persistable_pkg")])}
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen([sys.executable, str(script), where], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        for _ in range(3)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        done = []
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in running:
            out, error = process.communicate(timeout=120)
            assert process.returncode == 0, error
            done.append(out.strip())
    finally:
        for process in running:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
    assert done == ["630"] * 3
    assert calls().count("multiply") == 20


KILLED = """
import os
import signal
import sys
from tests.workspace.flows import Files
from persistable.stores import LocalStore


class Fatal(LocalStore):
    left = int(sys.argv[2])

    def __getattribute__(self, name):
        if name in ("put", "create", "write", "adopt", "delete"):
            Fatal.left -= 1
            if Fatal.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__getattribute__(name)


Files(Fatal(sys.argv[1])).run()
"""


@pytest.mark.parametrize("steps", [4, 5, 6, 7, 14, 21])
def test_killed_at_any_moment_it_goes_on_where_it_was(steps: int, tmp_path: Path) -> None:
    """The process is killed before one of the changes that it makes to the store: of a claim, the file, its record, the claim again."""
    ids = MANY[:8]
    ws = Files(filled(open_store(tmp_path / "data"), ids))
    ws.run(ids=ids[:6])
    for name in ids[:6]:  # the files of these are replaced
        ws.put(name, raw=ws["008"].raw * int(name))
    ws.run(ids=ids[:2])
    assert len(calls()) == 8
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "persistable_pkg")])}
    command = [sys.executable, str(script), str(tmp_path / "data"), str(steps)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert killed.returncode == -9, killed.stderr
    before = calls().count("multiply")
    done = sum(row["scaled"] is Status.DONE for row in ws.status().values())
    assert 2 <= done < len(ids)
    assert before - 1 <= done - 2 <= before, "what was computed is there, but for the one that was under way"
    assert ws.run().counts["done"] == len(ids) - done
    committed = before - (done - 2)  # killed between its record and its file's move to its place, it is moved there and not computed again
    assert calls().count("multiply") in (len(ids) - done, len(ids) - done - committed)
    values = [24 * number for number in range(1, 7)] + [21, 24]
    assert [workflow.scaled["x"].tolist() for workflow in ws.values()] == [[value, value] for value in values]
    assert sorted(ws.store.list("computed")) == [f"computed/scaled-{name}.csv" for name in ids]
    left = [path for path in ws.store.list(".persistable") if not path.endswith((".record.json", "/store.json"))]
    assert len(left) <= 1 and all(path.endswith(".claim") for path in left), "of who was killed between the record and the end"
    ws.put(factor=1)
    assert ws.run().counts["done"] == len(ids)
    assert [path for path in ws.store.list(".persistable") if not path.endswith((".record.json", "/store.json"))] == []


def test_threads_share_one_instance(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    workflow = Files(filled(open_store(tmp_path / "data")))["002"]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: workflow.top, range(8))) == [6] * 8
    assert calls() == ["first_cell", "multiply"]
