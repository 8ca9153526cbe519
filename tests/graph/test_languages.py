"""Mermaid, DOT and SVG, each read back by a parser of its language, whatever stands in names, roles and params."""

from __future__ import annotations

import re
import sys
import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.graph.shapes import STORE, Node, Passing, diamond, ladder, node, pipeline
from tests.servers.needs import need

from persistable import Persistable
from persistable.errors import MissingExtra
from persistable.graph import lineage

NASTY = [
    'say "hi"',
    "<script>alert(1)</script>",
    "</title></svg>",
    "a\nb\r\n\tc",
    "]]>",
    "]) --> n9",
    "%%{init: {}}%%",
    "`code` #quot; #59;",
    "&lt;&amp;&",
    "\\N \\G \\",
    "}; n7 [label=x",
    "1. one",
    "- item",
    "_emphasis_ *strong*",
    "日本語 ünï 🚀",
    "\x00\x07\x1b[31m",
    "half \ud800 pair",
    "{{x}} | ~ ^ $x$ @",
    "end",
    "javascript:alert(1)",
]
NAMES = ["O'Neil & sons", "a]b", "x; y {z}", "#35; `q`", "日本語", "1. first", "_x_", "end", "graph", "a)b(c"]


@dataclass
class Holding:
    value: Any = None


def nasty(text: str) -> Node:
    """A node over one whose params hold `text`; half a surrogate pair can be no param, so it stands in one that is not tracked."""
    try:
        return node("top", node("source", text=text))
    except (ValueError, UnicodeError):
        return node("top", node("source", text=repr(text)))


def drawn(svg: str) -> ET.Element:
    root = ET.fromstring(svg)
    assert not [
        element for element in root.iter() if element.tag.rpartition("}")[2] not in {"svg", "g", "path", "rect", "text", "title", "style"}
    ]
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name]
    return root


def titles(svg: str) -> list[str]:
    return [element.text or "" for element in drawn(svg).iter("{http://www.w3.org/2000/svg}title")]


GRAMMAR = re.compile(
    r"""flowchart\ (LR|TB)
    | \ \ n\d+(\(|\[\[|\(\[|\{\{|>)"[\w\ .,:=+\xd7…/()<>\#;-]*"(\)|\]\]|\]\)|\}\}|\])
    | \ \ n\d+\ (-->|-\.->)(\|"[\w\ .,:=+\xd7…/()\#;-]*"\|)?\ n\d+
    | \ \ classDef\ \w+\ (fill:\#[0-9a-f]{8},stroke:\#[0-9a-f]{6}|stroke-width:3px)
    | \ \ class\ n\d+(,n\d+)*\ \w+""",
    re.VERBOSE,
)


def rendered(mermaid: str) -> str:
    """What Mermaid itself makes of a flowchart: all text in it."""
    need("mermaidx")
    import mermaidx

    for line in mermaid.splitlines():
        assert GRAMMAR.fullmatch(line), line
        assert set(re.findall(r"<[^>]*>", line)) <= {"<br/>"}
    svg = mermaidx.render(mermaid).svg()
    root = ET.fromstring(svg if isinstance(svg, str) else svg.decode())
    texts = [(element.text or "", element.tail or "") for element in root.iter() if not element.tag.endswith("}style")]
    return re.sub(r"\s+", " ", " ".join(text for pair in texts for text in pair))


def parsed(dot: str) -> Any:
    need("pygraphviz")
    import pygraphviz

    return pygraphviz.AGraph(string=dot)


@pytest.mark.parametrize("text", NASTY)
def test_params_may_hold_anything(text: str) -> None:
    top = nasty(text)
    (source,) = top.upstream.values()
    graph = lineage(top, status={top.key: text})
    assert [title.split("\n")[0] for title in titles(graph.svg())] == [str(source.key), str(top.key)]
    read = parsed(graph.dot())
    assert sorted(read.nodes()) == ["n0", "n1"] and read.number_of_edges() == 1
    assert graph.text().count("\n") == 2 and "\x1b" not in graph.text()
    assert "<script" not in graph.html() and "\x00" not in graph.html()


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_in_every_picture_as_they_are(name: str) -> None:
    graph = lineage(node("top", node(name)))
    assert [element.text for element in drawn(graph.svg()).iter("{http://www.w3.org/2000/svg}text")][1] == name
    read = parsed(graph.dot())
    assert read.get_node("n0").attr["label"].split("\\n")[0] == name.replace("&", "&amp;")


