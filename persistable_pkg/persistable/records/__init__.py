"""What a store holds under a key: records, files, claims and items."""
