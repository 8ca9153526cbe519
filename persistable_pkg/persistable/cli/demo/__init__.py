"""The main job on real data: a table of tumours, features, a model, its metrics and a figure, each a persistable.

Run it with ``python -m persistable.cli.demo [folder]``; it needs ``pip install persistable[demo]``. The code in `flow` is written as a
user of the library would write it, and is meant to be read.
"""
