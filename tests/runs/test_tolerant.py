"""Upstream that may fail: optional, or any of several."""

from pathlib import Path
from typing import Any

import pytest

from persistable import any_of, optional, run, step
from persistable.errors import UpstreamFailed


@step
def good(n: int) -> int:
    return n


@step
def bad(n: int, mended: str) -> int:
    if not Path(mended).exists():
        raise ValueError("bad")
    return n


@step
def report(main: int, extra: Any = None) -> tuple[int, Any]:
    return (main, extra)


@pytest.fixture
def mended(tmp_path: Path) -> Path:
    return tmp_path / "mended"


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_an_optional_upstream_gives_way_to_its_default(executor: str, mended: Path) -> None:
    node = report.step(good.step(1), optional(bad.step(2, str(mended)), default="none"))
    result = run(node, executor=executor, errors="return")
    assert result[node].payload == (1, "none")
    assert result.counts["failed"] == 1 and result.counts["skipped"] == 0
    mended.touch()
    assert run(node, executor=executor).counts["reused"] == 1
    node.delete()
    assert run(node, executor=executor)[node].payload == (1, 2)


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_any_of_several_will_do(executor: str, mended: Path) -> None:
    one, other = bad.step(2, str(mended)), good.step(3)
    node = report.step(any_of(one, other))
    assert run(node, executor=executor, errors="return")[node].payload == (3, None)
    none = report.step(any_of(bad.step(4, str(mended)), bad.step(5, str(mended))))
    result = run(none, executor=executor, errors="return")
    assert result.counts == {"done": 0, "reused": 0, "failed": 2, "skipped": 2, "cancelled": 0, "stale": 0}


def test_without_a_run_it_is_the_same(mended: Path) -> None:
    node = report.step(good.step(1), optional(bad.step(2, str(mended)), default="none"))
    assert node.payload == (1, "none")
    assert report.step(any_of(bad.step(2, str(mended)), good.step(3))).payload == (3, None)
    assert optional(bad.step(2, str(mended))).payload is None
    with pytest.raises(UpstreamFailed, match="none of bad/"):
        _ = any_of(bad.step(4, str(mended))).payload
    assert good.step(7).key != optional(good.step(7)).key
