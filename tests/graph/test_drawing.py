"""What of a lineage is drawn: everything, like nodes together, or the nearest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.graph.shapes import Passing, chain, diamond, ladder, node, pipeline

from persistable.graph import Edge, lineage
from persistable.stores import LocalStore


def boxes(text: str) -> int:
    return sum(line.strip().startswith("n") and "-->" not in line and "-.->" not in line for line in text.splitlines())


def test_a_graph_is_the_nodes_upstream_first_and_the_roles_between_them() -> None:
    top = diamond()
    left, right = top.upstream.values()
    (source,) = left.upstream.values()
    graph = lineage(top)
    assert [member.key.name for member in graph.nodes] == ["source", "left", "right", "join"]
    assert graph.edges == (
        Edge(source.key, "above.0", left.key),
        Edge(source.key, "above.0", right.key),
        Edge(left.key, "above.0", top.key),
        Edge(right.key, "above.1", top.key),
    )
    assert graph.targets == (top,) and len(graph) == 4
    assert repr(graph) == "<Graph of 4 nodes and 4 edges, for join>"


def test_the_same_node_twice_is_drawn_once() -> None:
    top = diamond()
    assert len(lineage(top, diamond(), *top.upstream.values())) == 4


def test_without_nodes_the_graph_is_empty_and_still_draws() -> None:
    graph = lineage()
    assert graph.mermaid() == "flowchart LR\n" and graph.text() == ""
    assert "digraph" in graph.dot() and graph.svg().endswith("</svg>")


def test_up_to_collapse_every_node_has_a_box_and_above_it_like_ones_share_one() -> None:
    top = pipeline(params=3)
    everything = lineage(top)
    assert len(everything) == 3 * (1 + 3 * 5 + 1) + 1
    assert boxes(everything.mermaid()) == len(everything)
    stacked = lineage(top, collapse=len(everything) - 1)
    assert boxes(stacked.mermaid()) == 3 * 7 + 1  # the three sources have names of their own
    assert stacked.mermaid().count("\xd7 3") == 3 * 6  # five stages, and the roles of what is joined


def test_a_pipeline_of_300_nodes_is_a_picture_of_its_stages() -> None:
    graph = lineage(pipeline())
    assert len(graph) == 307
    text = graph.text()
    assert "read \xd7 20" in text and "check \xd7 20 [not persisted]" in text and "above \xd7 20" in text
    assert boxes(graph.mermaid()) == 22


def test_nodes_of_one_name_are_not_alike_if_what_they_are_made_from_is_not() -> None:
    one, other = node("points", n=1), node("lines", n=1)
    top = node("report", *(node("fit", source, n=n) for source in (one, other) for n in range(40)))
    text = lineage(top, collapse=10).text()
    assert text.count("fit \xd7 40") == 2


def test_a_persisted_and_an_unpersisted_node_of_one_name_are_not_alike() -> None:
    top = node("report", *(node("fit", n=n, cls=Passing if n % 2 else node("x").__class__) for n in range(40)))
    text = lineage(top, collapse=10).text()
    assert text.count("fit \xd7 20") == 2 and text.count("not persisted") == 1


def test_a_target_is_not_hidden_among_like_nodes() -> None:
    fits = [node("fit", n=n) for n in range(40)]
    text = lineage(node("report", *fits), fits[7], collapse=10).text()
    assert "fit \xd7 39" in text and "fit n=7" in text


def test_without_collapse_nothing_is_put_together() -> None:
    assert boxes(lineage(pipeline(params=10), collapse=None).mermaid()) == 157


def test_what_exceeds_max_nodes_is_counted_in_one_box() -> None:
    graph = lineage(chain(50), collapse=None, max_nodes=10)
    text = graph.text()
    assert text.splitlines()[0].startswith("link n=48") and text.splitlines()[-1].strip() == "… 40 more"
    assert boxes(graph.mermaid()) == 11 and graph.mermaid().count("-.->") == 1
    assert "40 nodes farther upstream are not drawn" in graph.svg()


def test_a_node_over_very_many_different_ones_draws_the_first() -> None:
    graph = lineage(node("all", *(node(f"part{n}") for n in range(1000))))
    assert boxes(graph.mermaid()) == 301 and "701 more" in graph.mermaid()
    assert len(graph.svg()) < 200_000


def test_so_many_arrows_that_nothing_could_be_seen_are_not_drawn() -> None:
    layer = [node(f"first{n}") for n in range(30)]
    for depth in range(3):
        layer = [node(f"layer{depth}_{n}", *layer) for n in range(30)]
    graph = lineage(node("top", *layer), collapse=None)
    assert len(graph.edges) == 3 * 900 + 30
    arrows = graph.mermaid().count("-->|")
    assert 350 < arrows <= 400 and "more" in graph.text()
    assert len(graph.svg()) < 200_000


def test_a_thicket_is_drawn_with_straight_lines_without_roles() -> None:
    members = [node("n0")]
    for number in range(1, 28):
        members.append(node(f"n{number}", *members))
    graph = lineage(members[-1], collapse=None)
    assert len(graph.edges) == 27 * 28 / 2
    svg = graph.svg()
    assert "above." in graph.mermaid() and ">above." not in svg and svg.count("<title>n") == 28 and len(svg) < 200_000


def test_a_chain_of_ten_thousand_nodes_becomes_a_few_boxes() -> None:
    graph = lineage(chain(10_000))
    assert len(graph) == 10_000
    assert boxes(graph.mermaid()) == 4 and "link \xd7 9,997" in graph.text()
    assert "<svg" in graph.svg() and "digraph" in graph.dot()
    assert "9,700 more" in lineage(chain(10_000), collapse=None).text()


def test_a_long_ladder_stays_a_ladder_while_it_can_be_drawn() -> None:
    assert boxes(lineage(ladder(20)).mermaid()) == 61


def test_the_outline_names_a_node_met_again_without_following_it() -> None:
    assert lineage(diamond()).text().splitlines() == [
        "join n=4, text=''",
        "  above.0: left n=2, text=''",
        "    above.0: source n=1, text=''",
        "  above.1: right n=3, text=''",
        "    above.0: source n=1, text='', see above",
    ]


def test_a_role_is_written_only_where_it_is_not_the_name() -> None:
    class Fit(Passing):
        points: Passing
        start: Passing

    top = Fit(points=node("points", cls=Passing), start=node("zeros", cls=Passing))
    assert '|"start"|' in lineage(top).mermaid() and '|"points"|' not in lineage(top).mermaid()
    assert [edge.role for edge in lineage(top).edges] == ["points", "start"]


def test_the_same_graph_gives_the_same_text_also_in_another_process(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "from tests.graph.shapes import *; from persistable.graph import lineage\n"
        "import hashlib\n"
        "for graph in (lineage(pipeline()), lineage(ladder(5), direction='TB')):\n"
        "    texts = graph.mermaid() + graph.dot() + graph.svg() + graph.text()\n"
        "    print(hashlib.sha256(texts.encode()).hexdigest())\n"
    )
    root = Path(__file__).parents[2]
    path = f"{root}:{root / 'persistable_pkg'}"
    printed = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": path, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert printed[0] == printed[1] and len(printed[0].split()) == 2


@pytest.mark.parametrize("thing", [3, [node("a")], Passing.over(n=[1, 2])])
def test_what_is_no_node_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match="lineage\\(\\) draws nodes, and was given"):
        lineage(thing)


@pytest.mark.parametrize(
    "wrong", [{"direction": "up"}, {"max_nodes": 0}, {"collapse": -1}, {"colours": {"done": "red"}}, {"colours": {"x": '#123456"'}}]
)
def test_options_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) if "colours" not in wrong else "colour"):
        lineage(diamond(), **wrong)  # type: ignore[arg-type]


def test_pictures_load_no_payload_and_write_nothing(tmp_path: Path) -> None:
    graph = lineage(diamond(LocalStore(tmp_path / "data")), status=True)
    assert graph.svg() and graph.mermaid() and not list(tmp_path.rglob("*.record.json"))
