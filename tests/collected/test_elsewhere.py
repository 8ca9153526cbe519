"""Items that workers of clusters make, and one node of each, as on this machine."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from store_kinds import each_store
from tests.collected import consumers, flows
from tests.collected.flows import length, letters, made

from persistable import Status, events, run
from persistable.executors import Executor
from persistable.stores import Store

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True, scope="module")
def by_value() -> Iterator[None]:
    """Workers cannot import the modules of the tests."""
    modules: list[Any] = [sys.modules[__name__], flows, consumers]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


store = each_store("folder", "sqlite")


def test_items_are_made_followed_by_their_nodes_and_kept_after_a_failure(cluster: Executor, store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    heard: list[events.Event] = []
    node = letters.step("abcdef", log=str(log), fail_at="e")
    lengths = length.over(node.members)
    failed = run(lengths, executor=cluster, errors="return", hooks=[heard.append])
    assert [failure.key for failure in failed.failures] == [node.key] and failed.counts["done"] == 4, "what is there is worked on"
    assert len([event for event in heard if isinstance(event, events.RunFinished)]) == 1
    Path(f"{log}.mended").touch()
    assert run(lengths, executor=cluster).counts["done"] == 1 + 2
    assert made(log) == ["0-a", "1-b", "2-c", "3-d", "4-e", "5-f"], "no item was made twice"
    assert node.status is Status.DONE and node.load().payload["2-c"] == ["c", "c"]
    assert [member.payload for member in lengths.nodes] == [0, 1, 2, 3, 4, 5]
    assert consumers.joined.step(node).run(executor=cluster).counts["done"] == 1
    assert consumers.joined.step(node).payload.endswith("bccdddeeeefffff")
