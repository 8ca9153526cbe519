"""`persistable put` and `persistable adopt`: store files as payloads of targets, read and written again, or byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from persistable.catalog.evolve.adoption import format_of
from persistable.cli.options import COMMON, CommonOptions, Flag, TargetArgument
from persistable.cli.output import answer
from persistable.cli.target import CommandContext, resolve_one
from persistable.cli.usage import BadUsage, as_bad_usage
from persistable.nodes.binding import bound_to
from persistable.nodes.types import Node, own_store
from persistable.records.units import size_in_words


def put(target: TargetArgument, file: Path, /, *, common: CommonOptions = COMMON) -> None:
    """Store a file as the payload of a target; its record says that it was put in by hand, and no run replaces it.

    Parameters
    ----------
    target
        A target, or a member of one.
    file
        The file; its suffix tells the format, unless it is one of the target's own.
    """
    here = CommandContext(common)
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


def adopt(file: str, target: TargetArgument, /, *, replace: Flag = False, move: Flag = False, common: CommonOptions = COMMON) -> None:
    """Store a file made elsewhere as the payload of a target, byte for byte; its record says that it was adopted.

    Parameters
    ----------
    file
        A path or URL; its suffix tells the format, unless it is one of the target's own.
    target
        A target, or a member of one.
    replace
        Replace a stored payload.
    move
        Move the file instead of copying it.
    """
    here = CommandContext(common)
    found = resolve_one(here, target)
    if found.node is None:
        raise BadUsage(f"{target} is a key, and what has no payload yet has no record to be found by; name a target or module:object")
    with as_bad_usage(FileNotFoundError):
        entry = here.catalog_of(found.store).adopt(file, cast("Any", found.node), replace=replace, move=move)
    facts = {"key": str(entry.key), "size": entry.size, "made": entry.made}
    answer(common.json, facts, f"adopted {entry.key} ({size_in_words(entry.size or 0)})")
