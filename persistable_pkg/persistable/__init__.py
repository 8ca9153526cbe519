"""Name a result by the params and upstream results it came from; compute it once, load it ever after.

Every public name is imported when it is first used, so that ``import persistable`` itself costs nothing.
"""

__version__ = "2.0.0.dev0"

TYPE_CHECKING = False  # type checkers read it as True; importing `typing` for the real one would cost more than all of this module
if TYPE_CHECKING:
    from typing import Any

    from persistable import errors, events, executors, fileio, graph, notify, params, stores
    from persistable.catalog.catalog import Catalog
    from persistable.errors import PersistableError
    from persistable.executors.resources import Resources, Retry
    from persistable.families import Family
    from persistable.families.items import Item
    from persistable.families.sources import Source
    from persistable.families.workspaces import Workflow, Workspace, seed, stored
    from persistable.fileio import FileIO, fileio_for, register_fileio
    from persistable.nodes.command import Command
    from persistable.nodes.connections import connection
    from persistable.nodes.context import allocate, append, appended, committed, progress, rng, scratch
    from persistable.nodes.item_writer import by_content
    from persistable.nodes.node import Persistable
    from persistable.nodes.optional import any_of, optional
    from persistable.nodes.status import Status
    from persistable.nodes.step import OpenNode, step
    from persistable.nodes.transfer import HttpGet, Upload
    from persistable.params import PersistableParams, formerly, omit_when, register_params, untracked
    from persistable.params.secret import Secret
    from persistable.project import Project
    from persistable.records.items import Collected
    from persistable.records.key import Key
    from persistable.records.record import Record
    from persistable.runs.accept import accept_code
    from persistable.runs.failures import NodeFailure
    from persistable.runs.pipeline import Pipeline
    from persistable.runs.plan import Plan, plan
    from persistable.runs.result import RunResult
    from persistable.runs.run import run
    from persistable.stores import open_store

__all__ = [
    "Catalog",
    "Collected",
    "Command",
    "Family",
    "FileIO",
    "HttpGet",
    "Item",
    "Key",
    "NodeFailure",
    "OpenNode",
    "Persistable",
    "PersistableError",
    "PersistableParams",
    "Pipeline",
    "Plan",
    "Project",
    "Record",
    "Resources",
    "Retry",
    "RunResult",
    "Secret",
    "Source",
    "Status",
    "Upload",
    "Workflow",
    "Workspace",
    "accept_code",
    "allocate",
    "any_of",
    "append",
    "appended",
    "by_content",
    "committed",
    "connection",
    "errors",
    "events",
    "executors",
    "fileio",
    "fileio_for",
    "formerly",
    "graph",
    "notify",
    "omit_when",
    "open_store",
    "optional",
    "params",
    "plan",
    "progress",
    "register_fileio",
    "register_params",
    "rng",
    "run",
    "scratch",
    "seed",
    "step",
    "stored",
    "stores",
    "untracked",
]

_MODULES = ("errors", "events", "executors", "fileio", "graph", "notify", "params", "stores", "testing")
_HOME = {
    "Catalog": "catalog.catalog",
    "Collected": "records.items",
    "Command": "nodes.command",
    "Family": "families",
    "FileIO": "fileio",
    "HttpGet": "nodes.transfer",
    "Item": "families.items",
    "Key": "records.key",
    "NodeFailure": "runs.failures",
    "OpenNode": "nodes.step",
    "Persistable": "nodes.node",
    "PersistableError": "errors",
    "PersistableParams": "params",
    "Pipeline": "runs.pipeline",
    "Plan": "runs.plan",
    "Project": "project",
    "Record": "records.record",
    "Resources": "executors.resources",
    "Retry": "executors.resources",
    "Secret": "params.secret",
    "Source": "families.sources",
    "Status": "nodes.status",
    "Upload": "nodes.transfer",
    "Workflow": "families.workspaces",
    "Workspace": "families.workspaces",
    "RunResult": "runs.result",
    "allocate": "nodes.context",
    "any_of": "nodes.optional",
    "append": "nodes.context",
    "appended": "nodes.context",
    "by_content": "nodes.item_writer",
    "committed": "nodes.context",
    "connection": "nodes.connections",
    "fileio_for": "fileio",
    "formerly": "params",
    "omit_when": "params",
    "open_store": "stores",
    "optional": "nodes.optional",
    "plan": "runs.plan",
    "progress": "nodes.context",
    "register_fileio": "fileio",
    "register_params": "params",
    "rng": "nodes.context",
    "accept_code": "runs.accept",
    "run": "runs.run",
    "scratch": "nodes.context",
    "seed": "families.workspaces",
    "stored": "families.workspaces",
    "step": "nodes.step",
    "untracked": "params",
}

_HIDDEN = {
    "FileSeed": "families.workspaces.seeds",
    "GivenSeed": "families.workspaces.seeds",
    "Input": "families.sources.listing",
    "_AnyOf": "nodes.optional",
    "_Optional": "nodes.optional",
}
"""Classes that records and pickles name as if they were defined here, though they are no public names."""

if not TYPE_CHECKING:  # a type checker that saw it would believe that every name exists

    def __getattr__(name: str) -> "Any":
        home_of = _HOME.get(name) or _HIDDEN.get(name)
        if home_of is None and name not in _MODULES:
            raise AttributeError(f"module 'persistable' has no attribute {name!r}")
        from importlib import import_module

        home = import_module(f"persistable.{home_of or name}")
        found = home if home_of is None else getattr(home, name)
        globals()[name] = found  # the next access is an ordinary one
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
