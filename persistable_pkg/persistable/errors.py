"""Every error and warning of persistable::

    PersistableError
    ├── ParamsError                    params that cannot become an identity
    │   ├── UntrackableParam           a value has no canonical encoding (also a TypeError)
    │   ├── MistypedParam              a value is not of the type declared for it (also a TypeError)
    │   ├── UnknownParam               a keyword is neither a field, a role nor an option (also a TypeError)
    │   ├── MissingParam               a required param is not given (also a TypeError)
    │   └── ParamsMutated              params changed after the node was made (also a RuntimeError)
    ├── LineageError                   upstream nodes that do not fit
    │   ├── MissingUpstream            a declared role was given no node (also a TypeError)
    │   │   └── InputMissing           a node that was left open is used before its inputs are filled (also an AttributeError)
    │   ├── WrongUpstream              a role was given another node than it takes (also a TypeError)
    │   ├── RoleClash                  two upstream nodes would share one role (also a ValueError)
    │   └── LineageCycle               a node would be upstream of itself (also a ValueError and a TypeError)
    ├── ReservedName                   a class uses a name that every node has (also a TypeError)
    ├── UnknownMember                  a family has no member of this key, a project no target of this name (also a KeyError)
    ├── NotRebuildable                 a node cannot be restored from its record; gives the reason
    ├── RegistrationError              the name is taken by another object, or that of a package does not load (also a ValueError)
    ├── ConfigError                    a project, its file or a setting in it is invalid (also a ValueError)
    ├── WorkflowError                  a workflow or workspace class is invalid (also a ValueError and a TypeError)
    ├── InvalidName                    a name could leave its folder, or does not exist on every platform (also a ValueError)
    ├── PayloadError                   one payload, its bytes and its record
    │   ├── PayloadNotFound            nothing is stored under this key (also a FileNotFoundError)
    │   ├── PayloadExists              there is a payload under this key already, and it was not to be replaced (also a FileExistsError)
    │   ├── PayloadCorrupted           the bytes are not those the record names
    │   │   └── PayloadOfOtherPython   the payload contains code of another minor version of Python; it is generated again
    │   ├── PayloadForeign             the record was made by another class, with other code
    │   ├── PayloadUntrusted           the record is not signed by anyone the store trusts, or its format can run code undeclared
    │   ├── PayloadNotHeld             an operation needs a payload in memory and there is none (also a ValueError)
    │   ├── DuplicateItem              a node that yields items yielded two of one key (also a ValueError)
    │   ├── NothingReturned            the generating code returned None where something else is declared (also a TypeError)
    │   └── NotGeneratable             the class says nothing about how to generate (also a NotImplementedError)
    ├── InvalidQuery                   a query to a catalog is invalid (also a ValueError)
    ├── UnknownKey                     no record has this key or path, or several keys begin with it (also a KeyError)
    ├── FormatError                    payload to bytes and back
    │   ├── PayloadNotRepresentable    the format would not give back exactly this payload (also a TypeError)
    │   ├── MalformedFile              the bytes are not of this format, or cut short (also a ValueError)
    │   ├── CodeOfOtherPython          the file contains code of another minor version of Python
    │   ├── UnknownFormat              no FileIO is registered for this type or suffix (also a LookupError)
    │   └── MissingExtra               a package is not installed; names the extra that installs it (also an ImportError)
    ├── InputError                     an input that a source found outside is gone or changed
    │   ├── InputChanged               its content is no longer the one from which its key was made
    │   └── InputVanished              it is gone (also a FileNotFoundError)
    ├── StoreError                     bytes at paths (also an OSError)
    │   ├── StoreFull                  no space or quota left
    │   ├── MalformedBundle            an archive or published folder is damaged, or made to do harm (also a ValueError)
    │   ├── StoreReadOnly              writing is not permitted (also a PermissionError)
    │   ├── StoreTooNew                data in a store was written by a later version of this library, in a format not known here
    │   └── StoreUnavailable           the store cannot be reached (also a ConnectionError)
    ├── ClaimLost                      another process took over this generation; nothing was committed
    ├── SecretMissing                  the environment variable of a `Secret` is not set (also a LookupError)
    └── RunError                       the work of a node could not be carried out
        ├── NotEnforceable             this executor lacks a capability that a node requires (also a ValueError)
        ├── StaleCode                  something is stale, and ``stale="raise"`` was asked for; nothing was begun
        ├── Infeasible                 no worker will ever have the resources asked for (also a ValueError)
        ├── ExecutorUnavailable        a host or cluster cannot be reached, or is not fit for the work (also a ConnectionError)
        ├── TimedOut                   the work took longer than its `Resources.time` and was stopped (also a TimeoutError)
        ├── WorkerDied                 the process that did the work is gone: killed, crashed, or exited by itself
        ├── RemoteError                replaces an error of another process that could not be transferred as it was
        ├── UpstreamFailed             a node that tolerates failures asks for a payload whose generation failed
        ├── CommandFailed              a shell script ended with another exit status than 0
        └── HttpFailed                 an HTTP request failed (also an OSError)

    RunFailed                          an ExceptionGroup, raised by `run` at its end; ``.result`` is complete all the same

    PersistableWarning (a UserWarning)
    ├── StaleCodeWarning               the stored payload was made by code that has changed since
    ├── UnwatchedCodeWarning           the generating code uses objects without a fingerprint, such as compiled functions
    ├── UnwatchedFileWarning           a param is the path of a file, whose content is not part of the key
    ├── CorruptPayloadWarning          a corrupt payload is being generated again
    ├── FileInUseWarning               a payload could not be moved to its path yet; it is stored, and moved when next looked for
    ├── InvalidPayloadWarning          a loaded payload did not pass ``_validate_payload``
    ├── UndeliveredWarning             a notification could not be delivered
    ├── LayerSkippedWarning            a layer of a store could not be read or written; the others go on without it
    └── LayersDisagreeWarning          a layer had another record than the one that counts; its copy has been dropped

Errors carry their data as attributes and survive pickling.
"""

