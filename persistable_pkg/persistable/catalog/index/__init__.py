"""The index of a store's records: a SQLite file, and its refresh."""
