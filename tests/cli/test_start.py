"""`init`, `graph`, `completion`, help, and how errors are told."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from tests.cli.conftest import Shell
from tests.servers.needs import need, need_program

from persistable.cli.main import VERBS, Verb


def test_a_project_to_begin_with_runs(shell: Shell) -> None:
    assert shell("init", "--example").out.splitlines() == ["wrote persistable.toml", "wrote flows.py"]
    assert "2 done" in shell("run").out
    assert "'count': 1000" in shell("cat", "summary").out
    assert "3 done" not in shell("run").out
    inner = shell.folder / "deep/er"
    inner.mkdir(parents=True)
    assert "'count': 1000" in shell("cat", "summary", folder=inner).out
    assert "'count': 1000" in shell("cat", "summary", "--project", "../..", folder=inner).out
    assert "nowhere" in shell("run", "--project", "nowhere", expect=2).err


def test_files_are_never_written_over(shell: Shell) -> None:
    (shell.folder / "flows.py").write_text("mine")
    shell("init")
    before = (shell.folder / "persistable.toml").read_text()
    shell("init", expect=2)
    assert (shell.folder / "persistable.toml").read_text() == before and (shell.folder / "flows.py").read_text() == "mine"
    assert "nothing to do" in shell("run").out
    assert shell("init", "sub", "--json").json["written"] == ["sub/persistable.toml"]


def test_pictures_in_every_format(project: Shell) -> None:
    project("run", "points")
    text = project("graph", "report").out
    assert "points" in text and "[done]" in text and "[absent]" in text
    assert project("graph", "report", "--format", "mermaid").out.startswith(("flowchart", "%%"))
    assert project("graph", "report", "--format", "dot").out.startswith("digraph")
    graph = project("graph", "report", "--json").json
    assert [node["name"] for node in graph["nodes"]] == ["points", "total", "report"] and len(graph["edges"]) == 2
    assert "points" in project("graph", project.keys("points")[0]).out
    assert "no picture has the suffix" in project("graph", "report", "-o", "x.jpeg", expect=2).err
    assert project("graph", "report", "-o", "absent/x.dot", expect=2).err
    need("pygraphviz")
    project("graph", "-o", "all.svg")
    assert (project.folder / "all.svg").read_text().startswith("<svg")
    project("graph", "report", "-o", "report.png")
    assert (project.folder / "report.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert project("graph", "report", "--format", "png").bytes[:4] == b"\x89PNG"


def test_help_and_what_cannot_be_meant(shell: Shell) -> None:
    assert "explain" in shell("--help").out and shell("--version").out.startswith("persistable ")
    assert "Usage: persistable" in shell(expect=2).out
    for verb in (
        "init", "run", "plan", "status", "ls", "show", "cat", "put", "explain", "rm", "graph", "cp", "demo", "completion",
        "export", "import", "view",
    ):  # fmt: skip
        assert f"persistable {verb}" in shell(verb, "--help").out
    assert "did you mean status?" in shell("staus", expect=2).err
    assert shell("show", expect=2).err and shell("show", "a", "b", expect=2).err and shell("ls", "--sort", "x", expect=2).err


def test_an_error_of_users_code_is_one_message_and_a_traceback_only_on_request(shell: Shell) -> None:
    (shell.folder / "bad.py").write_text("1 / 0\n")
    done = shell("run", "bad:node", expect=1)
    assert done.err.count("\n") == 1 and "ZeroDivisionError" in done.err
    assert "Traceback" in shell("run", "bad:node", "--debug", expect=1).err
    (shell.folder / "needs.py").write_text("import nothing_of_this_name\n")
    assert "nothing_of_this_name" in shell("run", "needs:node", expect=1).err
    assert "did you mean" in shell("run", "json:dumpz", expect=2).err
    (shell.folder / "persistable.toml").write_text("targets = 3 =")
    assert "TOML" in shell("run", expect=2).err


def test_without_its_packages_the_command_names_the_extra(shell: Shell, tmp_path: Path) -> None:
    stub = tmp_path / "without"
    stub.mkdir()
    (stub / "cyclopts.py").write_text("raise ImportError('No module named cyclopts', name='cyclopts')\n")
    done = shell("ls", expect=2, PYTHONPATH=f"{stub}:{shell.environment['PYTHONPATH']}")
    assert "persistable[cli]" in done.err and done.err.count("\n") == 1
    assert shell("--help", PYTHONPATH=f"{stub}:{shell.environment['PYTHONPATH']}").out


def test_bash_completes_what_the_script_says(project: Shell) -> None:
    need_program("bash")
    (project.folder / "done.bash").write_text(project("completion", "bash").out)
    (project.folder / "bin").mkdir()
    command = project.folder / "bin/persistable"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m persistable "$@"\n')
    command.chmod(0o755)

    def complete(*words: str) -> list[str]:
        line = " ".join(("persistable", *words))
        script = f"""
            source done.bash
            COMP_WORDS=(persistable {" ".join(repr(word) for word in words)}); COMP_CWORD={len(words)}
            COMP_LINE={line!r}; COMP_POINT={len(line)}
            function_name=$(complete -p persistable | sed 's/.*-F \\([^ ]*\\).*/\\1/')
            $function_name persistable {words[-1]!r} {(words[-2] if len(words) > 1 else "persistable")!r}
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        environment = {**project.environment, "PATH": f"{project.folder / 'bin'}:{project.environment['PATH']}"}
        done = subprocess.run(["bash", "-c", script], cwd=project.folder, env=environment, capture_output=True, text=True, timeout=100)
        assert done.stderr == "", done.stderr
        return [word.strip() for word in done.stdout.split("\n") if word.strip()]

    assert "status" in complete("sta") and "graph" in complete("")
    assert "--downstream" in complete("rm", "--d")
    assert complete("ls", "--sort", "s") == ["size"]
    assert complete("run", "pr") == ["prepare"] and complete("run", "grid", "re") == ["report"] and "cross" in complete("show", "")
    assert complete("ls", "to") == complete("rm", "--yes", "to") == ["total"]
    (project.folder / "elsewhere").mkdir()
    (project.folder / "elsewhere/persistable.toml").write_text('[targets.theirs]\nuse = "none:none"\n')
    assert complete("cat", "--project", "elsewhere", "") == ["theirs"]
    (project.folder / "persistable.toml").write_text("no TOML at all")
    assert complete("run", "pr") == []


