"""Content of a store under one key: record, files, claim and items."""
