"""What is left of a payload when processes are killed, paused or race, and when disks are full."""

from __future__ import annotations

import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def run(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(process: subprocess.Popen[str], timeout: float = 180) -> str:
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return out


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["local", "sqlite"])
def test_killed_at_any_point_leaves_the_old_payload_or_the_new_and_the_next_generation_succeeds(tmp_path: Path, kind: str) -> None:
    url = str(tmp_path / "data") if kind == "local" else f"sqlite:///{tmp_path}/data.db"
    seed = 1 if os.environ.get("CI") else random.randrange(1_000_000)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "kill_points.py"), url, "220", str(seed)], capture_output=True, text=True, timeout=850
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    # the points fell on both sides of the commit, else this would show nothing
    assert "killed, then old" in done.stdout and "killed, then new" in done.stdout, done.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "points"), [("local", 20), ("sqlite", 44)])
def test_a_killed_run_over_a_family_leaves_whole_members_and_repeats_only_what_was_not_committed(
    tmp_path: Path, kind: str, points: int
) -> None:
    url = str(tmp_path / "data") if kind == "local" else f"sqlite:///{tmp_path}/data.db"
    seed = 1 if os.environ.get("CI") else random.randrange(1_000_000)
    command = [sys.executable, "-W", "ignore", str(HERE / "kill_batches.py"), url, str(points), str(seed), str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    assert len(ast.literal_eval(done.stdout)) >= 2, f"all points came to the same: {done.stdout}"


SLOW = """
import sys, time, os
from persistable import Persistable
from persistable.records import claims, heartbeat, owners
heartbeat.TTL = float(os.environ.get("TTL", "60"))
class Slow(Persistable[str, None]):
    def _generate_payload(self, **_):
        with open(sys.argv[2], "a") as log: log.write(f"{os.getpid()}\\n")
        wait(sys.argv[3])
        return str(os.getpid())
def wait(what):
    # so many seconds, or until there is a file of this name
    if what[:1] != "/": return time.sleep(float(what))
    deadline = time.monotonic() + 240
    while not os.path.exists(what) and time.monotonic() < deadline: time.sleep(0.01)
acquire = claims.acquire
def acquire_and_tell(*arguments):
    with open(sys.argv[2] + ".asked", "a") as asked: asked.write(f"{os.getpid()}\\n")
    return acquire(*arguments)
claims.acquire = acquire_and_tell
"""
ASK = SLOW + "print(Slow(sys.argv[1]).payload)\n"
GENERATE = SLOW + "print(Slow(sys.argv[1]).generate().payload)\n"


def stores(tmp_path: Path) -> list[Any]:
    return [str(tmp_path / "data"), f"sqlite:///{tmp_path}/data.db"]


@pytest.mark.parametrize("kind", [0, 1], ids=["local", "sqlite"])
@pytest.mark.parametrize("code", [ASK, GENERATE], ids=["payload", "generate"])
def test_eight_processes_on_one_key_generate_once(tmp_path: Path, kind: int, code: str) -> None:
    assert len(answers_of_eight(tmp_path, code, stores(tmp_path)[kind])) == 1


def test_eight_threads_in_eight_processes_on_one_key_generate_once(tmp_path: Path) -> None:
    threads = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    print(set(pool.map(lambda _: Slow(sys.argv[1]).payload, range(8))))
"""
    assert len(answers_of_eight(tmp_path, SLOW + threads, str(tmp_path / "data"))) == 1


def answers_of_eight(tmp_path: Path, code: str, store: str) -> set[str]:
    """What eight processes get; one of them has generated it, while all the others were waiting for it.

    Not one may come later: `generate()` after the commit rightly generates again.
    """
    log, go = tmp_path / "log", tmp_path / "go"
    asking = [run(code, store, str(log), str(go)) for _ in range(8)]
    wait_for(tmp_path / "log.asked", 8)
    time.sleep(1.0)  # from asking for the claim to being refused
    go.touch()
    answers = {finish(process) for process in asking}
    assert len(log.read_text().split()) == 1
    return answers


def wait_for(path: Path, lines: int = 1, timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not path.exists() or len(path.read_text().split()) < lines:
        assert time.monotonic() < deadline, f"{path} did not get {lines} lines"
        time.sleep(0.01)


@pytest.mark.parametrize("kind", [0, 1], ids=["local", "sqlite"])
def test_a_killed_owner_is_taken_over_at_once(tmp_path: Path, kind: int) -> None:
    """And not after the minute in which a heartbeat may stand still."""
    log = tmp_path / "log"
    owner = run(ASK, stores(tmp_path)[kind], str(log), "240")
    wait_for(log)
    waiting = run(ASK, stores(tmp_path)[kind], str(log), "0")
    wait_for(tmp_path / "log.asked", 2)
    time.sleep(0.5)  # it has been refused, and looks again and again
    assert len(log.read_text().split()) == 1
    owner.kill()
    owner.wait()
    wait_for(log, 2, timeout=30)
    assert finish(waiting).strip() == str(waiting.pid)


def test_a_paused_owner_is_taken_over_after_the_heartbeat_stops_and_takes_what_was_committed_when_it_wakes(tmp_path: Path) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    owner = run(GENERATE, str(tmp_path / "data"), str(log), str(go), TTL="2")
    wait_for(log)
    os.kill(owner.pid, signal.SIGSTOP)
    other = run(ASK, str(tmp_path / "data"), str(log), "0", TTL="2")
    assert finish(other).strip() == str(other.pid)
    go.touch()
    os.kill(owner.pid, signal.SIGCONT)
    assert finish(owner).strip() == str(other.pid)
    assert finish(run(ASK, str(tmp_path / "data"), str(log), "0")).strip() == str(other.pid)
    assert not list((tmp_path / "data").rglob("*.claim*"))


ELSEWHERE = """
import time
real = time.time
time.time = lambda: real() + 3 * 3600
owners._host = lambda: "another host"
print(Slow(sys.argv[1]).payload)
"""


def test_a_host_with_a_skewed_clock_does_not_steal_from_a_living_owner(tmp_path: Path) -> None:
    """A host is told by its name, boot and process namespace; the other one here has another name and a clock 3 hours ahead."""
    log, go, ttl = tmp_path / "log", tmp_path / "go", 6.0
    owner = run(ASK, str(tmp_path / "data"), str(log), str(go), TTL=str(ttl))  # five seconds without a turn would not lose it the claim
    wait_for(log)
    other = run(SLOW + ELSEWHERE, str(tmp_path / "data"), str(log), "0", TTL=str(ttl))
    wait_for(tmp_path / "log.asked", 2)
    time.sleep(1.5 * ttl)
    go.touch()
    assert finish(other).strip() == str(owner.pid) == finish(owner).strip()
    assert len(log.read_text().split()) == 1


def test_a_host_with_a_skewed_clock_takes_over_from_a_dead_owner(tmp_path: Path) -> None:
    log = tmp_path / "log"
    owner = run(ASK, str(tmp_path / "data"), str(log), "240", TTL="1.5")
    wait_for(log)
    owner.kill()
    owner.wait()
    other = run(SLOW + ELSEWHERE, str(tmp_path / "data"), str(log), "0", TTL="1.5")
    assert finish(other).strip() == str(other.pid)


def test_an_interrupted_generation_leaves_no_claim_no_payload_and_no_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    owner = run(ASK, str(tmp_path / "data"), str(log), "240")
    wait_for(log)
    owner.send_signal(signal.SIGINT)
    owner.communicate(timeout=120)
    assert owner.returncode != 0
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file() and ".persistable" not in path.parts]


ALLOCATE = """
import sys, resource, re, numpy as np
from persistable import Persistable
class Big(Persistable[object, None]):
    def _generate_payload(self, **_):
        array = self.allocate((500, 1024, 1024), np.float64)
        for i in range(500): array[i] = i
        return array
def private():
    text = open("/proc/self/smaps_rollup").read()
    return sum(int(re.search(rf"^{name}:\\s+(\\d+)", text, re.M)[1]) for name in ("Private_Dirty", "Anonymous")) // 1024
import threading, time
peak = [0]
def watch():
    while True:
        peak[0] = max(peak[0], int(re.search(r"^Anonymous:\\s+(\\d+)", open("/proc/self/smaps_rollup").read(), re.M)[1]) // 1024)
        time.sleep(0.05)
threading.Thread(target=watch, daemon=True).start()
node = Big(sys.argv[1]).generate()
assert node.payload.shape == (500, 1024, 1024) and node.payload[499, 5, 5] == 499.0 and node.payload.flags.writeable
again = Big(sys.argv[1]).load().payload
assert again[123, 1000, 7] == 123.0
print(peak[0])
"""


@pytest.mark.timeout(900)
def test_a_four_gigabyte_array_is_generated_committed_and_mapped_with_little_private_memory(tmp_path: Path) -> None:
    peak = int(finish(run(ALLOCATE, str(tmp_path / "data")), timeout=850))
    shutil.rmtree(tmp_path / "data")  # pytest would keep it, and those of the runs before
    assert peak < 200, f"{peak} MB of private memory"
