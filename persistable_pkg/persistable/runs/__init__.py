"""Plan and run: which payloads are missing, and the loop that has them generated."""
