"""`persistable show` and `persistable cat`: the record of a stored payload, and the payload itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from persistable.catalog.entry import label
from persistable.catalog.entry_json import details
from persistable.cli.options import COMMON, CommonOptions, Flag, TargetArgument
from persistable.cli.output import answer, on_terminal, printable, write, write_bytes, write_json
from persistable.cli.target import CommandContext, NamedPayload, resolve_one
from persistable.cli.usage import BadUsage
from persistable.errors import PayloadNotFound, PayloadUntrusted
from persistable.fileio.registry import fileio_from_spec
from persistable.fileio.trust import with_schema
from persistable.nodes.binding import bound_to
from persistable.nodes.types import own_store
from persistable.params.display import in_words, is_of_nodes
from persistable.records import files, record_access
from persistable.records.key import Key, Placed
from persistable.records.record import FileFact, Record
from persistable.records.units import duration_in_words, size_in_words, usage_in_words


def show(payload: TargetArgument, /, *, python: Flag = False, common: CommonOptions = COMMON) -> None:
    """Show the record of a stored payload: its params, upstream, class or step, time and host.

    Parameters
    ----------
    payload
        A target or member of one, a key or the beginning of one, or a file of it.
    python
        Instead write Python code that makes its node.
    """
    here = CommandContext(common)
    found = resolve_one(here, payload)
    record = record_of(found)
    if python:
        text = here.catalog_of(found.store).code(found.key)
        answer(common.json, {"key": str(found.key), "python": text}, text.rstrip("\n"))
        return
    facts = details(found.store, found.place, record)
    if common.json:
        write_json(facts)
        return
    for line in _lines(facts, record.lineage, found):
        write(printable(line))


def record_of(found: NamedPayload) -> Record:
    """The record of a payload. Raises PayloadNotFound, PayloadCorrupted."""
    record = record_access.find_record(found.store, found.place)
    if record is not None:
        return record
    if found.node is not None and found.node.is_external:
        raise PayloadNotFound(f"{found.key} is an input from elsewhere; nothing is recorded of it", key=found.key)
    if found.node is not None and not found.node.is_persisted:
        raise PayloadNotFound(f"{found.key} is not persisted: it is generated whenever it is needed", key=found.key)
    failure = record_access.find_failure(found.store, found.place)
    why = "" if failure is None else f"; its last attempt raised {failure.text}"
    raise PayloadNotFound(f"nothing is stored under {found.key} in {found.store.url}{why}; `persistable explain` tells more", key=found.key)


def _lines(facts: dict[str, Any], lineage: dict[str, Any], found: NamedPayload) -> Iterator[str]:
    age = duration_in_words(max(0.0, time.time() - facts["stored"]))
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(facts["stored"]))
    made = {"put": "put in by hand", "adopted": "adopted from a file"}.get(facts["made"], f"by {facts['class']}")
    attempts = f", attempt {facts['attempts']}" if facts["attempts"] > 1 else ""
    yield from _pair("key", facts["key"])
    yield from _pair("store", facts["store"])
    yield from _pair("stored", f"{at}, {age} ago; took {duration_in_words(facts['seconds'])}{attempts}")
    if facts["usage"]:
        yield from _pair("used", usage_in_words(facts["usage"]))
    yield from _pair("made", f"{made}, on {facts['host']}" + (f" ({facts['platform']})" if facts["platform"] else ""))
    yield from _pair("format", facts["format"]["io"])
    yield from _pair("version", facts["version"])
    if facts["git_commit"]:
        dirty = f", dirty: uncommitted changes of digest {facts['git_diff']}" if facts["git_diff"] else ""
        yield from _pair("commit", facts["git_commit"] + dirty)
    yield from _block("params", {name: in_words(tree, name) for name, tree in facts["params"].items() if not is_of_nodes(tree)})
    yield from _block("untracked", {name: in_words(tree, name) for name, tree in facts["untracked"].items()})
    yield from _block("upstream", {role: _source(found, key, lineage.get(key)) for role, key in facts["upstream"].items()})
    yield from _block("files", {file["path"]: f"{size_in_words(file['size'])}  {file['digest']}" for file in facts["files"]})
    yield from _block("versions", facts["versions"])
    yield from _block("notes", facts["notes"])
    if facts["output"]:
        lines = facts["output"].splitlines()
        yield "output" + (f" (the last {_LINES} lines of {len(lines)}; --json has all that is kept)" if len(lines) > _LINES else "")
        yield from (f"  {line}" for line in lines[-_LINES:])


_LINES = 20
"""Maximum number of lines of the output to show."""


def _pair(name: str, value: Any) -> Iterator[str]:
    yield f"{name:<9} {value}"


def _block(name: str, facts: dict[str, Any]) -> Iterator[str]:
    if facts:
        width = max(map(len, facts))
        yield name
        yield from (f"  {each:<{width}}  {value if isinstance(value, str) else in_words(value)}" for each, value in facts.items())


def _source(found: NamedPayload, key: str, described: dict[str, Any] | None) -> str:
    """The line of one upstream payload: key, label if the record has it, and a mark if it is not stored."""
    words = "" if described is None else f"  {label(key.partition('/')[0], described['params'])}"
    return key + words + ("" if _is_there(found, key) else "  (not stored)")


def _is_there(found: NamedPayload, key: str) -> bool:
    """Tell whether an upstream payload is stored; assumed for a payload at a custom path, whose upstream may be at custom paths too."""
    if found.node is not None:
        for source in found.node.upstream.values():
            if str(source.key) == key:
                return source.is_external or record_access.is_there(own_store(source) or found.store, source.place)
    return record_access.is_there(found.store, Key.parse(key)) or isinstance(found.place, Placed)


# the payload itself

_AS_THEY_ARE = (".txt", ".md", ".csv", ".json", ".yaml", ".yml", ".svg", ".bin")


def cat(
    payload: TargetArgument,
    /,
    *,
    raw: Flag = False,
    part: str | None = None,
    trust: Flag = False,
    common: CommonOptions = COMMON,
) -> None:
    """Write a payload to standard output: the file itself if it is text, else its repr in Python, or JSON.

    Parameters
    ----------
    payload
        A target or member of one, or a key or the beginning of one.
    raw
        Write the bytes of its file, even if they are not text.
    part
        For a payload of several files, the name of one.
    trust
        Read it with the format in its record, even if that can run code.
    """
    here = CommandContext(common)
    found = resolve_one(here, payload)
    if found.node is not None and found.node.is_external:
        _write_value(found.node.payload, common.json)
        return
    record = record_of(found)
    as_it_is = record.files[0].path.endswith(_AS_THEY_ARE) and len(record.files) == 1 and not common.json if record.files else False
    if raw or part is not None or as_it_is:
        _write_file(found, _file(record, part))
    else:
        _write_value(_load(here, found, record, trust), common.json)


def _file(record: Record, part: str | None) -> FileFact:
    parts = {file.part: file for file in record.files}
    if part is None and len(parts) == 1:
        return record.files[0]
    if part not in parts:
        names = ", ".join(name or "(the whole)" for name in parts)
        raise BadUsage(
            f"{record.key} is {len(parts)} files: {names}; name one with --part"
            if part is None
            else f"{record.key} has no part {part!r}; there are {names}"
        )
    return parts[part]


def _write_file(found: NamedPayload, file: FileFact) -> None:
    with files.opened(found.store, found.key, file) as opened:
        last = b""
        for last in iter(lambda: opened.read(1 << 20), b""):
            write_bytes([last])
    if on_terminal() and not last.endswith(b"\n"):
        write("")  # so that the prompt begins a line


def _load(here: CommandContext, found: NamedPayload, record: Record, trusted: bool) -> Any:
    """Load the payload through its node or, without one, the catalog, by a safe format; if `trusted`, by the format in the record."""
    if trusted:
        io = fileio_from_spec(record.fileio)
        io = io if record.schema is None else with_schema(io, record.schema, found.key)
        return files.read(found.store, found.key, record.files, io)
    try:
        if found.node is not None:
            return bound_to(found.node, found.store).load().payload
        return here.catalog_of(found.store)[found.key].payload
    except PayloadUntrusted as error:
        more = "--trust reads it as its record says: use it only if you trust everybody who can write to the store"
        raise PayloadUntrusted(f"{error}. {more}", key=error.key, format=error.format) from None


def _write_value(value: Any, as_json: bool) -> None:
    if as_json:
        import json

        write(json.dumps(value, default=_plain, ensure_ascii=False))
    elif isinstance(value, bytes | bytearray | memoryview):
        write_bytes([value])
    else:
        write(value if isinstance(value, str) else repr(value))


def _plain(value: Any) -> Any:
    """Convert a value that JSON lacks: arrays to lists, tables to rows, others to their repr."""
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for method, arguments in (("to_dict", ("records",)), ("to_dicts", ()), ("tolist", ()), ("model_dump", ()), ("isoformat", ())):
        convert = getattr(value, method, None)
        if callable(convert):
            try:
                return convert(*arguments)
            except (TypeError, ValueError):
                continue
    if isinstance(value, set | frozenset):
        items: list[Any] = sorted(value, key=repr)  # pyright: ignore[reportUnknownArgumentType]
        return items
    return repr(value)
