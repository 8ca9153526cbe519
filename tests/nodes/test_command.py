"""Command: a shell script as a node, with real shells and real processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers.needs import need, need_program

from nodes.test_in_file import LARGE
from nodes.test_upload import given
from persistable import open_store
from persistable.errors import CommandFailed, InputMissing, MalformedFile, ParamsError, PayloadNotRepresentable, SecretMissing, UnknownParam
from persistable.executors.resources import Resources, Retry
from persistable.fileio import BundleFileIO, BytesFileIO, CsvFileIO, FolderFileIO, JsonFileIO, NumpyFileIO, TextFileIO
from persistable.nodes.command import Command
from persistable.params.secret import Secret
from persistable.records.failure import Failure


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("jinja2")
    need_program("bash")
    monkeypatch.chdir(tmp_path)


def script(template: str, **options: Any) -> Command[Any]:
    return Command(template, **{"data_dir": "data", **options})


def text(value: str, **options: Any) -> Any:
    return given(value, TextFileIO(), **options)


# what it makes


@pytest.mark.parametrize("where", ["data", "sqlite:///store.db"])
@pytest.mark.parametrize("persisted", [True, False])
def test_a_script_over_an_upstream_payload_and_params(where: str, persisted: bool) -> None:
    words = text("pear\napple\nfig\n", where=where, persisted=persisted)
    node = script("sort {{ text }} | head -n {{ n }} > {{ output }}", text=words, n=2, data_dir=where)
    assert node.payload == b"apple\nfig\n"
    assert node.upstream["text"] is words
    twin = script("sort {{ text }} | head -n {{ n }} > {{ output }}", text=words, n=2, data_dir=where)
    assert twin.load().payload == b"apple\nfig\n"
    assert twin.record is not None and twin.record.notes == {"exitcode": 0, "stdout": "", "stderr": ""}


def test_a_subclass_has_its_own_version_and_resources() -> None:
    class Slow(Command[bytes]):
        version = 2
        resources = Resources(time=60.0)
        retry = Retry(3)

    node, usual = Slow("echo 1", data_dir="data"), script("echo 1", payload_name="slow")
    assert (node.version, node.resources, node.retry) == (2, Slow.resources, Slow.retry)
    assert node.key == script("echo 1", payload_name="slow", version=2).key != usual.key
    assert (usual.version, usual.resources, usual.retry) == (1, None, None)
    given = Slow("echo 1", data_dir="data", version=3, resources=Resources(cpus=2), retry=Retry(1))
    assert (given.version, given.resources, given.retry) == (3, Resources(cpus=2), Retry(1))


def test_it_runs_once_and_is_kept() -> None:
    counter = Path("count").absolute()
    make = lambda **more: script("echo x >> {{ counter }}; echo done > {{ output }}", counter=str(counter), **more)  # noqa: E731
    assert make().payload == make().payload == b"done\n"
    assert counter.read_text() == "x\n"
    effect = make(persist=False)
    assert effect.payload == b"done\n" and make(persist=False).payload == b"done\n"
    assert counter.read_text() == "x\nx\nx\n"
    assert list(Path("data").rglob("run-*")) == []


def test_the_suffix_of_the_output_says_what_reads_it() -> None:
    import pandas as pd

    frame = script("printf 'a,b\\n1,x\\n2,y\\n' > {{ output }}", outputs="table.csv").payload
    pd.testing.assert_frame_equal(frame, pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    assert script("echo '[1, 2]' > {{ output }}", outputs="x.json").payload == [1, 2]
    assert script("echo '[1, 2]' > {{ output }}", io=JsonFileIO()).payload == [1, 2]
    assert script("echo '[1, 2]' > {{ output }}", outputs="x.json", io=TextFileIO()).payload == "[1, 2]\n"
    assert script("case {{ output }} in *.csv) echo a > {{ output }};; esac", io=CsvFileIO()).payload.columns.tolist() == ["a"]


def test_a_large_output_is_moved_into_the_store() -> None:
    node = script("head -c 3000000 /dev/zero > {{ output }}; stat -c %i {{ output }}")
    assert node.payload == bytes(3_000_000)
    assert node.record is not None
    assert os.stat(Path("data", node.record.files[0].path)).st_ino == int(node.record.notes["stdout"])


@pytest.mark.parametrize("persisted", [True, False])
def test_a_folder(persisted: bool) -> None:
    node = script("cd {{ output }}; mkdir deep; echo a > a.txt; echo b > deep/b.txt", outputs="folder", persist=persisted)
    assert (node.payload / "a.txt").read_text() == "a\n" and (node.payload / "deep" / "b.txt").read_text() == "b\n"
    down = script("cat {{ tree }}/a.txt {{ tree }}/deep/b.txt > {{ output }}", tree=node)
    assert down.payload == b"a\nb\n"


def test_several_named_outputs() -> None:
    node = script(
        "echo '[1]' > {{ output.numbers }}; echo text > {{ output.note }}; touch {{ output.tree }}/x; printf raw > {{ output.raw_bytes }}",
        outputs={"numbers": "n.json", "note": "note.md", "tree": "folder", "raw_bytes": None},
    )
    payload = node.payload
    assert list(payload) == ["numbers", "note", "tree", "raw_bytes"]
    assert (payload["numbers"], payload["note"], payload["raw_bytes"]) == ([1], "text\n", b"raw")
    assert (payload["tree"] / "x").exists()
    node.reset_payload()
    assert node.load().payload["numbers"] == [1]
    assert isinstance(node.payload_io, BundleFileIO)
    other = script("echo 1 > {{ output.a }}; echo 2 > {{ output.b }}", outputs={"a": "a.txt", "b": "b"}, io={"b": TextFileIO()})
    assert other.payload == {"a": "1\n", "b": "2\n"}


@pytest.mark.parametrize("link", ["ln -s", "ln"])
def test_an_output_that_is_a_link_is_copied(link: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    node = script(f"{link} {{{{ source }}}} {{{{ output }}}}", source=str(source))
    assert node.payload == LARGE
    source.write_bytes(b"changed")
    node.reset_payload()
    assert node.load().payload == LARGE


def test_without_an_output_the_payload_is_what_the_script_says() -> None:
    node = script("wc -c < {{ text }}; echo aside >&2", text=text("four"))
    assert node.payload.strip() == b"4"
    assert node.record is not None and node.record.notes == {"exitcode": 0, "stderr": "aside\n"}
    assert script("echo '[1, 2]'", io=JsonFileIO()).payload == [1, 2]
    assert script("true", persist=False).payload == b""


# composition


def test_an_open_input_is_filled_from_the_left() -> None:
    count = Command("wc -l < {{ input }} > {{ output }}", data_dir="data")
    with pytest.raises(InputMissing, match="input"):
        count.payload
    node = text("a\nb\n") >> count
    assert node.payload.split() == [b"2"]
    assert list(node.upstream) == ["input"]
    with pytest.raises(InputMissing):
        count.key


def test_any_number_of_inputs() -> None:
    parts = [script("echo {{ n }} > {{ output }}", n=n) for n in range(3)]
    joined = parts >> Command("cat {{ inputs }} > {{ output }}", data_dir="data")
    assert joined.payload == b"0\n1\n2\n"
    assert list(joined.upstream) == ["inputs.0", "inputs.1", "inputs.2"]
    assert (parts[0] >> Command("cat {{ inputs }} > {{ output }}", data_dir="data")).payload == b"0\n"
    assert script("cat {{ parts }} > {{ output }}", parts=parts).payload == b"0\n1\n2\n"
    named = script("cat {{ parts.last }} {{ parts['first'] }} > {{ output }}", parts={"first": parts[0], "last": parts[2]})
    assert named.payload == b"2\n0\n"


def test_it_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B", "b-value")
    node = script(
        "cat {{ text }} > {{ output.a }}; echo -n $A$B >> {{ output.a }}",
        text=text("x"),
        outputs={"a": "a.txt"},
        env={"A": "1", "B": Secret("B")},
        persist=False,
    )
    again = pickle.loads(pickle.dumps(node))
    assert again.key == node.key and again.is_persisted is False
    assert again.payload == {"a": "x1b-value"}


# identity


def test_what_identity_is() -> None:
    base = Command("echo {{ n }} > {{ output }}", n=1)
    same = [
        Command("echo {{ n }} > {{ output }}", n=1, shell="/bin/sh", cwd="/", outputs="file"),
        Command("echo {{ n }} > {{ output }}", n=1, env={"TOKEN": Secret("TOKEN"), "PATH": None}),
        Command("echo {{ n }} > {{ output }}", n=1, io=BytesFileIO()),
    ]
    others = [
        Command("echo {{ n }}  > {{ output }}", n=1),
        Command("echo {{ n }} > {{ output }}", n=2),
        Command("echo {{ n }} > {{ output }}", n="1"),
        Command("echo {{ n }} > {{ output }}", n=1, env={"A": "1"}),
        Command("echo {{ n }} > {{ output }}", n=1, outputs="x.json"),
        Command("echo {{ n }} > {{ output }}", n=1, io=JsonFileIO()),
        Command("echo {{ n }} > {{ output }}", n=1, outputs="folder"),
        Command("echo {{ n }} > {{ output }}", n=1, version=2),
        Command("echo {{ n }} > {{ output }}", n=text("x")),
    ]
    assert {node.key for node in same} == {base.key}
    assert len({base.key, *(node.key for node in others)}) == len(others) + 1


def test_replacing_values_and_inputs() -> None:
    node = script("echo {{ n }} {{ m }}; cat {{ text }}", n=1, m=2, text=text("x"))
    other = node.replace(n=3, text=text("y", name="other"))
    assert other.payload == b"3 2\ny" and node.payload == b"1 2\nx"
    assert other.key == script("echo {{ n }} {{ m }}; cat {{ text }}", n=3, m=2, text=text("y", name="other")).key


# the template


def test_everything_is_quoted(tmp_path: Path) -> None:
    evil = "a b'; touch {0}; echo '$(touch {0}) `touch {0}`".format(tmp_path / "evil")
    node = script("printf '%s\\n' {{ one }} {{ many }} {{ one ~ '!' }} > {{ output }}", one=evil, many=["x y", 2, 1.5, True])
    assert node.payload.decode() == f"{evil}\nx y\n2\n1.5\nTrue\n{evil}!\n"
    assert not (tmp_path / "evil").exists()


def test_what_is_marked_raw_is_not_quoted() -> None:
    node = script("echo one two | {{ filter | raw }} > {{ output }}", filter="tr a-z A-Z | tr -d '\\n'")
    assert node.payload == b"ONE TWO"


def test_loops_conditions_defaults_and_json() -> None:
    node = script(
        """
        {## a comment of the template ##}
        {% for n in range(count) if n %}
        echo {{ n }} >> {{ output }}
        {% endfor %}
        {% if label is none %}echo none >> {{ output }}{% endif %}
        printf %s {{ config | tojson }} >> {{ output }}
        array=(a b c); echo " ${#array[@]} ${array[0]#a}" >> {{ output }}
        """,
        count=3,
        label=None,
        config={"a": "it's <b>"},
    )
    assert node.payload.decode() == '1\n2\nnone\n{"a": "it\'s <b>"} 3 \n'


@pytest.mark.parametrize(
    ("template", "given", "error", "says"),
    [
        ("echo {{ nn }} > {{ output }}", {"n": 1}, UnknownParam, r"nn.*did you mean n\?.*known are n, output"),
        ("echo {{ a }} {{ b }}", {}, UnknownParam, "a, b, which are not given"),
        ("echo > {{ output }}", {"outptus": "x.csv"}, UnknownParam, "does not use outptus; it uses output"),
        ("echo > {{ output.tpyo }}", {"outputs": {"typo": "x"}}, ParamsError, "tpyo"),
        ("echo {{ x.y }}", {"x": 3}, ParamsError, "y"),
        ("echo {{ x }}", {"x": None}, ParamsError, "None has no form"),
        ("echo {{ x }}", {"x": {"a": 1}}, ParamsError, "tojson"),
        ("echo {{ x", {"x": 1}, ParamsError, "no Jinja2 template"),
        ("{% include 'other' %}", {}, ParamsError, "include"),
        ("echo {{ x }}", {"x": Secret("PASS")}, ParamsError, "env="),
        ("echo {{ output }}", {"output": "x"}, UnknownParam, "outputs="),
        ("true", {"outputs": "../x"}, ParamsError, "plain file name"),
        ("true", {"outputs": {}}, ParamsError, "at least one"),
        ("true", {"outputs": 3}, TypeError, "outp"),
        ("true", {"outputs": "folder", "io": BytesFileIO()}, TypeError, "folder"),
        ("true", {"outputs": {"a": "x"}, "io": {"b": BytesFileIO()}}, ParamsError, "none of its outputs"),
        ("true", {"outputs": {"a": "x"}, "io": BytesFileIO()}, TypeError, "maps"),
        ("true", {"outputs": {"a": "x", "b": "x"}}, ParamsError, "same file name"),
        ("true", {"env": {"A B": "1"}}, ParamsError, "name of an environment variable"),
        ("true", {"env": {"A": 1}}, TypeError, "string"),
        ("true", {"env": {"API_TOKEN": "plain-token"}}, ParamsError, "API_TOKEN"),
        ("true", {"outputs": "x.csv"}, ParamsError, "does not use output"),
        (b"true", {}, TypeError, "string"),
    ],
)
def test_what_cannot_be_is_refused_when_the_node_is_made(template: Any, given: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"(?s){says}") as caught:
        Command(template, **given)
    assert "plain-token" not in str(caught.value)


# failing


def failure_of(node: Command[Any]) -> Failure:
    return Failure.parse(Path("data", node.key.path + ".failed.json").read_bytes(), node.key)


def test_another_exit_status_is_a_failure_that_keeps_what_was_said() -> None:
    node = script("echo begun; echo 'no such thing' >&2; echo half > {{ output }}; exit 3")
    with pytest.raises(CommandFailed, match="ended with exit status 3: no such thing") as caught:
        node.payload
    assert (caught.value.exitcode, caught.value.stdout, caught.value.stderr) == (3, "begun\n", "no such thing\n")
    assert not node.exists() and node.status.name == "FAILED"
    assert failure_of(node).notes == {"exitcode": 3, "stdout": "begun\n", "stderr": "no such thing\n"}
    assert list(Path("data").rglob("run-*")) == []


LINES = ["false", "echo $unset_variable", "no-such-program-here", "kill -9 $$"]


@pytest.mark.parametrize(
    ("shell", "line"), [(shell, line) for shell in ("/bin/bash", "bash", "/bin/sh") for line in LINES] + [("/bin/bash", "false | cat")]
)
def test_the_first_command_that_fails_ends_the_script(line: str, shell: str) -> None:
    node = script(f"{line}\necho reached > {{{{ output }}}}", shell=shell)
    with pytest.raises(CommandFailed) as caught:
        node.payload
    assert caught.value.exitcode != 0 and not node.exists()
    assert "SIGKILL" in str(caught.value) or not line.startswith("kill")


def test_a_signal_without_a_name() -> None:
    with pytest.raises(CommandFailed, match="was killed by signal 40"):
        script("kill -40 $$").payload


def test_a_shell_that_is_not_there() -> None:
    with pytest.raises(CommandFailed, match="no-such-shell"):
        script("true", shell="/bin/no-such-shell").payload


@pytest.mark.parametrize(
    ("template", "outputs", "says"),
    [
        ("true {{ output }}", None, "output"),
        ("echo > {{ output.a }}", {"a": "x", "second": "y"}, "output second"),
        ("ln -s /nowhere {{ output }}", None, "output"),
    ],
)
def test_an_output_that_is_not_there_is_an_error_that_names_it(template: str, outputs: Any, says: str) -> None:
    node = script(template, outputs=outputs)
    with pytest.raises(CommandFailed, match=f"did not make its {says}"):
        node.payload
    assert not node.exists()


def test_an_output_of_another_format_is_not_stored() -> None:
    node = script("echo nonsense > {{ output }}", io=NumpyFileIO())
    with pytest.raises(MalformedFile):
        node.payload
    assert not node.exists()
    with pytest.raises(PayloadNotRepresentable, match="no file"):
        script("true {{ output }}", outputs="folder").payload


def test_writing_into_an_input_is_noticed() -> None:
    upstream = text("x")
    with pytest.raises(CommandFailed, match="wrote into one of its inputs"):
        script("echo more >> {{ text }}; echo > {{ output }}", text=upstream).payload
    assert upstream.status.name == "CORRUPT"


def test_only_the_end_of_what_is_said_is_kept() -> None:
    node = script("seq 1 100000; echo > {{ output }}")
    node.payload
    assert node.record is not None
    said = node.record.notes["stdout"]
    assert 60_000 < len(said) < 70_000 and said.endswith("99999\n100000\n") and said.startswith("...")


# where it runs


def test_the_folder_is_private_and_the_environment_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE", "1")
    monkeypatch.setenv("PASSED_ON", "2")
    node = script("pwd; ls -A; echo $TMPDIR; env > {{ output }}", env={"OWN": "x y", "PASSED_ON": None}, io=TextFileIO())
    variables = dict(line.split("=", 1) for line in node.payload.splitlines())
    assert "OUTSIDE" not in variables and variables["OWN"] == "x y" and variables["PASSED_ON"] == "2" and variables["PATH"]
    assert node.record is not None
    folder, temporary = node.record.notes["stdout"].splitlines()
    assert folder != os.getcwd() and not Path(folder).exists() and not Path(temporary).exists()
    other = script("pwd > {{ output }}", cwd=Path.cwd(), io=TextFileIO())
    assert other.payload.strip() == os.getcwd()


def test_a_second_attempt_finds_nothing_of_the_first() -> None:
    flag = Path("flag").absolute()
    node = script("ls -A; touch leftover {{ output }}; test -e {{ flag }}", flag=str(flag))
    with pytest.raises(CommandFailed):
        node.payload
    flag.touch()
    node.payload
    assert node.record is not None and node.record.notes["stdout"] == "" and node.record.attempts == 2


def test_a_secret_reaches_the_script_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TOKEN", "s3cr3t-words")
    node = script('echo "token: $TOKEN"; echo "$TOKEN" >&2; printf %s "$TOKEN" | wc -c > {{ output }}', env={"TOKEN": Secret("TEST_TOKEN")})
    assert node.payload.strip() == b"12"
    assert node.record is not None and node.record.notes["stdout"] == "token: <TEST_TOKEN>\n"
    bad = script('echo "$TOKEN" >&2; exit 1', env={"TOKEN": Secret("TEST_TOKEN")})
    with pytest.raises(CommandFailed, match="<TEST_TOKEN>"):
        bad.payload
    kept = b"".join(path.read_bytes() for path in Path("data").rglob("*") if path.is_file())
    assert b"s3cr3t" not in kept + pickle.dumps(node)
    monkeypatch.delenv("TEST_TOKEN")
    with pytest.raises(SecretMissing):
        node.generate()


# ending


def wait_until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def alive(pids: list[int]) -> list[int]:
    def lives(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return [pid for pid in pids if lives(pid)]


# a script with a child, a grandchild in a pipe, and one that ignores being asked to end; it notes their numbers, and then waits
FAMILY = """
cd {{ folder }}
sleep 600 & echo $! > child
bash -c 'trap "" TERM; echo $$ > stubborn; while true; do sleep 0.2; done' &
sleep 600 | cat & echo $! > piped
echo $$ > leader
wait
"""
NAMES = ("child", "stubborn", "piped", "leader")


def family(folder: Path) -> list[int]:
    def noted() -> list[int]:
        files = [folder / name for name in NAMES]
        return [int(file.read_text()) for file in files] if all(file.exists() and file.read_text().strip() for file in files) else []

    found: list[int] = wait_until(noted)
    assert len(alive(found)) == len(found)
    return found


ENDS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
RUNNER = textwrap.dedent(
    """
    import sys, threading
    from persistable.nodes.command import Command
    from test_command_template import FAMILY

    node = Command(FAMILY, folder=sys.argv[1], data_dir="data")
    if sys.argv[2] == "thread":
        thread = threading.Thread(target=lambda: node.payload)
        thread.start()
        thread.join()
    else:
        node.payload
    """
)


@pytest.mark.parametrize(("thread", "number"), [*(("main", number) for number in ENDS), *(("thread", number) for number in ENDS[:2])])
def test_the_whole_family_dies_with_the_process_that_runs_it(number: signal.Signals, thread: str, tmp_path: Path) -> None:
    (tmp_path / "test_command_template.py").write_text(f"FAMILY = {FAMILY!r}\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path), thread], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        pids = family(tmp_path)
        os.killpg(runner.pid, number)
        runner.wait(60)
        wait_until(lambda: not alive(pids))
    finally:
        runner.kill()
        runner.wait(10)
    if number == signal.SIGINT:
        assert list((tmp_path / "data").rglob("run-*")) == []
    assert list((tmp_path / "data").rglob("*.record.json")) == []


def test_what_a_script_leaves_running_ends_with_it(tmp_path: Path) -> None:
    node = script("sleep 600 & echo $! > {{ output }}")
    pid = int(node.payload)
    wait_until(lambda: not alive([pid]), 10)


def test_no_watcher_stays_behind() -> None:
    before = set(psutil.Process().children(recursive=True))  # servers of other tests
    script("echo > {{ output }}").payload
    with pytest.raises(CommandFailed):
        script("exit 1").payload
    assert set(psutil.Process().children(recursive=True)) <= before


FORKING = textwrap.dedent(
    """
    import multiprocessing, os, sys, threading, time
    from persistable.nodes.command import Command
    from test_command_template import FAMILY

    thread = threading.Thread(target=lambda: Command(FAMILY, folder=sys.argv[1], data_dir="data").payload)
    thread.start()
    while not os.path.exists(sys.argv[1] + "/leader"):
        time.sleep(0.02)
    child = os.fork()
    if child == 0:
        os.setsid()
        time.sleep(600)
    with open(sys.argv[1] + "/forked", "w") as file:
        file.write(str(child))
    thread.join()
    """
)


def test_a_forked_child_does_not_pass_for_its_parent(tmp_path: Path) -> None:
    (tmp_path / "test_command_template.py").write_text(f"FAMILY = {FAMILY!r}\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    runner = subprocess.Popen([sys.executable, "-W", "ignore", "-c", FORKING, str(tmp_path)], env=environment)
    forked = 0
    try:
        pids = family(tmp_path)
        forked = int(wait_until(lambda: (tmp_path / "forked").exists() and (tmp_path / "forked").read_text()))
        runner.kill()
        runner.wait(30)
        wait_until(lambda: not alive(pids))
        assert alive([forked])
    finally:
        runner.kill()
        runner.wait(10)
        if forked:
            os.kill(forked, signal.SIGKILL)


def test_two_processes_run_it_once() -> None:
    code = (
        "from persistable.nodes.command import Command; import sys;"
        "Command('echo x >> {{ c }}; sleep 0.3; echo > {{ output }}', c=sys.argv[1], data_dir='data').payload"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(Path("count").absolute())]) for _ in range(2)]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert Path("count").read_text() == "x\n"


def test_where_the_store_is_no_folder_inputs_are_fetched(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path.name}")
    large = given(LARGE, BytesFileIO(), where=store)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.txt").write_text("a")
    folder = given(tree, FolderFileIO(), where=store, name="folder")
    node = script("wc -c < {{ large }}; cat {{ folder }}/a.txt; cp {{ large }} {{ output }}", large=large, folder=folder, data_dir=store)
    assert node.payload == LARGE
    assert node.record is not None and node.record.notes["stdout"].split() == [str(len(LARGE)), "a"]


def test_importing_it_is_cheap() -> None:
    code = "import sys, persistable.nodes.command; print([m for m in ('jinja2', 'fsspec', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
