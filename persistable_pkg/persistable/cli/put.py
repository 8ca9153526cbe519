"""`persistable put`: a file becomes the payload of a target, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from persistable.catalog.evolve.adoption import format_of
from persistable.cli.options import COMMON, Common, Word
from persistable.cli.output import answer
from persistable.cli.target import Here
from persistable.cli.usage import BadUsage
from persistable.nodes.binding import bound_to
from persistable.nodes.types import Node, own_store
from persistable.records.amounts import size_in_words


def put(target: Word, file: Path, /, *, common: Common = COMMON) -> None:
    """Store a file as the payload of a target; its record says that it was put in by hand, and nothing generates it again by itself.

    Parameters
    ----------
    target
        A target, or a member of one.
    file
        The file; its suffix tells the format, unless it is one of the target's own.
    """
    here = Here(common)
    found = here.find(target)
    if not found.is_node:
        raise BadUsage(f"{target} is no single target; name one, such as {target.partition('[')[0]}[label]")
    node = cast("Node", found.target)
    if node.is_external or not node.is_persisted:
        raise BadUsage(f"{target} is {'an input from elsewhere' if node.is_external else 'not persisted'}, so nothing can be put there")
    if not file.exists():
        raise BadUsage(f"there is no file {file}")
    payload = format_of(node, file.name, file.is_dir()).load(file)
    project = here.project
    held = (
        project.put(target, payload)
        if project is not None and target in project.targets
        else bound_to(node, own_store(node) or here.store).put(payload)
    )
    record = held.record
    assert record is not None
    answer(common.json, {"key": str(held.key), "size": record.size, "made": record.made}, f"put {held.key} ({size_in_words(record.size)})")
