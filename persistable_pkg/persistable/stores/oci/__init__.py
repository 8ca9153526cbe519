"""A store in a container registry: each file an OCI artifact of its own, found by a tag that spells its path."""
