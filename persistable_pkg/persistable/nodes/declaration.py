"""Declarations of a subclass of `Persistable`, by its bases, annotations and attributes, read once per class."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from persistable.fileio.base import FileIO
from persistable.nodes.declared_type import evaluated
from persistable.nodes.types import NodeBase
from persistable.params.annotations import home_of, names_for, own_annotations, signature_of
from persistable.params.fields import name_in_identity
from persistable.records.key import check_payload_name

if TYPE_CHECKING:
    from persistable.params.checks import Check

SETTINGS = frozenset(
    {"data_dir", "logger", "payload_file_suffix", "payload_io", "payload_name", "params", "persist_data_dir"}
    | {"tracked_persistable_dependencies", "verbose"}
)
"""Keywords of the constructor: a param of such a name is given in ``params=``."""


class Declaration:
    """The facts that one class declares.

    payload_type, params_type: the arguments of ``Persistable[...]``; None if not given. params_arguments: those of a generic
        params class.
    roles: role name to whether a node must be given. required: the names of those for which one must. many: those that hold several nodes.
    settings: the fields of the params that have the name of a keyword of the constructor.
    annotated: all names that the class annotates; the value given decides if only a type checker can read the annotation.
    """

    __slots__ = (
        "_accepts", "_checks", "_cls", "admitted", "annotated", "many", "name", "params_arguments", "params_type", "payload_type",
        "required", "roles", "settings",
    )  # fmt: skip

    def __init__(self, cls: type) -> None:
        root = root_of(cls)
        self._cls = cls
        self.payload_type, declared = _type_arguments(cls, root)
        self.params_type, self.params_arguments = _params_class(declared)
        self.roles = dict(_roles(cls, root))
        self.annotated = frozenset(name for base in _below(cls, root) for name in own_annotations(base))
        self.required = tuple(role for role, must in self.roles.items() if must)
        self.many = frozenset(role for role in self.required if is_collection(_annotation(cls, role)))
        named = getattr(cls, "payload_name", None)
        self.name = check_payload_name(named if isinstance(named, str) else snake_case(name_in_identity(cls)))
        check_policies(cls.__qualname__, {name: getattr(cls, name, None) for name in ("retry", "resources")})
        self.settings = SETTINGS.intersection(self.fields())
        self._accepts: dict[str, frozenset[str] | None] = {}
        self._checks: dict[str, Any] = {}
        self.admitted: dict[str, type] = {}
        """The class of the last node that passed the check, by role, if every other node of that class would pass as well."""

    def fields(self) -> list[str]:
        """The keywords that the params class takes; none if there is no such class."""
        from persistable.params.building import accepts

        kind = self.params_type
        try:
            return accepts(kind) if isinstance(kind, type) and kind is not type(None) else []
        except Exception:  # noqa: BLE001 - its error is raised where it is used
            return []

    def check_of(self, role: str) -> Check:
        """The check of a node, or a collection of nodes, for `role`."""
        found: Check | None = self._checks.get(role)
        if found is None:
            from persistable.params.checks import check_of

            home = home_of(self._cls, role)
            found = self._checks[role] = check_of(own_annotations(home).get(role, Any), names_for(home))
        return found

    def __getstate__(self) -> Any:
        return None, {name: {} if name in ("_accepts", "_checks", "admitted") else getattr(self, name) for name in self.__slots__}

    def keywords(self, hook: str) -> frozenset[str] | None:
        """The keywords that the signature of `hook` takes; None for any."""
        if hook not in self._accepts:
            self._accepts[hook] = _keywords(getattr(self._cls, hook))
        return self._accepts[hook]

    def accepted(self, hook: str, given: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments among `given` that the signature of `hook` takes."""
        names = self.keywords(hook)
        return given if names is None else {name: value for name, value in given.items() if name in names}


def check_policies(owner: str, given: Mapping[str, Any]) -> None:
    """Raise TypeError for a `retry` that is no `Retry`, or `resources` that are no `Resources`. owner: their owner in the message."""
    for name, value in given.items():
        if name not in ("retry", "resources") or value is None or hasattr(value, "__get__"):
            continue
        from persistable.executors.resources import Resources, Retry

        kind, example = (Retry, "Retry(3)") if name == "retry" else (Resources, "Resources(cpus=2)")
        if not isinstance(value, kind):
            raise TypeError(f"{name} of {owner} is {value!r:.60}; give a {kind.__name__}, such as {example}")


