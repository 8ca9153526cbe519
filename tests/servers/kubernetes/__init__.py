"""A real Kubernetes of one node, started by the tests that are marked `cluster`."""
