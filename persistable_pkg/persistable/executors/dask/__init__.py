"""Executor on Dask."""
