"""`SignedStore`: a store whose records are signed, and read only if a trusted key has signed them.

A record's signature is a line of its own before its checksum, over every byte before that line. Notes of items in progress, and payloads
that processes of a run exchange, have one at their end, over path and bytes: their readers act on their content. Nothing else is signed:
the record names payloads by their digests, claims and failures are short-lived.

Signatures are checked below all other code, where bytes are read: no record without a trusted signature leaves the store. `get` and
`read` raise PayloadUntrusted; calls for many paths return a `UntrustedRecord` in place of each such record, and `Record.parse` raises its
error.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any, BinaryIO
from zlib import crc32

from blake3 import blake3

from persistable.errors import PayloadUntrusted
from persistable.stores.base import HIDDEN, BaseStore, Bytes, Store
from persistable.stores.forwarding import ForwardingStore
from persistable.stores.readonly import ReadOnlyStore
from persistable.stores.record_file import RECORD, SEAL, SEAL_BYTES
from persistable.stores.signing_keys import TRUSTING, SigningKey, is_signed, public_keys

_MEMBER = b',\n"signature":{"by":"%b","ed25519":"%b"}'
_MEMBER_BYTES = len(_MEMBER) - 4 + 51 + 86
_SIGNED = re.compile(rb',\n"signature":\{"by":"(ed25519:[A-Za-z0-9_-]{43})","ed25519":"([A-Za-z0-9_-]{86})"\}')
_OF_RECORD = b"persistable record\n"
_LINE = b"\nsigned %b %b\n"
_LINE_BYTES = len(_LINE) - 4 + 51 + 86
_SIGNED_LINE = re.compile(rb"\nsigned (ed25519:[A-Za-z0-9_-]{43}) ([A-Za-z0-9_-]{86})\n")
_OF_NOTE = b"persistable note\n%b\n"
_NOTES = (f"{HIDDEN}/partial/", f"{HIDDEN}/handed/")
_KNOWN = 20_000


class Verified(bytes):
    """A record that a trusted key has signed."""


class UntrustedRecord(bytes):
    """Bytes in place of a record that is damaged, or without a trusted signature; they are no record.

    original: the bytes of the record, for moves within the store. refused: the error; None where it is damaged.
    """

    original: bytes
    refused: PayloadUntrusted | None


def _withheld(why: bytes, data: bytes, digest: bytes) -> UntrustedRecord:
    stands = UntrustedRecord(why + b" " + digest.hex().encode())
    stands.original, stands.refused = data, None
    return stands


def signed(body: bytes, key: SigningKey) -> bytes:
    """`body`, a record without its checksum, followed by its signature."""
    return body + _MEMBER % (key.public.encode(), key.sign(_OF_RECORD + body))


class SignedStore(ForwardingStore):
    """A store whose records `signer` signs (None: no key), and that have to be signed by it or a key of `trust` (None: no check)."""

    def __init__(self, store: Store, signer: SigningKey | None, trust: tuple[str, ...] | None) -> None:
        super().__init__(store)
        self.signer = signer
        self.trust = trust
        self._known: dict[bytes, None] = {}  # digests of records whose signatures were verified

    @property
    def url(self) -> str:
        """The URL of the store, with the trusted keys: with other keys, other payloads are found there."""
        return self.store.url if self.trust is None else f"{self.store.url}{TRUSTING}{','.join(self.trust)}"

    def info(self) -> dict[str, Any]:
        """Facts about the store, the key that signs, and the trusted keys."""
        facts = self.store.info() if isinstance(self.store, BaseStore) else super().info()
        return {
            **facts,
            "url": self.url,
            "sign": repr(self.signer) if self.signer is not None else None,
            "trust": self.trust and list(self.trust),
        }

    def pickled_options(self) -> dict[str, Any] | None:
        return BaseStore.pickled_options(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.store, self.signer, self.trust), self.pickled_options()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SignedStore) and (other.store, other.trust, other.signer) == (self.store, self.trust, self.signer)

    def __hash__(self) -> int:
        return hash((type(self), self.store, self.trust))

    # --- reading

    def get(self, path: str) -> bytes:
        data = self._verified({path: self.store.get(path)}).get(path)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, "it has no trusted signature", f"{self.url}/{path}")
        if isinstance(data, UntrustedRecord) and data.refused is not None:
            raise data.refused
        return data

    def read(self, path: str) -> BinaryIO:
        return BytesIO(self.get(path)) if path.endswith(RECORD) or path.startswith(_NOTES) else self.store.read(path)

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        return self._verified(self.store.get_many(paths))

    def get_with_colocated(self, paths: Iterable[str]) -> dict[str, bytes]:
        return self._verified(super().get_with_colocated(paths))

    def get_stamped(self, paths: Iterable[str]) -> dict[str, tuple[bytes, object | None]]:
        found = super().get_stamped(paths)
        sound = self._verified({path: data for path, (data, _) in found.items()})
        return {path: (data, found[path][1]) for path, data in sound.items()}

    def _verified(self, found: dict[str, bytes]) -> dict[str, bytes]:
        for path, data in list(found.items()):
            if path.endswith(RECORD):
                found[path] = self._record(path, data)
            elif path.startswith(_NOTES):
                note = self._note(path, data)
                if note is None:
                    del found[path]
                else:
                    found[path] = note
        return found

    def _record(self, path: str, data: bytes) -> bytes:
        """`data` itself if it has a trusted signature, or none is required; else a `UntrustedRecord` in its place."""
        if self.trust is None:
            return data
        digest = blake3(data).digest()
        if digest in self._known:
            return Verified(data)
        body = data[:-SEAL_BYTES]
        if data[-SEAL_BYTES:] != b'%b%08x"}\n' % (SEAL, crc32(body)):
            return _withheld(b"damaged", data, digest)
        if self.signer_of(data) is None:
            stands = _withheld(b"untrusted", data, digest)
            stands.refused = self._refusal(path, _author_of(_signature(data)))
            return stands
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[digest] = None
        return Verified(data)

    def signer_of(self, data: bytes) -> str | None:
        """The trusted public key that has signed the record in `data`; None where there is none."""
        found = _signature(data)
        if found is None or not self._trusts(by := found[1].decode()):
            return None
        return by if is_signed(by, found[2].decode(), _OF_RECORD + found.string[: found.start()]) else None

    def _refusal(self, path: str, by: str | None) -> PayloadUntrusted:
        if by is None:
            why = "it has no signature"
        elif self._trusts(by):
            why = f"its signature is not that of {by}, as it says"
        else:
            why = f"it is signed by {by}, whom this store does not trust"
        return PayloadUntrusted(
            f"the record at {path} in {self.store.url} is not trusted: {why}; nothing of it was read. If you trust its author, add "
            "their public key to trust=; else delete it, or generate() it anew",
            key=path.removesuffix(RECORD),
            path=path,
            by=by,
            format="",
        )

    def _note(self, path: str, data: bytes) -> bytes | None:
        """`data` without its signature; None where `trust` requires one and it has no trusted one."""
        end = max(0, len(data) - _LINE_BYTES)
        found = _SIGNED_LINE.fullmatch(data, end)
        if self.trust is None:
            return data if found is None else data[:end]
        if found is None or not self._trusts(by := found[1].decode()):
            return None
        return data[:end] if is_signed(by, found[2].decode(), _OF_NOTE % path.encode() + data[:end]) else None

    def _trusts(self, by: str) -> bool:
        return by in (self.trust or ()) or (self.signer is not None and by == self.signer.public)

    # --- writing

    def put(self, path: str, data: Bytes) -> None:
        self.store.put(path, self._to_write(path, data))

    def create(self, path: str, data: Bytes) -> bool:
        return self.store.create(path, self._to_write(path, data))

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        self.store.put_many(self._all_to_write(items))

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        return super().create_many(self._all_to_write(items))

    def create_fresh(self, items: Mapping[str, Bytes]) -> tuple[set[str], set[str]]:
        return super().create_fresh(self._all_to_write(items))

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        # not refused for their signatures: a move within the store has to keep such records, and their readers get the error
        super().change_many(*[{path: self._as_written(path, data) for path, data in stage.items()} for stage in stages], delete=delete)

    def _all_to_write(self, items: Mapping[str, Bytes]) -> Mapping[str, Bytes]:
        return {path: self._to_write(path, data) for path, data in items.items()}

    def _as_written(self, path: str, data: Bytes) -> Bytes:
        """`data` as it is written: a note with its signature, the original of a withheld record."""
        if path.startswith(_NOTES):
            return self._signed_note(path, bytes(data))
        return data.original if isinstance(data, UntrustedRecord) else data

    def _to_write(self, path: str, data: Bytes) -> Bytes:
        """`data` as it is written, see `_as_written`. Raises PayloadUntrusted for a record that could not be read afterwards."""
        if path.endswith(RECORD) and self.trust is not None and not isinstance(data, UntrustedRecord):
            by = _author_of(_signature(bytes(data)))
            if by is None or not self._trusts(by):
                raise PayloadUntrusted(
                    f"{self.store.url} takes records with a signature that it trusts, and that for {path} has none; sign it "
                    "where it is made or copied",
                    key=path.removesuffix(RECORD),
                    path=path,
                    by=by,
                    format="",
                )
        return self._as_written(path, data)

    def _signed_note(self, path: str, data: bytes) -> bytes:
        if self.signer is None:
            return data
        return data + _LINE % (self.signer.public.encode(), self.signer.sign(_OF_NOTE % path.encode() + data))


def _signature(record: bytes) -> re.Match[bytes] | None:
    """The signature in a record, trusted or not: the public key, and the signature itself."""
    body = record[:-SEAL_BYTES]
    return _SIGNED.fullmatch(body, max(0, len(body) - _MEMBER_BYTES))


def _author_of(signature: re.Match[bytes] | None) -> str | None:
    return signature[1].decode() if signature is not None else None


def holds_private_key(store: Any) -> bool:
    """Tell whether `store` or a store within it signs by a key that was given as a value."""
    pending: list[Any] = [store]
    while pending:
        each = pending.pop()
        signer = each.signer if isinstance(each, SignedStore) else None
        if signer is not None and signer.by_value:
            return True
        inner = each.store if isinstance(each, ForwardingStore) else None
        layers = () if inner is not None else getattr(each, "layers", ())
        pending += [*([inner] if inner is not None else []), *[layer.store for layer in layers]]
    return False


def with_signatures(store: Store, sign: Any, trust: Any) -> Store:
    """Wrap `store`, or each layer without keys of its own, so that `sign` signs its records, and reads require it or a key of `trust`.

    With `trust` and without `sign` it is read-only: written records could not be read again.
    """
    signer = SigningKey.of(sign) if sign is not None else None
    trusted = public_keys(trust) if trust is not None else None
    return _applied(store, lambda each: SignedStore(each, signer, trusted), signer is None)


def _applied(store: Store, wrap: Callable[[Store], Store], readonly: bool) -> Store:
    from persistable.stores.layered.layer import Layer
    from persistable.stores.layered.store import LayeredStore

    if isinstance(store, LayeredStore):
        layers = [(layer, layer.store if _is_wrapped(layer.store) else _applied(layer.store, wrap, readonly)) for layer in store.layers]
        return LayeredStore(*[Layer(each, readonly=layer.readonly, max_bytes=layer.max_bytes) for layer, each in layers])
    if isinstance(store, ReadOnlyStore):
        return ReadOnlyStore(_applied(store.store, wrap, False))
    if isinstance(store, SignedStore):
        raise TypeError(f"{store!r} was opened with sign= or trust=, and takes no others")
    made = wrap(store)
    return ReadOnlyStore(made) if readonly else made


def _is_wrapped(store: Store) -> bool:
    return isinstance(store.store if isinstance(store, ReadOnlyStore) else store, SignedStore)