from __future__ import annotations

from functools import cache

TYPE_CHECKING = False  # importing `typing` would cost more than all of params
if TYPE_CHECKING:
    from typing import Any


class PersistableError(Exception):
    """Base of every error of this library. Keyword arguments become attributes."""

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.__dict__.update(data)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[PersistableError], args: tuple[Any, ...], data: dict[str, Any]) -> PersistableError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(data)
    return error


class ParamsError(PersistableError):
    """Params that cannot become an identity."""


class UntrackableParam(ParamsError, TypeError):
    """A value has no canonical encoding."""

    path: str
    """The place of the value, such as ``TrainParams.optimizer.betas[1]``."""


class MistypedParam(ParamsError, TypeError):
    """A value is neither of the declared type nor convertible to it without loss."""

    path: str
    """The place of the value, such as ``TrainParams.optimizer.betas[1]``."""
    found: str
    """The type that it has."""
    wanted: str
    """The type that is declared."""


class UnknownParam(ParamsError, TypeError):
    """A keyword is neither a field of the params, a role nor an option."""

    name: str
    """The keyword."""
    accepted: list[str]
    """All keywords that are accepted."""


class MissingParam(ParamsError, TypeError):
    """A required param is not given."""

    names: list[str]
    """All params that are missing."""


class ParamsMutated(ParamsError, RuntimeError):
    """The params are no longer those the key was made from."""

    path: str
    """The first field that differs, such as ``TrainParams.optimizer``."""


class LineageError(PersistableError):
    """Upstream nodes that do not fit the node they were given to."""


class MissingUpstream(LineageError, TypeError):
    """A declared role was given no node."""

    roles: list[str]
    """All roles that are empty."""


class WrongUpstream(LineageError, TypeError):
    """A role was given another node than it takes."""

    role: str
    """The name of the role."""
    found: str
    """The given node or value, in words."""
    wanted: str
    """The declared class or type."""


class ReservedName(PersistableError, TypeError):
    """A class uses a name that every node has."""

    name: str
    """The name."""
    owner: str
    """The class that uses it."""


