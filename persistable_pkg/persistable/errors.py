"""Everything persistable raises or warns with::

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
    ├── NotRebuildable                 a node cannot be had back from its record: says what is missing, moved or changed
    ├── RegistrationError              something else is registered already, or a package brings what does not load (also a ValueError)
    ├── ConfigError                    a project, its file or a setting of it, that cannot be meant so (also a ValueError)
    ├── WorkflowError                  a workflow or workspace class that cannot be meant so (also a ValueError and a TypeError)
    ├── InvalidName                    a name that could leave its folder or its platform (also a ValueError)
    ├── PayloadError                   one payload, its bytes and its record
    │   ├── PayloadNotFound            nothing is stored under this key (also a FileNotFoundError)
    │   ├── PayloadExists              there is a payload under this key already, and it was not to be replaced (also a FileExistsError)
    │   ├── PayloadCorrupted           the bytes are not those the record names
    │   │   └── PayloadOfOtherPython   code that is kept in the payload is of another minor version of Python; it is generated again
    │   ├── PayloadForeign             the record was made by another class with other code
    │   ├── PayloadUntrusted           the record is not signed by anyone the store trusts, or would have code run that is not declared
    │   ├── PayloadNotHeld             an operation needs a payload in memory and there is none (also a ValueError)
    │   ├── DuplicateItem              a node that yields items yielded two of one key (also a ValueError)
    │   ├── NothingReturned            the generating code returned None where something else is declared (also a TypeError)
    │   └── NotGeneratable             the class says nothing about how to generate (also a NotImplementedError)
    ├── InvalidQuery                   a question to a catalog that cannot be meant so (also a ValueError)
    ├── UnknownKey                     no record has this key or path, or several keys begin with it (also a KeyError)
    ├── FormatError                    payload to bytes and back
    │   ├── PayloadNotRepresentable    the format would not give back exactly this payload (also a TypeError)
    │   ├── MalformedFile              the bytes are not of this format, or cut short (also a ValueError)
    │   ├── CodeOfOtherPython          code that is kept in the file is of another minor version of Python
    │   ├── UnknownFormat              no FileIO is registered for this type or suffix (also a LookupError)
    │   └── MissingExtra               a package is absent; names the extra that installs it (also an ImportError)
    ├── InputError                     what a source found outside is not there as it was
    │   ├── InputChanged               its content is not the one its key was made from any more
    │   └── InputVanished              it is gone (also a FileNotFoundError)
    ├── StoreError                     bytes at paths (also an OSError)
    │   ├── StoreFull                  no space or quota left
    │   ├── MalformedBundle            an archive or published folder that is damaged, or made to do harm (also a ValueError)
    │   ├── StoreReadOnly              writing is not permitted (also a PermissionError)
    │   ├── StoreTooNew                a later version of this library has written what is there, in a format not known here
    │   └── StoreUnavailable           the store cannot be reached (also a ConnectionError)
    ├── ClaimLost                      another process took over this generation; nothing was committed
    ├── SecretMissing                  the environment variable of a `Secret` is not set (also a LookupError)
    └── RunError                       carrying a node's work out
        ├── NotEnforceable             this executor cannot do what a node asks of it (also a ValueError)
        ├── StaleCode                  something is stale, and ``stale="raise"`` was asked for; nothing was begun
        ├── Infeasible                 no worker will ever have the resources asked for (also a ValueError)
        ├── ExecutorUnavailable        what an executor works with cannot be reached, or is not fit for the work (also a ConnectionError)
        ├── TimedOut                   the work took longer than its `Resources.time` and was stopped (also a TimeoutError)
        ├── WorkerDied                 the process that did the work is gone: killed, crashed, or it left by itself
        ├── RemoteError                stands for an error of another process that could not be brought here as it was
        ├── UpstreamFailed             a node that tolerates failures asks for a payload whose generation failed
        ├── CommandFailed              a shell script ended with another exit status than 0
        └── HttpFailed                 a server did not give what was asked for (also an OSError)

    RunFailed                          an ExceptionGroup: what `run` raises at its end; ``.result`` is all the same complete

    PersistableWarning (a UserWarning)
    ├── StaleCodeWarning               the stored payload was made by code that has changed since
    ├── UnwatchedCodeWarning           the generating code uses what no fingerprint can be made of, such as compiled functions
    ├── UnwatchedFileWarning           a param is the path of a file, whose content is not part of the key
    ├── CorruptPayloadWarning          a corrupt payload is being generated again
    ├── FileInUseWarning               a payload could not be moved to its path yet; it is stored, and moved when it is next loaded
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
    """A value has no canonical encoding. ``path`` is its place, such as ``TrainParams.optimizer.betas[1]``."""

    path: str


class MistypedParam(ParamsError, TypeError):
    """A value is not of the declared type, nor one that is the same in another form. ``path`` is its place, such as
    ``TrainParams.optimizer.betas[1]``, ``found`` the type it has, ``wanted`` what is declared.
    """

    path: str
    found: str
    wanted: str


class UnknownParam(ParamsError, TypeError):
    """A keyword is neither a field of the params, a role nor an option. ``accepted`` lists what is."""

    name: str
    accepted: list[str]


class MissingParam(ParamsError, TypeError):
    """A required param is not given. ``names`` lists all that are missing."""

    names: list[str]


class ParamsMutated(ParamsError, RuntimeError):
    """The params are no longer those the key was made from. ``path`` names the first field that differs."""

    path: str


class LineageError(PersistableError):
    """Upstream nodes that do not fit the node they were given to."""


class MissingUpstream(LineageError, TypeError):
    """A declared role was given no node. ``roles`` lists the empty ones."""

    roles: list[str]


class WrongUpstream(LineageError, TypeError):
    """A role was given another node than it takes. ``role`` is its name, ``found`` what was given, ``wanted`` what is declared."""

    role: str
    found: str
    wanted: str


class ReservedName(PersistableError, TypeError):
    """A class uses a name that every node has. ``name`` is the name, ``owner`` the class."""

    name: str
    owner: str


class RoleClash(LineageError, ValueError):
    """Two upstream nodes would share one role. ``role`` is its name."""

    role: str


class InputMissing(MissingUpstream, AttributeError):
    """A node was left open and is used before its inputs are filled. ``inputs`` lists the open ones."""

    inputs: list[str]


class LineageCycle(LineageError, ValueError, TypeError):
    """A node would be upstream of itself. ``nodes`` are the names along the circle."""

    nodes: list[str]


class UnknownMember(PersistableError, KeyError):
    """A family or project has no member of this key. ``label`` is what was asked for on ``axis``, ``nearest`` the closest, or None."""

    axis: str
    label: Any
    nearest: Any

    __str__ = Exception.__str__  # that of KeyError shows the text in quotes


class NotRebuildable(PersistableError):
    """A node cannot be had back from its record. ``key`` says which, ``reference`` names its class or step as the record does.

    ``reason`` is one of ``"module"`` (it cannot be imported), ``"class"`` (it is not there any more), ``"no node"`` (something else has
    that name), ``"script"`` (it was defined in a script or notebook, or inside a function), ``"params"``, ``"call"``, ``"upstream"``
    (the facts about something upstream are gone) and ``"key"`` (it comes back as another node). ``path`` is the param or role it
    is about, dotted, or "". ``found`` is the key of what was made, where something was.
    """

    key: Any
    reason: str
    reference: str
    path: str
    found: Any


class RegistrationError(PersistableError, ValueError):
    """Something else is registered under that name already, or what an installed package brings under it cannot be had.

    ``kind`` is one of ``stores``, ``formats``, ``params``, ``executors``.
    """

    kind: str
    name: str


class ConfigError(PersistableError, ValueError):
    """A project that cannot be meant so. ``where`` is the place, such as ``persistable.toml: targets.model.params.alpha``.

    ``accepted`` lists the names that are known there, where a name is the trouble; else it is empty.
    """

    where: str
    accepted: list[str]


class WorkflowError(PersistableError, ValueError, TypeError):
    """A `Workflow` or `Workspace` class that cannot be meant so. ``where`` names the class and its attribute: ``Files.scaled``."""

    where: str


class InvalidName(PersistableError, ValueError):
    """A name that could leave its folder or does not exist on every platform. ``name`` is the offender."""

    name: str


class InvalidQuery(PersistableError, ValueError):
    """A question to a catalog that cannot be meant so. ``where`` is its text, ``part`` what the trouble is with, "" for all of it."""

    where: str
    part: str


class UnknownKey(PersistableError, KeyError):
    """No record has this key or path, or several keys begin with it. ``text`` is what was asked for, ``nearest`` lists keys."""

    text: str
    nearest: list[str]

    __str__ = Exception.__str__  # that of KeyError shows the text in quotes


class PayloadError(PersistableError):
    """Something about one payload, its bytes or its record. ``key`` says which, where it is known."""

    key: Any


class PayloadNotFound(PayloadError, FileNotFoundError):
    """Nothing is stored under this key. ``nearest`` is the closest record and ``differences`` what separates it."""

    nearest: Any
    differences: dict[str, tuple[Any, Any]]


class PayloadExists(PayloadError, FileExistsError):
    """There is a payload under this key already, and it was not to be replaced."""


class PayloadCorrupted(PayloadError):
    """The bytes are not those the record names. ``expected`` and ``found`` are digests or sizes."""

    expected: Any
    found: Any


class PayloadOfOtherPython(PayloadCorrupted):
    """Code that is kept in the payload is of another minor version of Python: ``expected`` is this one's tag, ``found`` the other's."""


class PayloadForeign(PayloadError):
    """The record of this key was made by another class (``made_by``) with other code than ``asked_by``."""

    made_by: str
    asked_by: str


class PayloadUntrusted(PayloadError):
    """The record is not signed by anyone the store trusts, or names a ``format`` that can run code and is not declared."""

    format: str


class PayloadNotHeld(PayloadError, ValueError):
    """An operation needs a payload in memory and there is none."""


class DuplicateItem(PayloadError, ValueError):
    """A node that yields items yielded two of one key. ``item`` is that key."""

    item: Any


class NothingReturned(PayloadError, TypeError):
    """The generating code (``function``) returned None, and the payload is ``declared`` to be something else: a forgotten `return`."""

    function: str
    declared: str


class NotGeneratable(PayloadError, NotImplementedError):
    """The class does not say how to generate its payload."""


class FormatError(PersistableError):
    """A payload could not become bytes, or bytes a payload. ``format`` names the FileIO."""

    format: str


class PayloadNotRepresentable(FormatError, TypeError):
    """The format would not give back exactly this payload. ``reason`` says what would be lost."""

    reason: str


class MalformedFile(FormatError, ValueError):
    """The bytes are not of this format, or were cut short."""


class CodeOfOtherPython(FormatError):
    """Code that is kept in the file is of another minor version of Python: ``expected`` is this one's tag, ``found`` the other's."""

    expected: str
    found: str


class UnknownFormat(FormatError, LookupError):
    """No FileIO is registered for this type or suffix."""


class MissingExtra(FormatError, ImportError):
    """A package is absent. ``package`` is its name and ``extra`` what installs it, empty for none: ``pip install persistable[extra]``."""

    package: str
    extra: str


class InputError(PersistableError):
    """An input that a `Source` found outside is not there as it was. ``place`` is its path or URL."""

    place: str


class InputChanged(InputError):
    """The content of an input is not the one its key was made from any more."""


class InputVanished(InputError, FileNotFoundError):
    """An input is gone."""


class StoreError(PersistableError, OSError):
    """A store could not do what was asked. ``url`` is the store's, without secrets; ``path`` the place inside."""

    url: str
    path: str


