"""The fields of params classes, and their markers: dataclasses, attrs classes and pydantic models alike."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys
from enum import Enum

from persistable.errors import ParamsError
from persistable.params.annotations import home_of, names_for, own_annotations, signature_of
from persistable.params.class_tables import ClassTable
from persistable.params.reduced_values import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    ClassT = TypeVar("ClassT")

FORMER = "__persistable_formerly__"
"""The attribute in which a class keeps the name it had before it was renamed."""


class PersistableParams:
    """An optional base for params classes, which marks them as such. It has no fields."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, untracked ones too: paths as text, enums by their names, params of this kind as dicts, others unchanged."""
        spec = spec_of(type(self))
        return {each.attr: _plain(getattr(self, each.attr)) for each in (spec.fields if spec is not None else ())}


def _plain(value: Any) -> Any:
    if isinstance(value, PersistableParams):
        return value.to_dict()
    enum = sys.modules.get("enum")  # not imported here: importing params must cost nothing
    if enum is not None and isinstance(value, enum.Enum):
        return value.name
    return str(value) if hasattr(value, "__fspath__") else value


class Untracked:
    """The type of `untracked`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "untracked"

    def __reduce__(self) -> str:
        return "untracked"


class OmitWhen:
    """The marker that `omit_when` returns."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"omit_when({self.value!r})"


