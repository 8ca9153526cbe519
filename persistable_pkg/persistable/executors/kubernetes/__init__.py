"""Executor on Kubernetes."""
