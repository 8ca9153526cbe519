"""`Persistable`, steps and ready-made nodes: what makes a payload, and how it is generated, loaded and judged."""
