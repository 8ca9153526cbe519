"""`Persistable`, steps and ready-made nodes: the identity, generation, loading and status of payloads."""
