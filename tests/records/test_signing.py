"""A signed record is what the page on the format says, and is read and checked without this package."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path

import jsonschema
import pytest
import reader
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from store_kinds import each_url

from persistable import Record, step
from persistable.errors import PayloadUntrusted
from persistable.fileio import JsonFileIO
from persistable.records.copy import for_store
from persistable.stores import new_signing_key, open_store

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/schemas/record.schema.json").read_text())
ANN, ANN_PUBLIC = new_signing_key()
BOB, BOB_PUBLIC = new_signing_key()


@step(io=JsonFileIO())
def number(n: int) -> int:
    return n


def raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


url = each_url("folder", "sqlite")


def test_it_is_read_and_checked_without_this_package(url: str) -> None:
    store = open_store(url, sign=ANN, trust=[ANN_PUBLIC])
    number.step(n=7).bind(store).generate()
    place = url.removeprefix("sqlite:///")
    items = reader.sqlite_items(place) if Path(place).is_file() else reader.Folder(place)
    ((record, payload),) = reader.payloads(items)
    assert payload == 7
    jsonschema.validate(record, SCHEMA)
    data = items[f"{record['key']}.record.json"]
    body = data[: data.rindex(b',\n"signature":')]
    public = Ed25519PublicKey.from_public_bytes(raw(record["signature"]["by"].removeprefix("ed25519:")))
    public.verify(raw(record["signature"]["ed25519"]), b"persistable record\n" + body)
    with pytest.raises(InvalidSignature):
        public.verify(raw(record["signature"]["ed25519"]), b"persistable record\n" + body.replace(b"7", b"8"))
    assert data.splitlines()[-2].startswith(b'"signature":{"by":"ed25519:') and data.splitlines()[-1].startswith(b'"checksum":')


def test_a_revised_record_has_the_signature_of_whoever_revised_it_and_no_other(url: str) -> None:
    number.step(n=1).bind(open_store(url, sign=ANN)).generate()
    record = number.step(n=1).bind(open_store(url)).record
    assert record.signature is not None and record.signature["by"] == ANN_PUBLIC
    assert record.revise({}, {"notes": {"x": 1}}).signature is None
    twice = record.revise({}, {}, BOB)
    assert twice.signature is not None and twice.signature["by"] == BOB_PUBLIC and twice.data.count(b'"signature"') == 1
    assert {**twice.to_dict(), "signature": None, "checksum": None} == {**record.to_dict(), "signature": None, "checksum": None}


def test_a_store_takes_what_somebody_it_trusts_has_signed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ann", sign=ANN)
    number.step(n=1).bind(store).generate()
    signed = number.step(n=1).bind(store).record
    plain = signed.revise({}, {})
    asking, signing, layers = (
        open_store(tmp_path / "x", sign=BOB, trust=[ANN_PUBLIC]),
        open_store(tmp_path / "y", sign=BOB),
        open_store([str(tmp_path / "f"), {"url": str(tmp_path / "s"), "sign": BOB, "trust": []}]),
    )
    assert for_store(signed, asking, False) is signed and for_store(signed, asking, True) is signed
    assert for_store(plain, signing, False) is plain and for_store(signed, signing, True) is signed
    for record, target in ((plain, asking), (plain, layers), (signed, layers)):
        with pytest.raises(PayloadUntrusted, match="vouch"):
            for_store(record, target, False)
        assert by(for_store(record, target, True)) == BOB_PUBLIC
    assert by(for_store(plain, signing, True)) == BOB_PUBLIC
    with pytest.raises(PayloadUntrusted):
        for_store(plain, open_store(tmp_path / "z"), True)  # which has no key


def by(record: Record) -> str | None:
    return record.signature["by"] if record.signature is not None else None
