"""`persistable graph`: draw the lineage of targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from persistable.cli.options import COMMON, CommonOptions, TargetArgument
from persistable.cli.output import on_terminal, write, write_bytes, write_json
from persistable.cli.target import CommandContext
from persistable.cli.usage import BadUsage

if TYPE_CHECKING:
    from persistable.graph import Graph

Format = Literal["text", "svg", "png", "mermaid", "dot"]
_SUFFIXES: dict[str, Format] = {
    ".txt": "text",
    ".svg": "svg",
    ".png": "png",
    ".mmd": "mermaid",
    ".md": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
}


def graph(
    *targets: TargetArgument,
    format: Format | None = None,  # noqa: A002 - the word of the command line
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    common: CommonOptions = COMMON,
) -> None:
    """Draw the lineage of targets, each node in the colour of its state. Without targets, all of the project.

    Parameters
    ----------
    targets
        Targets, stages, members of targets, module:object, or keys.
    format
        By default that of the suffix of the file, else an outline in text.
    output
        The file to write; by default standard output.
    """
    from persistable.graph import lineage

    here = CommandContext(common)
    names = targets or tuple(here.needed_project().targets)
    found = [here.find(name) for name in names]
    nodes = [node for node, _ in here.pairs(*(each.target if each.place is None else here.node_at(each.place) for each in found))]
    picture = lineage(*nodes, status=True, store=here.store)
    if common.json:
        edges = [{"source": str(edge.source), "role": edge.role, "target": str(edge.target)} for edge in picture.edges]
        rows = [{"key": str(node.key), "name": node.payload_name, "status": picture.statuses.get(node.key)} for node in picture.nodes]
        write_json({"nodes": rows, "edges": edges})
        return
    _write(_drawn(picture, format or _by_suffix(output)), output)


def _by_suffix(output: Path | None) -> Format:
    if output is None:
        return "text"
    found = _SUFFIXES.get(output.suffix.lower())
    if found is None:
        raise BadUsage(f"{output}: no picture has the suffix {output.suffix!r}; use {', '.join(_SUFFIXES)}, or say --format")
    return found


def _drawn(picture: Graph, kind: Format) -> str | bytes:
    if kind == "png":
        return _png(picture)
    return {"text": picture.text, "svg": picture.svg, "mermaid": picture.mermaid, "dot": picture.dot}[kind]()


def _png(picture: Graph) -> bytes:
    from persistable.errors import need

    drawn = need("pygraphviz", "pygraphviz", "graph", "drawing a PNG").AGraph(string=picture.dot())
    try:
        drawn.graph_attr.update(bgcolor="white", dpi="144")
        made: bytes = drawn.draw(format="png", prog="dot")
        return made
    finally:
        drawn.close()


def _write(drawn: str | bytes, output: Path | None) -> None:
    if output is not None:
        try:
            output.write_bytes(drawn if isinstance(drawn, bytes) else drawn.encode())
        except OSError as error:
            raise BadUsage(f"--output {output}: {error.strerror or error}") from error
    elif isinstance(drawn, str):
        write(drawn.rstrip("\n"))
    elif on_terminal():
        raise BadUsage("a PNG is nothing to show in a terminal; name a file with -o")
    else:
        write_bytes([drawn])
