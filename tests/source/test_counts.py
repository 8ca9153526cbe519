"""What a run counts: nodes, and not the inputs beside them."""

from __future__ import annotations

from pathlib import Path

from persistable import Source, plan, run, step
from persistable.events import RunFinished, subscribe


@step
def length(text: str) -> int:
    return len(text)


def test_inputs_are_not_counted_as_reused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.txt").write_text(name * 3)
    lengths = length.over(Source(str(tmp_path / "in" / "{name}.txt")))
    nodes = [lengths[name] for name in lengths]
    assert plan(*nodes, store=tmp_path / "store").counts == {"generate": 2}
    heard: list[RunFinished] = []
    with subscribe(lambda event: heard.append(event) if isinstance(event, RunFinished) else None):
        first, second = run(*nodes, store=tmp_path / "store"), run(*nodes, store=tmp_path / "store")
        family = run(lengths, store=tmp_path / "store")
    assert (first.counts["done"], first.counts["reused"]) == (2, 0)
    assert (second.counts["done"], second.counts["reused"]) == (family.counts["done"], family.counts["reused"]) == (0, 2)
    assert [event.counts["reused"] for event in heard] == [0, 2, 2]
    assert plan(*nodes, store=tmp_path / "store").counts == {"reuse": 2}