def test_mermaid_itself_draws_whatever_stands_in_names_and_params() -> None:
    sources = [nasty(text).upstream["above.0"] for text in NASTY] + [node(name) for name in NAMES]
    text = rendered(lineage(node("top", *sources)).mermaid())
    assert all(name in text for name in NAMES)
    for start in ("'<script>alert", "'say \"hi\"'", "']) --> n9'", "'%%{init: {}}%%'", "'`code` #quot;", "'&lt;&amp;&'", "'_emphasis_"):
        assert start in text


def test_roles_may_be_any_key_of_a_dict() -> None:
    class Over(Node):
        parts: dict[str, Node] | None = None

    graph = lineage(Over(params=None, parts={'a "]<b>|': node("one"), "c": node("two")}))
    assert [edge.role for edge in graph.edges] == ['parts.a "]<b>|', "parts.c"]
    texts = [element.text for element in drawn(graph.svg()).iter("{http://www.w3.org/2000/svg}text")]
    assert 'parts.a "]<b>|' in texts
    read = parsed(graph.dot())
    assert {edge.attr["label"] for edge in read.edges()} == {'parts.a "]<b>|', "parts.c"}
    assert 'parts.a "]<b>|' in rendered(graph.mermaid())


def test_backslashes_and_quotes_come_back_from_dot() -> None:
    need("pygraphviz")
    top = node("top", text='\\"\\N')
    read = parsed(lineage(top).dot())
    picture = read.draw(format="svg", prog="dot").decode()
    shown = [element.text for element in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert repr('\\"\\N') in " ".join(text or "" for text in shown)


@pytest.mark.parametrize("direction", ["LR", "TB"])
def test_every_node_and_arrow_is_in_each_language(direction: Any) -> None:
    graph = lineage(diamond(), direction=direction)
    root = drawn(graph.svg())
    keys = [str(member.key) for member in graph.nodes]
    assert [title.split("\n")[0] for title in titles(graph.svg())] == keys
    assert len([element for element in root.iter() if element.tag.endswith("}path") and "c" in element.attrib["d"]]) == 4
    read = parsed(graph.dot())
    assert read.graph_attr["rankdir"] == direction and len(read.edges()) == 4
    assert [read.get_node(f"n{number}").attr["tooltip"].split("\\n")[0] for number in range(4)] == keys
    assert graph.mermaid().startswith(f"flowchart {direction}\n") and graph.mermaid().count("-->") == 4
    text = rendered(graph.mermaid())
    assert all(member.key.name in text for member in graph.nodes)


def centres(svg: str) -> dict[str, tuple[float, float]]:
    """Where the box of each node lies, by payload name and digest."""
    found: dict[str, tuple[float, float]] = {}
    for group in drawn(svg).iter("{http://www.w3.org/2000/svg}g"):
        title, rect = group.find("{*}title"), group.find("{*}rect")
        if title is not None and rect is not None and title.text:
            x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            found[title.text.split("\n")[0]] = (x + width / 2, y + height / 2)
    return found


@pytest.mark.parametrize("make", [diamond, lambda: ladder(20), lambda: pipeline(params=16)])
def test_upstream_lies_before_downstream_and_no_box_on_another(make: Any) -> None:
    graph = lineage(make(), collapse=None)
    places = centres(graph.svg())
    assert len(places) == len(graph.nodes)
    for edge in graph.edges:
        assert places[str(edge.source)][0] + 72 <= places[str(edge.target)][0]
    columns: dict[int, list[float]] = {}
    for x, y in places.values():
        columns.setdefault(round(x / 10), []).append(y)
    for column in columns.values():
        column.sort()
        assert all(lower - upper >= 38 for upper, lower in pairwise(column))


def test_300_nodes_drawn_one_by_one_are_a_small_file_and_mermaid_takes_them() -> None:
    graph = lineage(pipeline(stages=("read", "clean", "fit"), params=24), collapse=None)
    assert len(graph) == 295
    assert len(titles(graph.svg())) == 295 and len(graph.svg().encode()) < 200_000
    assert len(graph.mermaid()) < 50_000 and graph.mermaid().count("-->") <= 500  # Mermaid's own limits
    assert len(parsed(graph.dot()).nodes()) == 295


def test_what_is_not_persisted_has_a_shape_of_its_own() -> None:
    graph = lineage(node("kept", node("passing", cls=Passing)))
    assert 'n0(["passing' in graph.mermaid() and 'n1("kept' in graph.mermaid()
    read = parsed(graph.dot())
    assert read.get_node("n0").attr["shape"] == "ellipse" and not read.get_node("n1").attr["shape"].startswith("ell")
    passing, kept = drawn(graph.svg()).iter("{http://www.w3.org/2000/svg}rect")
    assert passing.attrib["rx"] != kept.attrib["rx"] and "stroke-dasharray" in passing.attrib and "stroke-dasharray" not in kept.attrib
    assert "not persisted" in titles(graph.svg())[0] and "not persisted" not in titles(graph.svg())[1]


def test_the_picture_is_readable_on_light_and_dark_pages() -> None:
    graph = lineage(diamond(), status=True)
    alone, inline = graph.svg(), graph.html()
    assert "prefers-color-scheme:dark" in alone and "<style" not in inline  # a page decides its own colours
    for text in (alone, inline):
        assert 'fill="currentColor"' in text and not re.search(r'(fill|stroke)="(white|black|#fff|#000)', text)


def test_a_value_that_cannot_show_itself_is_shown_by_its_type() -> None:
    @dataclass(repr=False)
    class Shy:
        x: int = 1

        def __repr__(self) -> str:
            raise RuntimeError("no")

    class Bold(Persistable[Any, Holding]):
        pass

    top = Bold(STORE, Holding(Shy()))
    assert "value=<Shy>" in lineage(top).text()


def test_params_that_were_changed_into_what_cannot_be_tracked_do_not_stop_a_picture() -> None:
    top = node("top")
    top.params.text = object()  # type: ignore[assignment]
    assert lineage(top).text().startswith("top n=0, text=<object") and str(top.key) in lineage(top).svg()


def test_drawing_is_quiet_and_the_same_from_several_threads(capfd: pytest.CaptureFixture[str]) -> None:
    graph = lineage(pipeline(params=5), collapse=None)
    expected, found = graph.svg(), []
    threads = [threading.Thread(target=lambda: found.append(graph.svg())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected] * 4
    assert capfd.readouterr() == ("", "")


def test_without_the_extra_only_svg_is_an_error_and_a_notebook_shows_an_outline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    top = node("top", node("a & b"))
    graph = lineage(top)
    with pytest.raises(MissingExtra, match=r"pip install 'persistable\[graph\]'") as raised:
        graph.svg()
    assert raised.value.extra == "graph" and raised.value.package == "pygraphviz"
    for html in (graph._repr_html_(), top._repr_html_()):
        assert "<pre" in html and "a &amp; b" in html and "persistable[graph]" in html and "<svg" not in html
    assert graph.mermaid() and graph.dot() and graph.text()


def test_a_notebook_shows_the_picture_inside_what_it_shows_of_a_node() -> None:
    top = diamond()
    html = top._repr_html_()
    root = ET.fromstring(html)
    assert root.find(".//{http://www.w3.org/2000/svg}svg") is not None
    assert str(top.key) in html and html.count("<title>") == 4 and "<script" not in html


def test_the_largest_picture_of_irregular_nodes_stays_small() -> None:
    members: list[Any] = []
    for number in range(300):
        above = [members[number * factor // 7] for factor in (1, 3, 5)] if number > 6 and number % 6 == 0 else members[-1:]
        members.append(node(f"irregular_step_number_{number}", *above, n=number, text="some words " * 20))
    graph = lineage(*members, collapse=None, status={member.key: "done" for member in members})
    assert len(titles(graph.svg())) == 300
    assert len(graph.svg().encode()) < 200_000 and len(graph.mermaid()) < 50_000