class StoreFull(StoreError):
    """No space or quota left; nothing became visible."""


class StoreReadOnly(StoreError, PermissionError):
    """Writing is not permitted here."""


class MalformedBundle(StoreError, ValueError):
    """A zip archive, or the manifest of a published folder, is damaged or made to do harm; nothing of it was used.

    ``path`` is the member that tells, empty where none does.
    """


class StoreTooNew(StoreError):
    """A later version of this library has written what is there: upgrade. ``found`` is its format, ``known`` the latest known here."""

    found: Any
    known: int

    @classmethod
    def of(cls, what: str, found: Any, known: int, *, url: str = "", path: str = "") -> StoreTooNew:
        """The error that says `what` is too new, which versions are at work, and the next step."""
        import sys

        version = sys.modules[__name__.partition(".")[0]].__version__
        message = f"{what}; this is persistable {version}, which knows {known}. Upgrade persistable here, or use another store"
        return cls(message, found=found, known=known, url=url, path=path)


class StoreUnavailable(StoreError, ConnectionError):
    """The store cannot be reached."""


class ClaimLost(PersistableError):
    """Another process took over this generation; nothing was committed by this one."""

    key: Any


class SecretMissing(PersistableError, LookupError):
    """The environment variable that holds a `Secret` is not set, or is empty. ``name`` is the variable's."""

    name: str


