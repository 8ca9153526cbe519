"""A table of a real PostgreSQL server as a store: what the contract of every store does not ask."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from refusals import PASSWORD, assert_hidden, assert_one_error
from servers.needs import absent, free_port
from servers.postgres import PostgresServer, Schema

from persistable import Secret, Status, run, step
from persistable.errors import MissingExtra, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from persistable.stores import PostgresStore, open_store
from persistable.stores.changes import Changes
from persistable.stores.postgres.connections import Pool
from persistable.stores.postgres.layout import CHUNK
from persistable.testing.processes import Gate, started

LARGE = bytes(range(256)) * 40_000


@pytest.fixture
def store(postgres_schema: Schema) -> Iterator[PostgresStore]:
    store = PostgresStore(postgres_schema.url)
    yield store
    store.close()


@step
def squares(n: int) -> NDArray[np.int64]:
    return np.arange(n) ** 2


# ------------------------------------------------------------------ a server that goes away


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_restart_in_the_middle_costs_a_moment(store: PostgresStore, postgres_schema: Schema, how: signal.Signals) -> None:
    """Of a write, of a read, and of what comes next."""
    server = postgres_schema.server
    store.put("large", LARGE)

    def restart() -> None:
        server.stop(how)
        time.sleep(0.2)
        server.start()

    with store.write("new") as file, store.read("large") as old:
        file.write(LARGE)
        assert old.read(1000) == LARGE[:1000]
        restarting = threading.Thread(target=restart)
        restarting.start()
        file.write(LARGE)
        assert old.read() == LARGE[1000:]
        restarting.join()
    assert store.get("new") == LARGE * 2
    restart()
    assert store.create("claim", b"1") and not store.create("claim", b"2")
    assert sorted(store.list()) == ["claim", "large", "new"]
    postgres_schema.admin = server.admin("works")


def test_a_run_of_several_processes_survives_a_restart(store: PostgresStore, postgres_schema: Schema) -> None:
    server = postgres_schema.server
    family = squares.over(n=list(range(60)))

    def restart() -> None:
        time.sleep(0.5)
        for _ in range(2):
            server.stop()
            time.sleep(0.3)
            server.start()
            time.sleep(0.3)

    restarting = threading.Thread(target=restart)
    restarting.start()
    run(family, store=store, executor="processes", max_workers=2)
    restarting.join()
    assert all(family[n].bind(store).status is Status.DONE for n in range(60))
    assert not [path for path in store.list() if ".claim" in path]
    postgres_schema.admin = server.admin("works")


@contextmanager
def losing_answers(monkeypatch: pytest.MonkeyPatch, about: bytes) -> Iterator[list[bytes]]:
    """Each first time that a statement with `about` in it is done, its connection breaks before the answer is there."""
    lost: list[bytes] = []
    take = Pool._take

    class Losing:
        def __init__(self, held: Any) -> None:
            self._held = held

        def __getattr__(self, name: str) -> Any:
            return getattr(self._held, name)

        def execute(self, query: bytes, *values: Any, **options: Any) -> Any:
            done = self._held.execute(query, *values, **options)
            if about in query and not lost:
                lost.append(query)
                self._held.close()
                raise psycopg.errors.AdminShutdown("terminating connection due to administrator command")
            return done

    with monkeypatch.context() as patched:
        patched.setattr(Pool, "_take", lambda own: Losing(take(own)))
        yield lost


@pytest.mark.parametrize("data", [b"mine", LARGE])
def test_a_claim_whose_answer_was_lost_is_known_to_be_ones_own(store: PostgresStore, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    store.put("theirs", b"1")
    with losing_answers(monkeypatch, b"DO NOTHING RETURNING path") as lost:
        assert store.create_many({"mine": data, "theirs": data}) == {"mine"}
    assert lost
    assert store.get("mine") == data
    assert store.get("theirs") == b"1"


@pytest.mark.parametrize("data", [b"new", LARGE])
def test_a_write_whose_answer_was_lost_is_done_again(
    store: PostgresStore, postgres_schema: Schema, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    store.put("x", LARGE)
    with losing_answers(monkeypatch, b"DO UPDATE") as lost:
        store.put("x", data)
    assert lost
    assert store.get("x") == data
    assert len(postgres_schema.rows("persistable_chunks")) == (-(-len(data) // CHUNK) if data is LARGE else 0)


def test_what_may_be_committed_keeps_its_rows(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is gone for good as far as the writer can see; what it did before is whole."""
    store.timeout = store._link._timeout = 0.0
    store.put("a", b"1")
    with losing_answers(monkeypatch, b"DO UPDATE"), pytest.raises(StoreUnavailable):
        store.put("x", LARGE)
    assert store.get("x") == LARGE


