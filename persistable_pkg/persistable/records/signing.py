"""Signatures of records on their way from one store to another; `persistable.stores.signed` says what a signature is, and looks at it."""

from __future__ import annotations

from persistable.errors import PayloadUntrusted
from persistable.records.record import Record
from persistable.stores.base import Store, extended
from persistable.stores.signed import SignedStore


def for_store(record: Record, store: Store, sign: bool) -> Record:
    """`record` as `store` takes it: itself, unless it is to `sign` one that is not signed by anybody who is trusted there.

    That is then signed by the key of the store, in place of what signature it had. Raises PayloadUntrusted for one that the store would
    not read.
    """
    whole = extended(store)
    holders = [layer.store for layer in whole.layers if not layer.readonly] or [store]
    asking = [each for each in holders if isinstance(each, SignedStore) and each.trust is not None]
    if all(each.signer_of(record.data) is not None for each in asking) if asking else record.signature is not None or not sign:
        return record
    if sign and whole.signer is not None:
        return record.revise({}, {}, whole.signer)
    raise PayloadUntrusted(
        f"the record of {record.key} is not signed by anybody that {store.url} trusts, so it is not copied; if you vouch for it, give "
        "that store a key and let it sign: copy(..., sign=True), or `persistable cp --sign`",
        key=record.key,
        by=(record.signature or {}).get("by"),
        format="",
    )
