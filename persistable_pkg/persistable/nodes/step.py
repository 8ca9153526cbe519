"""`@step`: a plain function that can also be a node."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import inspect
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from functools import cached_property
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NoReturn, ParamSpec, Self, TypeVar, cast, overload

from persistable.errors import InputMissing, ParamsError, ParamsMutated, UnknownParam, UntrackableParam
from persistable.nodes import roles
from persistable.nodes.closure import Named, Unnamed, captured, definition
from persistable.nodes.code import CodeOf, SentFingerprint, Thing, code_of, is_sending, main_name, sending
from persistable.nodes.code.normal import shape
from persistable.nodes.compose import Open
from persistable.nodes.connections import Connection
from persistable.nodes.declaration import Declaration, is_collection
from persistable.nodes.declared_type import return_type
from persistable.nodes.lineage import expand_families, nodes_in
from persistable.nodes.node import Persistable
from persistable.nodes.provenance import given_of, kept_source
from persistable.nodes.types import Node, is_family
from persistable.params.annotations import names_of, signature_of
from persistable.params.building import did_you_mean
from persistable.params.checks import ANYTHING, Check, Scope, bare, check_of, check_pin, of_all
from persistable.params.fields import FORMER, NO_PIN, Markers, markers_of, text_markers
from persistable.params.mismatch import Mismatch
from persistable.params.snapshots import snapshot, unchanged
from persistable.records.key import check_payload_name
from persistable.stores.base import enclosing_store

if TYPE_CHECKING:
    import persistable
    from persistable.executors.resources import Resources, Retry
    from persistable.fileio.base import FileIO
    from persistable.records.items import Collected

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_EMPTY = inspect.Parameter.empty
_ONE = frozenset({"str", "bytes", "bool", "int", "float", "complex"})  # types that a collection of items never is
_POSITIONAL, _EITHER = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
_KEYWORD, _STARRED, _DOUBLE = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
CAPTURED = "closure_variables"
"""The param of a step that holds the variables its function captured from enclosing functions."""


class Step(Generic[P, R]):
    """A function that is called as before, and also makes nodes: ``fn(...)`` computes, ``fn.step(...)`` describes."""

    _is_shared: ClassVar[bool] = True
    _is_step: ClassVar[bool] = True

    def __init__(self, function: Callable[P, R], **options: Any) -> None:
        if not inspect.isfunction(function):
            raise TypeError(f"@step is for functions, not {function!r:.60}; write one that calls it")
        self.__wrapped__: Callable[P, R] = function
        owner = function.__qualname__.rpartition(".")[0]
        if owner and not owner.endswith("<locals>") and function.__code__.co_varnames[:1] in (("self",), ("cls",)):
            raise TypeError(
                f"@step is for functions, and {function.__qualname__} is a method: what it makes depends on an object without a name. "
                f"Make it a function that takes what it needs of {function.__code__.co_varnames[0]}, or a subclass of Persistable"
            )
        self.__name__, self.__qualname__, self.__module__ = function.__name__, function.__qualname__, function.__module__
        self.__doc__ = function.__doc__
        self._options = options
        self.payload_name = check_payload_name(options.get("name") or function.__dict__.get(FORMER) or function.__name__)
        self._made: _Maker | None = None
        self.known: Known | None = None
        self.sent_code: SentFingerprint | None = None
        """The code as the process that sent the step here found it: here not all names in its source exist. None if not sent."""
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is async; a step is a plain function: call asyncio.run(...) inside it")

    def __renamed_from__(self, name: str) -> None:
        """Use `name` as the payload name, unless ``@step(name=...)`` sets one."""
        if not self._options.get("name"):
            self.payload_name, self._made = check_payload_name(name), None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        given: Any
        for given in (*args, *kwargs.values()) if kwargs else args:
            if isinstance(given, Persistable) or is_family(given):
                self._refuse(given)
        return self.__wrapped__(*args, **kwargs)

    def _refuse(self, given: Any) -> NoReturn:
        name = getattr(self.__wrapped__, "__name__", self.payload_name)
        if is_family(given):
            raise TypeError(f"{name}(...) computes at once and was given {given!r}; call {name}.over(...) for a node of each member")
        raise TypeError(
            f"{name}(...) computes at once and was given the node {given.payload_name}; call {name}.step(...) to describe it, or give the "
            "node's payload"
        )

    @overload  # a function without a return annotation, of which nothing is known
    def step(self: Step[P, NoReturn], /, *args: Any, **kwargs: Any) -> StepNode[Any]: ...
    @overload  # a function that yields items has all of them as its payload
    def step(self: Step[P, Iterator[tuple[Any, T]]], /, *args: Any, **kwargs: Any) -> StepNode[Collected[T]]: ...
    @overload
    def step(self: Step[P, Generator[tuple[Any, T], Any, Any]], /, *args: Any, **kwargs: Any) -> StepNode[Collected[T]]: ...
    @overload
    def step(self, /, *args: Any, **kwargs: Any) -> StepNode[R]: ...
    def step(self, /, *args: Any, **kwargs: Any) -> StepNode[Any]:
        """The node of this call: nodes among the arguments, also inside lists, tuples and dicts, are upstream, the others are params.

        Defaults are filled in. With required arguments left out it is an `OpenNode`, for ``>>`` to fill. Raises UnknownParam, with the
        parameters of the function, and UntrackableParam for a value that cannot be part of an identity.
        """
        try:
            node: StepNode[Any] = self.maker.node(self.maker.bind(args, kwargs))
        except ParamsError as error:
            __tracebackhide__ = True
            raise error.with_traceback(None) from error.__cause__  # it begins where the arguments were given
        return node

    def over(self, /, *args: Any, **axes: Any) -> persistable.Family[R]:
        """The `Family` of nodes of this step over all combinations of the axes: lists, ranges, arrays and families among the arguments."""
        import persistable

        return persistable.Family.grid(self, args, axes)

    def among(self, rows: Any, /, *args: Any, **axes: Any) -> persistable.Family[R]:
        """The `Family` as of `over`, with one more axis, `rows`: arguments that go together, as a list of dicts or a dict of lists."""
        import persistable

        return persistable.Family.listed(self, rows, args, axes)

    @property
    def maker(self) -> _Maker:
        """The maker of nodes from arguments; made at the first use."""
        if self._made is None:
            self._made = _Maker(self, self._options)
        return self._made

    @property
    def node_class(self) -> type[StepNode[R]]:
        """The class of its nodes."""
        return self.maker.node_class

    @property
    def __signature__(self) -> inspect.Signature:
        return signature_of(self.__wrapped__)

    def __repr__(self) -> str:
        return f"<step {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        from persistable.fileio.pickle_scripts import importable

        if importable(self):
            name: str = self.__qualname__
            return name  # by reference, as functions are
        kept = {"sent_source": kept_source(self.node_class)} if self._options.get("source") else {}
        parts = (self.__wrapped__, {**self._options, **kept}, self.known or self.maker.known())
        if is_sending():
            return _step_again, (*parts, self.sent_code or given_of(code_of(self.__wrapped__), self.node_class))
        return _step_of, (by_value(parts), self.__module__, self.__qualname__, main_name())


arguments_of: Callable[[StepNode[Any]], dict[str, Any]] = attrgetter("_node_arguments")
"""The arguments of the call that a node describes, by parameter."""


def step_of(node: Node) -> Step[..., Any] | None:
    """The step whose call `node` describes; None for a node of a class."""
    return cast("StepNode[Any]", node).step if issubclass(node.__class__, StepNode) else None


class Known(NamedTuple):
    """The meaning of a function's annotations, for another process that gets a copy of it without the names in them.

    markers: by parameter, for those that have any. result: the declared type of its result, None if it is not known.
    """

    markers: dict[str, Markers]
    result: Any


def _step_again(
    function: Callable[..., Any], options: dict[str, Any], known: Known, sent_code: SentFingerprint | None = None
) -> Step[..., Any]:
    step = Step(function, **options)
    step.known, step.sent_code = known, sent_code
    return step


def by_value(thing: Any) -> bytes:
    """`thing` as a pickle for another process: steps in it that cannot be imported go by value, even if that process has run their script.

    So everything sent is of one kind, and each object of the script that it uses exists once.
    """
    from persistable.fileio.pickle_scripts import by_value as dumped

    with sending():
        return dumped(thing)


def _step_of(data: bytes, module: str, qualname: str, main: str) -> Step[..., Any]:
    """The step of that name if this process has it with the same code, else the one in `data`."""
    parts = pickle.loads(data)
    found: Any = sys.modules.get(module) if main == main_name() else None
    for name in qualname.split("."):
        found = getattr(found, name, None)
    same = isinstance(found, Step) and shape(found.__wrapped__.__code__) == shape(parts[0].__code__)  # pyright: ignore[reportUnknownMemberType]
    return cast("Step[..., Any]", found) if same else _step_again(*parts)


class StepNode(Persistable[R, Any]):
    """A node made by `Step.step`. Its `params` are the arguments that are no nodes."""

    _node_by_payload = True
    _node_captured = CAPTURED
    _node_step: Step[..., Any]
    """The step of the node: an attribute of the class, except for open nodes."""
    _node_arguments: dict[str, Any]

    def __init__(self, *_: Any, **__: Any) -> None:
        raise TypeError(f"make nodes of {self._node_step!r} by its step(...), not by the class")

    def replace(self, /, **changes: Any) -> Self:
        """A new node with some arguments changed; this one stays as it is."""
        return cast(Self, self._node_fill(self._node_step.maker.changes(self._node_arguments, changes)))

    def _node_open_inputs(self) -> list[Open]:
        return self._node_step.maker.open_inputs(self._node_arguments)

    def _node_fill(self, given: dict[str, Any]) -> Any:
        return self._node_step.maker.node({**self._node_arguments, **given}, self._node_store)

    @property
    def step(self) -> Step[..., R]:
        """The step whose call this node describes."""
        return self._node_step

    def _generate_payload(self, *_: Any, **untracked: Any) -> R:
        maker = self._node_step.maker
        arguments = {name: maker.filled(value) for name, value in self._node_arguments.items()}
        if untracked:
            arguments.update({name: value for name, value in untracked.items() if name in maker.untracked})
        result: R = maker.call(arguments)
        return result

    def _node_hook_names(self, hook: str) -> frozenset[str] | None:
        return self._node_step.maker.untracked if hook == "_generate_payload" else super()._node_hook_names(hook)

    def _node_generating_function(self) -> Any:
        return self._node_step.__wrapped__

    def _node_declared_payloads(self) -> list[Any]:
        known = self._node_step.known
        return [return_type(self._node_step.__wrapped__) if known is None else known.result]

    def _node_payload_type(self) -> Any:
        return self._node_step.maker.result

    def _node_code_with(self, given: tuple[Thing, ...]) -> CodeOf:
        return code_of(self._node_step.__wrapped__, given=given)

    def _node_made_by(self) -> Any:
        return self._node_step

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("params", None)  # their class is made here, and made again by the receiver
        state.pop("_node_snapshot", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._node_open:
            self.params = self._node_step.maker.params(self._node_arguments, judged=False)
            self._node_snapshot = snapshot(self.params)


class _CapturingNode(StepNode[R]):
    """A node of a step that has captured variables."""

    def _node_check_params(self) -> None:
        super()._node_check_params()
        before = self.params.__dict__.get(CAPTURED) if self.params is not None else None
        if before is not None:
            self._node_step.maker.check_captured(before, self.key)


class OpenNode(StepNode[Any]):
    """A step call that leaves required inputs open: no key and no payload before `>>`, or `fill`, has filled them."""

    def fill(self, /, **inputs: Any) -> Any:
        """The node with these arguments filled in; still an `OpenNode` if others remain."""
        return self.replace(**inputs)

    def _node_made_by(self) -> Any:
        return OpenNode


class _Maker:
    """The maker of the nodes of one step, which reads its signature once."""

    def __init__(self, step: Step[..., Any], options: dict[str, Any]) -> None:
        self.step = step
        self.function = step.__wrapped__
        self.name = step.payload_name
        self.merge: Callable[[list[Any]], Any] | None = options.get("merge")
        self._signature = signature_of(self.function)
        self.parameters = self._signature.parameters
        self.ordinary = [each.name for each in self.parameters.values() if each.kind not in (_STARRED, _DOUBLE)]
        self._starred = next((each.name for each in self.parameters.values() if each.kind is _STARRED), None)
        self._double = next((each.name for each in self.parameters.values() if each.kind is _DOUBLE), None)
        self._defaults = {name: each.default for name, each in self.parameters.items() if each.default is not _EMPTY}
        self._by_position = [each.name for each in self.parameters.values() if each.kind in (_POSITIONAL, _EITHER)]
        self._all_by_keyword = all(each.kind in (_EITHER, _KEYWORD) for each in self.parameters.values())
        self.markers = step.known.markers if step.known is not None else self._all_markers()
        self.untracked = frozenset(name for name, markers in self.markers.items() if markers.untracked)
        self._names: dict[str, Any] | None = None
        self.checks = self._all_checks() if step.known is None else {}
        """Checks of arguments by parameter; none for a step from another process, in which its arguments were checked."""
        self._params_classes: dict[frozenset[str], type] = {}
        self._function = cast("FunctionType", self.function)
        self._definition = definition(self._function) if options.get("name") is None else ""
        self._carries = bool(self._function.__closure__ or self.merge is not None or self._definition)
        self.node_class = _node_class(step, _CapturingNode if self._carries else StepNode, options)

    def known(self) -> Known:
        """The facts about the annotations for another process."""
        result = self.result
        return Known(self.markers, None if type(result) is str else result)

    @cached_property
    def result(self) -> Any:
        """The declared type of the function's result; None if it is not known."""
        if self.step.known is not None:
            return self.step.known.result
        annotation = self.function.__annotations__.get("return")
        if annotation is None or inspect.isgeneratorfunction(self.function):
            return None
        return bare(annotation, Scope(names_of(self.function), {}))

    def _all_markers(self) -> dict[str, Markers]:
        names: dict[str, Any] | None = None
        found: dict[str, Markers] = {}
        for name, parameter in self.parameters.items():
            annotation, place = parameter.annotation, f"{self.name}.{name}"
            if annotation is _EMPTY:
                continue
            if isinstance(annotation, str):
                names = names_of(self.function) if names is None else names
                markers = text_markers(annotation, names, place)
            else:
                markers = markers_of(annotation, place)
            if markers.untracked or markers.former is not None or markers.pin is not NO_PIN:
                found[name] = markers
        return found

    def _all_checks(self) -> dict[str, Check]:
        names = names_of(self.function)
        found: dict[str, Check] = {}
        for name, parameter in self.parameters.items():
            check = check_of(of_all(parameter, names), names) if parameter.annotation is not _EMPTY else ANYTHING
            if parameter.default is None:  # ``x: int = None`` means ``int | None``, as it long did
                check = check._replace(exact=check.exact | {type(None)})
            if name in self.markers and self.markers[name].pin is not NO_PIN:
                check_pin(self.markers[name].pin, check, f"{self.name}.{name}")
            found[name] = check
        return found

    def _check(self, arguments: dict[str, Any]) -> None:
        """Convert each argument to its declared type, in place. Raises MistypedParam."""
        for name, check in self.checks.items():
            value = arguments.get(name, _EMPTY)
            if type(value) in check.exact or value is _EMPTY:
                continue
            if isinstance(value, Persistable):
                if check.words in _ONE and inspect.isgeneratorfunction(value._node_generating_function()):
                    raise roles.error_items_for_value(self.name, name, cast("Node", value), check.words)
                continue
            try:
                arguments[name] = check.convert(value)
            except RecursionError:
                continue  # it contains itself, which raises when it is encoded
            except Mismatch as mismatch:
                if name == self._double and mismatch.at:
                    name = mismatch.at.pop(0)[0]  # noqa: PLW2901 - which is how it was given
                raise mismatch.error(f"{self.name}.{name}") from None

    def check_for(self, name: str) -> Check | None:
        """The check of the argument `name`; None if there is none."""
        found = self.checks.get(name)
        return found if found is not None and name not in (self._starred, self._double) else None

    # arguments

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The given arguments by parameter name."""
        given: dict[str, Any] = dict(zip(self._by_position, args, strict=False))
        extra = args[len(self._by_position) :]
        if extra and self._starred is None:
            raise UnknownParam(
                f"{self.name} takes {len(self._by_position)} positional arguments ({', '.join(self._by_position)}), not {len(args)}",
                name=repr(extra[0])[:60],
                accepted=self.ordinary,
            )
        if self._starred is not None and extra:
            given[self._starred] = extra
        others: dict[str, Any] = {}
        for name, value in kwargs.items():
            if name in given and name != self._starred:
                raise UnknownParam(f"{self.name} was given {name} twice, by position and by name", name=name, accepted=self.ordinary)
            if name in self.parameters and name not in (self._starred, self._double):
                given[name] = value
            else:
                others[name] = value
        if others:
            if self._double is None:
                self.check_names(others)
            assert self._double is not None
            given[self._double] = others
        return given

    def name_at(self, position: int) -> str:
        """The name of the argument at `position`."""
        known = self._by_position
        return known[position] if position < len(known) else f"{self._starred}.{position - len(known)}"

    def check_names(self, names: dict[str, Any]) -> None:
        """Raise UnknownParam for a name that the function does not take."""
        for name in names:
            if name not in self.parameters:
                hint = did_you_mean(name, self.ordinary)
                raise UnknownParam(
                    f"{self.name} takes no {name!r}{hint} (it takes {', '.join(self.ordinary) or 'nothing'})",
                    name=name,
                    accepted=self.ordinary,
                )

    def changes(self, arguments: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
        """Changes of `arguments` by parameter, `named` as in a call: those for ``**kwargs`` are merged into it. Raises UnknownParam."""
        others = {name: value for name, value in named.items() if name not in self.parameters}
        if not others or self._double is None:
            self.check_names(others)
            return named
        ordinary = {name: value for name, value in named.items() if name not in others}
        return {**ordinary, self._double: {**arguments.get(self._double, {}), **ordinary.get(self._double, {}), **others}}

    def open_inputs(self, given: dict[str, Any]) -> list[Open]:
        """The inputs that `>>` may fill, in the order of the signature."""
        missing = [name for name in self.ordinary if name not in given and name not in self._defaults]
        if self.merge is not None and missing:
            return [Open(missing[0], 1), *map(Open, missing[1:])]
        found = [Open(name, 2 * (len(missing) == 1 and is_collection(self.parameters[name].annotation))) for name in missing]
        if self._starred is not None and not given.get(self._starred):
            found.append(Open(self._starred, 1))
        return found

    # nodes

    def node(self, given: dict[str, Any], store: Any = None) -> Any:
        """The node of these arguments, open if required ones are missing."""
        arguments: dict[str, Any] = {}
        missing: list[str] = []
        for name in self.parameters:
            if name in given:
                if isinstance(given[name], Step):
                    self._refuse(name, given[name])
                arguments[name] = expand_families(given[name], name in (self._starred, self._double))
            elif name in self._defaults:
                arguments[name] = self._defaults[name]
            elif name in (self._starred, self._double):
                if not (name == self._starred and missing):
                    arguments[name] = () if name == self._starred else {}
            else:
                missing.append(name)
        self._check(arguments)
        if missing:
            return self._open({name: arguments[name] for name in given}, missing, store)
        node: Node = object.__new__(self.node_class)
        node.__dict__.update(payload_name=self.name, _node_arguments=arguments)
        node._node_store = store if store is not None else enclosing_store()
        node._node_upstream = {name: value for name, value in arguments.items() if isinstance(value, Persistable)}
        node.params = self.params(arguments)
        try:
            node._node_identify()
        except InputMissing:
            for name, value in arguments.items():  # the open one among them is searched only now
                roles.refuse_open(self.step.__name__, name, nodes_in(value))
            raise
        return node

    def _refuse(self, name: str, step: Step[..., Any]) -> None:
        raise TypeError(
            f"{self.name} was given the step {step.payload_name} itself for {name}; give a node of it, {step.payload_name}.step(...), or a "
            "plain function that calls it"
        )

    def params(self, arguments: dict[str, Any], judged: bool = True) -> Any:
        """The params: arguments that are no nodes, and captured variables. judged: whether these need names, as when nodes are made."""
        plain = {name: value for name, value in arguments.items() if not isinstance(value, Persistable)}
        found = self._captured(judged) if self._carries else {}
        if found:
            plain[CAPTURED] = found
        kind: Any = self._params_class(plain)
        params: Any = object.__new__(kind)
        params.__dict__.update(plain)
        return params

    def _captured(self, judged: bool) -> dict[str, Any]:
        try:
            found = captured(self._function, judged) if self._function.__closure__ else {}
        except Unnamed as unnamed:
            path = f"{self.name}.{CAPTURED}.{unnamed.place}"
            raise UntrackableParam(f"{path} cannot be part of an identity: {unnamed}", path=path, found=unnamed.found) from None
        if self.merge is not None:
            found["merge"] = self.merge
        if self._definition:
            found["definition"] = self._definition
        return found

    def check_captured(self, before: dict[str, Any], key: Any) -> None:
        """Raise ParamsMutated if a captured variable has been bound to another value since the node was made."""
        now = self._captured(False) if self._carries else {}
        for name, value in before.items():
            if name not in now or now[name] is value or isinstance(value, Named | FunctionType | type):
                continue
            if not unchanged(value, now[name]) and name.rpartition(".")[2] not in self._assigned():
                raise ParamsMutated(
                    f"{name}, a variable that {self.name} captured, has been bound to another value since {key} was made, so its key no "
                    f"longer describes it; bind it early, as a default ({name}={name} in the signature), or make the step in a function of "
                    "its own",
                    path=f"{CAPTURED}.{name}",
                )

    def _assigned(self) -> set[str]:
        """Captured variables that the function assigns itself: state, not inputs."""
        import dis

        return {str(each.argval) for each in dis.get_instructions(self.function) if each.opname == "STORE_DEREF"}

    def filled(self, value: Any) -> Any:
        """`value` with the payload of each node, and the resource of each connection, in place of it."""
        if isinstance(value, Persistable):
            return value.payload  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        kind: Any = value.__class__
        if kind is Connection:
            return value.open()
        if kind is dict:
            return {name: self.filled(item) for name, item in value.items()}
        if kind is not list and kind is not tuple:
            return value
        items: list[Any] = [self.filled(item) for item in value]
        if kind is tuple:
            return tuple(items)
        if self.merge is not None and items and all(isinstance(item, Persistable) for item in value):
            return self.merge(items)
        return items

    def _open(self, given: dict[str, Any], missing: list[str], store: Any) -> OpenNode:
        node = object.__new__(OpenNode)
        node.__dict__.update(
            payload_name=self.name,
            _node_arguments=given,
            _node_step=self.step,
            _node_open=tuple(missing),
            _node_store=store,
            _node_upstream={},
        )
        return node

    def _params_class(self, plain: dict[str, Any]) -> type:
        names = frozenset(plain)
        known = self._params_classes.get(names)
        if known is None:
            known = self._params_classes[names] = self._make_params_class(list(plain))
        return known

    def _make_params_class(self, names: list[str]) -> type:
        import dataclasses

        fields = [(name, self._annotation(name)) for name in names]
        made = dataclasses.make_dataclass(self.name if self.name.isidentifier() else "arguments", fields)
        made.__name__ = self.name  # part of identity, as the name of any params class
        made.__module__ = self.step.__module__
        made.__qualname__ = f"{self.step.__qualname__}.params"
        return made

    def _annotation(self, name: str) -> Any:
        markers = self.markers.get(name)
        return Any if markers is None else Annotated[Any, markers]

    def call(self, arguments: dict[str, Any]) -> Any:
        """The function's result; `arguments` by parameter name."""
        if self._all_by_keyword:
            return self.function(**arguments)
        bound = inspect.BoundArguments(self._signature, OrderedDict(arguments))
        return self.function(*bound.args, **bound.kwargs)


