"""Signed records: only what somebody trusted has signed is read, in every store, layer and process alike."""

from __future__ import annotations

import copy
import importlib
import json
import logging
import os
import pickle
import stat
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_kinds import opened

from persistable import Catalog, Project, Record, Secret, Status, plan, run, step
from persistable.catalog.reproduce.rebuild import node_of
from persistable.errors import (
    LayersDisagreeWarning,
    NotEnforceable,
    PayloadCorrupted,
    PayloadUntrusted,
    RunFailed,
    SecretMissing,
    StoreReadOnly,
)
from persistable.executors import FuturesExecutor
from persistable.fileio import FileIO, NumpyFileIO, PickleFileIO
from persistable.nodes.status import look_up
from persistable.records import listing
from persistable.records.copy import copy as copy_payloads
from persistable.records.record_access import find_record
from persistable.stores import Layer, LayeredStore, SigningKey, Store, new_signing_key, open_store
from persistable.stores.open import default_url
from persistable.stores.signed import SignedStore, holds_private_key
from persistable.testing.processes import GOOD_PATHS, everything_below
from persistable.testing.stores import StoreContract

ANN, ANN_PUBLIC = new_signing_key()
BOB, BOB_PUBLIC = new_signing_key()
EVE, EVE_PUBLIC = new_signing_key()
RAN: list[str] = []


def ran() -> str:
    RAN.append("ran")
    return "ran"


class Bomb:
    def __reduce__(self) -> Any:
        return ran, ()


@step
def numbers(n: int) -> dict[str, int]:
    return {"n": n}


@step
def doubled(numbers: dict[str, int]) -> dict[str, int]:
    return {"n": 2 * numbers["n"]}


@step
def telling() -> int:
    raise ValueError(f"the key is {ANN.reveal()}")


@step(name="letters", io=PickleFileIO())
def letters() -> Any:
    for letter in "abc":
        if letter == "c" and "CUT_OFF" in os.environ:
            raise ValueError("cut off")
        yield letter, letter.upper()


class Place(NamedTuple):
    """Where a store lies: opened with options, and without any as whoever can write there sees it."""

    open: Callable[..., Store]

    @property
    def raw(self) -> Store:
        return self.open()


