"""Events: who hears what, and that no listener can do harm."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from nodes.test_persistable import Points
from persistable import events
from persistable.errors import PersistableWarning
from persistable.records.key import Key

KEY = Key("points", "0" * 32)


def test_a_hook_hears_what_happens_in_order(tmp_path: Path) -> None:
    heard: list[events.Event] = []
    with events.subscribe(heard.append):
        Points(tmp_path, n=3).generate()
        Points(tmp_path, n=3).load()
    Points(tmp_path, n=3).load()
    assert [type(event) for event in heard] == [events.Started, events.Persisted, events.Loaded]
    assert all(event.key == Points(tmp_path, n=3).key for event in heard)


def test_progress_and_failure_are_heard(tmp_path: Path) -> None:
    class Half(Points):
        def _generate_payload(self, **_: Any) -> Any:
            self.progress(1, 2)
            raise ValueError("enough")

    heard: list[events.Event] = []
    with events.subscribe(heard.append), pytest.raises(ValueError, match="enough"):
        Half(tmp_path, n=3).generate()
    _, progressed, failed = heard
    assert isinstance(progressed, events.Progressed) and (progressed.done, progressed.total) == (1, 2)
    assert isinstance(failed, events.Failed) and failed.error == "ValueError: enough" and failed.attempt == 1


def test_a_failing_hook_is_reported_once_and_harms_nothing(tmp_path: Path) -> None:
    def broken(event: events.Event) -> None:
        raise RuntimeError("not today")

    heard: list[events.Event] = []
    with events.subscribe(broken), events.subscribe(heard.append):
        with pytest.warns(PersistableWarning, match="not today") as caught:
            Points(tmp_path, n=3).generate()
        assert len(Points(tmp_path, n=3).load().payload) == 3
    assert len([each for each in caught if issubclass(each.category, PersistableWarning)]) == 1 and len(heard) == 3


def test_events_are_facts() -> None:
    event = events.Loaded(key=KEY, size=3, seconds=0.5)
    assert event == events.Loaded(key=KEY, size=3, seconds=0.5) != events.Persisted(key=KEY, size=3, seconds=0.5)
    assert pickle.loads(pickle.dumps(event)) == event and hash(event) == hash(pickle.loads(pickle.dumps(event)))
    assert repr(event) == f"Loaded(key={KEY!r}, seconds=0.5, size=3)"
    with pytest.raises(AttributeError):
        event.size = 4  # type: ignore[misc]
    with pytest.raises(TypeError, match="takes key, seconds, size"):
        events.Loaded(key=KEY)  # type: ignore[call-arg]


def test_events_are_logged_where_the_application_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="persistable"):
        Points(tmp_path, n=3).generate()
    assert [record.message.split()[0] for record in caplog.records] == ["Started", "Persisted"]
    mine = logging.getLogger("mine")
    with caplog.at_level(logging.DEBUG, logger="mine"):
        Points(tmp_path, n=3, logger=mine).load()
    assert caplog.records[-1].name == "mine"