class RoleClash(LineageError, ValueError):
    """Two upstream nodes would share one role."""

    role: str
    """The name of the role."""


class InputMissing(MissingUpstream, AttributeError):
    """A node was left open and is used before its inputs are filled."""

    inputs: list[str]
    """The inputs that are open."""


class LineageCycle(LineageError, ValueError, TypeError):
    """A node would be upstream of itself."""

    nodes: list[str]
    """The names along the circle."""


class UnknownMember(PersistableError, KeyError):
    """A family or project has no member of this key."""

    axis: str
    """The axis of the value, or the kind of name; empty for items."""
    label: Any
    """The value that was asked for."""
    nearest: Any
    """The closest that is there, or None."""

    __str__ = Exception.__str__  # that of KeyError shows the text in quotes


class NotRebuildable(PersistableError):
    """A node cannot be restored from its record."""

    key: Any
    """The key of the node."""
    reason: str
    """One of ``"module"`` (it cannot be imported), ``"class"`` (it is not there any more), ``"no node"`` (something else has that name),
    ``"script"`` (it was defined in a script or notebook, or inside a function), ``"params"``, ``"call"``, ``"upstream"`` (the facts about
    an upstream node are gone) and ``"key"`` (the restored node has another key).
    """
    reference: str
    """The class or step as the record names it, ``module:qualname``."""
    path: str
    """The param or role concerned, dotted; empty for none."""
    found: Any
    """The key of the restored node, where there is one; else None."""


class RegistrationError(PersistableError, ValueError):
    """Another object is registered under that name already, two installed packages have one, or the one of a package cannot be loaded."""

    kind: str
    """One of ``stores``, ``formats``, ``params``, ``executors``."""
    name: str
    """The name of the registration."""


class ConfigError(PersistableError, ValueError):
    """A project, its file or a setting in it is invalid."""

    where: str
    """The place, such as ``persistable.toml: targets.model.params.alpha``."""
    accepted: list[str]
    """The names that are known there, where a name is wrong; else empty."""


class WorkflowError(PersistableError, ValueError, TypeError):
    """A `Workflow` or `Workspace` class is invalid."""

    where: str
    """The class and its attribute: ``Files.scaled``."""


class InvalidName(PersistableError, ValueError):
    """A name could leave its folder, or does not exist on every platform."""

    name: str
    """The name."""


class InvalidQuery(PersistableError, ValueError):
    """A query to a catalog is invalid."""

    where: str
    """The text of the query."""
    part: str
    """The faulty part of it; empty for all of it."""


class UnknownKey(PersistableError, KeyError):
    """No record has this key or path, or several keys begin with it."""

    text: str
    """The text that was asked for."""
    nearest: list[str]
    """Keys that are close to it, or begin with it."""

    __str__ = Exception.__str__  # that of KeyError shows the text in quotes


class PayloadError(PersistableError):
    """Something about one payload, its bytes or its record."""

    key: Any
    """The key of the payload, where it is known; else None."""


class PayloadNotFound(PayloadError, FileNotFoundError):
    """Nothing is stored under this key."""

    nearest: Any
    """The closest record, or None."""
    differences: dict[str, tuple[Any, Any]]
    """The differences between it and the node: dotted path to the value asked for and the stored one."""


class PayloadExists(PayloadError, FileExistsError):
    """There is a payload under this key already, and it was not to be replaced."""


class PayloadCorrupted(PayloadError):
    """The bytes are not those the record names."""

    expected: Any
    """The digest, size or content that the record names."""
    found: Any
    """The one that is there."""


class PayloadOfOtherPython(PayloadCorrupted):
    """The payload contains code of another minor version of Python: ``expected`` is the tag of this one, ``found`` that of the other."""


class PayloadForeign(PayloadError):
    """The record of this key was made by another class with other code."""

    made_by: str
    """The class or step that made it, ``module:qualname``."""
    asked_by: str
    """The one that asks for it."""


class PayloadUntrusted(PayloadError):
    """The record is not signed by anyone the store trusts, or names a format that can run code and is not declared."""

    format: str
    """The name of that format; empty where it is about signatures."""


