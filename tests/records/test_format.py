"""What lies in a store is what the page on its format and the schemas say, and can be read without this package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import reader
from store_kinds import each_url

import persistable
from persistable import Catalog, run, step
from persistable.fileio import JsonFileIO, NumpyFileIO, ParquetFileIO
from persistable.records import claims, owners
from persistable.records.deadlock import SUFFIX as WAITS
from persistable.stores import open_store

ROOT = Path(__file__).parents[2]
SCHEMAS = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in (ROOT / "docs/reference/schemas").glob("*.json")}
PAGE = (ROOT / "docs/reference/format.md").read_text()
GOLDEN = sorted((ROOT / "tests/golden").glob("stores-*.zip"))


@step(io=JsonFileIO())
def number(n: int) -> int:
    print("number", n)
    return n


@step(io=JsonFileIO())
def above(n: int, k: int = 1) -> int:
    return n + k


@step(io=NumpyFileIO())
def array(n: int) -> np.ndarray:
    return np.arange(n)


@step(io=ParquetFileIO())
def table(n: int) -> Any:
    import pandas as pd

    return pd.DataFrame({"a": range(n)})


@step(io=JsonFileIO())
def squares(n: int) -> Iterator[tuple[Any, int]]:
    for i in range(n):
        yield i, i * i
    yield ("a", (1, "b")), -1


@step(io=JsonFileIO())
def cut_off(n: int) -> Iterator[tuple[int, int]]:
    yield 0, n
    raise ValueError("cut off")


@step
def fails(n: int) -> int:
    raise ValueError(f"no {n}")


def fill(url: str) -> None:
    """Write a file of each kind."""
    first = number.step(1 << 60)
    persistable.run(above.step(above.step(first)), array.step(4), table.step(3), squares.step(3), above.over(n=list(range(20))), store=url)
    number.step(7).bind(url).put(7)
    persistable.run(fails.step(2), cut_off.step(3), store=url, errors="return")
    store = open_store(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        above.step(first).bind(url).accept_code("only renamed")
    with Catalog(store, index=None) as catalog:
        catalog.pin(number.step(7), "figure 3")
        run(number.step(8), store=store)
        catalog.gc(older_than=0, name="number").apply()
        run(number.step(9), store=store)
        assert catalog.rename("number", params={"n": "m"}, where="n = 9").apply().moved
    claims.Claim(store, "number/held").try_epoch(1, None)
    store.put("number/held" + WAITS, json.dumps({"token": owners.token(), "for": "number/other"}).encode())


url = each_url("folder", "sqlite")


KINDS = {
    r".*\.record\.json": "record",
    r".*\.failed\.json": "failure",
    r".*\.claim(\.[0-9]+)?": "claim",
    r".*\.claim\.waits": "waits",
    r"\.persistable/partial/.*/begun\.json": "begun",
    r"\.persistable/store\.json": "store",
    r"\.persistable/manifest\.json": "manifest",
    r"\.persistable/pins/.*\.json": "pin",
    r"\.persistable/trash/[^/]*/[0-9]+\.json": "trash",
    r"\.persistable/renamed/[^/]*/[0-9]+\.json": "renamed",
}


def described(store: Any) -> Iterator[tuple[str, Any]]:
    """Kind and content of all that a schema describes, among the paths and bytes in `store`."""
    for path in store:
        for pattern, kind in KINDS.items():
            if re.fullmatch(pattern, path):
                yield kind, json.loads(store[path])
        if path.endswith(".items.jsonl"):
            yield from (("item", json.loads(line)) for line in store[path].splitlines())
        if re.fullmatch(r"\.persistable/partial/.*/[0-9]+\.json", path):
            yield "item", json.loads(store[path].splitlines()[0])


def opened(place: str) -> Any:
    return reader.sqlite_items(place) if Path(place).is_file() else reader.Folder(place)


def test_all_that_is_written_is_as_the_schemas_say(url: str, tmp_path: Path) -> None:
    fill(url)
    with Catalog(url, index=None) as catalog:
        catalog.export(tmp_path / "site")
    seen = {}
    for kind, content in chain(described(opened(url.removeprefix("sqlite:///"))), described(opened(str(tmp_path / "site")))):
        jsonschema.validate(content, SCHEMAS[kind])
        known = SCHEMAS[kind].get("properties")
        assert known is None or content.keys() <= known.keys(), f"{kind}: say in docs/reference/format.md what these are"
        seen.setdefault(kind, set()).update(content if isinstance(content, dict) else ())
    assert seen.keys() == SCHEMAS.keys()
    for kind, members in seen.items():
        rare = {"call", "untracked", "schema", "notes", "params_class", "source", "signature"} if kind == "record" else set()
        assert members | rare >= SCHEMAS[kind].get("properties", {}).keys()


def test_the_page_names_every_member_and_links_every_schema() -> None:
    for kind, schema in SCHEMAS.items():
        assert f"schemas/{kind}.schema.json" in PAGE
        for member in schema.get("properties", {}):
            assert f"`{member}`" in PAGE, f"{kind}: {member}"


@pytest.mark.parametrize("kind", ["record", "store", "failure", "claim", "begun"])
def test_a_schema_refuses_what_lacks_a_member_or_has_another_type(url: str, kind: str) -> None:
    fill(url)
    content = next(content for each, content in described(opened(url.removeprefix("sqlite:///"))) if each == kind)
    for member in SCHEMAS[kind]["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: fact for name, fact in content.items() if name != member}, SCHEMAS[kind])
        if SCHEMAS[kind]["properties"][member]:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({**content, member: [None]}, SCHEMAS[kind])


def test_a_store_is_read_without_this_package(url: str) -> None:
    fill(url)
    place = url.removeprefix("sqlite:///")
    found = {record["key"]: loaded for record, loaded in reader.payloads(opened(place))}
    nodes = [number.step(1 << 60), number.step(7), above.step(above.step(number.step(1 << 60))), *above.over(n=list(range(20))).nodes]
    for node in nodes:
        assert found[str(node.key)] == node.bind(url).load().payload
    assert (found[str(array.step(4).key)] == np.arange(4)).all()
    assert found[str(table.step(3).key)].to_pydict() == {"a": [0, 1, 2]}
    assert found[str(squares.step(3).key)] == [(0, 0), (1, 1), (2, 4), ({"of": ["a", {"of": [1, "b"]}]}, -1)]
    script = [sys.executable, "-I", "-c", f"import sys; sys.modules['persistable'] = None; exec(open({reader.__file__!r}).read())", place]
    listed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) == len(found)


@pytest.mark.parametrize("damage", ["record", "payload", "moved", "item", "later"])
def test_the_reader_notices_damage(tmp_path: Path, damage: str) -> None:
    number.step(1).bind(tmp_path).load_generate()
    squares.step(2).bind(tmp_path).load_generate()
    (record,) = (tmp_path / "number").glob("*.record.json")
    (payload,) = (tmp_path / "number").glob("*.????????.json")
    item = next((tmp_path / "squares").rglob("0.*"))
    if damage == "moved":
        record.rename(record.with_name("0" * 32 + ".record.json"))
    elif damage == "later":
        (tmp_path / ".persistable/store.json").write_text('{"format":2,"min_reader":2}')
    else:
        file = {"record": record, "payload": payload, "item": item}[damage]
        file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    with pytest.raises(AssertionError):
        list(reader.payloads(reader.Folder(tmp_path)))


@pytest.mark.parametrize("archive", GOLDEN, ids=lambda path: path.stem)
def test_stores_of_every_version_are_read_without_this_package(tmp_path: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    found = {name: list(reader.payloads(opened(str(tmp_path / name)))) for name in ("folder", "items.db", "workspace")}
    assert {record["key"] for record, _ in found["folder"]} >= {record["key"] for record, _ in found["items.db"]} != set()
    assert {record["files"][0][1] for record, _ in found["workspace"]} >= {"computed/scaled-1.csv", "computed/top-1.txt"}
