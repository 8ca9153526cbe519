"""The successor of a record whose node gets another key, or whose class another name."""

# Records hold trees of every type, so pyright may find unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from persistable.catalog.evolve.changes import Changes
from persistable.catalog.evolve.identity import rekeyed
from persistable.nodes.upstream_digests import contents_digest
from persistable.records.key import Key
from persistable.records.record import Record

if TYPE_CHECKING:
    from collections.abc import Set

    from persistable.stores.signing_keys import SigningKey


class RenameMapping:
    """A resolved renaming. changes: names to be changed. keys: new key by old one. own: the keys of nodes that `changes` apply to."""

    def __init__(self, changes: Changes, keys: Mapping[str, str], own: Set[str]) -> None:
        self.changes = changes
        self.keys = keys
        self.own = own

    def key(self, key: str) -> str:
        """A key after the renaming."""
        return self.keys.get(key, key)

    # parts of a record

    def _row(self, key: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """The renamed members that describe a node: of a record, or of a row of a lineage."""
        own, changes = key in self.own, self.changes
        found = dict(row)
        params = row["params"]
        if own:
            found["params"] = changes.fields(params)
            for name in ("class", "params_class"):
                if found.get(name):
                    found[name] = changes.reference(found[name])
        if found.get("upstream"):
            found["upstream"] = {changes.role(role) if own else role: self.key(path) for role, path in found["upstream"].items()}
        if found.get("call"):
            call = found["call"]
            if own:
                args = [self._argument(item, params) for item in call["args"]]
                given = {changes.role(name): self._argument(item, params) for name, item in call["kwargs"].items()}
                call = {**call, "args": args, "kwargs": given}
            found["call"] = rekeyed(call, self.keys)
        found["params"] = rekeyed(found["params"], self.keys)
        return found

    def _argument(self, data: Any, params: Any) -> Any:
        """A renamed argument of the constructor; fields of the argument that holds the params are renamed like those."""
        fields = {name: item for name, item in data.items() if name not in ("$object", "$class")} if isinstance(data, dict) else None
        return self.changes.fields(data) if fields == params and fields else self.changes.refer(data)

    def _code(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        reference = self.changes.reference(entry["class"])
        return {**entry, "class": reference, "names": [self.changes.named(name) for name in entry["names"]]}

    def renamed_record(self, record: Record, new: Key, signer: SigningKey | None) -> Record:
        """The record of the same payload under the key `new`, with the paths that its files have under that key; signed by `signer`."""
        facts, old = record.facts(), str(record.key)
        row = self._row(old, facts)
        files = [[part, moved(path, old, str(new)), *more] for part, path, *more in record.head["files"]]
        head = {**record.head, "key": str(new), "class": row["class"], "files": files}
        if "items" in head:
            folder, *rest = record.head["items"]
            head["items"] = [moved(folder, old, str(new)), *rest]
        if record.output_path is not None:
            head["output"] = moved(record.output_path, old, str(new))
        rest = {name: row[name] for name in facts if name not in head and name not in ("signature", "checksum")}
        if "lineage" in rest:
            rest["lineage"] = {self.key(key): self._row(key, each) for key, each in facts["lineage"].items()}
        if old in self.own and "untracked" in rest:
            rest["untracked"] = {self.changes.role(path): item for path, item in facts["untracked"].items()}
        if "upstream_content" in rest:
            rest["upstream_content"] = {
                name: {self.key(key): content for key, content in contents.items()} for name, contents in facts["upstream_content"].items()
            }
            if "made_from" in head:
                head["made_from"] = [
                    head["made_from"][0],
                    contents_digest(rest["upstream_content"].get("direct", {})),
                    *head["made_from"][2:],
                ]
        if "upstream_code" in rest:
            rest["upstream_code"] = [self._code(entry) for entry in facts["upstream_code"]]
        if "accepted_causes" in rest:
            causes = [cause.partition(" ") for cause in facts["accepted_causes"]]
            rest["accepted_causes"] = [f"{self.key(key)}{space}{now}" for key, space, now in causes]
        return Record.compose(new, head, rest, signer=signer)


def moved(path: str, old: str, new: str) -> str:
    """The path of a file of the payload `old` under the key `new`; unchanged for a file that is not stored under its key."""
    return new + path[len(old) :] if path.startswith(f"{old}.") else path
