"""`persistable init`, and again with the example."""

from __future__ import annotations

from typing import Any


def test_the_example_after_the_plain_file(shell: Any) -> None:
    shell("init")
    assert shell("init", "--example").out.splitlines() == ["wrote persistable.toml", "wrote flows.py"]
    shell("run", "summary")
    assert "nothing was written" in shell("init", "--example", expect=2).err


def test_what_was_changed_stays(shell: Any) -> None:
    toml, flows = shell.folder / "persistable.toml", shell.folder / "flows.py"
    toml.write_text('store = "mine"\n')
    printed = shell("init", "--example").out
    assert "wrote flows.py" in printed and "stays as it is" in printed and "[targets.summary]" in printed
    assert toml.read_text() == 'store = "mine"\n'
    flows.write_text("mine = 1\n")
    toml.unlink()
    assert shell("init", "--example", "--json").json == {"written": ["persistable.toml"], "kept": ["flows.py"]}
    assert flows.read_text() == "mine = 1\n"
