"""Keys to sign records by: drawn, shown, and used by `cp`."""

from __future__ import annotations

import stat

import pytest
from tests.cli.conftest import Shell


def test_a_new_key_is_a_file_of_ones_own_and_never_written_over(shell: Shell) -> None:
    done = shell("keys", "new", "--out", "ann.key")
    file = shell.folder / "ann.key"
    private = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and private.startswith("ed25519-private:")
    public = (shell.folder / "ann.key.pub").read_text().strip()
    assert done.out.splitlines()[-1] == public and private not in done.out
    again = shell("keys", "new", "--out", "ann.key", expect=2)
    assert "already" in again.err and file.read_text().strip() == private
    for words, environment in ((["ann.key"], {}), (["ann.key.pub"], {}), (["env:KEY"], {"KEY": private}), ([public], {})):
        assert shell("keys", "show", *words, **environment).out.strip() == public
        assert shell("keys", "show", *words, "--json", **environment).json == {"public": public}
    other = shell("keys", "new", "--out", "bob.key", "--json").json
    assert other == {"private": "bob.key", "public": (shell.folder / "bob.key.pub").read_text().strip()}


def test_without_a_file_a_new_key_is_printed(shell: Shell) -> None:
    private, public = shell("keys", "new").out.split()
    assert private.startswith("ed25519-private:") and public.startswith("ed25519:")
    assert shell("keys", "show", "env:KEY", KEY=private).out.strip() == public
    assert shell("keys", "new", "--json").json.keys() == {"private", "public"}


def test_what_makes_no_sense_is_said(shell: Shell) -> None:
    (shell.folder / "wrong").write_text("hello")
    for words, said in (
        (["show"], "keys show FILE"),
        (["show", "a", "b"], "keys show FILE"),
        (["new", "ann.key"], "keys new --out FILE"),
        (["new", "--lock", "x"], "keys new --out FILE"),
        (["show", "nowhere"], "nowhere"),
        (["show", "wrong"], "wrong holds no private key"),
        (["show", "env:NOT_SET"], "NOT_SET is not set"),
        (["points", "--out", "x"], "keys new"),
    ):
        assert said in shell("keys", *words, expect=2).err
    assert not (shell.folder / "x").exists()


def test_copies_are_signed_on_request(project: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    project("run", "total")
    project("keys", "new", "--out", "key")
    public = (project.folder / "key.pub").read_text().strip()
    trusting = f"copies#trust={public}"
    project("cp", "points", "--to", "copies")
    assert "it has no signature" in project("show", project.keys("points")[0], "--store", trusting, expect=1).err
    assert [row["made"] for row in project("ls", "--store", trusting, "--json").json] == ["untrusted"]
    project("cp", "total", "--to", "copies", "--sign", "key")
    assert {row["name"]: row["made"] for row in project("ls", "--store", trusting, "--json").json} == {
        "points": "untrusted",
        "total": "generated",
    }
    total = project.keys("total")[0]
    alone = Shell(tmp_path_factory.mktemp("elsewhere"))  # without the code
    copies = str(project.folder / "copies")
    refused = alone("cat", total, "--store", copies, expect=1)
    assert "PickleFileIO" in refused.err and "trust" in refused.err
    assert alone("cat", total, "--store", f"{copies}#trust={public}").out == project("cat", "total").out
    found = project("explain", "points", "--store", trusting, "--json").json
    assert found["status"] == "foreign" and "it has no signature" in str(found["why"])
    assert "it has no signature" in project("cp", "points", "--to", "more", "--store", trusting, expect=1).err
