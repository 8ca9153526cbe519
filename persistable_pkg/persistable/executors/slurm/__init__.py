"""Executor on a Slurm cluster."""
