"""`open_store` makes a store of whatever names one, and touches nothing."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from persistable.errors import InvalidName, StoreError, StoreReadOnly, UnknownParam
from persistable.fileio import JsonFileIO
from persistable.stores import LocalStore, MemoryStore, SQLiteStore, check_name, open_store, register_store


def test_paths_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    place = str(tmp_path / "data")
    for where in (place, tmp_path / "data", "data", "./data", f"file://{place}", f"local://{place}", Path("data")):
        assert open_store(where) == LocalStore(place)
    assert open_store("~/x") == LocalStore(tmp_path / "home" / "x")
    assert open_store(".") == LocalStore(tmp_path)
    assert isinstance(open_store("C:\\data"), LocalStore)
    assert isinstance(open_store("c:/data"), LocalStore)
    assert os.listdir(tmp_path) == []  # opening makes nothing


def test_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    memory = open_store("memory://some/name")
    assert isinstance(memory, MemoryStore)
    assert memory.name == "some/name"
    memory.put("x", b"1")
    assert open_store("memory://some/name").get("x") == b"1"
    assert not open_store("memory://other").exists("x")
    relative, absolute = open_store("sqlite:///x.db"), open_store(f"sqlite:///{tmp_path}/x.db")
    assert isinstance(relative, SQLiteStore)
    assert relative == absolute
    for store in (relative, LocalStore("a b%20c"), memory):
        assert open_store(store.url) == store
    assert os.listdir(tmp_path) == []


def test_a_universal_path_is_a_path_or_a_url(tmp_path: Path) -> None:
    from upath import UPath

    assert open_store(UPath(tmp_path)) == LocalStore(tmp_path)
    assert open_store(UPath(f"file://{tmp_path}")) == LocalStore(tmp_path)
    assert open_store(UPath("memory://x/y")).url == "memory://x/y"


def test_a_store_is_itself() -> None:
    store = MemoryStore()
    assert open_store(store) is store
    with pytest.raises(TypeError, match="open already"):
        open_store(store, key="x")


def test_the_same_path_is_opened_once_but_follows_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_store(str(tmp_path)) is open_store(str(tmp_path))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert open_store("data") == LocalStore(tmp_path / name / "data")
        assert open_store("data") is open_store("data")


def test_an_unknown_scheme_names_the_near_one() -> None:
    with pytest.raises(StoreError, match=r"did you mean sqlite://\?.*memory.*register_store"):
        open_store("sqlit:///x.db")


@pytest.mark.parametrize("where", ["", "sqlite://x.db", "sqlite:///"])
def test_what_names_nothing_is_refused(where: str) -> None:
    with pytest.raises(StoreError):
        open_store(where)


def test_what_is_no_name_at_all_is_a_type_error() -> None:
    nothing: Any = 3
    with pytest.raises(TypeError, match="a path, a URL or a Store, not int"):
        open_store(nothing)


@pytest.mark.parametrize("where", ["data", "sqlite:///x.db", "memory://b", "oci://localhost/x", "layered://?layer=x", "a.zip"])
def test_an_option_that_no_store_takes_is_refused_and_those_of_any_store_are_named(where: str) -> None:
    with pytest.raises(UnknownParam, match=r"no option claim_tll; did you mean claim_ttl\? .*takes readonly, claim_ttl, .* any") as raised:
        open_store(where, claim_tll=3)
    assert not {"self", "root", "file", "url"} & set(raised.value.accepted)


def test_a_scheme_can_be_registered() -> None:
    register_store("remember", "persistable.stores.memory:MemoryStore.from_url")
    assert open_store("remember://me") == MemoryStore("me")
    for scheme, factory in (("x", "a:b"), ("ok", "no_colon"), ("no spaces", "a:b")):
        with pytest.raises(ValueError, match="cannot register"):
            register_store(scheme, factory)


def test_readonly_refuses_every_change(tmp_path: Path) -> None:
    LocalStore(tmp_path).put("a/x", b"1")
    store = open_store(tmp_path, readonly=True)
    assert (store.get("a/x"), list(store.list()), store.exists("a/x")) == (b"1", ["a/x"], True)
    changes = (
        lambda: store.put("a/x", b"2"),
        lambda: store.put_many({"a/x": b"2"}),
        lambda: store.create("a/y", b"2"),
        lambda: store.write("a/x"),
        lambda: store.delete("a/x"),
    )
    for change in changes:
        with pytest.raises(StoreReadOnly, match="readonly=True"):
            change()
    assert store.get("a/x") == b"1"


def test_importing_stores_loads_nothing_heavy(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import sys
        import persistable.stores
        from persistable.stores import LocalStore, MemoryStore, open_store
        open_store({str(tmp_path)!r}).put("x", b"1")
        heavy = {{"fsspec", "sqlite3", "asyncio", "numpy", "tempfile", "logging"}} & set(sys.modules)
        assert not heavy, heavy
    """)
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}  # coverage imports sqlite3
    subprocess.run([sys.executable, "-c", program], check=True, env={**unmeasured, "PYTHONPATH": os.pathsep.join(sys.path)})


def test_a_refused_name_says_why() -> None:
    for name, why in {"..": "folder above", "a/b": "separator", "x" * 300: "300 bytes", "a.": "ends in a dot", "NUL.txt": "device"}.items():
        with pytest.raises(InvalidName, match=why):
            check_name(name)


@pytest.mark.parametrize("url", ["s3://bucket/folder", "gs://bucket", "sqlite:///s.db", "memory://", "https://host/x", "mongodb+srv://h/d"])
def test_a_url_in_a_path_object_is_no_folder_of_this_machine(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (open_store, lambda where: JsonFileIO().save(1, where), lambda where: JsonFileIO().load(where)):
        for where in (Path(url), str(Path(url))):
            with pytest.raises(StoreError, match=r"is a URL that has lost a slash, as in a pathlib\.Path; give it as text"):
                use(where)
    assert list(tmp_path.iterdir()) == []
    open_store("./s3:/meant").put("x", b"1")
    assert (tmp_path / "s3:" / "meant" / "x").read_bytes() == b"1"
