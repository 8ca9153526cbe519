"""The lines of the benchmark, one file for each small group."""

from harness import Line


def all_lines() -> list[Line]:
    """Every line, in the order of the report."""
    from lines import (
        branches,
        buckets,
        catalog,
        families,
        first_look,
        hit,
        importing,
        keys,
        layers,
        load,
        memory,
        miss,
        nodes,
        page,
        save,
        sharing,
        status,
        tasks,
        tasks_engines,
        tasks_ray,
    )

    return [
        importing.LINE,
        hit.LINE,
        miss.LINE,
        save.LINE,
        *load.LINES,
        *keys.LINES,
        *memory.LINES,
        *families.LINES,
        status.LINE,
        first_look.LINE,
        nodes.LINE,
        *tasks.LINES,
        tasks_ray.LINE,
        *tasks_engines.LINES,
        branches.LINE,
        sharing.LINE,
        *buckets.LINES,
        *layers.LINES,
        *catalog.LINES,
        page.LINE,
    ]


def find_line(name: str) -> Line:
    """The line of that name."""
    return next(line for line in all_lines() if line.name == name)