class Formerly:
    """The object that `formerly` returns: a marker of a field, and a decorator of classes and steps."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not str(name).isidentifier():
            raise TypeError(f"formerly() takes the old name of the field or class, not {name!r}")
        self.name = name

    def __call__(self, renamed: ClassT) -> ClassT:
        """Return `renamed`, which keeps the identity that it had under its old name."""
        take: Any = getattr(renamed, "__renamed_from__", None)
        if take is not None:  # a step or a class of nodes, which handles its former name itself
            take(self.name)
        elif isinstance(renamed, type) or hasattr(renamed, "__code__"):
            setattr(renamed, FORMER, self.name)
        else:
            raise TypeError(f"formerly() decorates classes and steps, or marks a field in Annotated[...]; it was given {renamed!r:.60}")
        return renamed

    def __repr__(self) -> str:
        return f"formerly({self.name!r})"


untracked = Untracked()
"""``Annotated[int, untracked]``: the field is never part of identity. It is recorded all the same."""


def omit_when(value: Any) -> OmitWhen:
    """``Annotated[float, omit_when(0.0)] = 0.0``: the field is left out of identity while it equals `value`, type included.

    Give a new field this marker, and payloads made before it existed keep their identity. `value` is pinned: it stays the same when the
    default changes.
    """
    return OmitWhen(value)


def formerly(name: str) -> Formerly:
    """``Annotated[int, formerly("n_rows")]``: the field was renamed, and keeps the identity it had as `name`.

    As a decorator of a params class, an enum, a class of nodes or a step: it was renamed, and keeps the identity it had as `name`.
    """
    return Formerly(name)


def name_in_identity(cls: type) -> str:
    """The name of a params class or enum in identity: its own, or that from before it was renamed. Subclasses have names of their own."""
    former: str | None = cls.__dict__.get(FORMER)
    return former or cls.__name__


class _NoPin(Enum):
    NO_PIN = "no pin"

    def __repr__(self) -> str:
        return "NO_PIN"


NO_PIN: Any = _NoPin.NO_PIN
"""The absence of omit_when; any value may be pinned, None too."""


class Markers:
    """The markers of an annotation: `untracked`, the pinned value of `omit_when` (or NO_PIN), the old name of `formerly` (or None)."""

    __slots__ = ("former", "pin", "untracked")

    def __init__(self) -> None:
        self.untracked = False
        self.pin: Any = NO_PIN
        self.former: str | None = None

    def __repr__(self) -> str:
        return f"Markers(untracked={self.untracked}, pin={self.pin!r}, former={self.former!r})"


class Field:
    """One field of a params class.

    `attr` is its name in the class, `name` in identity and trees, `alias` in the constructor (None if that does not take it). `names` are
    all names under which its value may be given, `path` is where pydantic reads it in its input, if under no name.
    """

    __slots__ = ("alias", "attr", "markers", "name", "names", "path", "required")

    def __init__(
        self,
        attr: str,
        markers: Markers,
        alias: str | None,
        required: bool,
        names: tuple[str, ...] = (),
        path: tuple[str | int, ...] = (),
    ) -> None:
        self.names = names or ((alias,) if alias is not None else ())
        self.path = path
        self.attr = attr
        self.name = markers.former or attr
        self.markers = markers
        self.alias = alias
        self.required = required


class Spec:
    """A params class: its name, its fields in order, and the arguments of its constructor that are no fields.

    hidden: if an argument is kept in no field, the names that instances may hold nevertheless, and the names of such arguments.
    """

    __slots__ = ("also_accepts", "extras", "fields", "frozen", "hidden", "kind", "name")

    def __init__(
        self,
        kind: str,
        name: str,
        fields: list[Field],
        frozen: bool,
        extras: bool = False,
        also_accepts: tuple[str, ...] = (),
        taken: tuple[str, ...] = (),
        cached: tuple[str, ...] = (),
    ) -> None:
        self.hidden = (frozenset([*cached, *(field.attr for field in fields)]), ", ".join(taken)) if taken else None
        self.kind = kind
        self.name = name
        self.fields = fields
        self.frozen = frozen
        self.extras = extras
        self.also_accepts = also_accepts


_SPECS = ClassTable()
_CONTAINERS = (int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset)


def spec_of(cls: type) -> Spec | None:
    """The fields of `cls`; None if it is not a params class.

    Raises Refused for a class whose fields cannot be known (a forgotten decorator), ParamsError for markers that contradict each other.
    """
    spec: Spec | None = _SPECS.found.get(id(cls))
    if spec is None:
        spec = _inspect(cls)
        if spec is not None:
            _SPECS.set(cls, spec)
    return spec


def _inspect(cls: type) -> Spec | None:
    own = cls.__dict__
    spec: Spec | None
    if "__pydantic_decorators__" in own and hasattr(cls, "model_fields"):
        spec = _pydantic(cls)
    elif "__dataclass_fields__" in own:
        spec = _dataclass(cls)
    elif "__attrs_attrs__" in own:
        spec = _attrs(cls)
    elif cls is PersistableParams:
        spec = Spec("dataclass", name_in_identity(cls), [], frozen=True)
    else:
        spec = _undecorated(cls)
    if spec is not None:
        _check(cls, spec)
    return spec


def _undecorated(cls: type) -> Spec | None:
    """A class that inherits the fields of a decorated one is accepted if it adds none; added fields mean a forgotten decorator."""
    for attribute, decorator, inspect in (("__dataclass_fields__", "@dataclass", _dataclass), ("__attrs_attrs__", "@attrs.define", _attrs)):
        if hasattr(cls, attribute):
            decorated = next((at for at, base in enumerate(cls.__mro__) if attribute in base.__dict__), None)
            added = [name for base in cls.__mro__[:decorated] for name, raw in own_annotations(base).items() if "ClassVar" not in str(raw)]
            if added:
                raise Refused(
                    f"class {cls.__qualname__} declares {', '.join(added)} but has no {decorator} of its own, so they would not be tracked",
                    f"put {decorator} above class {cls.__qualname__}",
                )
            return inspect(cls)
    if issubclass(cls, PersistableParams):
        raise Refused(
            f"class {cls.__qualname__} has no @dataclass, so its fields are not known", f"put @dataclass above class {cls.__qualname__}"
        )
    return None


def _check(cls: type, spec: Spec) -> None:
    for base in cls.__mro__[1:]:
        if base in _CONTAINERS:
            raise Refused(
                f"class {cls.__qualname__} is a {base.__name__} as well as a params class, and only its fields would be tracked", _PLAIN
            )
    names: dict[str, str] = {}
    for field in spec.fields:
        if field.markers.untracked:
            continue
        if field.name in names:
            raise ParamsError(
                f"fields {names[field.name]!r} and {field.attr!r} of {cls.__qualname__} both stand for {field.name!r} in identity: "
                f"a name given to formerly() may not be in use"
            )
        names[field.name] = field.attr


_PLAIN = "make it a plain class, or register_params it"


def _dataclass(cls: type) -> Spec:
    dataclasses = sys.modules["dataclasses"]
    fields = []
    for f in dataclasses.fields(cls):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        fields.append(Field(f.name, _markers(cls, f.name, f.type), f.name if f.init else None, required and f.init))
    everything = getattr(cls, "__dataclass_fields__", {})
    init_vars = tuple(f.name for f in everything.values() if f._field_type.name == "_FIELD_INITVAR")
    parameters = getattr(cls, "__dataclass_params__", None)
    taken = init_vars or _taken(cls, fields)
    return Spec(
        "dataclass",
        name_in_identity(cls),
        fields,
        bool(getattr(parameters, "frozen", False)),
        also_accepts=init_vars,
        taken=taken,
        cached=_cached(cls) if taken else (),
    )


def _attrs(cls: Any) -> Spec:
    nothing = sys.modules["attr"].NOTHING
    fields = [
        Field(
            a.name,
            _markers(cls, a.name, a.type),
            a.alias if a.init else None,
            a.init and a.default is nothing,
            names=(a.alias, a.name) if a.init else (),
        )
        for a in cls.__attrs_attrs__
    ]
    frozen = getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"
    taken = _taken(cls, fields)
    return Spec("attrs", name_in_identity(cls), fields, frozen, taken=taken, cached=_cached(cls) if taken else ())


def _taken(cls: Any, fields: list[Field]) -> tuple[str, ...]:
    """Parameters that an ``__init__`` or ``__attrs_pre_init__`` of the user's own has beside the fields."""
    code = getattr(cls.__init__, "__code__", None)
    if code is None or code.co_filename == "<string>" or "attrs generated" in code.co_filename or "__pydantic_validator__" in cls.__dict__:
        return ()  # it is generated
    kept = {name for field in fields for name in (field.attr, *field.names)}
    return tuple(name for name in list(signature_of(cls.__init__).parameters)[1:] if name not in kept)


