"""Rebuilding of nodes from records, reproduction of payloads, and comparison."""
