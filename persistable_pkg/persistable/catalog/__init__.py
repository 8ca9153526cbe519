"""Find, reproduce, verify, clean up and share what stores hold: everything that is read from records."""
