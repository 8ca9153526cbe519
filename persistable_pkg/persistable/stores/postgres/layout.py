"""The tables of a store in PostgreSQL, and the statements about them.

There is one row per path. Bytes are in the row, those of a large item in rows of another table, which a trigger deletes with it. A record
also has the transaction that wrote it, and a deleted one leaves its path and the transaction: so changes are known without a listing.
"""

from __future__ import annotations

from persistable.stores.record_file import FAILED, RECORD

VERSION = "persistable store, layout 1"
"""The comment of a table, which marks it as that of a store."""
CHUNK = 2 << 20
"""Bytes of one row, at most."""
LONGEST = 2000
"""Bytes of a path, at most: an entry of an index must fit a third of a page."""
PRUNED = ""
"""Mark in place of a path among the deleted ones: deletions up to its transaction have been forgotten."""
OLDEST = 130000
"""The first version of the server with all features used here."""


class Layout:
    """The statements for a table. schema: None for that of the search path."""

    def __init__(self, schema: str | None, table: str) -> None:
        self.schema = schema
        self.table = table
        items, chunks, deleted = self._named(""), self._named("_chunks"), self._named("_deleted")
        self.items = items
        row = "ON CONFLICT (path) DO UPDATE SET (size, stamp, changed, data, body) = " + _EXCLUDED
        many = (
            f"INSERT INTO {items} (path, size, stamp, data) SELECT path, octet_length(data), %s::bigint, data "
            "FROM unnest(%s::text[], %b::bytea[]) AS given (path, data) ORDER BY path"  # so that two never deadlock
        )
        large = (
            f"INSERT INTO {items} (path, size, stamp, body) SELECT %s::text, %s::bigint, %s::bigint, %s::bigint "
            f"WHERE (SELECT count(*) FROM {chunks} WHERE body = %s) = %s"  # else a chunk was lost, or removed as one of a killed writer
        )
        self.put_many, self.put_large = f"{many} {row}".encode(), f"{large} {row}".encode()
        self.create_many = f"{many} ON CONFLICT DO NOTHING RETURNING path".encode()
        self.create_large = f"{large} ON CONFLICT DO NOTHING RETURNING path".encode()
        self.mine = f"SELECT path FROM {items} WHERE path = ANY(%s) AND stamp = %s".encode()
        self.get = f"SELECT path, size, data, body FROM {items} WHERE path = ANY(%s)".encode()
        self.stat = f"SELECT path, size, stamp FROM {items} WHERE path = ANY(%s)".encode()
        self.delete = f"DELETE FROM {items} WHERE path = ANY(%s)".encode()
        self.page = f"SELECT path, size, stamp FROM {items} WHERE path > %s AND path < %s ORDER BY path LIMIT %s".encode()
        # "0" follows "/", which follows ".": the range from a base up to base + "0" has all paths that begin with base and "." or "/"
        self.alone = (
            f"SELECT given.path FROM unnest(%s::text[], %s::text[]) AS given (path, base) WHERE NOT EXISTS "
            f"(SELECT FROM {items} AS item WHERE item.path >= given.base AND item.path < given.base || '0' AND item.path <> given.path)"
        ).encode()
        self.add_chunk = f"INSERT INTO {chunks} (body, number, path, data) VALUES (%s, %s, %s, %b) ON CONFLICT DO NOTHING".encode()
        self.chunks = f"SELECT data FROM {chunks} WHERE body = %s AND number >= %s AND number < %s ORDER BY number".encode()
        self.drop_chunks = f"DELETE FROM {chunks} WHERE body = %s".encode()
        self.clear = (
            f"DELETE FROM {chunks} WHERE body IN (SELECT body FROM {chunks} AS chunk WHERE number = 0 AND path >= %s AND path < %s "
            f"AND NOT EXISTS (SELECT FROM {items} AS item WHERE item.path = chunk.path AND item.body = chunk.body))"
        ).encode()
        # the server, its timeline and the table, and the oldest running transaction: later changes are of that or a later one
        self.horizon = (
            f"SELECT system_identifier || ':' || timeline_id || ':' || {literal(items)}::regclass::oid::text, "
            "pg_snapshot_xmin(pg_current_snapshot())::text FROM pg_control_system(), pg_control_checkpoint()"
        ).encode()
        self.changed = f"SELECT path, size, stamp FROM {items} WHERE {_recorded('path')} AND changed >= %s::text::xid8".encode()
        self.gone = f"SELECT path FROM {deleted} WHERE changed >= %s::text::xid8".encode()
        note = literal(PRUNED)
        self.prune = (
            f"WITH oldest AS (SELECT changed FROM {deleted} WHERE path <> {note} ORDER BY changed DESC OFFSET %s LIMIT 1), "
            f"forgotten AS (DELETE FROM {deleted} AS old USING oldest WHERE old.path <> {note} AND old.changed <= oldest.changed) "
            f"INSERT INTO {deleted} AS known (path, changed) SELECT {note}, changed FROM oldest "
            "ON CONFLICT (path) DO UPDATE SET changed = greatest(known.changed, EXCLUDED.changed)"
        ).encode()
        # from the catalog, which is read as it is now; to_regclass() may answer from the cache of a session
        here = f"n.nspname = {literal(schema)}" if schema is not None else "pg_table_is_visible(c.oid)"
        self.look = (
            f"SELECT obj_description(c.oid, 'pg_class') FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            f"WHERE c.relname = {literal(table)} AND {here}"
        ).encode()
        self.make = self._make(items, chunks, deleted)

    def _named(self, ending: str) -> str:
        return f"{quoted(self.schema)}.{quoted(self.table + ending)}" if self.schema is not None else quoted(self.table + ending)

    def _make(self, items: str, chunks: str, deleted: str) -> bytes:
        """Statements that make the tables, to be executed in one transaction."""
        function, recorded = self._named("_changed"), _recorded("OLD.path")
        return f"""
        CREATE TABLE {items} (
          path text COLLATE "C" PRIMARY KEY, size bigint NOT NULL, stamp bigint NOT NULL,
          changed xid8 NOT NULL DEFAULT pg_current_xact_id(), data bytea, body bigint
        );
        CREATE TABLE {chunks} (body bigint, number int, path text COLLATE "C", data bytea NOT NULL, PRIMARY KEY (body, number));
        CREATE TABLE {deleted} (path text COLLATE "C" PRIMARY KEY, changed xid8 NOT NULL);
        ALTER TABLE {items} ALTER COLUMN data SET STORAGE EXTERNAL;
        ALTER TABLE {chunks} ALTER COLUMN data SET STORAGE EXTERNAL;
        CREATE INDEX ON {items} (changed) WHERE {_recorded("path")};
        CREATE INDEX ON {deleted} (changed);
        CREATE INDEX ON {chunks} (path) WHERE number = 0;
        CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $changed$
        BEGIN
          DELETE FROM {chunks} WHERE body = OLD.body;
          IF TG_OP = 'DELETE' AND {recorded} THEN
            INSERT INTO {deleted} (path, changed) VALUES (OLD.path, pg_current_xact_id())
              ON CONFLICT (path) DO UPDATE SET changed = EXCLUDED.changed;
          END IF;
          RETURN NULL;
        END $changed$;
        CREATE TRIGGER replaced AFTER UPDATE ON {items} FOR EACH ROW
          WHEN (OLD.body IS NOT NULL AND OLD.body IS DISTINCT FROM NEW.body) EXECUTE FUNCTION {function}();
        CREATE TRIGGER deleted AFTER DELETE ON {items} FOR EACH ROW
          WHEN (OLD.body IS NOT NULL OR {recorded}) EXECUTE FUNCTION {function}();
        COMMENT ON TABLE {items} IS {literal(VERSION)};
        """.encode()


_EXCLUDED = "(EXCLUDED.size, EXCLUDED.stamp, EXCLUDED.changed, EXCLUDED.data, EXCLUDED.body)"


def _recorded(column: str) -> str:
    """The SQL condition that a path is that of a record or failure."""
    return f"(right({column}, {len(RECORD)}) = {literal(RECORD)} OR right({column}, {len(FAILED)}) = {literal(FAILED)})"


def quoted(name: str) -> str:
    """`name` as a quoted identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a string of SQL."""
    return "'" + text.replace("'", "''") + "'"