class RunError(PersistableError):
    """The work of a node could not be carried out as asked. ``key`` is the node's, where there is one."""

    key: Any


class NotEnforceable(RunError, ValueError):
    """This executor cannot do what a node asks of it. ``executor`` names it, ``wanted`` is what it would have to do."""

    executor: str
    wanted: str


class StaleCode(RunError):
    """Something is stale, and ``run(..., stale="raise")`` was asked for. ``stale`` lists the keys."""

    stale: list[Any]


class Infeasible(RunError, ValueError):
    """No worker will ever have what is asked for. ``wanted`` and ``available`` map resource names to amounts."""

    wanted: dict[str, float]
    available: dict[str, float]


class ExecutorUnavailable(RunError, ConnectionError):
    """A host or cluster cannot be reached, or is not fit for the work. ``executor`` names whose it is, ``place`` which one."""

    executor: str
    place: str


class TimedOut(RunError, TimeoutError):
    """The work took longer than `Resources.time` allows and was stopped. ``seconds`` is that limit."""

    seconds: float


class WorkerDied(RunError):
    """The process that did the work is gone. ``exitcode`` is its exit status, or minus the number of the signal that killed it."""

    exitcode: int | None


class RemoteError(RunError):
    """Stands for an error of another process that could not be brought here as it was.

    ``error`` is its type as ``module.name``, ``text`` its message, ``traceback`` where it was raised.
    """

    error: str
    text: str
    traceback: str


