"""Facts for the record of one generation."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import sys
import time
import warnings
from importlib import import_module
from time import perf_counter
from typing import Any, cast
from weakref import WeakKeyDictionary

from persistable.errors import PersistableWarning
from persistable.fileio.base import FileIO
from persistable.nodes import change_warnings, code, item_writer, upstream_digests
from persistable.nodes.arguments import how_made
from persistable.nodes.code.checkout import Checkout, checkout_of
from persistable.nodes.declaration import Declaration, declaration_of
from persistable.nodes.lineage import MAX_TABLE
from persistable.nodes.own_code import REFERENCES, given_things, reference_of
from persistable.nodes.types import Node
from persistable.params.reducers import MAINS, is_script
from persistable.params.snapshots import untracked_values
from persistable.params.trees import IDENTITY_ONLY, fields_tree
from persistable.records.files import ExistingFile, Written
from persistable.records.record import FORMAT, Record, environment_members, members, package_versions


def compose(generation: Any, written: Written, result: Any) -> Record:
    """The record of a payload that `generation` has made, with its files in `written`."""
    node = generation.node
    if not node._node_snapshot.plain:
        change_warnings.warn_of_files(node)
    io, own = generation.io, generation.code
    head = head_of(node, io, own, generation.token, written.files)
    if io.__class__.schema is not _NO_SCHEMA and not isinstance(result, ExistingFile):
        schema = io.schema(result)
        if schema is not None:
            head["schema"] = schema
    if isinstance(result, item_writer.CommittedItems):
        head["items"] = result.head
    if generation.kept_output is not None:
        head["output"] = generation.kept_output
    seconds = perf_counter() - generation.clock
    details = {"made": generation.made, "started": generation.started, "seconds": seconds, "attempts": generation.attempt}
    if seconds >= SHORTEST and generation.begun is not None:
        details["usage"] = usage_since(generation.begun)
    if written.chunks is not None:
        details["chunks"] = written.chunks.to_json()
    if generation.notes:
        details["notes"] = generation.notes
    details.update(generation.facts())
    made_from = upstream_digests.origin_of(node, generation.store, generation.used) if node._node_upstream else None
    fixed = [class_members_of(node, own), package_versions(), environment_members()]
    if made_from is not None:
        if generation.earlier is not None:
            made_from = upstream_digests.merge_origins(made_from, generation.earlier)
        head["made_from"] = made_from.head
        fixed.append(members({"upstream_content": made_from.content, "upstream_code": made_from.code}))
    return Record.compose(node.key, head, details, *fixed, signer=getattr(generation.store, "signer", None))


def facts_of(node: Node) -> dict[str, Any]:
    """The facts for the record about the node itself."""
    given: dict[str, Any] | None = node.__dict__.get("_node_given_facts")
    if given is not None:
        return given
    params = node.params
    facts: dict[str, Any] = {"version": node.version, "params": fields_tree(params)}
    if params is not None and not (id(params.__class__) in IDENTITY_ONLY.found and node._node_snapshot.plain):
        untracked = untracked_values(params)
        if untracked:
            facts["untracked"] = untracked
    if node._node_upstream:
        facts["upstream"] = {role: "/".join(each.key) for role, each in node._node_upstream.items()}
        facts["lineage"] = _lineage(node)
    declared: Declaration | None = node.__class__.__dict__.get("_node_declared")
    if "_node_call" in node.__dict__ or declared is None or not (params.__class__ is declared.params_type or node._node_by_payload):
        facts.update(how_made(node, declaration_of(node.__class__)))
    return facts


def _lineage(node: Node) -> dict[str, Any]:
    """The nodes upstream of `node`, nearest first, each once."""
    rows: dict[str, Any] = {}
    queue = list(node._node_upstream.values())
    for upstream in queue:  # grows while it is walked
        key = "/".join(upstream.key)
        if key not in rows and len(rows) < MAX_TABLE:
            rows[key] = row = {
                "class": REFERENCES.found.get(id(upstream.__class__)) or reference_of(upstream.__class__),
                "version": upstream.version,
                "params": fields_tree(upstream.params),
                "upstream": {role: "/".join(source.key) for role, source in upstream._node_upstream.items()},
            }
            if not upstream._node_by_payload or "_node_call" in upstream.__dict__:  # not for steps, whose calls are their params
                row.update(how_made(upstream, declaration_of(upstream.__class__)))
            queue.extend(upstream._node_upstream.values())
    return rows


def head_of(node: Node, io: Any, own: code.CodeOf | code.SentFingerprint, token: str, files: Any) -> dict[str, Any]:
    """The first line of a record: the facts that a load needs."""
    return {
        "record": FORMAT,
        "key": f"{node.key.name}/{node.key.digest}",
        "token": token,
        "io": io.__dict__.get("_spec") or io.spec(),
        "class": REFERENCES.found.get(id(node.__class__)) or reference_of(node.__class__),
        "code": {"python": own.python, "quick": own.quick},
        "files": files,
    }


_NO_SCHEMA: Any = cast("Any", FileIO).schema


# CPU time and memory of one generation: of its whole process if it is alone there, else of its thread

try:
    _getrusage: Any = import_module("resource").getrusage
except ImportError:  # on Windows
    _getrusage = None
SHORTEST = 0.001
"""Seconds. Shorter generations are not measured, as measuring would cost more than it is worth."""
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
    """The counters when this thread had used `seconds` of processor time, of this thread alone."""
    return 0, False, None, None, seconds


def usage_since(begun: Counters) -> dict[str, Any]:
    """The usage since then, as records store it; to be called in the same thread."""
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


def class_members_of(node: Node, own: code.CodeOf | code.SentFingerprint) -> bytes:
    """The members that are the same in all records of a class as long as its code stays the same."""
    cls: type = node.__class__
    quick, known = _class_members.get(cls, ("", b""))
    if not quick or quick != own.quick:
        change_warnings.warn(node, own)
        where, project = (own.commit, own.project) if isinstance(own, code.SentFingerprint) else (commit_of(cls), code.project_of(cls))
        facts: dict[str, Any] = {"git_commit": None, "git_dirty": None, "git_diff": None, "project": project}
        if where is not None:
            dirty = None if where.diff is None else where.diff != ""
            facts.update(git_commit=where.commit, git_dirty=dirty, git_diff=where.diff or None)
        known = members({**facts, **kept_source(cls, given_things(node)), "code_parts": dict(own.parts)})
        _class_members[cls] = (own.quick, known)
    return known


def kept_source(cls: type, given: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The source of a class or step of a script that asks for it in its records; empty for all others.

    given: functions and classes among the params of a node, as `given_things` finds them.
    """
    if not (getattr(cls, "_node_keeps_source", False) or getattr(cls, "source", False) is True):
        return {}
    sent: dict[str, Any] | None = cls.__dict__.get("_node_sent_source")
    if sent is not None or not is_script(cls.__module__):  # a module can be imported
        return sent or {}
    others = [thing for _, thing in given if is_script(str(getattr(thing, "__module__", ""))) and hasattr(thing, "__qualname__")]
    from persistable.nodes.code.extract import Unkept, extracted

    step = getattr(cls, "_node_step", None)
    try:
        return {"source": extracted(cls if step is None else step.__wrapped__, *others)}
    except Unkept as reason:
        warnings.warn(
            f"the source of {cls.__qualname__} is not kept in its records, as source=True asks: {reason}. The payloads can be reproduced "
            "where the script or notebook is, or where the class is moved to a module",
            PersistableWarning,
            stacklevel=2,
        )
        return {}


def commit_of(cls: type) -> Checkout | None:
    """The git work tree with the code of a class; None if there is none."""
    sent = code.sent_main()
    return sent.commit if sent is not None and cls.__module__ in MAINS else _commit_in(cls.__module__)


def given_of(own: Any, cls: type) -> code.SentFingerprint:
    """The facts about `own`, the code of nodes of `cls`, for another process, in which not all code that it uses is present."""
    found = own.fingerprint()
    return code.SentFingerprint(found.python, found.quick, found.parts, commit_of(cls), code.project_of(cls))


def main_program() -> code.Main:
    """The main program of the process that sends the work."""
    return code.sent_main() or code.Main(code.main_name(), _commit_in("__main__"), code.project_at("__main__"))


def _commit_in(module: str) -> Checkout | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return checkout_of(os.path.dirname(os.path.abspath(file)) if file else os.getcwd())
