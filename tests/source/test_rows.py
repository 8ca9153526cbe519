"""Rows of a PostgreSQL table, and documents by pymongo over the wire to a mongomock store, as inputs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from refusals import PASSWORD, assert_hidden
from servers.fixtures import MongoCollection
from servers.postgres import Schema

from persistable import Source, run, step
from persistable.errors import InputChanged, InputVanished, InvalidName, StoreError, UnknownParam
from persistable.stores import MemoryStore


@step
def total(row: dict[str, Any]) -> int:
    return int(row["x"]) + int(row["y"])


@dataclass
class Spectra:
    """Three rows: id a to c, x, y. Each change goes around the code under test."""

    url: str
    change: Callable[[str, int], None]
    add: Callable[[str, int, int], None]
    remove: Callable[[str], None]
    options: dict[str, Any]


@pytest.fixture
def in_postgres(postgres_schema: Schema) -> Spectra:
    admin, table = postgres_schema.admin, f"{postgres_schema.name}.spectra"
    admin.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, x int, y int)")
    admin.execute(f"INSERT INTO {table} VALUES ('b', 2, 20), ('a', 1, 10), ('c', 3, 30)")
    return Spectra(
        f"{postgres_schema.url}&table=spectra",
        lambda key, y: admin.execute(f"UPDATE {table} SET y = %s WHERE id = %s", (y, key)),
        lambda *row: admin.execute(f"INSERT INTO {table} VALUES (%s, %s, %s)", row),
        lambda key: admin.execute(f"DELETE FROM {table} WHERE id = %s", (key,)),
        {"key": "id"},
    )


@pytest.fixture
def in_mongo(mongo_collection: MongoCollection) -> Spectra:
    items = mongo_collection.database["spectra"]
    items.insert_many([{"id": key, "x": x, "y": y} for key, x, y in (("b", 2, 20), ("a", 1, 10), ("c", 3, 30))])
    return Spectra(
        mongo_collection.url.replace("/results", "/spectra"),
        lambda key, y: items.update_one({"id": key}, {"$set": {"y": y}}),
        lambda key, x, y: items.insert_one({"id": key, "x": x, "y": y}),
        lambda key: items.delete_one({"id": key}),
        {"key": "id"},
    )


@pytest.fixture(params=["in_postgres", "in_mongo"])
def spectra(request: pytest.FixtureRequest) -> Spectra:
    found: Spectra = request.getfixturevalue(request.param)
    return found


def test_each_row_is_an_input(spectra: Spectra) -> None:
    source = Source(spectra.url, **spectra.options)
    assert list(source) == ["a", "b", "c"]
    assert source["b"].payload == {"x": 2, "y": 20}
    assert Source(spectra.url, **spectra.options, columns=["y"])["b"].payload == {"y": 20}
    assert Source(spectra.url, **spectra.options, columns="y")["b"].payload == 20
    assert "id='b'" in repr(source["b"])


def test_what_has_changed_is_made_again_and_nothing_else(spectra: Spectra) -> None:
    source = Source(spectra.url, **spectra.options)
    totals = total.over(source)
    store = MemoryStore()
    assert run(totals, store=store).counts["done"] == 3
    assert run(totals, store=store).counts["done"] == 0
    spectra.change("b", 21)
    spectra.add("d", 4, 40)
    spectra.remove("a")
    assert run(totals, store=store).counts["done"] == 2
    assert {key: totals[key].payload for key in totals} == {"b": 23, "c": 33, "d": 44}
    spectra.change("b", 20)
    assert run(totals, store=store).counts["done"] == 0
    assert totals["b"].payload == 22


def test_a_row_that_changes_after_the_plan_is_no_payload_under_the_old_key(spectra: Spectra) -> None:
    source = Source(spectra.url, **spectra.options)
    changed, gone = source["b"], source["c"]
    spectra.change("b", 21)
    spectra.remove("c")
    with pytest.raises(InputChanged):
        changed.payload
    with pytest.raises(InputVanished):
        gone.payload
    source.refresh()
    assert list(source) == ["a", "b"]
    assert source["b"].payload["y"] == 21


def test_its_key_follows_from_what_is_in_it_and_not_from_where_it_is(in_postgres: Spectra, in_mongo: Spectra) -> None:
    one, other = (Source(each.url, **each.options) for each in (in_postgres, in_mongo))
    assert [one[key].key for key in one] == [other[key].key for key in other]
    assert one["a"].key != Source(in_postgres.url, key="id", columns=["y"])["a"].key


def test_workers_read_rows_themselves(spectra: Spectra, tmp_path: Any) -> None:
    totals = total.over(Source(spectra.url, **spectra.options))
    assert run(totals, store=tmp_path, executor="processes", max_workers=2).counts["done"] == 3
    assert totals["c"].payload == 33


def test_a_column_is_read_by_a_format(postgres_schema: Schema, mongo_collection: MongoCollection) -> None:
    table = f"{postgres_schema.name}.files"
    postgres_schema.admin.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, raw bytea, told text)")
    postgres_schema.admin.execute(f"INSERT INTO {table} VALUES (1, %s, %s)", (b'{"a": 1}', '{"b": 2}'))
    mongo_collection.database["files"].insert_one({"_id": 1, "raw": b'{"a": 1}', "told": '{"b": 2}'})
    keys = []
    for url, key in ((f"{postgres_schema.url}&table=files", "id"), (mongo_collection.url.replace("/results", "/files"), "_id")):
        assert Source(url, key=key, columns="raw", io=".json")[1].payload == {"a": 1}
        assert Source(url, key=key, columns="told", io=".json")[1].payload == {"b": 2}
        keys.append(Source(url, key=key, columns="raw", io=".json").rekey(lambda key: {"n": key})[1].key.name)
        with pytest.raises(TypeError, match="name one column"):
            Source(url, key=key, io=".json")[1].payload


def test_values_of_many_types_come_back_and_decide_the_key(postgres_schema: Schema) -> None:
    table = f"{postgres_schema.name}.types"
    postgres_schema.admin.execute(
        f"CREATE TABLE {table} (a int, b uuid, f float8, n numeric, t timestamptz, d date, j jsonb, l int[], raw bytea, nothing text, "
        '"odd %s name" bool, PRIMARY KEY (a, b))'
    )
    when = "2026-01-02 03:04:05.678+05:30"
    postgres_schema.admin.execute(
        f"INSERT INTO {table} VALUES (1, 'f47ac10b-58cc-4372-a567-0e02b2c3d479', 0.1, 1.50, '{when}', '2026-01-02', "
        """'{"x": [1, null]}', '{1,2}', '\\xff00', NULL, true)"""
    )
    source = Source(f"{postgres_schema.url}&table=types", key=["a", "b"])
    ((number, name),) = list(source)
    payload = source[number, name].payload
    assert payload["n"] == Decimal("1.50") and payload["f"] == 0.1 and payload["raw"] == b"\xff\x00" and payload["nothing"] is None
    assert payload["j"] == {"x": [1, None]} and payload["l"] == [1, 2] and payload["odd %s name"] is True
    assert payload["t"] == datetime(2026, 1, 1, 21, 34, 5, 678000, tzinfo=UTC) and payload["t"].tzinfo is UTC
    elsewhere = Source(f"{postgres_schema.url}&table=types&options=-c%20timezone%3DAsia/Tokyo%20-c%20DateStyle%3DGerman", key=["a", "b"])
    assert elsewhere[number, name].key == source[number, name].key
    for column, value in (("n", "1.5"), ("t", f"'{when}'::timestamptz + interval '1 microsecond'"), ("l", "'{1,2,3}'"), ("nothing", "''")):
        before = source[number, name].key
        postgres_schema.admin.execute(f"UPDATE {table} SET {column} = {value}")
        source.refresh()
        assert source[number, name].key != before, column


def test_ids_that_the_driver_has_drawn_are_their_digits(mongo_collection: MongoCollection) -> None:
    items = mongo_collection.database["drawn"]
    drawn = str(items.insert_one({"x": 1}).inserted_id)
    source = Source(mongo_collection.url.replace("/results", "/drawn"), key="_id")
    assert list(source) == [drawn]
    assert source[drawn].payload == {"x": 1}


def test_a_field_that_changes_with_a_document_spares_reading_it(mongo_collection: MongoCollection) -> None:
    items = mongo_collection.database["dated"]
    items.insert_one({"_id": 1, "x": 1, "version": 1})
    source = Source(mongo_collection.url.replace("/results", "/dated"), key="_id", columns=["x"], stamp="version")
    assert source[1].payload == {"x": 1}
    items.update_one({"_id": 1}, {"$set": {"x": 2}})
    source.refresh()
    assert source[1].params.content == source[1].params.content
    items.update_one({"_id": 1}, {"$set": {"version": 2}})
    source.refresh()
    assert source[1].payload == {"x": 2}


def test_a_view_is_read_at_each_look(postgres_schema: Schema, in_postgres: Spectra) -> None:
    name = postgres_schema.name
    postgres_schema.admin.execute(f"CREATE VIEW {name}.large AS SELECT id, x + y AS z FROM {name}.spectra WHERE x > 1")
    source = Source(f"{postgres_schema.url}&table=large", key="id", columns="z")
    assert [source[key].payload for key in source] == [22, 33]
    in_postgres.change("b", 50)
    source.refresh()
    assert source["b"].payload == 52


def test_a_plan_over_a_thousand_rows_is_few_queries(postgres_schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    table = f"{postgres_schema.name}.many"
    postgres_schema.admin.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, x int, y int)")
    postgres_schema.admin.execute(f"INSERT INTO {table} SELECT n, n, n FROM generate_series(1, 1500) AS n")
    done: list[Any] = []
    execute = psycopg.Connection.execute

    def counted(own: Any, query: Any, *values: Any, **options: Any) -> Any:
        done.append(query)
        return execute(own, query, *values, **options)

    source = Source(f"{postgres_schema.url}&table=many", key="id")
    totals = total.over(source)
    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    assert len(totals) == 1500
    assert len({node.key for node in totals.nodes}) == 1500
    assert sum(b" IN (" in query for query in done) == 2
    assert len(done) == 2 + 2 * 3
    postgres_schema.admin.execute(f"UPDATE {table} SET x = 0 WHERE id = 7")
    done.clear()
    source.refresh()
    assert len({node.key for node in totals.nodes}) == 1500
    assert sum(b" IN (" in query for query in done) == 1  # of the one that has changed


def test_rows_that_no_key_tells_apart_are_refused(postgres_schema: Schema, in_postgres: Spectra) -> None:
    in_postgres.add("d", 1, 2)
    with pytest.raises(InvalidName, match="is that of several rows"):
        list(Source(in_postgres.url, key="x"))
    postgres_schema.admin.execute(f"UPDATE {postgres_schema.name}.spectra SET x = NULL WHERE id = 'a'")
    with pytest.raises(InvalidName, match="has no value"):
        list(Source(in_postgres.url, key="x"))


def test_wrong_tables_columns_and_options_are_said(postgres_schema: Schema, in_postgres: Spectra) -> None:
    with pytest.raises(TypeError, match="say which column tells its rows apart"):
        Source(in_postgres.url)
    with pytest.raises(UnknownParam, match="did you mean columns"):
        Source(in_postgres.url, key="id", column="x")
    with pytest.raises(StoreError, match="names no table"):
        Source(postgres_schema.url, key="id")
    with pytest.raises(StoreError, match=r'relation ".*nothing" does not exist'):
        list(Source(f"{postgres_schema.url}&table=nothing", key="id"))
    with pytest.raises(StoreError, match='column "colour" does not exist'):
        Source(in_postgres.url, key="id", columns="colour")["a"].payload
    with pytest.raises(TypeError, match="keys of Source is for paths"):
        Source(in_postgres.url, key="id", keys=["a"])


def test_a_password_is_never_shown(postgres_schema: Schema, in_postgres: Spectra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    admin, name = postgres_schema.admin, postgres_schema.name
    admin.execute(f"GRANT USAGE ON SCHEMA {name} TO locked")
    url = in_postgres.url.replace("postgres@", "locked@")
    with pytest.raises(StoreError, match="grant it SELECT"):
        list(Source(url, key="id"))
    admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO locked")
    source = Source(url, key="id")
    store = MemoryStore()
    node = total.step(source["a"]).bind(store)
    assert node.payload == 11
    assert_hidden(source, source["a"], *map(store.get, store.list()), pickle.dumps(source["a"]))


def test_files_in_a_store_that_is_a_table_are_named_by_a_path(postgres_schema: Schema) -> None:
    from persistable import open_store

    open_store(postgres_schema.url).put_many({"books/emma.txt": b"Emma", "books/moby.txt": b"Ishmael"})
    source = Source("books/{book}.txt", store=postgres_schema.url)
    assert {book: source[book].payload for book in source} == {"emma": "Emma", "moby": "Ishmael"}
