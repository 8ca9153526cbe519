"""The command line: a thin shell over projects, families and stores. Only `__main__` imports it."""