class CommandFailed(RunError):
    """A shell script ended with another exit status than 0. ``exitcode``, ``stdout`` and ``stderr`` (their ends) are kept."""

    exitcode: int
    stdout: str
    stderr: str


class HttpFailed(RunError, OSError):
    """A server did not give what was asked for. ``status`` is the HTTP status, None where there was no answer; ``url`` has no secrets.

    ``transient``: another try may succeed. ``retry_after``: the seconds that the server asks to wait until then, if it does.
    """

    status: int | None
    url: str
    transient: bool
    retry_after: float | None


class UpstreamFailed(RunError):
    """A node that tolerates failures asks for the payload of an upstream that failed."""


class RunFailed(ExceptionGroup[Exception]):
    """Nodes of a run failed; their errors are the group's, each with a note that names its node. ``result`` is that of the run."""

    result: Any

    def derive(self, excs: Any) -> Any:
        """A part of the group, of the same result."""
        part = RunFailed(self.message, excs)
        part.result = getattr(self, "result", None)
        return part


class PersistableWarning(UserWarning):
    """Base of every warning of this library."""


class StaleCodeWarning(PersistableWarning):
    """The stored payload was made by code that has changed since."""


class UnwatchedCodeWarning(PersistableWarning):
    """The generating code uses what no fingerprint can be made of, such as compiled functions: changes of it are not noticed."""


class UnwatchedFileWarning(PersistableWarning):
    """A param is the path of a file: the path is part of the key, and what the file holds is not. A `Source` has its content in the key."""


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
    """The imported `module`, or MissingExtra naming the extra that installs its package; `extra` is empty where none does."""
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
