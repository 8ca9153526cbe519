"""Namespaces: stores of one name beside each other, in which nobody finds what is another's."""

from pathlib import Path
from typing import Any

import pytest

from persistable import Project, open_store, step
from persistable.errors import ConfigError
from persistable.stores.namespace import namespaced
from persistable.stores.open import default_url


@step
def load(year: int) -> int:
    return year


@pytest.mark.parametrize("url", ["{tmp}/data", "{tmp}/data/", "file://{tmp}/data", "sqlite:///{tmp}/runs.db", "memory://namespaces"])
def test_what_is_in_one_is_not_in_another(tmp_path: Path, url: str) -> None:
    where = url.format(tmp=tmp_path)
    stores = [open_store(where), open_store(where, namespace="ann"), open_store(where, namespace="bob")]
    load.step(1).bind(stores[1]).generate()
    assert [load.step(1).bind(store).exists() for store in stores] == [False, True, False]
    assert [list(store.list()) == [] for store in stores] == [True, False, True]
    assert load.step(1).bind(open_store(where, namespace="ann")).key == load.step(1).bind(where).key


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("data", "data.ann"),
        ("~", str(Path("~").expanduser()) + ".ann"),
        (Path("a/data"), "a/data.ann"),
        (".", str(Path.cwd()) + ".ann"),
        ("s3://bucket/results/", "s3://bucket/results.ann"),
        ("s3://bucket", "s3://bucket/ann"),
        ("sqlite:///runs.db", "sqlite:///runs.ann.db"),
        ("sqlite:////x/runs", "sqlite:////x/runs.ann"),
        ("memory://", "memory://ann"),
        ("mongodb://host/db?replicaSet=rs0", "mongodb://host/db/persistable.ann?replicaSet=rs0"),
        ("mongodb+srv://u:%2F@host/db/runs", "mongodb+srv://u:%2F@host/db/runs.ann"),
        ("postgresql://host/db?sslmode=require", "postgresql://host/db?sslmode=require&table=persistable.ann"),
        (["fast", {"url": "s3://b/x", "readonly": True}], ["fast.ann", {"url": "s3://b/x.ann", "readonly": True}]),
    ],
)
def test_where_a_namespace_is(where: Any, expected: Any) -> None:
    assert namespaced(where, "ann") == expected


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", ".a", 3, "ä", "x" * 65])
def test_a_name_is_a_word(name: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="namespace is"):
        open_store(tmp_path, namespace=name)


def test_an_archive_has_none(tmp_path: Path) -> None:
    for where in (tmp_path / "paper.zip", f"s3://bucket/{tmp_path.name}/paper.zip", [tmp_path / "own", tmp_path / "paper.zip"]):
        with pytest.raises(ValueError, match="is an archive; open it without"):
            open_store(where, namespace="ann")


def test_an_open_store_has_no_other_namespace(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="by its path or URL"):
        open_store(open_store(tmp_path), namespace="ann")


def test_projects_name_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERSISTABLE_STORE", raising=False)
    (tmp_path / "persistable.toml").write_text('store = "data"\nnamespace = "ann"\n')
    monkeypatch.chdir(tmp_path)
    assert Project.load().store.url == open_store(tmp_path / "data.ann").url
    assert open_store(default_url()).url == open_store(tmp_path / "data.ann").url
    assert Project({}, store="data", namespace="bob", folder=tmp_path).store.url == open_store(tmp_path / "data.bob").url
    assert Project.load(store=str(tmp_path / "other")).store.url == open_store(tmp_path / "other").url
    (tmp_path / "persistable.toml").write_text('namespace = "a/b"\n')
    with pytest.raises(ConfigError, match="namespace"):
        Project.load()
    (tmp_path / "persistable.toml").write_text('namespace = "ann"\n')
    assert Project.load().store.url == open_store(tmp_path / "persistable-data.ann").url
    assert open_store(default_url()).url == open_store(tmp_path / "persistable-data.ann").url
