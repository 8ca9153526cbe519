"""A node back from its record, made again, and compared."""
