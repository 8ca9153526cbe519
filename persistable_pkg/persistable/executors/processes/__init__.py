"""Executor on worker processes of this machine."""
