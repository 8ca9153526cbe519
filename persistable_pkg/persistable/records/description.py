"""The description of which a key is the digest: name, version, params and upstream; and the params in which two descriptions differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from persistable.params.trees import absent, differences
from persistable.records.record import Record


class Description(NamedTuple):
    """The description of a key. params: their tree. upstream: role to the key there, as text."""

    key: str
    version: Any
    params: Mapping[str, Any]
    upstream: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of the payload."""
        return self.key.rpartition("/")[0]


Find = Callable[[str], Description | None]
"""Return the description of a key; None where it is not known."""


def described(record: Record) -> Description:
    """The description in a record."""
    facts = record.facts()
    return Description(facts["key"], facts["version"], facts["params"], facts.get("upstream") or {})


def in_lineage(record: Record) -> Find:
    """Return a function that finds the descriptions of upstream nodes in the record itself."""

    def find(key: str) -> Description | None:
        row = record.lineage.get(key)
        return None if row is None else Description(key, row["version"], row["params"], row["upstream"])

    return find


def leaves(asked: Description, stored: Description, find_asked: Find, find_stored: Find) -> dict[str, tuple[Any, Any]]:
    """The single params in which two descriptions differ: dotted path to both values, `absent` where one has none.

    Params of upstream nodes come under their role: ``points.n``. Where the params of an upstream node are unknown, its keys are compared.
    """
    found: dict[str, tuple[Any, Any]] = {}
    seen: set[tuple[str, str]] = set()
    pending = [("", asked, stored)]
    while pending:
        prefix, one, other = pending.pop()
        own = differences({"version": one.version, **one.params}, {"version": other.version, **other.params})
        found.update({prefix + path: values for path, values in own.items()})
        inner: list[tuple[str, Description, Description]] = []
        for role in {**one.upstream, **other.upstream}:
            here, there = one.upstream.get(role), other.upstream.get(role)
            if here == there or (here, there) in seen:
                continue
            known = (find_asked(here), find_stored(there)) if here is not None and there is not None else (None, None)
            if known[0] is None or known[1] is None or known[0].name != known[1].name:
                found[prefix + role] = (absent if here is None else here, absent if there is None else there)
            else:
                seen.add((known[0].key, known[1].key))
                inner.append((f"{prefix}{role}.", known[0], known[1]))
        pending += reversed(inner)
    return found
