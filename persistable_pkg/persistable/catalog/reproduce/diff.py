"""The differences of two stored payloads: their params to the leaf, code by function, versions, facts, and the payloads themselves."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from persistable.catalog.entry import Entry
from persistable.catalog.nearest import Descriptions
from persistable.errors import PersistableError
from persistable.graph.notebook import card, code, html, table
from persistable.nodes.code import LIBRARY, Fingerprint, code_of, compare
from persistable.params.display import cut, in_words
from persistable.params.trees import absent
from persistable.records.description import described, in_lineage, leaves
from persistable.records.record import Record
from persistable.records.units import duration_in_words, size_in_words

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog
    from persistable.catalog.reproduce.compare import Comparison

SHOWN = 40
"""Lines of a difference of sources that are shown."""


class CodeChange(NamedTuple):
    """A function or constant that the generating code reached and that differs. of: the name of the payload whose code it is.

    change: ``"changed"``, ``"added"`` (only the second has it), ``"removed"`` (only the first), or ``"not compared"`` where the two were
    made under different versions of Python and the sources do not decide. sources: of both, None for one that is lost: from the record,
    where the class asks it to keep sources, else from the imported code, where that has not changed since.
    """

    of: str
    function: str
    change: str
    sources: tuple[str | None, str | None] = (None, None)

    def __str__(self) -> str:
        text = f"{self.function} of {self.of}: {self.change}"
        before, after = self.sources
        if before is None or after is None:
            return text
        lines = [*unified_diff(before.splitlines(), after.splitlines(), "a", "b", n=2, lineterm="")][2:]
        return "\n".join([text, *(f"    {line}" for line in lines[:SHOWN]), *(["    ..."] if len(lines) > SHOWN else [])])


@dataclass(frozen=True)
class Diff:
    """The differences of two entries."""

    a: Entry
    """The first entry."""
    b: Entry
    """The second entry."""
    params: dict[str, tuple[Any, Any]]
    """Both values, as trees, by dotted path; `absent` where one has none. Upstream params come under their role."""
    code: list[CodeChange]
    """The changes by function, upstream code too."""
    versions: dict[str, tuple[Any, Any]]
    """Both versions, of Python and packages."""
    facts: dict[str, tuple[Any, Any]]
    """Both values of size, seconds, created, host, class and others."""
    payloads: Comparison | None
    """The comparison of the payloads; None where that was not requested, or is impossible."""
    note: str
    """The reason why the payloads cannot be compared; else empty."""

    def __str__(self) -> str:
        lines = [f"a: {self.a.label}  {self.a.key}", f"b: {self.b.label}  {self.b.key}"]
        for title, rows in self.sections():
            lines += ["", f"{title}:" if rows else f"{title}: no difference", *(f"  {'  '.join(row)}" for row in _aligned(rows))]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        parts: list[Any] = [table([("a", self.a.label, code(str(self.a.key))), ("b", self.b.label, code(str(self.b.key)))])]
        for title, rows in self.sections():
            parts.append(card(title, table(rows, ("", "a", "b") if rows and len(rows[0]) == 3 else ()) if rows else html(" no difference")))
        return card("difference", *parts)

    def to_dict(self) -> dict[str, Any]:
        """The differences as JSON; None where one side has no value."""
        pairs = {
            name: {each: [None if value is absent else value for value in values] for each, values in getattr(self, name).items()}
            for name in ("params", "versions", "facts")
        }
        payloads = (
            None if self.payloads is None else {"outcome": self.payloads.outcome, "differences": list(map(str, self.payloads.differences))}
        )
        code = [change._asdict() for change in self.code]
        return {"a": str(self.a.key), "b": str(self.b.key), **pairs, "code": code, "payloads": payloads, "note": self.note}

    def sections(self) -> list[tuple[str, Sequence[Sequence[str]]]]:
        """Title and rows of each kind of difference: name and both values, or one line each."""
        payloads = [(self.note,)] if self.payloads is None else [(line,) for line in str(self.payloads).split("\n")]
        return [
            ("params", [(path, *(_short(value, path) for value in values)) for path, values in self.params.items()]),
            ("code", [(line,) for change in self.code for line in str(change).split("\n")]),
            ("versions", [(name, *map(_short, values)) for name, values in self.versions.items()]),
            ("facts", [(name, *(_fact(name, value) for value in values)) for name, values in self.facts.items()]),
            ("payloads", payloads),
        ]


def _short(value: Any, path: str = "") -> str:
    return "-" if value is absent else cut(in_words(value, path.rpartition(".")[2]))


def _fact(name: str, value: Any) -> str:
    if value is None or value is absent:
        return "-"
    if name == "created":
        from datetime import datetime

        return datetime.fromtimestamp(value).astimezone().isoformat(" ", "seconds")
    return size_in_words(value) if name == "size" else duration_in_words(value) if name == "seconds" else str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    if not rows or len({len(row) for row in rows}) > 1:
        return [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]


def diff(catalog: Catalog, a: Entry, b: Entry, *, payloads: bool, rtol: float, atol: float) -> Diff:
    """The differences of two entries. Raises PayloadNotFound, PayloadCorrupted where one of the records cannot be read."""
    one, other = a.record, b.record
    params = _params(catalog, one, other)
    compared, note = _payloads(a, b, rtol, atol) if payloads else (None, "not compared")
    return Diff(a, b, params, _code(one, other), _differing(one.versions, other.versions), _facts(a, b, one, other), compared, note)


def _params(catalog: Catalog, one: Record, other: Record) -> dict[str, tuple[Any, Any]]:
    known = Descriptions(catalog.index)
    known.load([str(one.key), str(other.key)])
    ways = in_lineage(one), in_lineage(other)
    return leaves(
        described(one), described(other), lambda key: known.of.get(key) or ways[0](key), lambda key: known.of.get(key) or ways[1](key)
    )


def _code(one: Record, other: Record) -> list[CodeChange]:
    """The changes of code from `one` to `other`, with the available sources."""
    before, after = Sources(one), Sources(other)
    return [each._replace(sources=(before.of(each.of, each.function), after.of(each.of, each.function))) for each in _changes(one, other)]


def _changes(one: Record, other: Record) -> list[CodeChange]:
    mine, others = _all_code(one), _all_code(other)
    found: list[CodeChange] = []
    for name in {**mine, **others}:
        if name not in mine or name not in others:
            parts = (mine.get(name) or others[name]).parts
            change_of = "removed" if name in mine else "added"
            found += [CodeChange(name, each, change_of) for each, part in parts.items() if not part.startswith(LIBRARY)]
            continue
        change = compare(mine[name], others[name])
        found += [CodeChange(name, each, "changed") for each in change.changed]
        found += [CodeChange(name, each, "added") for each in change.added]
        found += [CodeChange(name, each, "removed") for each in change.removed]
        if not change.comparable and change.same:
            found += [CodeChange(name, each, "not compared") for each in _unsure(mine[name], others[name])]
    return found


class Sources:
    """The sources of the functions that generated a payload, as far as they are kept in its record or imported and unchanged."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._code = _all_code(record)
        self._references = {record.key.name: record.class_reference}
        for entry in record.upstream_code:
            self._references.update(dict.fromkeys(entry["names"], entry["class"]))

    def of(self, name: str, function: str) -> str | None:
        """The source of a function that makes, or helps to make, payloads called `name`; None where it is lost."""
        if name not in self._code or function not in self._code[name].parts:
            return None
        if name == self._record.key.name:
            kept = self._record.source.get(function.partition(".")[0])
            if kept is not None:
                return kept
        return self._imported(name, function, self._code[name].parts[function])

    def _imported(self, name: str, function: str, part: str) -> str | None:
        module, _, qualname = self._references[name].partition(":")
        home = sys.modules.get(module)
        if home is None:
            return None
        try:
            target = attrgetter(qualname)(home)
            live = code_of(getattr(target, "__wrapped__", target)).parts.get(function, "")
            if live.partition(" ")[0] != part.partition(" ")[0]:
                return None  # it has changed since
            found = attrgetter(function)(home)
            return inspect.getsource(getattr(found, "__wrapped__", found))
        except (AttributeError, OSError, TypeError):
            return None


