"""Cleanup of stores: collections, the trash, pins, verification, savings."""
