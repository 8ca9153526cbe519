"""A run that is interrupted or killed leaves what is committed and nothing else; the next call does only what is missing."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

SCRIPT = """
    import os, subprocess, sys, time
    from persistable import allocate, open_store, run, step

    log, wait = sys.argv[2], len(sys.argv) > 3

    def mark(text):
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, f"{text}\\n".encode())
        os.close(fd)

    @step
    def quick(n):
        mark(f"quick {n}")
        return n

    @step
    def slow(n, source):
        array = allocate((1000,), "f8")
        if os.environ.get("WAIT"):
            child = subprocess.Popen(["sleep", "600"])
            mark(f"slow {n} {os.getpid()} {child.pid}")
            try:
                time.sleep(600)
            finally:
                child.kill()
        mark(f"slow {n} done")
        array[:] = n
        return array

    with open_store("store"):
        nodes = [slow.step(n, quick.step(n)) for n in range(3)]
        heard = []
        try:
            result = run(nodes, executor=sys.argv[1], max_workers=2, hooks=[heard.append])
        except KeyboardInterrupt:
            print("interrupted", heard[-1].counts, flush=True)
            raise
        print(result, [int(result[node].payload[0]) for node in nodes])
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    place = tmp_path / "flow.py"  # it has no `if __name__ == "__main__"` on purpose: nothing may need one
    place.write_text(textwrap.dedent(SCRIPT))
    return place


def start(script: Path, executor: str, wait: bool) -> "subprocess.Popen[str]":
    environment = {**os.environ, "WAIT": "1" if wait else ""}
    return subprocess.Popen(
        [sys.executable, str(script), executor, str(script.parent / "log")],
        cwd=script.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until_under_way(script: Path, process: "subprocess.Popen[str]", number: int) -> list[int]:
    """Wait until `number` slow steps run; the processes they started."""
    log = script.parent / "log"
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        lines = log.read_text().splitlines() if log.exists() else []
        begun = [line.split() for line in lines if line.startswith("slow")]
        if len(begun) >= number:
            return [int(pid) for line in begun for pid in line[2:] if int(pid) != process.pid]
        time.sleep(0.02)
    raise AssertionError(f"it did not get under way: {process.poll()} {process.stderr.read() if process.stderr else ''}")


def assert_gone(pids: list[int]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        alive = [pid for pid in pids if _lives(pid)]
        if not alive:
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {alive}")


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def leftovers(script: Path) -> list[str]:
    """What lies in the store beside payloads and their records."""
    files = [path for path in (script.parent / "store").rglob("*") if path.is_file() and path.name != "store.json"]
    records = {path.name.partition(".")[0] for path in files if path.name.endswith(".record.json")}
    return [
        path.name for path in files if path.name.partition(".")[0] not in records or ".claim" in path.name or path.name.endswith(".tmp")
    ]


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_ctrl_c_ends_what_runs_and_leaves_what_is_committed(script: Path, executor: str) -> None:
    process = start(script, executor, wait=True)
    pids = until_under_way(script, process, 1 if executor == "inline" else 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0 and err.rstrip().endswith("KeyboardInterrupt")
    assert out.startswith("interrupted") and "'failed': 0" in out and "'cancelled': 0" not in out
    assert_gone(pids)
    assert leftovers(script) == []
    done = [line for line in (script.parent / "log").read_text().splitlines() if line.startswith("quick")]
    again = start(script, executor, wait=False)
    out, err = again.communicate(timeout=90)
    assert again.returncode == 0, err
    assert out.rstrip().endswith("[0, 1, 2]")
    after = [line for line in (script.parent / "log").read_text().splitlines() if line.startswith("quick")]
    assert len(after) == 3 and after[: len(done)] == done


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_run_killed_at_once_is_taken_up_by_the_next(script: Path, executor: str) -> None:
    process = start(script, executor, wait=True)
    pids = until_under_way(script, process, 1 if executor == "inline" else 2)
    process.kill()
    process.wait(30)
    if executor == "processes":  # they notice that nobody is there any more
        assert_gone(pids)
    again = start(script, executor, wait=False)
    out, err = again.communicate(timeout=90)
    assert again.returncode == 0, err
    assert out.rstrip().endswith("[0, 1, 2]")
    lines = (script.parent / "log").read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("quick")) == ["quick 0", "quick 1", "quick 2"]
    for pid in pids:  # of the inline and the threaded one, whose children nobody was left to end
        if _lives(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_thread_that_cannot_be_stopped_is_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    script.write_text(
        textwrap.dedent("""
            import os, signal, threading, time
            from persistable import open_store, run, step

            @step
            def lasts(n):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
                return n

            @step
            def never(n):
                raise AssertionError

            with open_store("store"):
                nodes = [lasts.step(0), never.step(1)]
                try:
                    run(nodes, executor="threads", max_workers=1)
                except KeyboardInterrupt:
                    print([node.status.name for node in nodes])
        """)
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "['DONE', 'ABSENT']\n", done.stderr