def test_scripts_for_other_shells(shell: Shell) -> None:
    zsh = shell("completion", "zsh").out
    assert zsh.startswith("#compdef persistable") and "explain" in zsh
    assert "complete -c persistable" in shell("completion", "fish").out
    shell("completion", "tcsh", expect=2)


def test_commands_called_one_after_another_with_output_to_nowhere(shell: Shell) -> None:
    code = "import sys; from persistable.cli.main import main; sys.exit(main(['ls', '--store', 'x']) + main(['ls', '--store', 'x']))"
    shell.folder.joinpath("x").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shell.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr.count("nothing is stored") == 2, done.stderr


def test_a_command_without_standard_output_does_its_work(shell: Shell) -> None:
    shell("init", "--example")
    code = "import sys; from persistable.cli.main import main; sys.exit(main(['run']))"
    for closed in ("exec >&-", "exec >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f'{closed}; exec "$0" -c "$1"', sys.executable, code],
            cwd=shell.folder,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "2 reused" in shell("run").out or "nothing to do" in shell("run").out


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_help_describes_parameters_that_there_are(verb: Verb) -> None:
    module, _, name = verb.function.partition(":")
    function = getattr(import_module(module), name)
    text = inspect.getdoc(function) or ""
    described = set(re.findall(r"^(\w+)$", text.partition("Parameters\n----------\n")[2], re.MULTILINE))
    assert described <= inspect.signature(function).parameters.keys()
