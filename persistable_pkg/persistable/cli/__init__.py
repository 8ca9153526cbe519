"""The command line: a thin shell over projects, families and stores. Nothing imports it."""
