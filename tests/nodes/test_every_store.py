"""The main job, declared once, on every kind of store."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_kinds import each_named_store

from nodes.test_persistable import Outliers, Points, PointsParams
from persistable import Status
from persistable.errors import PayloadCorrupted, PayloadNotFound
from persistable.records import claims, owners
from persistable.stores import Store

store = each_named_store("folder", "memory", "sqlite", "s3", "gcs")


def test_declared_generated_persisted_loaded(store: Store) -> None:
    points = Points(store, n=100, random_state=10)
    node = Outliers(store, k=0.5, points=points)
    assert node.status is Status.ABSENT and not node.exists()
    first = node.generate().payload
    again = Outliers(store, k=0.5, points=Points(store, n=100, random_state=10)).load().payload
    assert np.array_equal(first, again) and again.dtype == np.bool_ and again.flags.writeable
    assert Points(store, n=100, random_state=10).status is Status.DONE
    assert round(float(points.load().payload[0]), 8) == 0.77132064
    assert sorted({path.split("/")[0] for path in store.list()}) == ["outliers", "points"]
    assert len(list(store.list())) == 4  # a payload and a record each, and no claims left


def test_a_large_payload_goes_through_whole(store: Store) -> None:
    n = 1_500_000
    expected = Points(store, n=n).generate().payload
    loaded = Points(store, n=n).load().payload
    assert np.array_equal(loaded, expected) and loaded.flags.writeable
    assert np.array_equal(Points(store, n=n).load(verify=False).payload, expected)


def test_a_large_payload_with_a_wrong_byte_is_corrupt(store: Store) -> None:
    node = Points(store, n=200_000).generate()
    assert node.record is not None
    file = node.record.files[0].path
    data = bytearray(store.get(file))
    data[1_000_001] ^= 1
    store.put(file, bytes(data))
    with pytest.raises(PayloadCorrupted):
        Points(store, n=200_000).load()
    with pytest.warns(match="doing so now"):
        assert np.array_equal(Points(store, n=200_000).payload, node.payload)


def test_regenerating_replaces_and_leaves_no_second_payload(store: Store) -> None:
    for _ in range(3):
        Points(store, n=5).generate()
    assert len(list(store.list())) == 2


def test_failures_are_kept_and_removed(store: Store) -> None:
    from persistable import Persistable

    class Shaky(Persistable[int, None]):
        broken = True

        def _generate_payload(self, **_: Any) -> int:
            if self.broken:
                raise ValueError("on purpose")
            return 1

    with pytest.raises(ValueError, match="on purpose"):
        Shaky(store).generate()
    assert Shaky(store).status is Status.FAILED
    assert "on purpose" in Shaky(store).explain()
    Shaky.broken = False
    assert Shaky(store).payload == 1
    assert Shaky(store).status is Status.DONE
    assert len(list(store.list())) == 2


def test_who_generates_it_is_told(store: Store) -> None:
    node = Points(store, n=8)
    claim = claims.acquire(store, node.key.path, lambda: False)
    assert claim is not None and node.status is Status.RUNNING
    assert f"process {os.getpid()} on " in node.explain() and "heartbeat" not in node.explain()
    claim.release()
    facts = {**json.loads(owners.mine()), "host": "elsewhere and so on", "pid": 77, "token": "another"}
    store.put(node.key.path + ".claim", json.dumps({name: fact for name, fact in facts.items() if name != "check"}).encode())
    assert "process 77 on elsewhere generates it, and is taken over if its heartbeat stands still for 60 s" in node.explain()


def test_deleted_is_gone_and_missing_says_what_is_near(store: Store) -> None:
    Points(store, n=5).generate()
    with pytest.raises(PayloadNotFound, match="n: 6, stored 5"):
        Points(store, n=6).load()
    assert Points(store, n=5).delete()
    assert not list(store.list())


def test_allocate_and_scratch_work_wherever_the_payload_goes(store: Store) -> None:
    from persistable import Persistable

    class Grid(Persistable[np.ndarray, None]):
        def _generate_payload(self, **_: Any) -> np.ndarray:
            (self.scratch / "note").write_text("half way")
            grid = self.allocate((300, 1000), np.float32)
            for row in range(300):
                grid[row] = row
            return grid

    assert Grid(store).generate().payload[299, 999] == 299
    loaded = Grid(store).load().payload
    assert loaded.shape == (300, 1000) and loaded.dtype == np.float32 and loaded[7, 7] == 7
    assert len(list(store.list())) == 2


def test_another_process_loads_what_this_one_made(store: Store) -> None:
    node = Points(store, n=3, payload_name="elsewhere").generate()
    code = "import pickle, sys; node = pickle.load(sys.stdin.buffer); print(float(node.load().payload.sum()))"
    path = [str(Path(__file__).parent.parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"], input=pickle.dumps(node), capture_output=True
    )
    if store.url.startswith("memory"):  # which lives in one process: elsewhere it is an empty store of the same name
        assert b"PayloadNotFound" in done.stderr
        return
    assert done.returncode == 0, done.stderr.decode()
    assert float(done.stdout) == float(node.payload.sum())


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_a_url_alone_is_enough_where_the_environment_has_the_credentials(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = request.getfixturevalue(f"{kind}_bucket")
    if kind == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.options["endpoint_url"])
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.options["key"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.options["secret"])
    else:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.options["endpoint_url"])
    node = Points(persist_data_dir=f"{bucket.url}/alone", params=PointsParams(n=4)).generate()
    assert np.array_equal(Points(f"{bucket.url}/alone", n=4).load().payload, node.payload)
    assert str(node.persist_filepath) == f"points/{node.persist_hash}"