def write_much_and_wait(_number: int, gate: Gate, store: PostgresStore, path: str) -> None:
    with store.write(path) as file:
        file.write(LARGE)
        gate.wait()


def test_what_a_killed_writer_left_is_removed_by_who_writes_next(store: PostgresStore, postgres_schema: Schema) -> None:
    store.put("a/x.1", LARGE)
    with started(1, write_much_and_wait, store, "a/x.2") as (writer,):
        assert writer.stdout is not None
        assert writer.stdout.readline() == "wait\n"
        writer.kill()
        writer.wait(30)
    sound = -(-len(LARGE) // CHUNK)
    assert len(postgres_schema.rows("persistable_chunks")) > sound
    store.clear_temporary("a/y")
    assert len(postgres_schema.rows("persistable_chunks")) > sound
    store.clear_temporary("a/x")
    assert len(postgres_schema.rows("persistable_chunks")) == sound
    assert store.get("a/x.1") == LARGE


def test_rows_that_were_lost_are_no_commit(store: PostgresStore, postgres_schema: Schema) -> None:
    store.put("x", b"old")

    def write() -> None:
        with store.write("x") as file:
            file.write(LARGE)
            store.clear_temporary("x")  # by one who takes this writer for dead

    with pytest.raises(StoreUnavailable, match="write it again"):
        write()
    assert store.get("x") == b"old"


def test_what_is_replaced_while_it_is_read_is_an_error(store: PostgresStore) -> None:
    store.put("x", LARGE * 6)
    with store.read("x") as file:
        assert file.read(10) == LARGE[:10]
        store.put("x", LARGE)
        with pytest.raises(StoreError, match="read it again"):
            file.read()


def many_claims(number: int, gate: Gate, store: PostgresStore) -> list[str]:
    store.exists("warm")
    gate.wait()
    return [path for path in (f"claims/{each}" for each in range(40)) if store.create(path, b"%d" % number)]


def test_claims_of_several_processes_are_exclusive_through_a_crash(store: PostgresStore, postgres_schema: Schema) -> None:
    server = postgres_schema.server
    store.put("x", b"1")
    with started(3, many_claims, store) as processes:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        server.stop(signal.SIGKILL)
        server.start()
        answers = []
        for process in processes:
            assert process.stdout is not None
            word, answer = process.stdout.readline().split()
            assert word == "done"
            answers.append(pickle.loads(__import__("base64").b64decode(answer)))
    assert sorted(path for won in answers for path in won) == sorted(f"claims/{each}" for each in range(40))
    for number, won in enumerate(answers):
        assert all(store.get(path) == b"%d" % number for path in won)
    postgres_schema.admin = server.admin("works")


# ------------------------------------------------------------------ few statements


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    done: list[bytes] = []
    execute = psycopg.Connection.execute

    def counted(own: Any, query: Any, *values: Any, **options: Any) -> Any:
        done.append(query)
        return execute(own, query, *values, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    return done


def test_a_call_about_many_items_is_one_statement(store: PostgresStore, statements: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistable.stores.postgres.store.PRUNED_EVERY", float("inf"))
    items = {f"a/{number:04}": b"%d" % number for number in range(1000)}
    store.put("b", b"")

    def count(call: Callable[[], object]) -> int:
        statements.clear()
        call()
        return len(statements)

    assert count(lambda: store.put_many(items)) == 1
    assert count(lambda: store.create_many({**items, "c": b""})) == 1
    assert count(lambda: store.create_fresh({"d.claim": b"", "c.claim": b""})) == 2
    assert count(lambda: store.get_many(items)) == 1
    assert count(lambda: store.stat_many(items)) == 1
    assert count(lambda: list(store.scan("a"))) == 1
    assert count(lambda: store.change_many({"r": b"1"}, {"s": b"2"}, delete=items)) == 2
    assert sorted(store.list()) == ["b", "c", "c.claim", "d.claim", "r", "s"]


def test_a_run_of_a_thousand_members_is_few_statements(store: PostgresStore, statements: list[bytes]) -> None:
    """Claims, payloads and records of some hundreds go together; asked again, one statement tells that all are there."""
    family = squares.over(n=list(range(1000)))
    store.put("warm", b"")
    statements.clear()
    run(family, store=store)
    assert len(statements) <= 150  # how many members go together depends on how long they take
    statements.clear()
    assert run(family, store=store).counts["done"] == 0
    assert len(statements) <= 4


def test_a_listing_of_several_pages_is_whole(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistable.stores.database.PAGE", 7)
    names = {f"a/{number}" for number in range(40)} | {"", "a/b/c", ".persistable/x", ".persistable-x", "~", "\U0010fffe"} - {""}
    store.put_many(dict.fromkeys(names, b""))
    assert sorted(store.list()) == sorted(names - {".persistable/x"})
    assert list(store.list(".persistable")) == [".persistable/x"]


def test_memory_does_not_grow_with_what_is_streamed(store: PostgresStore) -> None:
    """A process that writes and reads 240 MB has little of it at a time."""
    program = f"""
import pickle, resource
store = pickle.loads({pickle.dumps(store)!r})
with store.write("warm") as file:
    file.write(bytes(40 << 20))
store.get("warm")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with store.write("x") as file:
    for _ in range(240):
        file.write(bytes(1 << 20))
with store.read("x") as file:
    size = 0
    while found := file.read(1 << 20):
        size += len(found)
assert size == 240 << 20
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 60 << 10, grown
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=240)
    assert store.read_range("x", (240 << 20) - 3, 700 << 20) == b"\0" * 3


# ------------------------------------------------------------------ passwords


def locked(schema: Schema, password: str = "") -> str:
    schema.admin.execute(f"GRANT ALL ON SCHEMA {schema.name} TO locked")
    return schema.url.replace("postgres@", f"locked{password}@")


def quoted(password: str) -> str:
    from urllib.parse import quote

    return ":" + quote(password, safe="")


@pytest.mark.parametrize("way", ["url", "query", "option", "secret", "environment", "passfile", "service"])
def test_a_password_is_found_and_never_shown(postgres_schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    url, options = locked(postgres_schema), dict[str, Any]()
    port = postgres_schema.server.port
    if way == "url":
        url = locked(postgres_schema, quoted(PASSWORD))
    elif way == "query":
        url += f"&password={quoted(PASSWORD)[1:]}"
    elif way == "option":
        options = {"password": PASSWORD}
    elif way == "secret":
        monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
        options = {"password": Secret("DATABASE_PASSWORD")}
    elif way == "environment":
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
    elif way == "passfile":
        escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
        (tmp_path / "pgpass").write_text(f"127.0.0.1:{port}:*:locked:{escaped}\n")
        (tmp_path / "pgpass").chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    else:
        (tmp_path / "services").write_text(f"[mine]\nhost=127.0.0.1\nport={port}\ndbname=works\nuser=locked\npassword={PASSWORD}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        url = f"postgresql:///?service=mine&schema={postgres_schema.name}"
    store = open_store(url, **options)
    node = squares.step(4).bind(store)
    assert node.payload.tolist() == [0, 1, 4, 9]
    assert_hidden(store, store.url, node.record.to_bytes(), *map(store.get, store.list()))
    again = pickle.loads(pickle.dumps(store))
    assert again == store and again.exists(node.key.path + ".record.json")
    if way not in ("url", "query", "option"):
        assert b"hunter2" not in pickle.dumps(store)


# ------------------------------------------------------------------ errors, before any work


def test_a_server_that_is_not_there(postgres_server: PostgresServer) -> None:
    began = time.monotonic()
    assert_one_error(f"postgresql://me:hunter2@127.0.0.1:{free_port()}/works", StoreUnavailable, "refused", "check the address")
    assert_one_error("postgresql://me:hunter2@no-such-host.invalid/works", StoreUnavailable, "no-such-host.invalid")
    assert time.monotonic() - began < 15  # nobody waits for what never was there


def test_who_is_not_let_in(postgres_schema: Schema) -> None:
    wrong = postgres_schema.url.replace("postgres@", "locked:hunter2wrong@")
    assert_one_error(wrong, StoreError, "password authentication failed", "check user, password")
    assert_one_error(postgres_schema.url.replace("postgres@", "locked@"), StoreError, "asks for a password", "$PGPASSWORD")
    assert_one_error(postgres_schema.url.replace("postgres@", "nobody@"), StoreError, 'role "nobody" does not exist')
    assert_one_error(postgres_schema.url.replace("/works", "/nowhere"), StoreError, 'database "nowhere" does not exist', "make it")
    assert_one_error(f"{postgres_schema.server.url}?schema=nowhere", StoreError, "there is no schema", "?schema=")


def test_who_may_not_make_the_table_or_write_it(postgres_schema: Schema) -> None:
    name = postgres_schema.name
    url = postgres_schema.url.replace("postgres@", f"locked{quoted(PASSWORD)}@")
    assert_one_error(url, StoreReadOnly, "grant it CREATE")
    assert postgres_schema.admin.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", (name,)).fetchone() == (0,)
    open_store(postgres_schema.url).put("x", b"1")
    postgres_schema.admin.execute(f"GRANT USAGE ON SCHEMA {name} TO locked")
    with pytest.raises(StoreError, match="grant it SELECT"):
        open_store(url).get("x")
    postgres_schema.admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO locked")
    assert open_store(url).get("x") == b"1"
    assert_one_error(url, StoreReadOnly, "may not be written")
    postgres_schema.admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO locked")
    for data in (LARGE, b"2"):
        open_store(url).put("a.record.json", data)
    assert open_store(url).delete("a.record.json")
    read_only = open_store(f"{postgres_schema.url}&options=-c%20default_transaction_read_only%3Don")
    assert read_only.get("x") == b"1"
    with pytest.raises(StoreReadOnly):
        read_only.put("x", b"2")


def test_a_table_of_somebody_else_is_left_alone(postgres_schema: Schema) -> None:
    postgres_schema.admin.execute(f"CREATE TABLE {postgres_schema.name}.persistable (path text PRIMARY KEY, price int)")
    assert_one_error(postgres_schema.url, StoreError, "is not one of a store", "?table=")
    with pytest.raises(StoreError, match="is not one of a store"):
        list(open_store(postgres_schema.url).list())


def test_only_the_latest_deletions_are_remembered(store: PostgresStore, postgres_schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has looked since the last that was forgotten is told what is gone; whoever has not gets all that there is."""
    monkeypatch.setattr("persistable.stores.postgres.store.KEPT", 3)
    monkeypatch.setattr("persistable.stores.postgres.store.PRUNED_EVERY", 0)
    paths = [f"a/{n:032x}.record.json" for n in range(9)]
    store.put_many(dict.fromkeys(paths, b"{}"))

    def look(token: str | None) -> Changes:
        changes = store.record_changes([token])
        assert changes is not None
        return changes

    first = look(None).token
    for path in paths[:4]:
        store.delete(path)
    later = look(first)
    assert later.is_whole and {path for path, _ in later.there} == set(paths[4:]) and not later.gone
    store.change_many(delete=paths[4:6])
    assert sorted(look(later.token).gone) == paths[4:6] and not look(later.token).is_whole
    assert len(postgres_schema.rows("persistable_deleted")) == 3 + 1


def test_a_full_disk(postgres_schema: Schema, tmp_path: Path) -> None:
    server = postgres_schema.server
    place = server._folder / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, check=False)
    if done.returncode:
        absent("this user may not mount a file system")
    try:
        subprocess.run(["chown", "postgres", str(place)], check=False)
        postgres_schema.admin.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        store = open_store(f"{postgres_schema.url}&options=-c%20default_tablespace%3Dsmall")
        store.put("a", b"1")
        for write in (lambda: store.put("x", LARGE), lambda: store.put_many({f"x/{n}": LARGE[:1_000_000] for n in range(9)})):
            with pytest.raises(StoreFull, match="free some space on the server"):
                write()
        with pytest.raises(StoreFull), store.write("x") as file:
            file.write(LARGE)
        assert {path: store.get(path) for path in store.list()} == {"a": b"1"}
        assert postgres_schema.rows("persistable_chunks") == []
    finally:
        for table in ("", "_chunks", "_deleted"):
            postgres_schema.admin.execute(f"DROP TABLE IF EXISTS {postgres_schema.name}.persistable{table} CASCADE")
        postgres_schema.admin.execute("DROP TABLESPACE IF EXISTS small")
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://host/db?colour=red", 'invalid URI query parameter: "colour"'),
        ("postgresql://host/db?table=a;drop", "cannot be its table"),
        ("postgresql://host/db?schema=" + "x" * 60, "cannot be its schema"),
        ("postgresql://me:hunter2/x@host/db", "percent-encode"),
        ("postgresql://me:hunter2@host:port/db", "percent-encode"),
    ],
)
def test_a_wrong_url_is_said_when_it_is_opened(url: str, words: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert words in str(caught.value)
    assert_hidden(caught.value, caught.value.url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://host/db", "postgresql://host/db"),
        ("postgresql://me@h1:1,h2:2/db?target_session_attrs=read-write", "postgresql://me@h1:1,h2:2/db?target_session_attrs=read-write"),
        ("postgresql://h1,h2:5433/db", "postgresql://h1:,h2:5433/db"),
        ("postgresql:///db?host=/var/run/postgresql&table=persistable", "postgresql:///db?host=/var/run/postgresql"),
        ("postgresql://a%40b@[::1]:5432/my%20db?table=r&schema=s", "postgresql://a%40b@[::1]:5432/my%20db?schema=s&table=r"),
    ],
)
def test_its_url_opens_an_equal_store(url: str, shown: str) -> None:
    store = open_store(url)
    assert store.url == shown
    assert open_store(shown) == store
    assert open_store(shown).url == shown


def test_a_namespace_is_a_table_beside_it(postgres_schema: Schema) -> None:
    ann = open_store(postgres_schema.url, namespace="ann")
    ann.put("x", b"1")
    assert not open_store(postgres_schema.url).exists("x")
    assert open_store(f"{postgres_schema.url}&table=persistable.ann").get("x") == b"1"


def test_without_its_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "psycopg" or name.startswith(("psycopg.", "persistable.stores.postgres"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'persistable\[postgres\]'"):
        open_store("postgresql://me:hunter2@host/db")


def test_it_says_what_it_is(store: PostgresStore) -> None:
    assert store.info() == {"store": "PostgresStore", "url": store.url, "exclusive": True, "in_memory": False}
