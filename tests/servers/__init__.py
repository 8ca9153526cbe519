"""Real servers for the tests: started on loopback when first asked for, stopped at the end."""
