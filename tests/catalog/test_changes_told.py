"""The index of a PostgreSQL store follows what the server tells of changes, and lists nothing: against the real server."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from servers.postgres import Schema

from persistable import Catalog, run, step
from persistable.records.listing import entries
from persistable.stores import PostgresStore


@step
def number(n: int) -> int:
    return n


@step
def other(n: int) -> int:
    return n


@step
def third(n: int) -> int:
    return n


@pytest.fixture
def store(postgres_schema: Schema) -> Iterator[PostgresStore]:
    store = PostgresStore(postgres_schema.url)
    yield store
    store.close()


@pytest.fixture
def catalog(store: PostgresStore, tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(store, index=tmp_path / "index.db") as catalog:
        yield catalog


def keys(catalog: Catalog) -> set[str]:
    return {str(entry.key) for entry in catalog.find()}


def stored(store: PostgresStore) -> set[str]:
    return {str(entry.key) for entry in entries(store) if entry.record is not None}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each answer that tells paths."""
    rows: list[int] = []
    execute = psycopg.Connection.execute

    def counted(own: Any, query: Any, *values: Any, **options: Any) -> Any:
        done = execute(own, query, *values, **options)
        if query.startswith(b"SELECT path"):
            rows.append(done.rowcount)
        return done

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    return rows


def test_one_record_more_is_one_row(store: PostgresStore, catalog: Catalog, told: list[int]) -> None:
    run(number.over(n=list(range(300))), store=store)
    assert len(keys(catalog)) == 300
    told.clear()
    assert len(keys(catalog)) == 300
    assert sum(told) <= 2  # of what the store says of itself
    run(number.step(1000), store=store)
    number.step(7).bind(store).delete()
    told.clear()
    assert len(keys(catalog)) == 300
    assert sum(told) <= 5
    assert keys(catalog) == stored(store)


def test_a_transaction_that_ends_late_is_not_missed(store: PostgresStore, catalog: Catalog, postgres_schema: Schema) -> None:
    """It began before others that were seen, and its number is lower than theirs."""
    run(number.step(1), number.step(2), store=store)
    table = f"{postgres_schema.name}.persistable"
    with postgres_schema.server.admin("works") as late:
        with late.transaction():
            late.execute(f"DELETE FROM {table} WHERE path LIKE '{number.step(1).key.path}.record%'")
            late.execute(
                f"UPDATE {table} SET stamp = 7, changed = pg_current_xact_id() WHERE path = '{number.step(2).key.path}.record.json'"
            )
            run(number.step(3), store=store)
            assert len(keys(catalog)) == 3
            run(number.step(4), store=store)
            assert len(keys(catalog)) == 4
        assert keys(catalog) == stored(store) == {str(number.step(n).key) for n in (2, 3, 4)}


def test_whatever_happens_it_is_as_the_store_is(store: PostgresStore, tmp_path: Path, postgres_schema: Schema) -> None:
    drawn = random.Random(3)
    with Catalog(store, index=tmp_path / "index.db") as one, Catalog(store, index=tmp_path / "index.db") as two:
        for _ in range(60):
            node = number.step(drawn.randrange(12)).bind(store)
            act = drawn.choice(["generate", "generate", "delete", "by hand", "restored", "new"])
            if act == "generate":
                node.generate()
            elif act == "delete":
                node.delete()
            elif act == "by hand":
                postgres_schema.admin.execute(f"DELETE FROM {postgres_schema.name}.persistable WHERE path LIKE '{node.key.path}%'")
            elif act == "new":
                one.index.discard()
                two.close()
            else:  # the table is that of a backup, with other numbers
                name = f"{postgres_schema.name}.persistable"
                store.put("x", b"")
                postgres_schema.admin.execute(f"CREATE TABLE {name}_copy AS TABLE {name}")
                postgres_schema.admin.execute(f"DROP TABLE {name}, {name}_chunks, {name}_deleted CASCADE; DROP FUNCTION {name}_changed")
                store.put("x", b"")
                columns = "path, size, stamp, data, body"
                postgres_schema.admin.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {name}_copy WHERE path <> 'x'")
                postgres_schema.admin.execute(f"DROP TABLE {name}_copy")
            for catalog in (one, two):
                assert keys(catalog) == stored(store), act


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_refresh_that_was_cut_short_is_taken_up(
    store: PostgresStore, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """With some folders in the index, and others not."""
    monkeypatch.setattr("persistable.catalog.index.refresh.BATCH", 5)
    run(*(node for kind in (number, other, third) for node in kind.over(n=list(range(8))).nodes), store=store)
    get_many, left = PostgresStore.get_many, [calls]

    def failing(own: Any, paths: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return get_many(own, paths)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresStore, "get_many", failing)
        with pytest.raises(KeyboardInterrupt):
            keys(catalog)
    assert len(keys(catalog)) == 24