def _cached(cls: Any) -> tuple[str, ...]:
    """The names under which each `functools.cached_property` keeps its value."""
    return tuple(name for base in cls.__mro__ for name, held in list(base.__dict__.items()) if type(held).__name__ == "cached_property")


def _pydantic(cls: Any) -> Spec:
    config = cls.model_config
    by_alias = config.get("validate_by_alias") is not False
    by_name = bool(config.get("populate_by_name") or config.get("validate_by_name") or not by_alias)
    fields = []
    for name, info in cls.model_fields.items():
        markers = _read(info.metadata, f"{cls.__qualname__}.{name}")
        _refuse_inner(info.annotation, f"{cls.__qualname__}.{name}")
        fields.append(_pydantic_field(name, info, markers, by_alias, by_name))
    own = not getattr(cls.__init__, "__module__", "").startswith("pydantic")
    return Spec(
        "pydantic",
        name_in_identity(cls),
        fields,
        bool(config.get("frozen")),
        extras=config.get("extra") == "allow",
        taken=(f"what {cls.__name__}.__init__ takes",) if own and getattr(cls, "__private_attributes__", None) else (),
        cached=_cached(cls),
    )


def _pydantic_field(name: str, info: Any, markers: Markers, by_alias: bool, by_name: bool) -> Field:
    """A field with every name for its value. `alias` is one that the constructor takes, `path` is set where it takes none."""
    given = info.validation_alias if info.validation_alias is not None else info.alias
    choices = getattr(given, "choices", [given] if given is not None else []) if by_alias else []
    plain = [each for each in choices if isinstance(each, str)]
    paths = [tuple(each.path) for each in choices if not isinstance(each, str)]
    taken = [*plain, *([name] if by_name or not (plain or paths) else [])]
    taken += [path[0] for path in paths if len(path) == 1]
    names: dict[str, None] = dict.fromkeys([*taken, name, *([info.alias] if isinstance(info.alias, str) else [])])
    alias = taken[0] if taken else name
    return Field(name, markers, alias, info.is_required(), names=tuple(names), path=paths[0] if paths and not taken else ())


def default_of(cls: Any, name: str) -> Any:
    """The default of a field, newly made; None where there is none."""
    model = getattr(cls, "model_fields", {}).get(name)
    if model is not None:
        return model.get_default(call_default_factory=True)
    declared = getattr(cls, "__dataclass_fields__", {}).get(name)
    if declared is not None:
        missing = sys.modules["dataclasses"].MISSING
        if declared.default_factory is not missing:
            return declared.default_factory()
        return None if declared.default is missing else declared.default
    for attribute in getattr(cls, "__attrs_attrs__", ()):
        if attribute.name == name:
            factory = getattr(attribute.default, "factory", None)
            if factory is None:
                return attribute.default
            return None if attribute.default.takes_self else factory()
    return None


# ------------------------------------------------------------------ annotations

_WORDS = ("untracked", "omit_when", "formerly")


def markers_of(annotation: Any, place: str = "") -> Markers:
    """The markers of one annotation that is not a string. Raises ParamsError, naming `place`, for invalid markers."""
    metadata: list[Any] = []
    while True:
        inner = getattr(annotation, "__metadata__", None)
        if inner is not None:
            metadata.extend(inner)
            annotation = annotation.__origin__
        elif type(annotation).__name__ == "TypeAliasType":  # type X = Annotated[...]
            annotation = annotation.__value__
        elif getattr(annotation, "__origin__", None) is getattr(sys.modules.get("typing"), "Final", NO_PIN):
            annotation = annotation.__args__[0]
        elif type(annotation).__name__ == "InitVar":
            annotation = annotation.type
        else:
            break
    _refuse_inner(annotation, place)
    return _read(metadata, place)