def snake_case(name: str) -> str:
    """``GaussianPoints`` to ``gaussian_points``: the default payload name of a class."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def _keywords(function: Callable[..., Any]) -> frozenset[str] | None:
    """The keywords `function` takes; None for any."""
    parameters = signature_of(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(
        parameter.name for parameter in parameters if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    )


def _type_arguments(cls: type, root: type) -> tuple[Any, Any]:
    """The values of the two type variables of `root` in `cls`, through any number of generic classes between."""
    arguments = _arguments_of(cls, root)
    payload, params = arguments if arguments else (None, None)
    return _concrete(payload), _concrete(params)


def _params_class(declared: Any) -> tuple[Any, tuple[Any, ...]]:
    """The class of params that a declared type means, and its type arguments: without ``| None``, `Annotated` and their like."""
    from persistable.params.checks import Scope, bare

    kind = bare(declared, Scope({}, {})) if declared is not None and not isinstance(declared, str) else declared
    if kind is Any:  # a class in its own right since Python 3.11, and nothing is an instance of it
        return None, ()
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        others = [each for each in arguments if each is not type(None)]
        return _params_class(others[0]) if len(others) == 1 else (declared, ())
    origin = typing.get_origin(kind)
    return (origin, arguments) if isinstance(origin, type) and origin not in (list, dict, tuple, set) else (kind, ())


def _arguments_of(cls: type, root: type) -> tuple[Any, ...] | None:
    for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin = typing.get_origin(base) or base
        if origin is root:
            return tuple([_resolved(argument, cls) for argument in typing.get_args(base)]) or None
        if isinstance(origin, type) and issubclass(origin, root):
            inner = _arguments_of(origin, root)
            if inner is None:
                continue
            arguments = [_resolved(argument, cls) for argument in typing.get_args(base)]
            given: dict[Any, Any] = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
            return tuple([_substituted(argument, given) for argument in inner])
    return None


def _resolved(argument: Any, cls: type) -> Any:
    """`argument`, evaluated with the names of `cls` if it was written as text; the text itself if that fails."""
    text = argument.__forward_arg__ if isinstance(argument, typing.ForwardRef) else argument
    if not isinstance(text, str):
        return argument
    try:
        return eval(text, names_for(cls))
    except Exception:  # noqa: BLE001 - a user's annotation may raise any error
        return text


def _substituted(argument: Any, given: dict[Any, Any]) -> Any:
    if isinstance(argument, typing.TypeVar):
        return given.get(argument, argument)
    free = getattr(argument, "__parameters__", ())
    return argument[tuple([given.get(each, each) for each in free])] if free and not isinstance(argument, type) else argument


def _concrete(argument: Any) -> Any:
    if isinstance(argument, typing.TypeVar):
        return argument.__bound__ if isinstance(argument.__bound__, type) else None
    return argument


def _below(cls: type, root: type) -> list[type]:
    """`cls` and its bases that are nodes, most general first, without `root`."""
    return [base for base in reversed(cls.__mro__) if issubclass(base, root) and base is not root]


def _roles(cls: type, root: type) -> Iterator[tuple[str, bool]]:
    for base in _below(cls, root):
        names = names_for(base)
        for name, annotation in own_annotations(base).items():
            kind = _role_kind(annotation, names)
            if kind is not None:
                yield name, kind and not hasattr(cls, name)


def _annotation(cls: type, name: str) -> Any:
    for base in cls.__mro__:
        own = own_annotations(base)
        if name in own:
            return own[name]
    return None


def is_role(cls: type, name: str) -> bool:
    """Tell whether `cls` annotates that name with a node class."""
    return _role_kind(own_annotations(cls).get(name), names_for(cls)) is not None


_COLLECTIONS = re.compile(r"(typing\.|collections\.abc\.)?(list|tuple|List|Tuple|Sequence|Iterable|Collection)(\[.*\])?", re.DOTALL)


def is_collection(annotation: Any) -> bool:
    """Tell whether an annotation, evaluated or not, is list, tuple or a more general type."""
    if not isinstance(annotation, str):
        annotation = typing.get_origin(annotation) or annotation
        annotation = getattr(annotation, "__name__", "")
    return _COLLECTIONS.fullmatch(annotation.strip()) is not None


def _role_kind(annotation: Any, names: dict[str, Any]) -> bool | None:
    """True for an annotation that demands a node, False for one that allows it, None for any other."""
    annotation = evaluated(annotation, names)  # if a name in it is known only to a type checker, the value passed decides
    if isinstance(annotation, type) and issubclass(annotation, NodeBase):
        return True
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.ClassVar:
        return None
    if isinstance(origin, type) and issubclass(origin, NodeBase):
        return True
    kinds = [_role_kind(argument, names) for argument in arguments if argument is not Ellipsis]
    if not any(kind is not None for kind in kinds):
        return None
    return not (origin in (typing.Union, types.UnionType) and type(None) in arguments)


def format_for(declared: Any, payload_type: Any) -> FileIO[Any]:
    """The format that a class or call names: a FileIO as it is, ``"auto"`` by the declared payload type, None the default."""
    if declared is None:
        return pickle_format()
    if isinstance(declared, FileIO):
        return declared  # pyright: ignore[reportUnknownVariableType] - as the class says
    if declared == "auto":
        from persistable.fileio import fileio_for

        return fileio_for(payload_type)
    raise TypeError(f'io is {declared!r}; give a FileIO object such as NumpyFileIO(), or "auto" to choose by the declared payload type')


@cache
def pickle_format() -> FileIO[Any]:
    """The default format."""
    from persistable.fileio.pickle import PickleFileIO

    return PickleFileIO()


def declaration_of(cls: type[Any]) -> Declaration:
    """The declaration of the node class `cls`, read once and kept on it (its bases have declarations of their own)."""
    try:
        declaration: Declaration = cls.__dict__["_node_declared"]
    except KeyError:
        declaration = cls._node_declared = Declaration(cls)
    return declaration


def root_of(cls: type) -> Any:
    """`Persistable`, found among the bases, since this module cannot import it."""
    return next(base for base in reversed(cls.__mro__) if "_node_is_node" in base.__dict__)