@pytest.fixture(params=["folder", "sqlite", "memory", "s3", "layers"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "layers":
        return Place(lambda **options: open_store([str(tmp_path / "fast"), str(tmp_path / "slow")], **options))
    return Place(partial(opened, request.param, tmp_path, request))


def path_of(node: Any) -> str:
    return f"{node.key.path}.record.json"


def resealed(body: bytes) -> bytes:
    """A record with a right checksum, as anybody can make it."""
    return b'%b,\n"checksum":"%08x"}\n' % (body, crc32(body))


def body_of(data: bytes) -> bytes:
    return data[: data.rindex(b',\n"checksum":"')]


def planted(place: Place, node: Any, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a record in every layer of a store."""
    raw = place.raw
    stores = [layer.store for layer in raw.layers] if isinstance(raw, LayeredStore) else [raw]
    for store in stores:
        store.put(path_of(node), change(store.get(path_of(node))))


def check_refused(node: Any, store: Store) -> PayloadUntrusted:
    """Every way to the payload refuses it, and none generates over it."""
    bound = node.bind(store)
    before = store.stat(path_of(node))
    for ask in (bound.load, lambda: bound.payload, bound.load_generate, lambda: run(bound, store=store)):
        with pytest.raises((PayloadUntrusted, RunFailed)) as caught:
            ask()
        error: Any = caught.value
        if isinstance(error, RunFailed):
            assert "untrusted" in str(error.exceptions[0]) or isinstance(error.exceptions[0], PayloadUntrusted)
    with pytest.raises(PayloadUntrusted) as refused:
        bound.load()
    assert store.stat(path_of(node)) == before
    assert bound.status is Status.FOREIGN
    assert "not trusted" in str(bound.explain()) and str(plan(bound, store=store))
    (found,) = look_up([(bound, store)])
    assert found.stored and found.verdict.refused and found.why.startswith("untrusted")
    assert [(entry.record, entry.refused is not None) for entry in listing.entries(store) if entry.key == node.key] == [(None, True)]
    assert not RAN
    return refused.value


def test_what_is_written_is_signed_and_read_by_those_who_trust_it(place: Place) -> None:
    store = place.open(sign=ANN, trust=[ANN_PUBLIC])
    node = doubled.step(numbers.step(n=3))
    assert node.bind(store).payload == {"n": 6}
    for key in (node.key, node.upstream["numbers"].key):
        found = json.loads(place.raw.get(f"{key.path}.record.json"))
        assert found["signature"]["by"] == ANN_PUBLIC and list(found)[-2:] == ["signature", "checksum"]
    for reading in (place.open(trust=ANN_PUBLIC), place.open(sign=BOB, trust=[BOB_PUBLIC, ANN_PUBLIC]), place.open(), place.open(sign=BOB)):
        again = doubled.step(numbers.step(n=3)).bind(reading)
        assert again.load().payload == {"n": 6} and again.status is Status.DONE
    trusted = doubled.step(numbers.step(n=3)).bind(place.open(trust=ANN_PUBLIC))
    assert trusted.record.trusted and not doubled.step(numbers.step(n=3)).bind(place.raw).record.trusted
    if isinstance(store, LayeredStore):
        assert all(b'"signature"' in layer.store.get(path_of(node)) for layer in place.raw.layers)


def test_what_nobody_trusted_has_signed_is_refused(place: Place) -> None:
    node = numbers.step(n=1)
    node.bind(place.raw).generate()
    error = check_refused(node, place.open(sign=ANN, trust=[ANN_PUBLIC]))
    assert error.key == node.key.path and error.by is None
    node.bind(place.open(sign=EVE)).generate()
    error = check_refused(node, place.open(sign=ANN, trust=[ANN_PUBLIC]))
    assert error.by == EVE_PUBLIC and EVE_PUBLIC in str(error)
    # whoever says so takes its place
    store = place.open(sign=ANN, trust=[ANN_PUBLIC])
    assert node.bind(store).generate().payload == {"n": 1}
    assert numbers.step(n=1).bind(store).load().payload == {"n": 1}
    node.bind(place.open(sign=EVE)).generate()
    assert numbers.step(n=1).bind(store).delete() and numbers.step(n=1).bind(store).status is Status.ABSENT


def signed_by_eve(data: bytes) -> bytes:
    return Record.parse(data).revise({}, {}, EVE).to_bytes()


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "stripped": lambda data: resealed(body_of(data)[: data.rindex(b',\n"signature":')]),
    "truncated": lambda data: resealed(body_of(data)[:-10] + b'"}'),
    "of another algorithm": lambda data: resealed(body_of(data).replace(b'"ed25519":"', b'"none":"')),
    "of no algorithm": lambda data: resealed(body_of(data)[: body_of(data).rindex(b',"ed25519"')] + b"}"),
    "empty": lambda data: resealed(body_of(data)[: body_of(data).rindex(b'"ed25519"')] + b'"ed25519":""}'),
    "by the trusted key, made by another": lambda data: resealed(
        body_of(signed_by_eve(data)).replace(EVE_PUBLIC.encode(), ANN_PUBLIC.encode())
    ),
    "moved": lambda data: resealed(
        body_of(data)[: data.rindex(b',\n"signature":')] + b',"x":1' + body_of(data)[data.rindex(b',\n"signature":') :]
    ),
    "followed by more": lambda data: resealed(body_of(data) + b',"io":{"io":"PickleFileIO","options":{}}'),
    "revised by somebody": lambda data: Record.parse(data).revise({}, {"notes": {"by": "eve"}}, EVE).to_bytes(),
    "revised by nobody": lambda data: Record.parse(data).revise({}, {"notes": {"by": "eve"}}).to_bytes(),
    "kept over another content": lambda data: resealed(body_of(data).replace(b'"made":"generated"', b'"made":"put"')),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_record_is_refused(tmp_path: Path, forgery: str) -> None:
    place = Place(lambda **options: open_store(tmp_path, **options))
    node = numbers.step(n=1)
    node.bind(place.open(sign=ANN, trust=[])).generate()
    planted(place, node, FORGERIES[forgery])
    Record.parse(place.raw.get(path_of(node)))  # which has a right checksum
    check_refused(node, place.open(sign=ANN, trust=[BOB_PUBLIC]))


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, place: float, bit: int) -> None:
    data = bytearray(SIGNED)
    data[int(place * len(data))] ^= 1 << bit
    store = SignedStore(open_store(f"memory://{os.urandom(8).hex()}"), ANN, (ANN_PUBLIC,))
    accident = bytes(data)
    purpose = resealed(accident[:-25])
    for changed, error in ((accident, PayloadCorrupted), (purpose, PayloadUntrusted)):
        if changed == SIGNED:
            continue  # the bit was one of the checksum
        store.store.put("x.record.json", changed)
        assert Record.parse(SIGNED)
        with pytest.raises((error, PayloadUntrusted) if changed is purpose else (error,)):
            Record.parse(store.get("x.record.json"))
        (many,) = store.get_many(["x.record.json"]).values()
        with pytest.raises((PayloadCorrupted, PayloadUntrusted)):
            Record.parse(many)
        assert not many.startswith(b"{")


def _signed_record() -> bytes:
    store = open_store(f"memory://{os.urandom(8).hex()}", sign=ANN, trust=[])
    node = numbers.step(n=5).bind(store)
    node.generate()
    return store.store.get(path_of(node))


SIGNED = _signed_record()


def test_the_record_of_another_key_does_not_pass_for_this_one(place: Place) -> None:
    store = place.open(sign=ANN, trust=[])
    one, two = numbers.step(n=1), numbers.step(n=2)
    for node in (one, two):
        node.bind(store).generate()
    other = place.raw.get(path_of(two))
    planted(place, one, lambda _: other)
    with pytest.raises(PayloadCorrupted, match="is that of"):
        numbers.step(n=1).bind(store).load()
    with pytest.warns(UserWarning, match="doing so now"):
        assert numbers.step(n=1).bind(store).payload == {"n": 1}


def test_swapped_payloads_are_corrupt_even_where_nobody_wants_them_verified(place: Place) -> None:
    store = place.open(sign=ANN, trust=[])
    one, two = numbers.step(n=1), numbers.step(n=2)
    for node in (one, two):
        node.bind(store).generate()
    paths = [Record.parse(place.raw.get(path_of(node))).files[0].path for node in (one, two)]
    raw = place.raw
    for each in [layer.store for layer in raw.layers] if isinstance(raw, LayeredStore) else [raw]:
        first, second = [each.get(path) for path in paths]
        assert len(first) == len(second)
        each.put(paths[0], second)
        each.put(paths[1], first)
    for n in (1, 2):
        with pytest.raises(PayloadCorrupted):
            numbers.step(n=n).bind(place.open(trust=ANN_PUBLIC)).load(verify=False)


def test_a_large_pickle_is_run_from_the_bytes_that_were_compared(tmp_path: Path) -> None:
    """Whoever writes to the file between the comparison and the reading is too late."""
    node = step(name="large", io=PickleFileIO())(lambda: np.arange(300_000)).step()
    store = open_store(tmp_path, sign=ANN, trust=[])
    node.bind(store).generate()
    (file,) = node.bind(store).record.files
    evil = PickleFileIO().dumps([Bomb(), bytes(file.size)])[: file.size]
    local = store.local_path(file.path)
    assert local is not None
    real, seen = SignedStore.read, []

    class Switching(SignedStore):
        def read(self, path: str) -> Any:
            stream = real(self, path)
            if path == file.path:
                seen.append(path)
                threading.Timer(0, local.write_bytes, [evil])
            return stream

    switching = Switching(open_store(tmp_path), ANN, (ANN_PUBLIC,))
    assert node.bind(switching).load().payload.sum() == sum(range(300_000))
    assert seen == [file.path]  # once, and through memory
    local.write_bytes(evil)
    with pytest.raises(PayloadCorrupted):
        node.bind(switching).load(verify=False)
    assert not RAN


def test_of_what_is_signed_the_record_chooses_the_format(place: Place) -> None:
    """The class may have another format since: what was written by a trusted key is read as it was written."""

    def of(io: FileIO[Any]) -> Any:
        return step(name="values", io=io)(_values).step()

    of(PickleFileIO()).bind(place.open(sign=ANN)).generate()
    with pytest.raises(PayloadUntrusted, match="PickleFileIO"):
        of(NumpyFileIO()).bind(place.raw).load()
    assert of(NumpyFileIO()).bind(place.open(trust=ANN_PUBLIC)).load().payload.tolist() == [0, 1, 2]
    with pytest.raises(PayloadUntrusted):
        of(NumpyFileIO()).bind(place.open(trust=BOB_PUBLIC)).load()


def _values() -> Any:
    return np.arange(3)


def test_keys_rotate(place: Place) -> None:
    numbers.step(n=1).bind(place.open(sign=ANN, trust=[ANN_PUBLIC])).generate()
    both = place.open(sign=BOB, trust=[ANN_PUBLIC, BOB_PUBLIC])
    assert numbers.step(n=1).bind(both).load().payload == {"n": 1}
    numbers.step(n=2).bind(both).generate()
    after = place.open(sign=BOB, trust=[])  # its own key needs no mention
    assert numbers.step(n=2).bind(after).load().payload == {"n": 2}
    with pytest.raises(PayloadUntrusted):
        numbers.step(n=1).bind(after).load()


def test_accepting_code_signs_anew(place: Place) -> None:
    node = numbers.step(n=1)
    node.bind(place.open(sign=ANN, trust=[])).generate()
    node.bind(place.open(sign=BOB, trust=[ANN_PUBLIC])).accept_code("nothing has changed")
    record = numbers.step(n=1).bind(place.open(trust=BOB_PUBLIC)).record
    assert record.to_dict()["accepted"][0]["reason"] == "nothing has changed" and record.signature["by"] == BOB_PUBLIC
    with pytest.raises(StoreReadOnly):
        node.bind(place.open(trust=BOB_PUBLIC)).accept_code("without a key")


def test_without_a_key_nothing_is_written(place: Place) -> None:
    store = place.open(trust=ANN_PUBLIC)
    with pytest.raises(StoreReadOnly, match=r"sign=|no layer that may be written"):
        numbers.step(n=1).bind(store).payload
    with pytest.raises(StoreReadOnly, match=r"sign=|no layer that may be written"):
        store.put("x", b"")
    assert list(place.raw.list()) == []
    signing = place.open(sign=ANN, trust=[])
    with pytest.raises(PayloadUntrusted, match="trusts"):
        signing.put("x.record.json", resealed(b'{"record":1'))


def test_items_members_put_in_by_hand_and_batches_are_signed(place: Place) -> None:
    store = place.open(sign=ANN, trust=[])

    @step
    def several() -> Any:
        yield "a", 1
        yield "b", 2

    several.step().bind(store).generate()
    found = several.step().bind(place.open(trust=ANN_PUBLIC)).load().payload
    assert dict(found.items()) == {"a": 1, "b": 2}
    numbers.step(n=9).bind(store).put({"n": 10})
    assert run(numbers.over(n=range(40)), store=store, executor="inline").counts["done"] == 39
    read = place.open(trust=ANN_PUBLIC)
    assert numbers.step(n=9).bind(read).load().payload == {"n": 10}
    assert all(numbers.step(n=n).bind(read).load().payload == {"n": n} for n in (0, 17, 39))
    entries = list(listing.entries(read))
    assert len(entries) == 41 and all(entry.record is not None and entry.record.trusted for entry in entries)


# layers


def test_a_layer_below_is_trusted_by_itself_and_its_copies_keep_the_signature(tmp_path: Path) -> None:
    team, own = tmp_path / "team", tmp_path / "own"
    one, two = numbers.step(n=1), numbers.step(n=2)
    one.bind(open_store(team, sign=ANN)).generate()
    two.bind(open_store(team, sign=EVE)).generate()
    store = open_store([str(own), {"url": str(team), "readonly": True, "trust": [ANN_PUBLIC]}])
    assert isinstance(store, LayeredStore) and store.trust == (ANN_PUBLIC,) and store.signer is None
    assert one.bind(store).load().payload == {"n": 1}
    assert (own / path_of(one)).read_bytes() == (team / path_of(one)).read_bytes()
    check_refused(two, store)
    assert not (own / path_of(two)).exists()
    mine = numbers.step(n=3).bind(store)
    assert mine.payload == {"n": 3} and mine.record.signature is None  # the fast layer asks for nothing
    assert open_store(own).get(path_of(one)) and one.bind(open_store(own, trust=ANN_PUBLIC)).load().payload == {"n": 1}


def test_each_layer_asks_for_its_own(tmp_path: Path) -> None:
    fast, slow = str(tmp_path / "fast"), str(tmp_path / "slow")
    store = LayeredStore(Layer(fast, sign=ANN, trust=[]), Layer(slow, sign=ANN, trust=[BOB_PUBLIC]))
    assert store.signer == ANN
    one = numbers.step(n=1)
    one.bind(store).generate()
    for folder in (fast, slow):
        assert one.bind(open_store(folder, trust=ANN_PUBLIC)).load().payload == {"n": 1}
    numbers.step(n=2).bind(open_store(slow, sign=BOB)).generate()
    assert numbers.step(n=2).bind(store).load().payload == {"n": 2}
    # the fast one does not trust Bob, and gets no copy
    assert not open_store(fast).exists(path_of(numbers.step(n=2)))
    with pytest.raises(TypeError, match="sign="):
        Layer(open_store(fast, trust=ANN_PUBLIC), trust=BOB_PUBLIC)


def test_a_copy_in_a_fast_layer_that_somebody_has_replaced_is_refused(tmp_path: Path) -> None:
    store = open_store([str(tmp_path / "fast"), str(tmp_path / "slow")], sign=ANN, trust=[])
    node = numbers.step(n=1)
    node.bind(store).generate()
    fast = open_store(tmp_path / "fast")
    fast.put(path_of(node), FORGERIES["stripped"](fast.get(path_of(node))))
    check_refused(node, store)
    with pytest.warns(LayersDisagreeWarning, match="fast"):  # under the claim the copy goes
        assert node.bind(store).generate().payload == {"n": 1}
    assert numbers.step(n=1).bind(store).load().payload == {"n": 1}


# copies


def test_a_copy_keeps_the_signature_and_vouches_for_nothing_by_itself(place: Place, tmp_path: Path) -> None:
    source = place.open(sign=ANN)
    numbers.step(n=1).bind(source).generate()
    numbers.step(n=2).bind(place.raw).generate()
    target = open_store(tmp_path / "copies", sign=BOB, trust=[ANN_PUBLIC])
    entries = {entry.key: entry for entry in listing.entries(place.raw)}
    one, two = numbers.step(n=1), numbers.step(n=2)
    list(copy_payloads([entries[one.key]], place.raw, target))
    assert target.get(path_of(one)) == place.raw.get(path_of(one))
    with pytest.raises(PayloadUntrusted, match="sign"):
        list(copy_payloads([entries[two.key]], place.raw, target))
    assert not [path for path in target.list() if two.key.digest in path]
    list(copy_payloads([entries[two.key]], place.raw, target, sign=True))
    assert two.bind(open_store(tmp_path / "copies", trust=BOB_PUBLIC)).record.signature["by"] == BOB_PUBLIC
    asking = place.open(trust=BOB_PUBLIC)
    with pytest.raises(PayloadUntrusted):
        list(copy_payloads(listing.entries(asking), asking, open_store(tmp_path / "more")))


# items in progress, and payloads that are handed over


def test_items_in_progress_that_somebody_planted_are_not_gone_on_with(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever goes on from them would sign them."""

    def begun(**options: Any) -> list[str]:
        """Where it says which items are whole."""
        monkeypatch.setenv("CUT_OFF", "1")
        with pytest.raises(ValueError, match="cut off"):
            letters.step().bind(place.open(**options)).generate()
        return [path for path in place.raw.list(".persistable/partial") if not path.endswith("begun.json")]

    def finished(**options: Any) -> set[str]:
        """The files of the items."""
        monkeypatch.delenv("CUT_OFF")
        node = letters.step().bind(place.open(**options))
        node.generate()
        assert dict(node.load().payload.items()) == {"a": "A", "b": "B", "c": "C"}
        return set(place.raw.list(node.record.head["items"][0]))

    notes = begun(sign=ANN, trust=[])
    assert notes and all(b"\nsigned ed25519:" in place.raw.get(path) for path in notes)
    items = [path for path in place.raw.list("letters") if ".items/" in path]
    assert set(items) < finished(sign=ANN, trust=[])  # one's own is gone on with
    letters.step().bind(place.open(sign=ANN, trust=[])).delete()
    notes = begun(sign=EVE)
    items = [path for path in place.raw.list("letters") if ".items/" in path]
    assert not set(items) & finished(sign=ANN, trust=[])
    letters.step().bind(place.open(sign=ANN, trust=[])).delete()
    begun(sign=EVE)
    assert finished()  # without keys, whatever is there


def test_what_processes_hand_to_each_other_is_signed(tmp_path: Path) -> None:
    store = open_store(tmp_path, sign=ANN, trust=[])
    store.put(".persistable/handed/x.1", b"data")
    raw = (tmp_path / ".persistable" / "handed" / "x.1").read_bytes()
    assert raw.startswith(b"data\nsigned ed25519:") and store.get(".persistable/handed/x.1") == b"data"
    (tmp_path / ".persistable" / "handed" / "x.2").write_bytes(raw)
    for path in (".persistable/handed/x.2", ".persistable/handed/x.3"):
        with pytest.raises(FileNotFoundError):
            store.get(path)
    (tmp_path / ".persistable" / "handed" / "x.1").write_bytes(raw.replace(b"data", b"evil"))
    with pytest.raises(FileNotFoundError):
        store.read(".persistable/handed/x.1")
    assert store.get_many([".persistable/handed/x.1"]) == {}


# what two views of one store have of each other


def test_a_view_that_trusts_takes_nothing_from_one_that_does_not(place: Place) -> None:
    """Nodes of both in one run are asked for apart, although the bytes lie in one place."""
    one, two = numbers.step(n=1), numbers.step(n=2)
    one.bind(place.open(sign=EVE)).generate()
    two.bind(place.open(sign=ANN)).generate()
    trusting = place.open(trust=ANN_PUBLIC)
    with pytest.raises(RunFailed) as caught:
        run([one.bind(place.raw), two.bind(place.raw), one.bind(trusting), two.bind(trusting)], executor="inline")
    assert [type(error) for error in caught.value.exceptions] == [PayloadUntrusted]
    with pytest.raises(RunFailed):
        run(doubled.step(one.bind(trusting)).bind(place.open(sign=ANN)), executor="inline")
    assert run(doubled.step(two.bind(trusting)).bind(place.open(sign=ANN)), executor="inline").counts["done"] == 1


def test_its_url_names_whom_it_trusts_and_opens_it_again(tmp_path: Path) -> None:
    numbers.step(n=1).bind(open_store(tmp_path, sign=ANN)).generate()
    for trust in ([ANN_PUBLIC], [BOB_PUBLIC, ANN_PUBLIC]):
        store = open_store(tmp_path, trust=trust)
        again = open_store(store.url)
        assert store.url == f"file://{tmp_path}#trust={','.join(trust)}" == again.url and again == store
        assert numbers.step(n=1).bind(again).load().payload == {"n": 1}
    own = open_store(tmp_path, sign=ANN, trust=[])
    assert own.url == f"file://{tmp_path}#trust=" and own != open_store(tmp_path) != open_store(tmp_path, sign=ANN)
    with pytest.raises(PayloadUntrusted):  # which does not say whose key it is
        numbers.step(n=1).bind(open_store(own.url)).load()
    signing = open_store(f"{tmp_path}#trust={BOB_PUBLIC}", sign=ANN)
    numbers.step(n=2).bind(signing).generate()
    assert isinstance(signing, SignedStore) and signing.trust == (BOB_PUBLIC,)


# where keys may go


@pytest.mark.parametrize("executor", ["inline", "threads", "processes", "pool"])
def test_a_key_given_as_a_value_works_on_this_machine(tmp_path: Path, executor: str) -> None:
    store = open_store(tmp_path, sign=ANN, trust=[])
    nodes = [doubled.step(numbers.step(n=n)) for n in range(3)]
    wide = numbers.over(n=range(100, 160))
    if executor == "pool":
        with ProcessPoolExecutor(1) as pool:
            run([*nodes, wide], store=store, executor=FuturesExecutor(pool))
    else:
        run([*nodes, wide], store=store, executor=executor)
    records = list(listing.entries(open_store(tmp_path, trust=ANN_PUBLIC)))
    assert len(records) == 66 and all(entry.record is not None for entry in records)
    secret = ANN.reveal().encode()
    assert not any(secret in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


class Elsewhere(FuturesExecutor):
    """As one whose workers are on other machines."""

    name = "elsewhere"

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.local = False


def test_a_key_given_as_a_value_goes_to_no_other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING", ANN.reveal())
    ANN.save(tmp_path / "ann")
    with ProcessPoolExecutor(1) as pool:
        elsewhere = Elsewhere(pool)
        for node in (numbers.step(n=1), numbers.over(n=range(30))):
            with pytest.raises(NotEnforceable, match="env:NAME") as caught:
                run(node, store=open_store(tmp_path / "data", sign=ANN, trust=[]), executor=elsewhere)
            assert caught.value.executor == "elsewhere" and caught.value.wanted == "sign"
        assert not list(open_store(tmp_path / "data").list())
        for n, sign in enumerate(("env:SIGNING", tmp_path / "ann")):
            store = open_store(tmp_path / "data", sign=sign, trust=[])
            run([numbers.step(n=n), numbers.over(n=range(10 * n + 10, 10 * n + 15))], store=store, executor=elsewhere)
            assert numbers.step(n=n).bind(open_store(tmp_path / "data", trust=ANN_PUBLIC)).load().payload == {"n": n}


def test_a_key_is_in_no_pickle_repr_log_url_or_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = ANN.reveal()
    store = open_store([{"url": str(tmp_path / "a"), "sign": secret, "trust": []}, {"url": str(tmp_path / "b"), "sign": ANN}])
    single = open_store(tmp_path / "c", sign=secret)
    shown = [repr(ANN), str(ANN), repr(store), store.url, repr(single), single.url, repr(store.layers), str(single.info())]
    assert not any(secret in text or secret.partition(":")[2] in text for text in shown)
    for thing in (ANN, store, single, numbers.step(n=1).bind(single)):
        with pytest.raises(NotEnforceable):
            pickle.dumps(thing)
    assert copy.deepcopy(ANN) is ANN and copy.copy(ANN) is ANN and holds_private_key(store) and holds_private_key(single)

    with caplog.at_level(logging.DEBUG), pytest.raises(ValueError, match="the key is <signing key>") as caught:
        telling.step().bind(single).payload
    assert secret not in str(caught.value) and secret not in caplog.text
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    monkeypatch.setenv("SIGNING", secret)
    named = open_store(tmp_path / "c", sign=Secret("SIGNING"), trust=[])
    data = pickle.dumps(named)
    assert secret.encode() not in data and pickle.loads(data) == named and not holds_private_key(named)
    numbers.step(n=1).bind(pickle.loads(data)).generate()
    monkeypatch.delenv("SIGNING")
    reading = pickle.loads(data)
    with pytest.raises(SecretMissing, match="SIGNING"):
        numbers.step(n=2).bind(reading).generate()


# keys


def test_a_saved_key_is_its_owners_alone_and_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "key"
    ANN.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and file.read_text().strip() == ANN.reveal()
    assert (tmp_path / "key.pub").read_text().strip() == ANN_PUBLIC
    before = file.read_bytes()
    with pytest.raises(FileExistsError):
        BOB.save(file)
    file.unlink()
    with pytest.raises(FileExistsError):
        BOB.save(file)
    assert not file.exists() and before
    BOB.save(tmp_path / "bob")
    store = open_store(tmp_path / "data", sign=tmp_path / "bob", trust=[tmp_path / "key.pub"])
    node = numbers.step(n=1)
    node.bind(store).generate()
    assert node.bind(open_store(tmp_path / "data", trust=str(tmp_path / "bob.pub"))).load().payload == {"n": 1}


def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path) -> None:
    short = ANN.reveal()[:-1]
    with pytest.raises(ValueError, match="no private key") as caught:
        open_store(tmp_path, sign=short)
    assert short not in str(caught.value)
    with pytest.raises(ValueError, match="a public key"):
        open_store(tmp_path, sign=ANN_PUBLIC)
    with pytest.raises(ValueError, match="private key") as caught:
        open_store(tmp_path, trust=[ANN.reveal()])
    assert ANN.reveal() not in str(caught.value)
    for wrong in ("ed25519:abc", "no such file", tmp_path):
        with pytest.raises(ValueError, match="public key"):
            open_store(tmp_path, trust=wrong)
    with pytest.raises(TypeError, match="give a private key"):
        open_store(tmp_path, sign=3)
    missing = open_store(tmp_path, sign=tmp_path / "nowhere")
    with pytest.raises(SecretMissing, match="persistable keys new"):
        numbers.step(n=1).bind(missing).generate()
    (tmp_path / "wrong").write_text("hello")
    with pytest.raises(ValueError, match="wrong holds no private key"):
        numbers.step(n=1).bind(open_store(tmp_path, sign=tmp_path / "wrong")).generate()


def test_keys_are_text_of_one_form() -> None:
    for _ in range(50):
        private, public = new_signing_key()
        assert SigningKey.of(private.reveal()).public == public == private.public and len(public) == 51
        assert SigningKey.of(private.reveal()) == private and private.reveal().startswith("ed25519-private:")


# the catalog


def test_a_catalog_tells_nothing_of_what_is_not_trusted(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    numbers.step(n=1).bind(place.open(sign=ANN)).generate()
    numbers.step(n=2).bind(place.open(sign=EVE)).generate()
    assert {entry.params["n"] for entry in Catalog(place.raw).find("numbers")} == {1, 2}
    trusting = Catalog(place.open(trust=ANN_PUBLIC))
    assert {entry.key.digest: (entry.status, entry.params) for entry in trusting.find("numbers")} == {
        numbers.step(n=1).key.digest: ("done", {"n": 1}),
        numbers.step(n=2).key.digest: ("untrusted", {}),
    }
    assert [entry.key for entry in trusting.find(status="untrusted")] == [numbers.step(n=2).key]
    assert len(Catalog(place.open(trust=[ANN_PUBLIC, EVE_PUBLIC])).find("numbers", n=2)) == 1
    (refused,) = trusting.find(status="untrusted")
    with pytest.raises(PayloadUntrusted):
        refused.record
    numbers.step(n=3).bind(place.open(sign=ANN)).generate()
    assert len(trusting.find("numbers", status="done")) == 2


def test_cleaning_up_leaves_what_an_untrusted_record_names_until_it_is_asked_for(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    node = numbers.step(n=1)
    node.bind(place.open(sign=EVE)).generate()
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    store = place.open(sign=ANN, trust=[])
    before = sorted(place.raw.list())
    catalog = Catalog(store)
    assert not list(catalog.gc())
    plan = catalog.gc(name="numbers")
    assert [item.key for item in plan] == [str(node.key)]
    plan.apply()
    assert not place.raw.exists(path_of(node)) and numbers.step(n=1).bind(store).status is Status.ABSENT
    catalog.restore()
    assert sorted(place.raw.list()) == before
    check_refused(node, store)


def test_verifying_says_what_is_not_trusted(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    numbers.step(n=1).bind(place.open(sign=ANN)).generate()
    numbers.step(n=2).bind(place.open(sign=EVE)).generate()
    found = Catalog(place.open(trust=ANN_PUBLIC)).verify()
    assert [str(entry.key) for entry in found.sound] == [str(numbers.step(n=1).key)]
    assert [str(entry.key) for entry in found.untrusted] == [str(numbers.step(n=2).key)]
    assert not found.ok and not found.corrupt and not found.orphans and "1 untrusted" in str(found)


def test_a_node_comes_back_from_what_is_trusted_alone(place: Place) -> None:
    whole, other = doubled.step(numbers.step(n=1)), doubled.step(numbers.step(n=2))
    whole.bind(place.open(sign=ANN)).generate()
    other.bind(place.open(sign=ANN)).generate()
    other.upstream["numbers"].bind(place.open(sign=EVE)).generate()
    store = place.open(trust=ANN_PUBLIC)

    def back(node: Any) -> Any:
        return node_of(find_record(store, node.key), store, lambda key: find_record(store, key))

    assert back(whole).load().payload == {"n": 2}
    with pytest.raises(PayloadUntrusted):
        back(other)


def test_where_the_class_is_gone_a_pickle_is_read_if_it_is_signed(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "vanishing.py").write_text("from persistable import step\n\n@step\ndef made(n: int) -> dict:\n    return {'n': n}\n")
    with monkeypatch.context() as there:
        there.syspath_prepend(str(tmp_path))
        node = importlib.import_module("vanishing").made.step(n=1)
        node.bind(place.open(sign=ANN)).generate()
        key = node.key
    (tmp_path / "vanishing.py").unlink()
    monkeypatch.delitem(sys.modules, "vanishing")
    with pytest.raises(PayloadUntrusted, match="trust="):
        Catalog(place.raw)[key].payload
    assert Catalog(place.open(trust=ANN_PUBLIC))[key].payload == {"n": 1}


def test_a_bundle_carries_signatures_to_whoever_opens_or_imports_it(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    one, two = numbers.step(n=1), numbers.step(n=2)
    one.bind(place.open(sign=ANN)).generate()
    two.bind(place.open(sign=EVE)).generate()
    for name in ("paper.zip", "site"):
        bundle = str(tmp_path / name)
        Catalog(place.raw).export(bundle, [one, two])
        opened = open_store(f"{bundle}#trust={ANN_PUBLIC}")
        assert one.bind(opened).load().payload == {"n": 1}
        check_refused(two, opened)
        mine = open_store(tmp_path / f"{name} of mine", sign=BOB, trust=[ANN_PUBLIC])
        with pytest.raises(PayloadUntrusted):
            Catalog(mine).import_(f"{bundle}#trust={ANN_PUBLIC}")
        assert not [path for path in mine.list() if path.endswith(".record.json")]
        Catalog(mine).import_(bundle, sign=True)  # whoever says so vouches for the others
        assert [each.bind(mine).record.signature["by"] for each in (one, two)] == [ANN_PUBLIC, BOB_PUBLIC]


def test_a_store_is_signed_as_a_project_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of keys count from the file; a private key has no place in it."""
    ANN.save(tmp_path / "ann")
    BOB.save(tmp_path / "bob")
    monkeypatch.setenv("SIGNING", ANN.reveal())
    file = tmp_path / "persistable.toml"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for sign in ("ann", "env:SIGNING"):
        file.write_text(f'store = [{{ url = "data", sign = "{sign}", trust = ["bob.pub", "{EVE_PUBLIC}"] }}]\n')
        for store in (Project.load(tmp_path).store, open_store(default_url())):
            assert isinstance(store, LayeredStore) and store.trust == (BOB_PUBLIC, EVE_PUBLIC)
            assert store.signer is not None and store.signer.public == ANN_PUBLIC
            assert store.layers[0].store.url == f"file://{tmp_path}/data#trust={BOB_PUBLIC},{EVE_PUBLIC}"
    file.write_text(f'store = [{{ url = "data", sign = "{ANN.reveal()}" }}]\n')
    for ask in (lambda: Project.load(tmp_path).store, default_url):
        with pytest.raises(ValueError, match="written out") as caught:
            ask()
        assert ANN.reveal() not in str(caught.value)


class TestContract(StoreContract):
    """Signatures keep the promises of every store."""

    good_paths: ClassVar[list[str]] = [path for path in GOOD_PATHS if not path.endswith(".record.json")]
    examples = 30
    rounds = 20
    many = 200

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        ANN.save(tmp_path / "key")
        self.folder = tmp_path / "root"
        return open_store(self.folder, sign=tmp_path / "key", trust=[])

    def plant(self, store: Store, path: str, data: bytes) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def peek(self, store: Store, path: str) -> bytes | None:
        target = self.folder / path
        return target.read_bytes() if target.is_file() else None

    def leftovers(self, store: Store) -> list[str]:
        return everything_below(self.folder)
