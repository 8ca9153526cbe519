"""Executor on hosts reached by SSH."""
