"""The page on the command line: every command of it runs, in one folder, and answers what the page shows."""

from __future__ import annotations

import doctest
import re
import subprocess
from pathlib import Path

from tests.cli.conftest import Shell

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/command-line.md"


def test_every_command_of_the_page_answers_what_is_shown(shell: Shell) -> None:
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    commands = [(line, shown) for block in blocks for line, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)]
    assert len(commands) > 12
    for line, shown in commands:
        if line.startswith("persistable "):
            done = shell(*line.split()[1:], expect=None)
            said = done.out + "".join(text + "\n" for text in done.err.splitlines() if text.startswith("persistable: "))
        else:
            said = subprocess.run(line, shell=True, cwd=shell.folder, capture_output=True, text=True, timeout=60).stdout
        assert _alike(shown, said), f"$ {line}\n{said}\nis shown as\n{shown}"


def _alike(shown: str, said: str) -> bool:
    """Whether they are equal where the page does not say ``...``; runs of blanks count as one."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown, said, flags)


def test_a_wrong_page_is_noticed() -> None:
    assert not _alike("2 done, in ...\n", "3 done, in 4 ms\n")
