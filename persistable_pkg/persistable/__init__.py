"""Name a result by the params and upstream results it came from; compute it once, load it ever after.

Every public name is imported when it is first used, so that ``import persistable`` itself costs nothing.
"""

__version__ = "2.0.0.dev0"

TYPE_CHECKING = False  # type checkers read it as True; importing `typing` for the real one would cost more than all of this module
if TYPE_CHECKING:
    from collections.abc import Callable
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

_HOMES = {
    "": ("errors", "events", "executors", "fileio", "graph", "notify", "params", "stores", "testing"),
    "catalog.catalog": ("Catalog",),
    "errors": ("PersistableError",),
    "executors.resources": ("Resources", "Retry"),
    "families": ("Family",),
    "families.items": ("Item",),
    "families.sources": ("Source",),
    "families.sources.input_nodes": ("Input",),
    "families.workspaces": ("Workflow", "Workspace", "seed", "stored"),
    "families.workspaces.seeds": ("FileSeed", "GivenSeed"),
    "fileio": ("FileIO", "fileio_for", "register_fileio"),
    "nodes.command": ("Command",),
    "nodes.connections": ("connection",),
    "nodes.context": ("allocate", "append", "appended", "committed", "progress", "rng", "scratch"),
    "nodes.item_writer": ("by_content",),
    "nodes.node": ("Persistable",),
    "nodes.optional": ("any_of", "optional", "_AnyOf", "_Optional"),
    "nodes.status": ("Status",),
    "nodes.step": ("OpenNode", "step"),
    "nodes.transfer": ("HttpGet", "Upload"),
    "params": ("PersistableParams", "formerly", "omit_when", "register_params", "untracked"),
    "params.secret": ("Secret",),
    "project": ("Project",),
    "records.items": ("Collected",),
    "records.key": ("Key",),
    "records.record": ("Record",),
    "runs.accept": ("accept_code",),
    "runs.failures": ("NodeFailure",),
    "runs.pipeline": ("Pipeline",),
    "runs.plan": ("Plan", "plan"),
    "runs.result": ("RunResult",),
    "runs.run": ("run",),
    "stores": ("open_store",),
}
"""The names by their module; those of "" are modules. Records and pickles name those that `__all__` lacks as if defined here."""


def lazily(package: str, homes: "dict[str, tuple[str, ...]]") -> "tuple[Callable[[str], Any], Callable[[], list[str]]]":
    """Return the `__getattr__` and `__dir__` of a package whose names are imported when they are first used.

    homes: the names by the module of the package that they are in; those of "" are modules themselves.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> "Any":
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        home = import_module(f"{package}.{home_of[name] or name}")
        found = getattr(home, name) if home_of[name] else home
        setattr(import_module(package), name, found)  # the next access is an ordinary one
        return found

    def names() -> list[str]:
        from sys import modules

        own = vars(modules[package])
        return sorted({*own, *own["__all__"]})

    return load, names


if not TYPE_CHECKING:  # a type checker that saw it would believe that every name exists
    __getattr__, __dir__ = lazily(__name__, _HOMES)
