"""Find, reproduce, verify, clean up and share stored payloads, by means of their records."""
