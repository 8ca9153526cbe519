"""Cleaning up: collections, the trash, pins, verification, savings."""