def _read(metadata: Any, place: str) -> Markers:
    markers = Markers()
    for marker in metadata:
        if isinstance(marker, Markers):  # read before
            return marker
        if isinstance(marker, Untracked):
            markers.untracked = True
        elif isinstance(marker, OmitWhen):
            markers.pin = marker.value
        elif isinstance(marker, Formerly):
            markers.former = marker.name
        elif marker is omit_when or marker is formerly or marker is Untracked:
            example = "untracked" if marker is Untracked else 'formerly("old_name")' if marker is formerly else "omit_when(0)"
            raise ParamsError(f"{place}: {getattr(marker, '__name__', marker)} is not what marks a field; write Annotated[int, {example}]")
    if markers.untracked and (markers.pin is not NO_PIN or markers.former is not None):
        raise ParamsError(f"{place} is untracked, so omit_when and formerly mean nothing for it: keep one of them")
    return markers


def _refuse_inner(annotation: Any, place: str) -> None:
    """Raise ParamsError for a marker on a part of a type, as in ``list[Annotated[int, untracked]]``: it would have no effect."""
    for part in getattr(annotation, "__args__", None) or ():
        for marker in getattr(part, "__metadata__", ()):
            if isinstance(marker, Untracked | OmitWhen | Formerly):
                raise ParamsError(
                    f"{place}: {marker!r} marks a part of the type; it must be outermost, as in Annotated[{part.__origin__}, {marker!r}]"
                )
        _refuse_inner(part, place)


def _markers(cls: type, attr: str, raw: Any) -> Markers:
    place = f"{cls.__qualname__}.{attr}"
    if raw is None or not isinstance(raw, str):
        return markers_of(raw, place)
    if "[" not in raw and raw in ("int", "float", "str", "bool", "bytes"):
        return Markers()
    home = home_of(cls, attr)
    sent: Markers | None = home.__dict__.get(_SENT, {}).get(attr)
    if sent is not None:
        return sent
    markers = text_markers(raw, names_for(home), place)
    if home.__module__ in ("__main__", "__mp_main__") and _might_mark(raw, names_for(home)):
        # where a worker has a copy of this class, the names in its annotations are not defined
        setattr(home, _SENT, {**home.__dict__.get(_SENT, {}), attr: markers})
    return markers


_SENT = "__persistable_markers__"
"""The attribute in which a class sent to another process carries the markers of its fields."""


def text_markers(text: str, names: dict[str, Any], place: str = "") -> Markers:
    """The markers of an annotation written as a string (``from __future__ import annotations``), evaluated among `names`.

    Other names in it may be unknown. Raises ParamsError where a marker is mentioned and cannot be understood.
    """
    annotation = _evaluate(text, names)
    if annotation is not NO_PIN:
        if isinstance(annotation, str):
            return text_markers(annotation, names, place)
        return markers_of(annotation, place)
    if not _might_mark(text, names):
        return Markers()
    import ast

    from persistable.params.syntax import parse

    node = parse(text.strip(), "eval").body
    metadata = []
    # Annotated[Unknown, marker]: the markers can be read although the type is unknown
    while (
        isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple) and ast.unparse(node.value).rpartition(".")[2] == "Annotated"
    ):
        for part in node.slice.elts[1:]:
            value = _evaluate(ast.unparse(part), names)
            if value is NO_PIN and _might_mark(ast.unparse(part), names):
                raise ParamsError(
                    f"{place} is annotated {text!r}, which mentions a marker but cannot be resolved; "
                    f"import its names at the top level of the module, or drop `from __future__ import annotations`"
                )
            metadata.append(value)
        node = node.slice.elts[0]
    if _might_mark(ast.unparse(node), names):
        raise ParamsError(
            f"{place} is annotated {text!r}, in which a marker is not outermost or a name is unknown; write Annotated[type, marker]"
        )
    return _read(metadata, place)


def _might_mark(text: str, names: dict[str, Any]) -> bool:
    import re

    marks = (untracked, omit_when, formerly)
    words = re.findall(r"\w+", text)
    return any(word in _WORDS or any(names.get(word) is mark for mark in marks) for word in words)


def _evaluate(text: str, names: dict[str, Any]) -> Any:
    try:
        return eval(text, names)
    except Exception:  # noqa: BLE001 - any error that an unknown name leads to
        return NO_PIN
