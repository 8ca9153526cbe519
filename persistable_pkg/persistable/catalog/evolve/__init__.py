"""Names and params renamed, files adopted, earlier folders imported."""
