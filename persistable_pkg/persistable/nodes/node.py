"""`Persistable`: a payload that is generated once, kept, and found again by what it was made from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar, cast, overload

from persistable import events
from persistable.errors import InputMissing, InvalidPayloadWarning, ParamsMutated, PayloadNotHeld, RoleClash
from persistable.fileio.base import FileIO
from persistable.fileio.original import private
from persistable.nodes import arguments, compose, event_loop, generation, loading, released, reserved, returned, roles
from persistable.nodes.code import CodeOf, Given, code_in, code_of
from persistable.nodes.declaration import Declaration, format_for, pickle_format
from persistable.nodes.hooks import NO_VALIDATION, Authored
from persistable.nodes.indirect import Beyond
from persistable.nodes.lineage import flattened, nodes_in, own_params, rebuilt, shown_params, table, walk
from persistable.nodes.provenance import kept_source
from persistable.nodes.reserved import HOOKS
from persistable.nodes.sending import given_of, is_sending
from persistable.params.declared import changed
from persistable.params.fields import FORMER
from persistable.params.snapshots import capture, first_change, untracked_values
from persistable.params.trees import IDENTITY_ONLY, tree
from persistable.records import access, scratch
from persistable.records.key import Key, Place, Placed, check_payload_name, digest_of
from persistable.records.record import Record
from persistable.stores.base import Store, enclosing_store
from persistable.stores.open import open_store

if TYPE_CHECKING:
    import persistable
    from persistable.executors.resources import Resources, Retry
    from persistable.graph import Graph
    from persistable.nodes.explain import Explanation
    from persistable.nodes.status import Status
    from persistable.params.snapshots import Snapshot
    from persistable.runs.result import RunResult

PayloadT = TypeVar("PayloadT")
ParamsT = TypeVar("ParamsT")
TargetT = TypeVar("TargetT", bound="Persistable[Any, Any]")


class _Absent:
    """No payload in memory: unlike None, which is a payload."""

    def __repr__(self) -> str:
        return "absent"

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


class Persistable(Authored[PayloadT], Generic[PayloadT, ParamsT]):
    """A payload and what it is made from: a name, params, and the persistables upstream of it.

    Subclass it as ``Persistable[Payload, Params]``, say in `_generate_payload` how the payload is made, and declare upstream nodes as
    annotations (``points: Points``). Where, how often and by whom it is generated is not your concern then: `payload` loads what is stored,
    or generates and stores it.

    Parameters:
        persist_data_dir: a folder, URL or `Store`; ``data_dir`` is the same. Without one, each use takes the enclosing
            ``with open_store(...)``, then the store of its last run, then ``$PERSISTABLE_STORE``, then the ``store`` of the nearest
            ``persistable.toml``, then ``./persistable-data``.
        params: an instance of the declared params class; or give its fields as keywords.
        tracked_persistable_dependencies: upstream nodes whose roles are their payload names.
        payload_name: instead of the class's, which is its own name in snake case unless it says otherwise.
        payload_io: a FileIO instead of the class's `io`.
        payload_file_suffix: how the name of the payload's file ends, instead of the suffix of its format; no part of identity.
        verbose: print what happens, and what the node's `logger` is told, to standard error.
        logger: instead of ``persistable`` for what happens, and of ``persistable.<payload name>`` for what the node's own code says.
        declared: params by keyword, and upstream nodes by role: nodes, or lists, tuples and dicts of nodes.

    Identity is fixed here: raises UntrackableParam, UnknownParam, MissingUpstream, RoleClash, InvalidName for what cannot be part of one.
    A node that is given nothing for a role stays open: ``points >> node`` gives a finished one; using an open one raises InputMissing.
    """

    version: Any = 1
    """Part of identity; raise it when the code changes what the payload is."""
    io: Any = None
    """A FileIO, or ``"auto"`` for the one fit for the declared payload type, or None for `PickleFileIO`."""
    retry: Retry | None = None
    resources: Resources | None = None
    _persisted: ClassVar[bool] = True
    _external: ClassVar[bool] = False
    """True if it is an input that lies elsewhere: never generated nor stored, but read by whoever needs it."""
    _needs: ClassVar[str] = "all"
    _by_payload: ClassVar[bool] = False
    """True if its class says nothing of what it is, but the type of its payload does, as with a step."""
    _is_persistable_node: ClassVar[bool] = True
    _is_family: ClassVar[bool] = False
    __array_ufunc__ = None  # numpy leaves ``array >> node`` to the node, which says what is wrong
    _declared: ClassVar[Declaration]
    _code_kept: ClassVar[CodeOf]

    data_dir = released.released("data_dir", released.data_dir)
    payload_file_suffix = released.released("payload_file_suffix", released.payload_file_suffix)
    tracked_persistable_dependencies = released.released("tracked_persistable_dependencies", released.dependencies)

    params: ParamsT
    key: Key
    payload_name: str
    _logger: Any = None
    """The argument `logger`, True for verbose nodes, in a tuple where it came from another process; else None."""
    _payload: Any = ABSENT
    _generation: generation.Generation | None = None
    _lent = False
    """True for a twin that is there for one generation only."""
    _upstream: dict[str, Persistable[Any, Any]]
    _snapshot: Snapshot
    _call: tuple[tuple[Any, ...], dict[str, Any]] | None
    _open: tuple[str, ...] = ()
    _to: str | None = None
    _remembered: Store | None = None
    """Where the last run put it that named a store; of no account for a node that names one itself."""
    _reader: generation.Generation | None = None
    """The running generation that this is upstream of, and which reads its payload."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        arguments.remember_names(cls)
        reserved.check(cls, Persistable)
        if "__init__" in cls.__dict__:  # the record keeps the call, since only the class knows what it means
            setattr(cls, "__new__", arguments.remember_call)  # noqa: B010 - a plain assignment makes pyright forget the parameters of __init__
            setattr(cls, "__signature__", arguments.signature_of(cls.__dict__["__init__"]))  # noqa: B010 - else help shows that of __new__

    @classmethod
    def _renamed_from(cls, name: str) -> None:
        """Take the payload name that a class of this name has; where the class names its payload, that stays."""
        setattr(cls, FORMER, name)
        if "_declared" in cls.__dict__:
            del cls._declared

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
            self._logger = logger if logger is not None else True
        self.payload_name = check_payload_name(payload_name) if payload_name is not None else declaration.name
        where = persist_data_dir if persist_data_dir is not None else data_dir
        if type(where) is declaration.params_type and where is not None:
            raise TypeError(f"{type(self).__name__} takes the store first; give params by name: {type(self).__name__}(params=...)")
        self._store = open_store(where) if where is not None else enclosing_store()
        if payload_io is not None:
            self.io = payload_io
        if payload_file_suffix is not None:
            self.__dict__["payload_file_suffix"] = payload_file_suffix
        self._upstream = {}
        fields = arguments.take_roles(self, declaration, declared, Persistable)
        if tracked_persistable_dependencies is not None:
            arguments.take_dependencies(self, declaration, tracked_persistable_dependencies, Persistable)
        self.params = arguments.take_params(self, declaration, params, fields)
        if len(self._upstream) < len(declaration.required):
            self._open = arguments.open_roles(self, declaration)
            if self._open:
                return
        self._identify()

    def _identify(self) -> None:
        nodes: list[tuple[str, Any]] = []
        params, self._snapshot = capture(self.params, "", nodes)
        for role, node in nodes:
            if self._upstream.setdefault(role, node).key != node.key:
                raise RoleClash(f"two upstream nodes of {self.payload_name} would both be {role!r}; name them otherwise", role=role)
        upstream = {role: node.key.digest for role, node in self._upstream.items()} if self._upstream else self._upstream
        self.key = Key(self.payload_name, digest_of(self.payload_name, self.version, params, upstream))  # type: ignore[arg-type]

    # identity

    @property
    def persist_hash(self) -> str:
        """The digest, hexadecimal."""
        return self.key.digest

    @property
    def place(self) -> Place:
        """Where payload and record lie: under the key, or at a path of somebody's choice."""
        return self.key if self._to is None else Placed(*self.key, self._to)

    @property
    def label(self) -> str:
        """The node in words, on one line: ``accuracy(fold=0, model=Svm(C=10.0))``. Long values are cut, secrets masked."""
        from persistable.nodes.label import label

        return label(self)

    @property
    def upstream(self) -> Mapping[str, Persistable[Any, Any]]:
        """Role to node."""
        if "_left_out" in self.__dict__ and generation.current.get() is not None:
            raise Beyond("upstream")
        return MappingProxyType(self._upstream)

    @property
    def params_tree(self) -> dict[str, Any]:
        """Params as JSON has them, and under each role the params tree of the node upstream, at any depth.

        Nodes met twice share one dict.
        """
        trees: dict[Key, dict[str, Any]] = {}
        for node in walk(self):
            own = own_params(node)
            for role, upstream in node._upstream.items():
                own[role if role not in own else f"upstream:{role}"] = trees[upstream.key]
            trees[node.key] = own
        return trees[self.key]

    def replace(self, /, **changes: Any) -> Self:
        """A new node with some params or upstream nodes changed; this one stays as it is.

        A role takes what it takes when a node is made: where it holds several nodes, a family is the list of its members. Raises TypeError
        for a family where it holds one: `over` makes a node for each member.
        """
        declaration = declaration_of(type(self))
        for name, value in changes.items():
            arguments.check_one_node(self, name, value, Persistable)
        twin = self._twin(self._store)
        twin._upstream = {}
        fields = arguments.take_roles(twin, declaration, changes, Persistable)
        given = changes.keys() - fields.keys()
        kept = {
            role: node for role, node in self._upstream.items() if not any(role == name or role.startswith(name + ".") for name in given)
        }
        twin._upstream = {**kept, **twin._upstream}
        if fields:
            twin.params = changed(self.params, fields, type(self).__name__, declaration.params_arguments)
        twin._call = None
        twin._to = None
        twin._remembered = None
        for found in ("_makers", "_things"):  # of the params and upstream nodes that it had
            twin.__dict__.pop(found, None)
        twin._open = arguments.open_roles(twin, declaration) if self._open else ()
        if not twin._open:
            twin._identify()
        return twin

    def bind(self, store: str | os.PathLike[str] | Store) -> Self:
        """The same node in `store`: of the same key, without a payload in memory."""
        return self._twin(open_store(store))

    if TYPE_CHECKING:  # on the class of a workflow it is a node, on an instance its payload; so type checkers know it for any class

        @overload
        def __get__(self, instance: persistable.Workflow, owner: Any) -> PayloadT: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> Self: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    # composition

    @overload
    def __rshift__(self, target: list[TargetT] | tuple[TargetT, ...]) -> compose.Nodes[TargetT]: ...
    @overload
    def __rshift__(self, target: TargetT) -> TargetT: ...
    def __rshift__(self, target: Any) -> Any:
        return compose.feed(self, target)

    def __rrshift__(self, source: Any) -> Self:
        filled: Self = compose.feed(source, self)
        return filled

    def _open_inputs(self) -> list[compose.Open]:
        many = declaration_of(type(self)).many
        return [compose.Open(role, int(role in many)) for role in self._open]

    def _fill(self, given: dict[str, Any]) -> Self:
        filled = self._twin(self._store)
        filled._upstream = dict(self._upstream)
        filled._open = tuple([role for role in self._open if role not in given])
        for name, value in given.items():
            filled.__dict__[name] = value
            roles.check(type(self), declaration_of(type(self)), name, value)
            for place, node in nodes_in(value, Persistable):
                filled._upstream[name + place] = node
        if not filled._open:
            filled._identify()
        return filled

    if not TYPE_CHECKING:  # a type checker that saw it would believe that every attribute exists

        def __getattr__(self, name: str) -> Any:
            if self._open:
                inputs = list(self._open)
                raise InputMissing(
                    f"{self.payload_name} still needs {', '.join(inputs)}, so it has no {name}; fill it: `node >> it`, or {inputs[0]}=node",
                    inputs=inputs,
                    roles=inputs,
                    name=name,
                )
            raised = self.__dict__.pop("_raised", None)
            if raised is not None:
                raise raised
            if name in self.__dict__.get("_left_out", ()):
                raise Beyond(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # the payload

    @property
    def payload(self) -> PayloadT:
        """The payload: held, else loaded, else generated. Safe to ask for from many threads."""
        reader = self._reader
        if reader is not None and not reader.over:
            given: PayloadT = reader.input(self)
            return given
        running = generation.current.get()
        if running is not None and running.node is not self and (self.key in running.upstream_keys or running.holds(self.key)):
            payload: PayloadT = running.input(self)
            return payload
        if self._payload is ABSENT:
            try:
                self.load_generate()
            except AttributeError as error:
                self.__dict__["_raised"] = error  # Python would take it to mean that there is no attribute `payload`, and forget it
                raise
        return self._payload  # type: ignore[no-any-return]

    async def aload(self) -> PayloadT:
        """The payload, as `payload` gives it, without blocking the event loop: it is loaded or generated in a thread.

        Nothing is computed twice, however many ask for it at once. A cancelled task does not wait any longer, and what has begun to be
        generated is stored all the same.
        """
        return await event_loop.in_thread(lambda: self.payload) if self._payload is ABSENT else self.payload

    def generate(self, persist: bool = True, **untracked_payload_params: Any) -> Self:
        """Generate the payload, whether or not one is stored, and persist it unless told otherwise.

        Upstream payloads that are not stored are generated first. If another process commits the same payload while this one waits for its
        turn, that is taken.
        """
        self._check_params()
        if untracked_payload_params:
            self._check_untracked(untracked_payload_params)
        payload = generation.generate(self, self._use(), untracked_payload_params, persist=persist, read=False)
        if not (persist and self._persisted):
            payload = private(payload)
        self._payload = ABSENT if payload is generation.UNREAD else payload
        self._call_hook("_post_generate", untracked_payload_params)
        return self

    def persist(self) -> Self:
        """Persist the payload that is held. Raises PayloadNotHeld if there is none."""
        if self._payload is ABSENT:
            raise PayloadNotHeld(f"{self.key} holds no payload to persist; call generate() first", key=self.key)
        self._check_params()
        self._payload = generation.persist(self, self._use(), self._payload)
        return self

    def put(self, payload: PayloadT) -> Self:
        """Persist `payload` as this node's, made by hand: the record says so, and it is never generated again by itself."""
        self._check_params()
        self._validate_payload(payload)
        self._payload = generation.persist(self, self._use(), payload, made="put")
        return self

    def load(self, warn_if_validation_fails: bool = False, verify: bool = True, **untracked_payload_params: Any) -> Self:
        """Load the stored payload; never generate.

        Parameters:
            warn_if_validation_fails: warn instead of raising what `_validate_payload` raises.
            verify: compare the bytes with the digest in the record (remembered per process for large unchanged files); False maps at once.
            untracked_payload_params: for `_post_load`, as far as it accepts them.

        Raises PayloadNotFound, PayloadCorrupted, PayloadForeign.
        """
        self._check_params()
        if untracked_payload_params:
            self._check_untracked(untracked_payload_params)
        store = self._use()
        loaded = loading.load(self, store, verify=verify)
        if loaded is None:
            from persistable.nodes.nearest import not_found

            raise not_found(self, store)
        self._accept(loaded[0], warn_if_validation_fails)
        self._call_hook("_post_load", untracked_payload_params)
        return self

    def load_generate(self, **untracked_payload_params: Any) -> Self:
        """Load the stored payload, or generate it if there is none or it is corrupt."""
        self._check_params()
        if untracked_payload_params:
            self._check_untracked(untracked_payload_params)
        store = self._use()
        payload, loaded = generation.load_or_generate(self, store, untracked_payload_params)
        if loaded:
            self._accept(payload, False)
        else:
            self._payload = payload
        self._call_hook("_post_load" if loaded else "_post_generate", untracked_payload_params)
        return self

    def part(self, rows: slice | None = None, columns: Sequence[str] | None = None) -> PayloadT:
        """Some rows and columns of the payload, without reading the others; generated first, if it is not stored.

        For arrays (`NumpyFileIO`) and tables (`ArrowFileIO`, `ParquetFileIO`), on every store: where it keeps files or answers to ranges,
        little else is read. Raises PayloadCorrupted, and FormatError for other formats.
        """
        self._check_params()
        store = self._use()
        if not access.is_there(store, self.place):
            generation.generate(self._twin(store), store, {}, seen=(None,), writable=False, read=False)
        found: PayloadT = loading.part(self, store, rows, columns)
        return found

    def run(self, **options: Any) -> RunResult:
        """``run(self, **options)``: generate it and all it needs, as far as they are not stored; see `persistable.run`."""
        import persistable

        return persistable.run(self, **options)

    @classmethod
    def over(cls, /, *args: Any, **axes: Any) -> persistable.Family[PayloadT]:
        """The `Family` of such nodes over all combinations of the axes: lists, ranges, arrays and families among the arguments."""
        import persistable

        return persistable.Family.grid(cls, args, axes)

    @classmethod
    def among(cls, rows: Any, /, *args: Any, **axes: Any) -> persistable.Family[PayloadT]:
        """As `over`, with one more axis: params that go together, as a list of dicts, or as a dict of lists."""
        import persistable

        return persistable.Family.listed(cls, rows, args, axes)

    def reset_payload(self) -> None:
        """Forget the payload in memory; what is stored stays."""
        self._payload = ABSENT

    def validate_payload(self, payload: Any = ABSENT) -> None:
        """Run `_validate_payload` on `payload`, or on the payload held. Raises PayloadNotHeld if there is none."""
        if payload is ABSENT or (payload is None and self._payload is not ABSENT):
            payload = self._payload
        if payload is ABSENT:
            raise PayloadNotHeld(f"{self.key} holds no payload to validate; call load() or generate() first, or pass one", key=self.key)
        self._validate_payload(cast(PayloadT, payload))

    # items, where the generating function yields them

    def follow(self, timeout: float | None = None) -> Iterator[tuple[Any, Any]]:
        """``(key, payload)`` of each item, as soon as it is committed by whoever generates them, in another thread or process.

        Ends when all have come and are sealed; begins with those that are there. Nothing is generated here. Raises UpstreamFailed when the
        generation fails, WorkerDied when its process is gone without having finished, and TimedOut after `timeout` seconds without any
        news (None: never).
        """
        from persistable.nodes.follow import follow

        return follow(self, self._use(), timeout)

    @property
    def members(self) -> persistable.Family[Any]:
        """The items that a generating function yields, as a family. ``summary.over(node.members)`` has one node for each.

        Before they are sealed only those are members that are committed by the time somebody looks; `run` of anything made from it
        generates this node first.
        """
        import persistable

        return persistable.Item.all_of(self)

    # what is stored

    @property
    def store(self) -> Store:
        """The store in use: the node's own, else its consumer's, else the enclosing or the default one."""
        return self._use()

    @property
    def persist_filepath(self) -> Path:
        """Where the payload lies, without suffix. In a store that is no local folder: the path inside it."""
        lies = self.key.path if self._to is None else self._to
        path = self._use().local_path(lies)
        return path if path is not None else Path(lies)

    @property
    def payload_io(self) -> FileIO[PayloadT]:
        """The FileIO in use."""
        return self._format()

    @property
    def record(self) -> Record | None:
        """The committed record; None where nothing is stored. Raises PayloadCorrupted for a damaged one."""
        return access.find_record(self._use(), self.place)

    @property
    def status(self) -> Status:
        """The status of this payload in its store."""
        from persistable.nodes.status import status_of

        return status_of(self, self._use())

    def exists(self) -> bool:
        """Tell whether a payload is stored, judged by its record and the sizes of its files."""
        store = self._use()
        if self._external:
            return not self._look()
        record = access.find_record(store, self.place)
        return record is not None and access.missing_file(store, record) is None

    def delete(self) -> bool:
        """Remove the payload, its record and a recorded failure from the store; True if there was anything. The payload in memory stays."""
        store = self._use()
        scratch.forget_appended(store, self.place)
        return access.delete(store, self.place)

    def explain(self) -> Explanation:
        """The action of `payload` and its reasons: status, changes by function and node, and on a miss the nearest stored payload."""
        from persistable.nodes.explain import explain

        return explain(self, self._use())

    def lineage(self, **options: Any) -> Graph:
        """The lineage as a picture with ``svg()``, ``mermaid()`` and ``dot()``; options as for `persistable.graph.lineage`."""
        import persistable

        return persistable.graph.lineage(self, **options)

    def accept_code(self, reason: str) -> Record:
        """Record that the code changed in nothing that matters: the stored payload is no longer stale. `reason` is kept in the record."""
        return loading.accept_code(self, self._use(), reason)

    # plumbing

    def _use(self) -> Store:
        return self._store if self._store is not None else generation.default_store(self._remembered)

    def _format(self) -> FileIO[Any]:
        io: Any = self.io
        if io is None:
            return pickle_format()
        if isinstance(io, FileIO):
            return io  # pyright: ignore[reportUnknownVariableType] - as the class says
        return format_for(io, declaration_of(type(self)).payload_type)

    def _check_params(self) -> None:
        params, snapshot = self.params, self._snapshot
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

    def _accept(self, payload: Any, warn: bool) -> None:
        try:
            if cast("Any", type(self))._validate_payload is not NO_VALIDATION:
                self._validate_payload(payload)
        except Exception as error:
            if not warn:
                raise
            import warnings

            warnings.warn(f"the loaded payload of {self.key} is not valid: {error!r}", InvalidPayloadWarning, stacklevel=3)
        self._payload = payload

    def _check_untracked(self, given: dict[str, Any]) -> None:
        """Raise UnknownParam for keywords that no hook takes: they would vanish. Each hook gets those that it takes."""
        accepted: set[str] = set()
        for hook in ("_generate_payload", "_post_generate", "_post_load"):
            if getattr(type(self), hook) is getattr(Authored, hook):
                continue
            names = self._hook_names(hook)
            if names is None:
                return
            accepted |= names - {"self"}
        unknown = sorted(given.keys() - accepted)
        if unknown:
            raise roles.vanishing(type(self), unknown[0], sorted(accepted))

    def _hook_names(self, hook: str) -> frozenset[str] | None:
        """The keywords that a hook takes; None for any."""
        return declaration_of(type(self)).keywords(hook)

    def _call_hook(self, name: str, untracked: dict[str, Any]) -> Any:
        own = getattr(type(self), name)
        if own is getattr(Authored, name) and name != "_generate_payload":
            return None
        return getattr(self, name)(**(declaration_of(type(self)).accepted(name, untracked) if untracked else {}))

    def _code(self) -> CodeOf | Given:
        """The generating code: as it was found where the node was sent from, else as it is now."""
        given: Given | None = self.__dict__.get("_given_code")
        return given if given is not None else self._own_code()

    def _code_key(self) -> Any:
        """Equal for nodes whose generating code is the same."""
        given = self._given_things()
        return (self._made_by(), given) if given else self._made_by()

    def _given_things(self) -> tuple[Any, ...]:
        """Functions and classes of the user's own among the params, found at the first look."""
        kept: Snapshot | None = self.__dict__.get("_snapshot")
        if kept is not None and kept.plain:
            return ()
        found: tuple[Any, ...] | None = self.__dict__.get("_things")
        if found is None:
            found = self.__dict__["_things"] = code_in(self._tracked(), type(self).__module__.partition(".")[0])
        return found

    def _tracked(self) -> list[Any]:
        """The values that are identity."""
        kept: Snapshot | None = self.__dict__.get("_snapshot")
        rows = kept.rows if kept is not None else ()
        return [value for _, value, _ in rows] if rows else list(getattr(self.params, "__dict__", {}).values())

    def _own_code(self) -> CodeOf | Given:
        """The generating code as it is now, kept on the class and checked again at every call."""
        cls = type(self)
        seen: Snapshot | None = self.__dict__.get("_snapshot")
        if seen is None or not seen.plain:
            given = self._given_things()
            if given:
                return code_of(cls, HOOKS, (Persistable, Authored), given)
        kept: CodeOf | None = cls.__dict__.get("_code_kept")
        if kept is None or not kept.is_current():
            sent: Given | None = cls.__dict__.get("_sent_code")
            if sent is not None:
                return sent
            kept = cls._code_kept = code_of(cls, HOOKS, (Persistable, Authored))
        return kept

    @classmethod
    def _sent_along(cls) -> dict[str, Any]:
        """The fingerprint of the class's code, to be sent along with its definition: not all that the code uses is sent."""
        if not is_sending() or cls._by_payload:
            return {}
        sent: Given | None = cls.__dict__.get("_sent_code")
        kept = {"_sent_source": found} if (found := kept_source(cls)) else {}
        return {**kept, "_code_kept": None, "_sent_code": sent or given_of(code_of(cls, HOOKS, (Persistable, Authored)), cls)}

    def _generating_function(self) -> Any:
        """The code that makes the payload."""
        return type(self)._generate_payload

    def _declared_payloads(self) -> list[Any]:
        """The types that its payload is declared to have: in the bases of its class, and by the hook."""
        cls = type(self)
        names = returned.names_around(cls)
        return [returned.evaluated(declaration_of(cls).payload_type, names), returned.return_type(cls._generate_payload)]

    def _look(self) -> str:
        """Of an input that lies elsewhere: empty where it is there, else why it is not."""
        return ""

    def _put_at(self, path: str) -> Self:
        """The same node, its payload at `path` in its store."""
        twin = self._twin(self._store)
        twin._to = path
        return twin

    def _hold(self, payload: Any) -> None:
        self._payload = payload

    def _twin(self, store: Store | None, lent: bool = False) -> Self:
        """The same node without a payload, bound to `store`. lent: for one generation, and seen by nobody afterwards."""
        twin = object.__new__(type(self))
        state = twin.__dict__
        state.update(self.__dict__)
        if "_payload" in state:
            del state["_payload"]
        if "_generation" in state:
            del state["_generation"]
        state["_store"] = store
        if lent:
            state["_lent"] = True
        return twin

    def _facts(self) -> dict[str, Any]:
        """The facts for the record about the node itself."""
        given: dict[str, Any] | None = self.__dict__.get("_given_facts")
        if given is not None:
            return given
        own: Any = tree(self.params) if self.params is not None else {}
        facts: dict[str, Any] = {"version": self.version, "params": own if own.__class__ is dict else {"params": own}}
        if self.params is not None and not (self._snapshot.plain and id(self.params.__class__) in IDENTITY_ONLY.found):
            untracked = untracked_values(self.params)
            if untracked:
                facts["untracked"] = untracked
        if self._upstream:
            facts["upstream"] = {role: str(node.key) for role, node in self._upstream.items()}
            facts["lineage"] = table(self, _how_made)
        declared: Declaration | None = self.__class__.__dict__.get("_declared")
        if "_call" in self.__dict__ or declared is None or not (self._by_payload or self.params.__class__ is declared.params_type):
            facts.update(arguments.how_made(self, declaration_of(type(self))))
        return facts

    @classmethod
    def checked_role(cls, value: Any) -> Any:
        """`value`, where it is a node that a role annotated with this class takes."""
        return roles.admitted(cls, value)

    @classmethod
    def _declared_payload(cls) -> Any:
        return declaration_of(cls).payload_type

    def _payload_type(self) -> Any:
        """The declared type of the payload; None where it is not known."""
        return declaration_of(type(self)).payload_type

    def _stands_for(self) -> Sequence[Any]:
        """The nodes of which one's payload will be its own."""
        return ()

    def _made_by(self) -> Any:
        """The object to pickle in place of the class."""
        return type(self)

    @property
    def logger(self) -> Any:
        """The `logging.Logger` for what the node's own code has to say: ``persistable.<payload name>`` unless another was given, and quiet
        unless the application listens to it. What it says is said without secrets.
        """
        return events.logger_of(self.payload_name, self._logger)

    @logger.setter
    def logger(self, logger: Any) -> None:
        self._logger = logger

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in _HERE}
        if "_logger" in state:
            state["_logger"] = events.carried(self._logger)
        return state

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return rebuilt, (flattened(self, Persistable),)

    def __eq__(self, other: object) -> bool:
        """Tell whether `other` describes the same payload: the same key, and the same path where it has one of its own."""
        if self is other:
            return True
        same = cast("Any", other)
        if not isinstance(other, Persistable):
            return NotImplemented
        return not self._open and not same._open and self.key == same.key and self._to == same._to

    def __hash__(self) -> int:
        return object.__hash__(self) if self._open else hash(self.key)

    def __repr__(self) -> str:
        if self._open:
            return f"<{self.payload_name}, open: {', '.join(self._open)}>"
        shown = [f"{name}={value!r:.60}" for name, value in shown_params(self).items()]
        shown += [f"{role}=<{node.key.name}>" for role, node in self._upstream.items()]
        return f"{type(self).__name__}({', '.join(shown)}) [{self.key.digest[:8]}]"

    def _repr_html_(self) -> str:
        if self._open:
            return f"<code>{repr(self).strip('<>')}</code>"
        import persistable

        return persistable.graph.node_html(self, self._use())


def _how_made(node: Any) -> dict[str, Any]:
    return arguments.how_made(node, declaration_of(node.__class__))


_HERE = frozenset({"_payload", "_generation", "_lent", "_makers", "_things", "_reader", "_remembered"})
"""Attributes that stay in this process."""


def declaration_of(cls: type[Any]) -> Declaration:
    """The declaration of the node class `cls`, read once and kept on it (its bases have declarations of their own)."""
    try:
        declaration: Declaration = cls.__dict__["_declared"]
    except KeyError:
        declaration = cls._declared = Declaration(cls, Persistable)
    return declaration
