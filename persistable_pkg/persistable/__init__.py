"""Name a result by the params and upstream results it came from; compute it once, load it ever after.

Every public name is imported when it is first used, so that ``import persistable`` itself costs nothing.
"""

__version__ = "2.0.0.dev0"

TYPE_CHECKING = False  # type checkers read it as True; importing `typing` for the real one would cost more than all of this module
if TYPE_CHECKING:
    from typing import Any

    from persistable import errors as errors
    from persistable import events as events
    from persistable import executors as executors
    from persistable import fileio as fileio
    from persistable import graph as graph
    from persistable import notify as notify
    from persistable import params as params
    from persistable import stores as stores
    from persistable.accepting import accept_code as accept_code
    from persistable.collected import Collected as Collected
    from persistable.command import Command as Command
    from persistable.connections import connection as connection
    from persistable.core import Persistable as Persistable
    from persistable.current import allocate as allocate
    from persistable.current import append as append
    from persistable.current import appended as appended
    from persistable.current import committed as committed
    from persistable.current import progress as progress
    from persistable.current import rng as rng
    from persistable.current import scratch as scratch
    from persistable.errors import PersistableError as PersistableError
    from persistable.family import Family as Family
    from persistable.fileio import FileIO as FileIO
    from persistable.fileio import fileio_for as fileio_for
    from persistable.fileio import register_fileio as register_fileio
    from persistable.gathering import by_content as by_content
    from persistable.items import Item as Item
    from persistable.key import Key as Key
    from persistable.params import PersistableParams as PersistableParams
    from persistable.params import formerly as formerly
    from persistable.params import omit_when as omit_when
    from persistable.params import register_params as register_params
    from persistable.params import untracked as untracked
    from persistable.pipeline import Pipeline as Pipeline
    from persistable.planning import Plan as Plan
    from persistable.planning import plan as plan
    from persistable.project import Project as Project
    from persistable.record import Record as Record
    from persistable.resources import Resources as Resources
    from persistable.resources import Retry as Retry
    from persistable.result import NodeFailure as NodeFailure
    from persistable.result import RunResult as RunResult
    from persistable.running import run as run
    from persistable.secret import Secret as Secret
    from persistable.source import Source as Source
    from persistable.status import Status as Status
    from persistable.steps import OpenNode as OpenNode
    from persistable.steps import step as step
    from persistable.stores import open_store as open_store
    from persistable.tolerant import any_of as any_of
    from persistable.tolerant import optional as optional
    from persistable.transfer import HttpGet as HttpGet
    from persistable.transfer import Upload as Upload
    from persistable.workspace import Workflow as Workflow
    from persistable.workspace import Workspace as Workspace
    from persistable.workspace import seed as seed
    from persistable.workspace import stored as stored

__all__ = [
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
    "Collected": "collected",
    "Command": "command",
    "Family": "family",
    "FileIO": "fileio",
    "HttpGet": "transfer",
    "Item": "items",
    "Key": "key",
    "NodeFailure": "result",
    "OpenNode": "steps",
    "Persistable": "core",
    "PersistableError": "errors",
    "PersistableParams": "params",
    "Pipeline": "pipeline",
    "Plan": "planning",
    "Project": "project",
    "Record": "record",
    "Resources": "resources",
    "Retry": "resources",
    "Secret": "secret",
    "Source": "source",
    "Status": "status",
    "Upload": "transfer",
    "Workflow": "workspace",
    "Workspace": "workspace",
    "RunResult": "result",
    "allocate": "current",
    "any_of": "tolerant",
    "append": "current",
    "appended": "current",
    "by_content": "gathering",
    "committed": "current",
    "connection": "connections",
    "fileio_for": "fileio",
    "formerly": "params",
    "omit_when": "params",
    "open_store": "stores",
    "optional": "tolerant",
    "plan": "planning",
    "progress": "current",
    "register_fileio": "fileio",
    "register_params": "params",
    "rng": "current",
    "accept_code": "accepting",
    "run": "running",
    "scratch": "current",
    "seed": "workspace",
    "stored": "workspace",
    "step": "steps",
    "untracked": "params",
}

_HIDDEN = {
    "FileSeed": "workspace.inputs",
    "GivenSeed": "workspace.inputs",
    "Input": "source.member",
    "_AnyOf": "tolerant",
    "_Optional": "tolerant",
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
