"""Facts for the record of one generation."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from operator import itemgetter
from time import perf_counter
from typing import Any, cast
from weakref import WeakKeyDictionary

from persistable.fileio.base import FileIO
from persistable.nodes import code, origin, streams, unwatched
from persistable.nodes.code.checkout import Checkout, checkout_of
from persistable.params.registry import ClassTable
from persistable.records import files as payload
from persistable.records.record import FORMAT, FileFact, Record, members, package_versions, sealed, surroundings


def compose(generation: Any, written: payload.Written, result: Any) -> Record:
    """The record of a payload that `generation` has made and `written`."""
    node = generation.node
    if not node._snapshot.plain:
        unwatched.warn_of_files(node)
    io, own = generation.io, generation.code
    head = _head(node, io, own, generation.token, written.files)
    if io.__class__.schema is not _NO_SCHEMA and not isinstance(result, payload.InFile):
        schema = io.schema(result)
        if schema is not None:
            head["schema"] = schema
    if isinstance(result, streams.Gathered):
        head["items"] = result.head
    seconds = perf_counter() - generation.clock
    details = {"made": generation.made, "started": generation.started, "seconds": seconds, "attempts": generation.attempt}
    if seconds >= SHORTEST and generation.begun is not None:
        details["usage"] = usage_since(generation.begun)
    if written.chunks is not None:
        details["chunks"] = written.chunks.to_json()
    if generation.notes:
        details["notes"] = generation.notes
    details.update(generation.facts())
    made_from = origin.origin_of(node, generation.store, generation.used) if node._upstream else None
    fixed = [_of_class(node, own), package_versions(), surroundings()]
    if made_from is not None:
        if generation.earlier is not None:
            made_from = origin.joined(made_from, generation.earlier)
        head["made_from"] = made_from.head
        fixed.append(members({"upstream_content": made_from.content, "upstream_code": made_from.code}))
    return Record.compose(node.key, head, details, *fixed)


def _head(node: Any, io: Any, own: code.CodeOf | code.Given, token: str, files: Any) -> dict[str, Any]:
    cls = node.__class__
    reference = _references.found.get(id(cls))
    if reference is None:
        reference = code.class_reference(cls)
        if cls.__module__ not in ("__main__", "__mp_main__"):  # what that is called depends on where its work came from
            _references.set(cls, reference)
    return {
        "record": FORMAT,
        "key": f"{node.key.name}/{node.key.digest}",
        "token": token,
        "io": io.__dict__.get("_spec") or io.spec(),
        "class": reference,
        "code": {"python": own.python, "quick": own.quick},
        "files": files,
    }


_NO_SCHEMA: Any = cast("Any", FileIO).schema
_references = ClassTable()
"""The reference of each class."""


class Form:
    """Records of nodes that differ in plain values of some params only, each made at the first attempt: written out once, then filled in.

    model: one of these nodes. varying: the params. modules: how many were imported when it was made; once there are more, what it says of
    their versions is out of date.
    """

    def __init__(self, model: Any, io: Any, own: code.CodeOf | code.Given, varying: Iterable[str]) -> None:
        digest, token, content = model.key.digest, *[os.urandom(length).hex() for length in (12, 32)]
        used = os.urandom(12).hex()
        numbers = [int.from_bytes(os.urandom(6), "big") + (1 << 48) for _ in range(3)]
        marks = {name: os.urandom(12).hex() for name in varying}
        facts: dict[str, Any] = model._facts()
        facts = {**facts, "params": {**facts["params"], **marks}}
        file = FileFact("", model.key.file(token, io.suffix), numbers[0], content)
        head = _head(model, io, own, token, [file])
        self.modules = len(sys.modules)
        details = {"made": "generated", "started": numbers[1], "seconds": numbers[2], "attempts": 1, "usage": used, **facts}
        record = Record.compose(model.key, head, details, _of_class(model, own), package_versions(), surroundings())
        fields = [digest, token, *[str(number) for number in numbers[:1]], content, *[str(number) for number in numbers[1:]], f'"{used}"']
        fields += [f'"{mark}"' for mark in marks.values()]
        text = record.unsealed().decode("utf-8", "surrogatepass")
        self._pieces = re.split("(" + "|".join(map(re.escape, fields)) + ")", text)
        self._order = itemgetter(*[fields.index(mark) for mark in self._pieces[1::2]])

    def fill(self, *facts: str) -> bytes:
        """A record. facts: digest and token of the node, size and digest of its file, started, seconds, usage, and each param, as JSON."""
        pieces = self._pieces.copy()
        pieces[1::2] = self._order(facts)
        return sealed("".join(pieces).encode("utf-8", "surrogatepass"))


# CPU time and memory of one generation: of its whole process where it has that to itself, else of its thread

try:
    _getrusage: Any = import_module("resource").getrusage
except ImportError:  # on Windows
    _getrusage = None
SHORTEST = 0.001
"""Seconds. What took less is not measured: that would cost more than it tells."""
_SELF, _CHILDREN = 0, -1
_UNIT = 1 if sys.platform == "darwin" else 1024
_begun = 0

Counters = tuple[int, bool, Any, Any, float]
"""Number of the generation, whether it is alone, usage of the process and of its ended children, and CPU seconds of the thread."""


def usage_begins(alone: bool) -> Counters:
    """The counters now. alone: whether nothing else is being generated in this process."""
    global _begun
    _begun += 1
    if _getrusage is None:
        return _begun, alone, None, None, time.thread_time()
    return _begun, alone, _getrusage(_SELF), _getrusage(_CHILDREN), time.thread_time()


def usage_of_thread(seconds: float) -> Counters:
    """The counters when this thread had used so many, as far as it alone is looked at."""
    return 0, False, None, None, seconds


def usage_since(begun: Counters) -> dict[str, Any]:
    """The usage since then, as records have it; to be called in the same thread."""
    number, alone, own, children, thread = begun
    if _getrusage is None:
        return {"of": "thread", "cpu_seconds": round(time.thread_time() - thread, 6)}
    own_now, children_now = _getrusage(_SELF), _getrusage(_CHILDREN)
    peak = max(own_now.ru_maxrss, children_now.ru_maxrss) * _UNIT
    usage = {"of": "thread", "cpu_seconds": round(time.thread_time() - thread, 6), "peak_memory": peak}
    if own is not None:
        usage["memory_rise"] = peak - max(own.ru_maxrss, children.ru_maxrss) * _UNIT
        if alone and number == _begun:
            seconds = own_now.ru_utime + own_now.ru_stime + children_now.ru_utime + children_now.ru_stime
            seconds -= own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
            usage.update(of="process", cpu_seconds=round(seconds, 6))
    return usage


_class_members: WeakKeyDictionary[type, tuple[str, bytes]] = WeakKeyDictionary()


def _of_class(node: Any, own: code.CodeOf | code.Given) -> bytes:
    """The members that are the same for every record of a class, as long as its code is."""
    cls: type = node.__class__
    quick, known = _class_members.get(cls, ("", b""))
    if not quick or quick != own.quick:
        unwatched.warn(node, own)
        where, project = (own.commit, own.project) if isinstance(own, code.Given) else (commit_of(cls), code.project_of(cls))
        facts: dict[str, Any] = {"git_commit": None, "git_dirty": None, "git_diff": None, "project": project}
        if where is not None:
            dirty = None if where.diff is None else where.diff != ""
            facts.update(git_commit=where.commit, git_dirty=dirty, git_diff=where.diff or None)
        known = members({**facts, "code_parts": dict(own.parts)})
        _class_members[cls] = (own.quick, known)
    return known


_commits: dict[str, Checkout | None] = {}


def commit_of(cls: type) -> Checkout | None:
    """The git work tree of the code that a class is in."""
    sent = code.sent_main()
    return sent.commit if sent is not None and cls.__module__ in ("__main__", "__mp_main__") else _commit_in(cls.__module__)


def main_program() -> code.Main:
    """The main program that work is sent from."""
    return code.sent_main() or code.Main(code.main_name(), _commit_in("__main__"), code.project_at("__main__"))


def _commit_in(module: str) -> Checkout | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    folder = os.path.dirname(os.path.abspath(file)) if file else os.getcwd()
    if folder not in _commits:
        _commits[folder] = checkout_of(folder)
    return _commits[folder]
