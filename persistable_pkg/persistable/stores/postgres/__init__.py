"""Bytes at paths in a table of a PostgreSQL database."""
