"""`Persistable`: a payload that is generated once, stored, and found again by its name, params and upstream nodes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar, cast, overload

from persistable.errors import InputMissing, InvalidPayloadWarning, ParamsMutated, PayloadNotHeld
from persistable.fileio.base import FileIO
from persistable.fileio.memory_copy import private_copy
from persistable.nodes import arguments, declared_type, event_loop, generation, loading, released_attributes, reserved, roles
from persistable.nodes.code import CodeOf, SentFingerprint, Thing, code_of, is_sending
from persistable.nodes.declaration import Declaration, declaration_of, format_for, pickle_format
from persistable.nodes.hooks import NO_VALIDATION, Authored
from persistable.nodes.identity import Described
from persistable.nodes.own_code import given_things
from persistable.nodes.provenance import given_of, kept_source
from persistable.nodes.reserved import HOOKS
from persistable.nodes.stored import Stored
from persistable.nodes.transitive_upstream import UpstreamNotSent
from persistable.nodes.types import ABSENT, UNREAD
from persistable.params.fields import FORMER
from persistable.params.snapshots import first_change
from persistable.params.unset import UNSET
from persistable.records.key import Key, Place, Placed, check_payload_name
from persistable.stores.base import Store, enclosing_store
from persistable.stores.open import open_store

if TYPE_CHECKING:
    import persistable
    from persistable.executors.resources import Resources, Retry
    from persistable.params.snapshots import Snapshot
    from persistable.runs.result import RunResult

PayloadT = TypeVar("PayloadT")
ParamsT = TypeVar("ParamsT")
TargetT = TypeVar("TargetT", bound="Persistable[Any, Any]")


class Persistable(Described, Stored[PayloadT], Authored[PayloadT], Generic[PayloadT, ParamsT]):
    """A payload and its description: a name, params, and the persistables upstream of it.

    Subclass it as ``Persistable[Payload, Params]``, define `_generate_payload`, which makes the payload, and declare upstream nodes as
    annotations (``points: Points``). `payload` then loads the stored payload, or generates and stores it, once for all processes that
    share the store.

    Parameters:
        persist_data_dir: a folder, URL or `Store`; ``data_dir`` is the same. Without one, each use takes the enclosing
            ``with open_store(...)``, then the store of its last run, then ``$PERSISTABLE_STORE``, then the ``store`` of the nearest
            ``persistable.toml``, then ``./persistable-data``.
        params: an instance of the declared params class; or give its fields as keywords.
        tracked_persistable_dependencies: upstream nodes whose roles are their payload names.
        payload_name: instead of the class's, which is its attribute `payload_name`, else its own name in snake case.
        payload_io: a FileIO instead of the class's `io`.
        payload_file_suffix: the end of the name of the payload's file, instead of the suffix of its format; no part of identity.
        verbose: print events, and messages to the node's `logger`, to standard error.
        logger: instead of ``persistable`` for events, and of ``persistable.<payload name>`` for messages of the node's own code.
        declared: params by keyword, and upstream nodes by role: nodes, or lists, tuples and dicts of nodes.

    Identity is fixed here: raises UntrackableParam, UnknownParam, MissingUpstream, RoleClash, InvalidName for values unfit for it.
    A node with a required role left empty stays open: ``points >> node`` gives a finished one; using an open one raises InputMissing.
    """

    version: Any = 1
    """Part of identity; raise it when a change of the code changes the payload."""
    io: Any = None
    """A FileIO, or ``"auto"`` for the one that fits the declared payload type, or None for `PickleFileIO`."""
    retry: Retry | None = None
    """The number of attempts that a run makes at a generation, and the time between them; None for one attempt."""
    resources: Resources | None = None
    """The amounts that a generation needs of its worker, and the time that it may take; None for nothing in particular."""
    is_persisted: bool = True
    """False for a node that runs for its effect, or whose payload is made again at each request."""
    is_external: bool = False
    """True if it is an input from elsewhere: never generated nor stored, but read by each node that needs it."""
    _node_needs: str = "all"
    _node_captured: str = ""
    """The param that holds the variables its function captured: their code is followed from the function."""
    _node_by_payload: bool = False
    """True if the type of its payload tells its kind, and not its class, as for a step."""
    _node_is_node: bool = True
    _node_is_family: bool = False
    _node_declared: ClassVar[Declaration]
    _node_code_kept: ClassVar[CodeOf]

    data_dir = released_attributes.released("data_dir", released_attributes.data_dir)
    payload_file_suffix = released_attributes.released("payload_file_suffix", released_attributes.payload_file_suffix)
    tracked_persistable_dependencies = released_attributes.released("tracked_persistable_dependencies", released_attributes.dependencies)

    params: ParamsT
    """The params, an instance of the declared class. They must stay as they are: the key was made of them."""
    key: Key
    """Name and digest, made of name, version, params and the keys upstream."""
    payload_name: str
    """The name of the payload, which the key begins with."""
    _node_logger: Any = None
    """The argument `logger`, True for verbose nodes, in a tuple if it came from another process; else None."""
    _node_payload: Any = ABSENT
    _node_generation: generation.Generation | None = None
    _node_single_use = False
    """True for a twin that serves one generation only."""
    _node_upstream: dict[str, Persistable[Any, Any]]
    _node_snapshot: Snapshot
    _node_call: tuple[tuple[Any, ...], dict[str, Any]] | None
    _node_open: tuple[str, ...] = ()
    _node_custom_path: str | None = None
    _node_store: Store | None
    _node_remembered: Store | None = None
    """The store of the last run that named one; ignored by a node that names one itself."""
    _node_reader: generation.Generation | None = None
    """The running generation downstream of this node, which reads its payload."""
    _node_given_code: SentFingerprint
    """The code of a node that was sent here, as the sender found it; only such nodes have this and the next three."""
    _node_given_facts: dict[str, Any]
    _node_given_table: Any
    _node_given_origin: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        arguments.remember_names(cls)
        reserved.check(cls, Persistable)
        if "payload_io" in cls.__dict__:  # the released name of `io`; left there, it would hide the property and have no effect
            cls.io = cls.__dict__["payload_io"]
            delattr(cls, "payload_io")
        if "__init__" in cls.__dict__:  # the record keeps the call, since only the class can interpret it
            setattr(cls, "__new__", arguments.remember_call)  # noqa: B010 - a plain assignment makes pyright forget the parameters of __init__
            setattr(cls, "__signature__", arguments.signature_of(cls.__dict__["__init__"]))  # noqa: B010 - else help shows that of __new__

    @classmethod
    def __renamed_from__(cls, name: str) -> None:
        """Use the payload name that a class of this name has, unless this class names its payload itself."""
        setattr(cls, FORMER, name)
        if "_node_declared" in cls.__dict__:
            del cls._node_declared

    def __init__(
        self,
        /,
        persist_data_dir: str | os.PathLike[str] | Store | None = None,
        params: ParamsT | None = None,
        tracked_persistable_dependencies: Iterable[Persistable[Any, Any]] | None = None,
        *,
        data_dir: str | os.PathLike[str] | Store | None = None,
        payload_name: str | None = None,
        payload_io: FileIO[Any] | Literal["auto"] | None = None,
        payload_file_suffix: str | None = None,
        verbose: bool | None = None,
        logger: Any = None,
        **declared: Any,
    ) -> None:
        declaration = declaration_of(type(self))
        if declaration.settings:
            reserved.ambiguous(declaration, type(self).__name__, locals())
        if logger is not None or verbose:
            self._node_logger = logger if logger is not None else True
        self.payload_name = check_payload_name(payload_name) if payload_name is not None else declaration.name
        where = persist_data_dir if persist_data_dir is not None else data_dir
        if type(where) is declaration.params_type and where is not None:
            raise TypeError(f"{type(self).__name__} takes the store first; give params by name: {type(self).__name__}(params=...)")
        self._node_store = open_store(where) if where is not None else enclosing_store()
        if payload_io is not None:
            self.io = payload_io
        if payload_file_suffix is not None:
            self.__dict__["payload_file_suffix"] = released_attributes.checked_suffix(payload_file_suffix)
        self._node_upstream = {}
        fields = arguments.take_roles(self, declaration, declared)
        if tracked_persistable_dependencies is not None:
            arguments.take_dependencies(self, declaration, tracked_persistable_dependencies)
        self.params = arguments.take_params(self, declaration, params, fields)
        if len(self._node_upstream) < len(declaration.required):
            self._node_open = arguments.open_roles(self, declaration)
            if self._node_open:
                return
        self._node_identify()

    # identity

    @property
    def place(self) -> Place:
        """The location of payload and record: under the key, or at a custom path."""
        return self.key if self._node_custom_path is None else Placed(*self.key, self._node_custom_path)

    if TYPE_CHECKING:  # on the class of a workflow it is a node, on an instance its payload; so type checkers know it for any class

        @overload
        def __get__(self, instance: persistable.Workflow, owner: Any) -> PayloadT: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> Self: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    # attributes that are not there

    if not TYPE_CHECKING:  # a type checker that saw it would believe that every attribute exists

        def __getattr__(self, name: str) -> Any:
            if self._node_open:
                inputs = list(self._node_open)
                raise InputMissing(
                    f"{self.payload_name} still needs {', '.join(inputs)}, so it has no {name}; give {inputs[0]}=..., or `node >> it`",
                    inputs=inputs,
                    roles=inputs,
                    name=name,
                )
            raised = self.__dict__.pop("_node_raised", None)
            if raised is not None:
                raise raised
            if name in self.__dict__.get("_node_left_out", ()):
                raise UpstreamNotSent(name)
            known = getattr(self.__dict__.get("params"), "__dict__", ())
            hint = f"; it is a param: .params.{name}" if name in known else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    # the payload

    @property
    def payload(self) -> PayloadT:
        """The payload: from memory, else loaded, else generated. Safe to use from many threads."""
        reader = self._node_reader
        if reader is not None and not reader.over:
            given: PayloadT = reader.input(self)
            return given
        running = generation.current.get()
        if running is not None and running.node is not self:
            payload: PayloadT = running.input(self, known=True)
            if payload is not UNREAD:
                return payload
        if self._node_payload is ABSENT:
            __tracebackhide__ = True
            try:
                self.load_generate()
            except AttributeError as error:
                self.__dict__["_node_raised"] = error  # Python would take it to mean that there is no attribute `payload`, and forget it
                raise
        return self._node_payload  # type: ignore[no-any-return]

    async def aload(self) -> PayloadT:
        """The payload, as `payload` gives it, without blocking the event loop: it is loaded or generated in a thread.

        Simultaneous requests compute it once. A cancelled task stops waiting, and a payload whose generation has begun is stored all the
        same.
        """
        return await event_loop.in_thread(lambda: self.payload) if self._node_payload is ABSENT else self.payload

    def generate(self, persist: bool = True, **untracked_payload_params: Any) -> Self:
        """Generate the payload, whether or not one is stored, and persist it unless `persist` is False.

        Upstream payloads that are not stored are generated first. If another process commits the same payload while this one waits for
        its claim, that payload is used.

        Parameters:
            persist: False to keep the payload in memory only.
            untracked_payload_params: for `_generate_payload` and `_post_generate`, if they accept them; no part of identity.

        Raises the errors of the generating code, ParamsMutated, UnknownParam for keywords that no hook accepts, PayloadNotRepresentable.
        """
        self._node_check_params()
        if untracked_payload_params:
            self._node_check_untracked(untracked_payload_params)
        __tracebackhide__ = True
        try:
            payload = generation.generate(self, self._node_use(), untracked_payload_params, persist=persist, read=False)
        except Exception as error:
            _trim(error)
            raise
        if not (persist and self.is_persisted):
            payload = private_copy(payload)
        self._node_payload = ABSENT if payload is UNREAD else payload
        self._node_call_hook("_post_generate", untracked_payload_params)
        return self

    def persist(self) -> Self:
        """Persist the payload in memory. Raises PayloadNotHeld if there is none."""
        if self._node_payload is ABSENT:
            raise PayloadNotHeld(f"{self.key} holds no payload to persist; call generate() first", key=self.key)
        self._node_check_params()
        self._node_payload = generation.persist(self, self._node_use(), self._node_payload)
        return self

    def put(self, payload: PayloadT) -> Self:
        """Persist `payload` as this node's, put in by hand: its record is marked so, and it is never generated again automatically."""
        self._node_check_params()
        payload = declared_type.convert_put(self, payload)
        self._validate_payload(payload)
        self._node_payload = generation.persist(self, self._node_use(), payload, made="put")
        return self

    def load(self, warn_if_validation_fails: bool = False, verify: bool = True, **untracked_payload_params: Any) -> Self:
        """Load the stored payload; never generate.

        Parameters:
            warn_if_validation_fails: warn instead of raising the error of `_validate_payload`.
            verify: compare the bytes with the digest in the record (remembered per process for large unchanged files); False maps at once.
            untracked_payload_params: for `_post_load`, if it accepts them.

        Raises PayloadNotFound, PayloadCorrupted, PayloadForeign.
        """
        self._node_check_params()
        if untracked_payload_params:
            self._node_check_untracked(untracked_payload_params)
        store = self._node_use()
        loaded = loading.load(self, store, verify=verify)
        if loaded is None:
            from persistable.nodes.nearest import not_found

            raise not_found(self, store)
        self._node_accept(loaded[0], warn_if_validation_fails)
        self._node_call_hook("_post_load", untracked_payload_params)
        return self

    def load_generate(self, **untracked_payload_params: Any) -> Self:
        """Load the stored payload, or generate it if there is none or it is corrupt.

        untracked_payload_params: as for `load` or `generate`, whichever is done. Raises the errors of these, except PayloadNotFound.
        """
        self._node_check_params()
        if untracked_payload_params:
            self._node_check_untracked(untracked_payload_params)
        store = self._node_use()
        __tracebackhide__ = True
        try:
            payload, loaded = generation.load_or_generate(self, store, untracked_payload_params)
        except Exception as error:
            _trim(error)
            raise
        if loaded:
            self._node_accept(payload, False)
        else:
            self._node_payload = payload
        self._node_call_hook("_post_load" if loaded else "_post_generate", untracked_payload_params)
        return self

    def run(self, **options: Any) -> RunResult:
        """``run(self, **options)``: generate it and all nodes that it needs, unless they are stored; see `persistable.run`."""
        import persistable

        return persistable.run(self, **options)

    @classmethod
    def over(cls, /, *args: Any, **axes: Any) -> persistable.Family[PayloadT]:
        """The `Family` of nodes of this class over all combinations of the axes: lists, ranges, arrays and families among the arguments."""
        import persistable

        return persistable.Family.grid(cls, args, axes)

    @classmethod
    def among(cls, rows: Any, /, *args: Any, **axes: Any) -> persistable.Family[PayloadT]:
        """The `Family` as of `over`, with one more axis, `rows`: params that go together, as a list of dicts or a dict of lists."""
        import persistable

        return persistable.Family.listed(cls, rows, args, axes)

    def reset_payload(self) -> None:
        """Drop the payload in memory; the stored one stays."""
        self._node_payload = ABSENT

    def validate_payload(self, payload: Any = ABSENT) -> None:
        """Run `_validate_payload` on `payload`, or on the payload in memory. Raises PayloadNotHeld if there is none."""
        if payload is ABSENT or (payload is None and self._node_payload is not ABSENT):
            payload = self._node_payload
        if payload is ABSENT:
            raise PayloadNotHeld(f"{self.key} holds no payload to validate; call load() or generate() first, or pass one", key=self.key)
        self._validate_payload(cast(PayloadT, payload))

    # plumbing

    def _node_use(self) -> Store:
        store = self._node_store
        return store if store is not None else generation.default_store(self._node_remembered)

    def _node_format(self) -> FileIO[Any]:
        io: Any = self.io
        if io is None:
            return pickle_format()
        if isinstance(io, FileIO):
            return io  # pyright: ignore[reportUnknownVariableType] - as the class says
        return format_for(io, declaration_of(type(self)).payload_type)

    def _node_check_params(self) -> None:
        params, snapshot = self.params, self._node_snapshot
        version = snapshot.version
        if version is not self.version and version is not UNSET and version != self.version:
            raise ParamsMutated(
                f"the version of {self.key} was {snapshot.version!r} when it was made, and is {self.version!r} now; make the node anew",
                path="version",
            )
        if snapshot.raw is None:
            for attr, value, raw in snapshot.rows:
                if raw is not None or getattr(params, attr, ABSENT) is not value:
                    break
            else:
                return
        changed = first_change(params, snapshot)
        if changed is not None:
            raise ParamsMutated(
                f"{changed} of {self.key} was changed after the node was made, so its key no longer describes it; "
                "make a new node instead, for example with replace()",
                path=changed,
            )

    def _node_accept(self, payload: Any, warn: bool) -> None:
        kind: Any = type(self)
        try:
            if kind._validate_payload is not NO_VALIDATION:
                self._validate_payload(payload)
        except Exception as error:
            if not warn:
                raise
            import warnings

            warnings.warn(f"the loaded payload of {self.key} is not valid: {error!r}", InvalidPayloadWarning, stacklevel=3)
        self._node_payload = payload

    def _node_call_hook(self, name: str, untracked: dict[str, Any]) -> Any:
        if getattr(type(self), name) is _WITHOUT.get(name):
            return None
        return getattr(self, name)(**(declaration_of(type(self)).accepted(name, untracked) if untracked else {}))

    def _node_own_code(self) -> CodeOf | SentFingerprint:
        """The generating code as it is now, kept on the class and checked again at every call."""
        cls = type(self)
        seen: Snapshot | None = self.__dict__.get("_node_snapshot")
        if seen is None or not seen.plain:
            given = given_things(self)
            if given:
                return self._node_code_with(given)
        kept: CodeOf | None = cls.__dict__.get("_node_code_kept")
        if kept is None or not kept.is_current():
            sent: SentFingerprint | None = cls.__dict__.get("_node_sent_code")
            if sent is not None:
                return sent
            kept = cls._node_code_kept = self._node_code_with(())
        return kept

    def _node_code_with(self, given: tuple[Thing, ...]) -> CodeOf:
        """The generating code, with that of functions and classes among the params."""
        return code_of(type(self), HOOKS, _BASES, given)

    @classmethod
    def __sent_along__(cls) -> dict[str, Any]:
        """The fingerprint of the class's code, to be sent along with its definition: not all code that it uses is sent."""
        if not is_sending() or cls._node_by_payload:
            return {}
        sent: SentFingerprint | None = cls.__dict__.get("_node_sent_code")
        kept = {"_node_sent_source": found} if (found := kept_source(cls)) else {}
        return {**kept, "_node_code_kept": None, "_node_sent_code": sent or given_of(code_of(cls, HOOKS, _BASES), cls)}

    def _node_generating_function(self) -> Any:
        """The function that makes the payload."""
        return type(self)._generate_payload

    def _node_declared_payloads(self) -> list[Any]:
        """The types that its payload is declared to have: in the bases of its class, and by the hook."""
        cls = type(self)
        names = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
        return [declared_type.evaluated(declaration_of(cls).payload_type, names), declared_type.return_type(cls._generate_payload)]

    def _node_look(self) -> str:
        """The reason why an input from elsewhere is missing; empty if it is there."""
        return ""

    @classmethod
    def checked_role(cls, value: Any) -> Any:
        """`value`, if it is a node that a role annotated with this class takes."""
        return roles.admitted(cls, value)

    def _node_payload_type(self) -> Any:
        """The declared type of the payload; None if it is not known."""
        return declaration_of(type(self)).payload_type

    def _node_stands_for(self) -> Sequence[Any]:
        """The nodes of which one provides the payload of this node."""
        return ()

    def _node_made_by(self) -> Any:
        """The object to pickle in place of the class."""
        return type(self)


_BASES = tuple([base for base in Persistable.__mro__ if base.__module__.startswith("persistable.")])
"""The classes whose code is not part of a user's class."""
_WITHOUT: dict[str, Any] = {name: vars(Authored)[name] for name in ("_post_generate", "_post_load")}
"""The hooks of a class that overrides none."""


def _trim(error: Exception) -> None:
    from persistable.executors.tracebacks import trim

    trim(error)
