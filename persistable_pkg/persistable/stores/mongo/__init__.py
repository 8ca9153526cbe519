"""Bytes at paths in a collection of a MongoDB database."""