def _node_class(step: Step[..., Any], base: type[StepNode[Any]], options: dict[str, Any]) -> type[StepNode[Any]]:
    members: dict[str, Any] = {
        "__module__": step.__module__,
        "__qualname__": step.__qualname__,
        "__doc__": step.__doc__,
        "_node_step": step,
        "is_persisted": options.get("persist", True),
        "payload_name": step.payload_name,
        "version": options.get("version", 1),
        "io": options.get("io"),
        "retry": options.get("retry"),
        "resources": options.get("resources"),
        "_node_sent_code": step.sent_code,
        "_node_keeps_source": options.get("source", False),
        "_node_sent_source": options.get("sent_source"),
    }
    made: Any = type(step.__name__, (base,), members)
    made._node_declared = declaration = Declaration(made)
    if made.io == "auto":
        declaration.payload_type = step.known.result if step.known is not None else _return_type(step.__wrapped__)
    return cast("type[StepNode[Any]]", made)


def _return_type(function: Callable[..., Any]) -> Any:
    import typing

    try:
        return typing.get_type_hints(function, localns=names_of(function)).get("return")
    except Exception as error:
        raise ParamsError(
            f'{function.__qualname__} has io="auto", which goes by its return annotation, but that cannot be resolved ({error}); '
            "name a FileIO, or import the names of the annotation at the top of the module"
        ) from error


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(
    *,
    name: str | None = None,
    version: Any = 1,
    io: FileIO[Any] | Literal["auto"] | None = None,
    persist: bool = True,
    retry: Retry | None = None,
    resources: Resources | None = None,
    merge: Callable[[list[Any]], Any] | None = None,
    source: bool = False,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def step(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function usable as a node: ``fn(...)`` stays a plain call, ``fn.step(...)`` describes the call as a `Persistable`.

    Parameters:
        name: the payload name; the function's by default.
        version: part of identity; raise it when a change of the code changes the payload.
        io: a FileIO, or ``"auto"`` for the one that fits the return annotation; `PickleFileIO` by default.
        persist: False for a function that runs for its effect: it runs at each request, and its payload is never stored.
        retry, resources: how `run` treats its nodes.
        merge: makes one argument of a list of payloads, if a list of nodes is joined to the step by ``>>``.
        source: keep the source of a function of a script or notebook in its records, with the code that it uses there, so that its nodes
            can be made again elsewhere.

    `Annotated` markers in the signature mean the same as in a params class. Variables captured from an enclosing function are part of
    identity.
    """
    if function is not None:
        return Step(function)
    known = ("name", "version", "io", "persist", "retry", "resources", "merge", "source")
    unknown = options.keys() - {*known}
    if unknown:
        raise TypeError(f"@step takes no {', '.join(sorted(unknown))}; it takes {', '.join(known)}")

    def decorate(function: Callable[..., Any]) -> Step[..., Any]:
        return Step(function, **options)

    return decorate
