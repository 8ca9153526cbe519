"""Which fields a params class has, and what their markers say: dataclasses, attrs classes and pydantic models alike."""

# Values of every type pass through here, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys

from persistable.errors import ParamsError
from persistable.params.forms import Refused
from persistable.registry import ClassTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class PersistableParams:
    """A base for params classes that says what they are for. It has no fields and no behaviour, and params need not inherit it."""

    __slots__ = ()


class Untracked:
    """The type of `untracked`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "untracked"

    def __reduce__(self) -> str:
        return "untracked"


class OmitWhen:
    """What `omit_when` returns."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"omit_when({self.value!r})"


class Formerly:
    """What `formerly` returns."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not str(name).isidentifier():
            raise TypeError(f"formerly() takes the old name of the field, not {name!r}")
        self.name = name

    def __repr__(self) -> str:
        return f"formerly({self.name!r})"


untracked = Untracked()
"""``Annotated[int, untracked]``: the field is never part of identity. It is recorded all the same."""


def omit_when(value: Any) -> OmitWhen:
    """``Annotated[float, omit_when(0.0)] = 0.0``: the field is left out of identity while it equals `value`, type included.

    Give a new field this marker, and payloads made before it existed keep their identity. `value` is pinned: it stays what it is when the
    default changes.
    """
    return OmitWhen(value)


def formerly(name: str) -> Formerly:
    """``Annotated[int, formerly("n_rows")]``: the field was renamed, and keeps the identity it had as `name`."""
    return Formerly(name)


class _NoPin:
    def __repr__(self) -> str:
        return "NO_PIN"


NO_PIN: Any = _NoPin()
"""Stands for "no omit_when"; any value may be pinned, None too."""


class Markers:
    """What an annotation says: `untracked`, the pinned value of `omit_when` (or NO_PIN), the old name of `formerly` (or None)."""

    __slots__ = ("former", "pin", "untracked")

    def __init__(self, untracked: bool = False, pin: Any = NO_PIN, former: str | None = None) -> None:
        self.untracked = untracked
        self.pin = pin
        self.former = former

    def __repr__(self) -> str:
        return f"Markers(untracked={self.untracked}, pin={self.pin!r}, former={self.former!r})"


class Field:
    """One field of a params class.

    `attr` is its name in the class, `name` in identity and trees, `alias` in the constructor (None if that does not take it).
    """

    __slots__ = ("alias", "attr", "markers", "name", "required")

    def __init__(self, attr: str, markers: Markers, alias: str | None, required: bool) -> None:
        self.attr = attr
        self.name = markers.former or attr
        self.markers = markers
        self.alias = alias
        self.required = required


class Spec:
    """A params class: its name, its fields in order, and what its constructor takes beside them."""

    __slots__ = ("also_accepts", "extras", "fields", "frozen", "kind", "name")

    def __init__(
        self, kind: str, name: str, fields: list[Field], frozen: bool, extras: bool = False, also_accepts: tuple[str, ...] = ()
    ) -> None:
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
        spec = Spec("dataclass", cls.__name__, [], frozen=True)
    else:
        spec = _undecorated(cls)
    if spec is not None:
        _check(cls, spec)
    return spec


def _undecorated(cls: type) -> Spec | None:
    """A class that inherits fields from a decorated one and adds none is as good as decorated; one that adds some was forgotten."""
    for attribute, decorator, inspect in (("__dataclass_fields__", "@dataclass", _dataclass), ("__attrs_attrs__", "@attrs.define", _attrs)):
        if hasattr(cls, attribute):
            added = [name for base in _undecorated_bases(cls, attribute) for name in _own_fields(base)]
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


def _undecorated_bases(cls: type, attribute: str) -> Iterator[type]:
    for base in cls.__mro__:
        if attribute in base.__dict__:
            return
        yield base


def _own_fields(cls: type) -> list[str]:
    return [
        name
        for name, raw in cls.__dict__.get("__annotations__", {}).items()  # noqa: RUF063 - the class's own, not evaluated
        if "ClassVar" not in str(raw)
    ]


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
    return Spec("dataclass", cls.__name__, fields, bool(getattr(parameters, "frozen", False)), also_accepts=init_vars)


def _attrs(cls: Any) -> Spec:
    nothing = sys.modules["attr"].NOTHING
    fields = [
        Field(a.name, _markers(cls, a.name, a.type), a.alias if a.init else None, a.init and a.default is nothing)
        for a in cls.__attrs_attrs__
    ]
    frozen = getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"
    return Spec("attrs", cls.__name__, fields, frozen)


def _pydantic(cls: Any) -> Spec:
    fields = []
    for name, info in cls.model_fields.items():
        markers = _read(info.metadata, f"{cls.__qualname__}.{name}")
        _refuse_inner(info.annotation, f"{cls.__qualname__}.{name}")
        alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias or name
        fields.append(Field(name, markers, alias, info.is_required()))
    by_name = tuple(f.attr for f in fields if f.alias != f.attr) if cls.model_config.get("populate_by_name") else ()
    extras = cls.model_config.get("extra") == "allow"
    return Spec("pydantic", cls.__name__, fields, bool(cls.model_config.get("frozen")), extras=extras, also_accepts=by_name)


# ------------------------------------------------------------------ annotations

_WORDS = ("untracked", "omit_when", "formerly")


def markers_of(annotation: Any, place: str = "") -> Markers:
    """The markers of one annotation that is not a string. Raises ParamsError, naming `place`, for markers that cannot be meant so."""
    metadata: list[Any] = []
    while True:
        inner = getattr(annotation, "__metadata__", None)
        if inner is not None:
            metadata.extend(inner)
            annotation = annotation.__origin__
        elif type(annotation).__name__ == "TypeAliasType":  # type X = Annotated[...]
            annotation = annotation.__value__
        elif getattr(annotation, "__origin__", None) is _typing("Final"):
            annotation = annotation.__args__[0]
        elif type(annotation).__name__ == "InitVar":
            annotation = annotation.type
        else:
            break
    _refuse_inner(annotation, place)
    return _read(metadata, place)


def _typing(name: str) -> Any:
    typing = sys.modules.get("typing")
    return getattr(typing, name, NO_PIN)


def _read(metadata: Any, place: str) -> Markers:
    markers = Markers()
    for marker in metadata:
        if isinstance(marker, Untracked):
            markers.untracked = True
        elif isinstance(marker, OmitWhen):
            markers.pin = marker.value
        elif isinstance(marker, Formerly):
            markers.former = marker.name
        elif marker is omit_when or marker is formerly or marker is Untracked:
            raise ParamsError(f"{place}: {getattr(marker, '__name__', marker)} needs its argument, as in Annotated[int, omit_when(0)]")
    if markers.untracked and (markers.pin is not NO_PIN or markers.former is not None):
        raise ParamsError(f"{place} is untracked, so omit_when and formerly mean nothing for it: keep one of them")
    return markers


def _refuse_inner(annotation: Any, place: str) -> None:
    """A marker on a part of a type, as in ``list[Annotated[int, untracked]]``, would mean nothing: better said than found out."""
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
    return text_markers(raw, _names(cls, attr), place)


def _names(cls: type, attr: str) -> dict[str, Any]:
    """What a string annotation of `attr` may refer to: the module of the class that declares it, and that class's own names."""
    home = next((base for base in cls.__mro__ if attr in base.__dict__.get("__annotations__", {})), cls)  # noqa: RUF063
    module = sys.modules.get(home.__module__)
    return {**(vars(module) if module else {}), **vars(home), home.__name__: home}


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

    node = ast.parse(text.strip(), mode="eval").body
    metadata = []
    # Annotated[Unknown, marker]: the type need not be known to read what follows it
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
    except Exception:  # noqa: BLE001 - whatever a name that cannot resolve leads to
        return NO_PIN
