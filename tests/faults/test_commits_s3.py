"""Commits to a bucket behind a connection that drops requests, loses answers after the server has obeyed, or is slow when Ctrl-C comes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from servers.fixtures import Bucket
from servers.lossy import Way, lossy

from persistable import Persistable, open_store
from persistable.errors import PayloadNotFound

pytestmark = pytest.mark.filterwarnings("ignore")
made = {"value": 0}


class Plain(Persistable[Any, None]):
    def _generate_payload(self, **_: Any) -> Any:
        return made["value"]


class Many(Persistable[Any, None]):
    def _generate_payload(self, **_: Any) -> Any:
        for number in range(2):
            yield number, made["value"]


ACTS: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
    "generate": (Plain, lambda node: node.generate()),
    "put": (Plain, lambda node: node.put(1)),
    "items": (Many, lambda node: node.generate()),
    "delete": (Plain, lambda node: node.delete()),
}


class Fault:
    """What happens to the request number `at`, and, where it is `stays`, to all of that method and path after it."""

    def __init__(self, kind: str, at: int) -> None:
        self.kind, self.at = kind, at
        self.number = 0
        self.hit: tuple[str, str] | None = None
        self.over = threading.Event()
        self._lock = threading.Lock()

    def _is_hit(self, method: str, path: str) -> bool:
        with self._lock:
            number, self.number = self.number, self.number + 1
            if number == self.at:
                self.hit = (method, path)
            return self.hit == (method, path) if self.hit is not None and number >= self.at else False

    def drop(self, method: str, path: str) -> bool:
        return self.kind == "dropped" and self._is_hit(method, path)

    def lose(self, method: str, path: str) -> bool:
        if self.kind == "dropped" or not self._is_hit(method, path):
            return False
        if self.kind == "late":
            if not self.over.is_set():
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.15)
                self.over.set()
            return False
        return True


def loaded(bucket: Bucket, kind: type[Any]) -> Any:
    try:
        payload = kind(open_store(bucket.url, **bucket.options)).load().payload
    except PayloadNotFound:
        return None
    return payload if isinstance(payload, int) else {value for _, value in payload.items()}.pop()


@pytest.mark.parametrize("act", ACTS)
def test_whatever_the_connection_does_what_is_there_is_the_old_payload_or_the_new(
    s3_bucket: Bucket, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    monkeypatch.setattr("persistable.records.commit._PAUSE", 0.01)
    kind, do = ACTS[act]
    made["value"] = 0
    kind(open_store(s3_bucket.url, **s3_bucket.options)).generate()
    before, hits, records = 0, 0, 0
    way: Way
    with lossy(s3_bucket.options["endpoint_url"], lambda *_: False) as way:
        options = {**s3_bucket.options, "endpoint_url": way.endpoint, "config_kwargs": {"retries": {"max_attempts": 1}}}
        through = open_store(s3_bucket.url, **options)
        through.exists("x")
        for fault_kind, offset in (("late", 0), ("lost", 1), ("dropped", 2)):
            step = (3 if fault_kind == "late" else 5) * (3 if act == "items" else 1)
            for at in range(offset, 60, step):
                if act == "delete":
                    kind(open_store(s3_bucket.url, **s3_bucket.options)).put(before)
                made["value"] += act != "items"  # items that are committed are not made again
                fault = Fault(fault_kind, at)
                way.lose, way.drop = fault.lose, fault.drop
                raised: BaseException | None = None
                try:
                    do(kind(through)) if act != "put" else kind(through).put(made["value"])
                    time.sleep(0.01)
                except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001
                    raised = error
                way.lose = way.drop = lambda *_: False
                if fault.hit is None:
                    before = before if act == "delete" else made["value"]
                    break
                if fault_kind == "late":
                    fault.over.wait(5)
                time.sleep(0.3)  # what is still under way arrives
                hits += 1
                records += "record" in fault.hit[1]
                found = loaded(s3_bucket, kind)
                after = None if act == "delete" else made["value"]
                assert found == after or (raised is not None and found == before), (fault_kind, at, fault.hit, raised, found, before)
                before = found if found is not None else 0
    assert hits > 5 and records > 0
    fresh = kind(open_store(s3_bucket.url, **s3_bucket.options))
    begun = time.monotonic()
    made["value"] = 99 if act != "items" else made["value"]
    assert fresh.generate() is fresh and loaded(s3_bucket, kind) == made["value"]
    assert time.monotonic() - begun < 40