def _unsure(one: Fingerprint, other: Fingerprint) -> list[str]:
    """The names of parts with bytecode alone to compare, which differs between versions of Python."""
    own = {name: part for name, part in one.parts.items() if not part.startswith(LIBRARY)}
    return [name for name, part in own.items() if "s:" not in part or "s:" not in other.parts.get(name, "")]


def _all_code(record: Record) -> dict[str, Fingerprint]:
    """The fingerprints of the code of a payload and of all upstream, by payload name."""
    own = record.code
    found: dict[str, Fingerprint] = {}
    if own is not None:
        found[record.key.name] = Fingerprint(own["python"], own["quick"], record.code_parts)
    for entry in record.upstream_code:
        for name in entry["names"]:
            found.setdefault(name, Fingerprint(entry["python"], entry["quick"], entry["parts"]))
    return found


_FACTS = ("size", "seconds", "created", "host", "made")


def _facts(a: Entry, b: Entry, one: Record, other: Record) -> dict[str, tuple[Any, Any]]:
    found = _differing({name: getattr(a, name) for name in _FACTS}, {name: getattr(b, name) for name in _FACTS})
    mine = {"class": one.class_reference, "format": one.fileio["io"], "git commit": one.git_commit, "attempts": one.attempts}
    others = {"class": other.class_reference, "format": other.fileio["io"], "git commit": other.git_commit, "attempts": other.attempts}
    return {
        **found,
        **_differing(mine, others),
        **{f"untracked {name}": values for name, values in _differing(one.untracked, other.untracked).items()},
    }


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = {**one, **other}
    pairs = {name: (one.get(name, absent), other.get(name, absent)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _payloads(a: Entry, b: Entry, rtol: float, atol: float) -> tuple[Comparison | None, str]:
    from persistable.catalog.reproduce.compare import compare

    try:
        return compare(a.payload, b.payload, rtol=rtol, atol=atol), ""
    except (PersistableError, OSError) as error:
        return None, f"cannot be compared: {error}"