class PayloadNotHeld(PayloadError, ValueError):
    """An operation needs a payload in memory and there is none."""


class DuplicateItem(PayloadError, ValueError):
    """A node that yields items yielded two of one key."""

    item: Any
    """The key of the item."""


class NothingReturned(PayloadError, TypeError):
    """The generating code returned None, and the payload is declared to be something else: a forgotten `return`."""

    function: str
    """The function or method that returned it."""
    declared: str
    """The declared type of the payload."""


class NotGeneratable(PayloadError, NotImplementedError):
    """The class does not say how to generate its payload."""


class FormatError(PersistableError):
    """A payload could not be converted to bytes, or bytes to a payload."""

    format: str
    """The name of the FileIO."""


class PayloadNotRepresentable(FormatError, TypeError):
    """The format would not give back exactly this payload."""

    reason: str
    """The reason: the part of the payload that would be lost."""


class MalformedFile(FormatError, ValueError):
    """The bytes are not of this format, or were cut short."""


class CodeOfOtherPython(FormatError):
    """The file contains code of another minor version of Python."""

    expected: str
    """The tag of this version."""
    found: str
    """The tag of the version that the code is of."""


class UnknownFormat(FormatError, LookupError):
    """No FileIO is registered for this type or suffix."""


class MissingExtra(FormatError, ImportError):
    """A package is not installed."""

    package: str
    """The name of the package."""
    extra: str
    """The extra that installs it, ``pip install persistable[extra]``; empty for none."""


class InputError(PersistableError):
    """An input that a `Source` found outside is gone or changed."""

    place: str
    """The path or URL of the input."""


class InputChanged(InputError):
    """The content of an input is no longer the one from which its key was made."""


class InputVanished(InputError, FileNotFoundError):
    """An input is gone."""


class StoreError(PersistableError, OSError):
    """A store could not carry out an operation."""

    url: str
    """The URL of the store, without secrets."""
    path: str
    """The place inside it; empty for the store as a whole."""


class StoreFull(StoreError):
    """No space or quota left; nothing became visible."""


class StoreReadOnly(StoreError, PermissionError):
    """Writing is not permitted here."""


class MalformedBundle(StoreError, ValueError):
    """A zip archive, or the manifest of a published folder, is damaged or made to do harm; nothing of it was used.

    ``path`` is the faulty member, or empty.
    """


class StoreTooNew(StoreError):
    """Data in a store was written by a later version of this library: upgrade."""

    found: Any
    """The version of its format."""
    known: int
    """The latest that is known here."""

    @classmethod
    def of(cls, subject: str, found: Any, known: int, *, url: str = "", path: str = "") -> StoreTooNew:
        """Return the error that names the data that is too new, the versions involved, and the next step."""
        import sys

        version = sys.modules[__name__.partition(".")[0]].__version__
        message = f"{subject}; this is persistable {version}, which knows {known}. Upgrade persistable here, or use another store"
        return cls(message, found=found, known=known, url=url, path=path)


class StoreUnavailable(StoreError, ConnectionError):
    """The store cannot be reached."""


class ClaimLost(PersistableError):
    """Another process took over this generation; nothing was committed by this one."""

    key: Any
    """The key of the node."""


class SecretMissing(PersistableError, LookupError):
    """The environment variable that holds a `Secret` is not set, or is empty."""

    name: str
    """The name of the variable."""


class RunError(PersistableError):
    """The work of a node could not be carried out as asked."""

    key: Any
    """The key of the node, where there is one; else None."""


class NotEnforceable(RunError, ValueError):
    """This executor lacks a capability that a node requires."""

    executor: str
    """The name of the executor."""
    wanted: str
    """The requirement, such as ``"sign"``, ``"process groups"`` or the URL of a store to reach."""


class StaleCode(RunError):
    """Something is stale, and ``run(..., stale="raise")`` was asked for."""

    stale: list[Any]
    """The keys of all stale nodes."""


