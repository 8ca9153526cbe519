"""`persistable keys`: save the keys of a project's targets and compare them, to notice in time if any has changed.

Also `persistable keys new` and `persistable keys show`, for the keys that sign records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from persistable.cli.options import COMMON, CommonOptions, TargetArgument
from persistable.cli.output import Column, answer, note, table, write, write_json
from persistable.cli.target import CommandContext
from persistable.cli.usage import BadUsage, as_bad_usage
from persistable.errors import SecretMissing
from persistable.graph.labels import short
from persistable.nodes.code import class_reference
from persistable.nodes.lineage import walk
from persistable.nodes.provenance import facts_of
from persistable.nodes.types import Node
from persistable.params.display import is_of_nodes
from persistable.params.fields import name_in_identity
from persistable.params.trees import absent, differences, fields_tree
from persistable.records.key import SCHEME
from persistable.records.record import package_versions
from persistable.stores.signing_keys import PUBLIC, SigningKey, new_signing_key, public_key

FORMAT = 1
DESCRIBED_MEMBERS = 200
"""Number of members of each target that the file describes; of all others it has only the keys."""


class ChangedKey(NamedTuple):
    """A key that has changed; `now` is None if the member or target no longer exists."""

    target: str
    member: str
    before: str
    now: str | None
    why: list[str]


def keys(
    *targets: TargetArgument, lock: Path | None = None, check: Path | None = None, out: Path | None = None, common: CommonOptions = COMMON
) -> int:
    """List the keys of targets, write them to a file, or compare them with one: exit status 1 if any moved, with the reason.

    A moved key orphans the payload stored under it. Keep the file beside the code, check it in CI, and write it anew after an intended
    move. No store is read.

    keys new --out FILE generates a private key to sign records, readable only by you, and writes the public one to FILE.pub.
    keys show FILE prints the public key of a file, as trust= takes it. The words new and show are no targets here.

    Parameters
    ----------
    targets
        Targets, stages, members of targets, or module:object. Without any, all of the project; with --check, all of the file.
    lock
        The file to write.
    check
        The file to compare with.
    out
        For keys new: the file for the private key, which must not exist yet; without it, the key is printed.
    """
    if targets[:1] in (("new",), ("show",)):
        return _signing(targets[0], targets[1:], out, lock is not None or check is not None, common)
    if out is not None:
        raise BadUsage("--out goes with keys new: the file for the private key")
    if lock is not None and check is not None:
        raise BadUsage("keys takes --lock or --check, not both: check first, then lock what is meant")
    here = CommandContext(common)
    if check is not None:
        return _check(here, targets, check, common)
    found = lock_content(here, targets or tuple(here.needed_project().targets))
    if lock is not None:
        lock.write_text(json.dumps(found, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
        write(f"{sum(map(len, found['targets'].values()))} keys of {len(found['targets'])} targets in {lock}")
    elif common.json:
        write_json(found["targets"])
    else:
        rows = [(name, member, key) for name, members in found["targets"].items() for member, key in members.items()]
        table([Column("target"), Column("member"), Column("key", long=True)], rows)
    return 0


def lock_content(here: CommandContext, targets: tuple[str, ...]) -> dict[str, Any]:
    """The content of a lock file of these targets: the keys of all members, and facts about the first of them."""
    members: dict[str, dict[str, str]] = {}
    nodes: dict[str, dict[str, Any]] = {}
    for name in targets:
        found = here.find(name)
        if found.place is not None:
            raise BadUsage(f"{name} is a key; keys takes targets, stages, members of targets, or module:object")
        of_it = members[name] = {}
        pairs = here.pairs(found.target)
        for number, (node, _) in enumerate(pairs):
            of_it[_unused_label(_label(node), of_it) if len(pairs) > 1 else name] = str(node.key)
            if number < DESCRIBED_MEMBERS:
                nodes.update((str(each.key), _described(each)) for each in walk(node) if str(each.key) not in nodes)
    imported = json.loads(b"{" + package_versions().lstrip(b",\n") + b"}")["versions"]
    versions = {name: imported[name] for name in _PACKAGES if name in imported}
    return {"format": FORMAT, "scheme": SCHEME, "versions": versions, "targets": members, "nodes": nodes}


_PACKAGES = ("python", "persistable", "numpy", "pandas", "polars", "pyarrow", "sklearn", "pydantic", "attrs", "omegaconf")
"""The packages whose values may be params."""


def _label(node: Node) -> str:
    # by the names in identity, so that a field renamed with a marker leaves the file unchanged
    shown = {name: getattr(node.params, name, tree) for name, tree in fields_tree(node.params).items() if not is_of_nodes(tree)}
    return f"{node.payload_name}({', '.join(f'{name}={value!r:.60}' for name, value in shown.items())})"


def _unused_label(label: str, taken: Mapping[str, Any]) -> str:
    number = 2
    name = label
    while name in taken:
        name, number = f"{label} #{number}", number + 1
    return name


def _described(node: Node) -> dict[str, Any]:
    facts = facts_of(node)
    found = {"class": class_reference(node.__class__), "version": facts["version"], "params": facts["params"]}
    if node.params is not None:
        kind: Any = node.params.__class__
        found["params_class"] = name_in_identity(kind)
    return {**found, "upstream": {role: str(source.key) for role, source in node.upstream.items()}}


# signing keys


def _signing(verb: str, files: tuple[str, ...], out: Path | None, compares: bool, common: CommonOptions) -> int:
    if compares or (verb == "show" and (out is not None or len(files) != 1)) or (verb == "new" and files):
        raise BadUsage("write keys new --out FILE, or keys show FILE")
    if verb == "show":
        public = _public_of(files[0])
        answer(common.json, {"public": public}, public)
        return 0
    private, public = new_signing_key()
    if out is None:
        answer(common.json, {"private": private.reveal(), "public": public}, f"{private.reveal()}\n{public}")
        return 0
    try:
        private.save(out)
    except FileExistsError as error:
        raise BadUsage(
            f"there is a file {error.filename or out} already, and what is signed by it needs it; choose another name"
        ) from error
    text = f"the private key is in {out}, which only you may read; the public one, also in {out}.pub, is\n{public}"
    answer(common.json, {"private": str(out), "public": public}, text)
    return 0


def _public_of(file: str) -> str:
    """The public key of a file with either key, or of ``env:NAME``. Raises BadUsage if it contains none."""
    try:
        return public_key(file) if file.startswith(PUBLIC) else public_key(Path(file))
    except ValueError:
        pass
    with as_bad_usage(ValueError, SecretMissing):
        return SigningKey.of(file).public


# comparing


def _check(here: CommandContext, targets: tuple[str, ...], file: Path, common: CommonOptions) -> int:
    before = _read(file)
    wanted = targets or tuple(before["targets"])
    unknown = [name for name in wanted if name not in before["targets"]]
    if unknown:
        raise BadUsage(f"{file} has no {', '.join(unknown)}; `persistable keys --lock {file}` writes all targets")
    there = tuple(name for name in wanted if here.is_name(name) or ":" in name or "[" in name)
    now = lock_content(here, there)
    moved = [each for name in wanted for each in _compared(name, before, now)]
    project = here.project
    more = [name for name in (project.targets if project is not None and not targets else ()) if name not in before["targets"]]
    if common.json:
        write_json({"moved": [each._asdict() for each in moved], "not_in_file": more})
        return 1 if moved else 0
    for each in moved:
        member = "" if each.member in (each.target, "") else f" {each.member}"
        write(f"{each.target}{member}: {each.before} " + (f"is {each.now} now" if each.now is not None else "is gone"))
        for line in each.why:
            write(f"  {line}")
    if more:
        note(f"not in {file}: {', '.join(more)}")
    if not moved:
        write(f"{sum(len(before['targets'][name]) for name in wanted)} keys are what they were")
    return 1 if moved else 0


def _read(file: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
        known = found["format"]
    except FileNotFoundError as error:
        raise BadUsage(f"there is no {file}; `persistable keys --lock {file}` writes it") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BadUsage(f"{file} is no file that `persistable keys --lock` wrote: {error}") from error
    if known != FORMAT:
        raise BadUsage(f"{file} is of format {known}, and this version reads {FORMAT}; write it anew with --lock")
    return dict(found)


def _compared(target: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[ChangedKey]:
    old: dict[str, str] = before["targets"][target]
    new: dict[str, str] = now["targets"].get(target, {})
    gone = [member for member in old if member not in new]
    come = [member for member in new if member not in old]
    # labels consist of params: if these changed, unmatched members are paired by position
    pairs = {
        **{member: member for member in old if member in new},
        **(dict(zip(gone, come, strict=True)) if len(gone) == len(come) else {}),
    }
    for member, key in old.items():
        found = new.get(pairs.get(member, ""))
        if found != key:
            yield ChangedKey(
                target, member, key, found, list(_why(key, found, before, now)) if found is not None else [_absent(target, now)]
            )


def _absent(target: str, now: Mapping[str, Any]) -> str:
    return "no member has these params" if target in now["targets"] else "the project has no such target"


def _why(key: str, found: str, before: Mapping[str, Any], now: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """The reasons why a key has changed, as far as the two descriptions show, farthest upstream first."""
    at = f"{place}: " if place else ""
    if key.rpartition("/")[0] != found.rpartition("/")[0]:
        yield (
            f"{at}the payload name was {key.rpartition('/')[0]} and is {found.rpartition('/')[0]}; `@formerly({key.rpartition('/')[0]!r})` "
            "keeps the keys"
        )
    old, new = before["nodes"].get(key), now["nodes"].get(found)
    if old is None or new is None:
        yield f"{at}the file does not describe this one; the reason is likely that of another of the target"
        return
    reasons = list(_own(old, new, at))
    for role in dict.fromkeys([*old["upstream"], *new["upstream"]]):
        was, is_now = old["upstream"].get(role), new["upstream"].get(role)
        where = f"{place}.{role}" if place else role
        if was is None or is_now is None:
            reasons.append(f"{at}the upstream role {role} was {'added' if was is None else 'removed'}")
        elif was != is_now:
            yield from _why(was, is_now, before, now, where)
    yield from reasons
    if not reasons and old["upstream"] == new["upstream"] and key.rpartition("/")[0] == found.rpartition("/")[0]:
        yield at + _of_versions(before, now)


def _own(old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[str]:
    if old["version"] != new["version"]:
        yield f"{at}version was {old['version']} and is {new['version']}"
    was, is_now = old.get("params_class"), new.get("params_class")
    if was != is_now:
        yield f'{at}the params class was {was} and is {is_now}; if it was renamed, `@formerly("{was}")` keeps the keys'
    for path, (one, other) in differences(old["params"], json.loads(json.dumps(new["params"], default=str))).items():
        if one is absent:
            value = short(other)
            yield f"{at}the param {path} was added, with {value}; `omit_when({value})` keeps the keys while it has that value"
        elif other is absent:
            former = path.rpartition(".")[2]
            yield f"{at}the param {path} was removed (it was {short(one)}); if it was renamed, `formerly({former!r})` keeps the keys"
        else:
            yield f"{at}the param {path} was {short(one)} and is {short(other)}"


def _of_versions(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if before["scheme"] != now["scheme"]:
        return f"the scheme of identity was {before['scheme']} and is {now['scheme']}"
    known, names = before["versions"], now["versions"]
    changed = [f"{name} {known[name]} -> {names[name]}" for name in known if name in names and known[name] != names[name]]
    return f"its description is the same; versions that changed: {', '.join(changed) or 'none'}"
