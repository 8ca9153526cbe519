"""The index of a store's records: a SQLite file, and how it is brought up to date."""