class Infeasible(RunError, ValueError):
    """No worker will ever have the resources asked for."""

    wanted: dict[str, float]
    """The amounts asked for, by name of the resource."""
    available: dict[str, float]
    """The largest amounts that one worker has, by name of the resource."""


class ExecutorUnavailable(RunError, ConnectionError):
    """A host or cluster cannot be reached, or is not fit for the work."""

    executor: str
    """The name of the executor."""
    place: str
    """The host, cluster or address."""


class TimedOut(RunError, TimeoutError):
    """The work took longer than `Resources.time` allows and was stopped."""

    seconds: float
    """The limit, in seconds."""


class WorkerDied(RunError):
    """The process that did the work is gone."""

    exitcode: int | None
    """The exit status, or minus the number of the signal that killed it; None where it is unknown."""


class RemoteError(RunError):
    """Replaces an error of another process that could not be transferred as it was."""

    error: str
    """The type of the error as ``module.name``."""
    text: str
    """The message of the error."""
    traceback: str
    """The traceback of the error as text."""


class CommandFailed(RunError):
    """A shell script ended with another exit status than 0."""

    exitcode: int
    """The exit status."""
    stdout: str
    """The end of its standard output."""
    stderr: str
    """The end of its standard error."""


class HttpFailed(RunError, OSError):
    """An HTTP request failed."""

    status: int | None
    """The HTTP status; None where there was no answer."""
    url: str
    """The URL, without secrets."""
    transient: bool
    """True if another try may succeed."""
    retry_after: float | None
    """Seconds to wait until then, if the server asks for it."""


class UpstreamFailed(RunError):
    """A node that tolerates failures asks for the payload of an upstream that failed."""


class RunFailed(ExceptionGroup[Exception]):
    """Nodes of a run failed; their errors are the group's, each with a note that names its node."""

    result: Any
    """The `RunResult`, complete all the same."""

    def derive(self, excs: Any) -> Any:
        """Return a part of the group, with the same result."""
        part = RunFailed(self.message, excs)
        part.result = getattr(self, "result", None)
        return part


class PersistableWarning(UserWarning):
    """Base of every warning of this library."""


class StaleCodeWarning(PersistableWarning):
    """The stored payload was made by code that has changed since."""


class UnwatchedCodeWarning(PersistableWarning):
    """The generating code uses objects without a fingerprint, such as compiled functions: changes of them are not noticed."""


class UnwatchedFileWarning(PersistableWarning):
    """A param is the path of a file: its path is part of the key, its content is not. A `Source` has its content in the key."""


class CorruptPayloadWarning(PersistableWarning):
    """A stored payload is corrupt and is generated again."""


class FileInUseWarning(PersistableWarning):
    """The file at a custom path could not be replaced: the payload is stored, and moved there when it is next looked for."""


class InvalidPayloadWarning(PersistableWarning):
    """A loaded payload did not pass ``_validate_payload``."""


class UndeliveredWarning(PersistableWarning):
    """A notification could not be delivered."""


class LayerSkippedWarning(PersistableWarning):
    """A layer of a `LayeredStore` could not be read or written; the others go on without it."""


class LayersDisagreeWarning(PersistableWarning):
    """A layer of a `LayeredStore` had another record than the layer that counts; the copy has been dropped."""


def need(module: str, package: str, extra: str, user: str) -> Any:
    """Import and return `module`. Raises MissingExtra, naming the extra that installs its package; `extra` is empty where none does."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # the package is there; something it needs is not
        raise missing(package, extra, user) from error


@cache
def check_installed(module: str, package: str, extra: str, user: str) -> None:
    """Raise MissingExtra, naming the extra, where `module` cannot be found; nothing is imported."""
    import sys
    from importlib.util import find_spec

    if sys.modules.get(module) is None and find_spec(module) is None:
        raise missing(package, extra, user)


def missing(package: str, extra: str, user: str) -> MissingExtra:
    """Return the error for a package that is not installed."""
    install = f"'persistable[{extra}]'" if extra else package
    message = f"{user} needs {package}, which is not installed: pip install {install}"
    return MissingExtra(message, format=user, package=package, extra=extra)
