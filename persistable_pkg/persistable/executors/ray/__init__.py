"""Executor on Ray."""
