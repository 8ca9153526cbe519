"""One cluster for all tests of `RayExecutor`."""

from servers.ray_cluster import ray_cluster

__all__ = ["ray_cluster"]
