"""Params from keywords, and values rebuilt from the tag and content they were reduced to."""

from __future__ import annotations

from persistable.errors import MissingParam, ParamsError, UnknownParam
from persistable.params import encoding
from persistable.params.annotations import signature_of
from persistable.params.fields import NO_PIN, Field, Spec, spec_of
from persistable.params.reduced_values import Refused
from persistable.params.reducers import dereference

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


def build(params_class: type, kwargs: Mapping[str, Any], place: str = "") -> Any:
    """Make a `params_class` from keywords.

    A value may be given under the name of its field or any of its aliases. Raises UnknownParam for a name it does not take, listing
    those it does, and MissingParam for required ones that are not given. `place` is the name of the class in errors. Errors of the class
    itself (of a validator) pass through.
    """
    spec = _spec(params_class)
    where = place or params_class.__qualname__
    given, others = _by_field(spec, kwargs, params_class, where)
    missing = [field.alias for field in spec.fields if field.required and field.attr not in given and not _reached(field, others)]
    if missing:
        raise MissingParam(f"{where} needs {', '.join(map(str, missing))}; it takes {', '.join(accepts(params_class))}", names=missing)
    return _constructed(params_class, spec, given, others)


def _by_field(spec: Spec, kwargs: Mapping[str, Any], cls: type, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values by field, given under any of its names, and the values that no field takes by itself."""
    by_name = {name: field for field in spec.fields for name in reversed(field.names)}
    by_name.update({field.alias: field for field in spec.fields if field.alias is not None})
    roots = {field.path[0] for field in spec.fields if field.path}
    given: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in kwargs.items():
        field = by_name.get(name)
        if field is not None:
            if field.attr in given:
                raise UnknownParam(f"{where} was given {field.attr} twice, under two of its names", name=name, accepted=accepts(cls))
            given[field.attr] = value
        elif name in spec.also_accepts or name in roots or spec.extras:
            others[name] = value
        else:
            accepted = accepts(cls)
            raise UnknownParam(_unknown(name, accepted, spec, where), name=name, accepted=accepted)
    return given, others


def _reached(field: Field, others: Mapping[str, Any]) -> bool:
    return bool(field.path) and field.path[0] in others


def _constructed(params_class: type, spec: Spec, given: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
    """Make the object of these values, which are by field."""
    keywords = dict(others)
    keywords.update({field.alias: given[field.attr] for field in spec.fields if field.alias is not None and field.attr in given})
    far = [field for field in spec.fields if field.path and field.attr in given]
    if not far:
        return params_class(**keywords)
    cls: Any = params_class
    if cls.__init__.__module__.startswith("pydantic") and "by_name" in signature_of(cls.model_validate).parameters:
        return cls.model_validate(keywords, by_name=True, by_alias=True)
    for field in far:  # where the model does not take it by name, it is put where pydantic reads it
        del keywords[field.attr]
        _put(keywords, field.path, given[field.attr])
    return params_class(**keywords)


def _put(data: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    """Put `value` at the path where pydantic's AliasPath reads it."""
    here: Any = data
    for step, after in zip(path, (*path[1:], None), strict=True):
        if isinstance(step, int):
            here.extend([None] * (step + 1 - len(here)))
        last = after is None
        held = value if last else (here[step] if isinstance(step, int) else here.get(step))
        if not last:
            held = dict(held or {}) if isinstance(after, str) else list(held or [])
        here[step] = held
        here = held


def accepts(params_class: type) -> list[str]:
    """The keywords that `params_class` takes, in order."""
    spec = _spec(params_class)
    return [field.alias for field in spec.fields if field.alias is not None] + list(spec.also_accepts)


def _spec(params_class: type) -> Spec:
    try:
        spec = spec_of(params_class)
    except Refused as refused:
        raise ParamsError(f"{refused.reason}; {refused.advice}") from None
    if spec is None:
        raise ParamsError(
            f"{params_class.__qualname__} has no fields to give params by name: make it a dataclass, attrs class or pydantic model"
        )
    return spec


def _unknown(name: str, accepted: list[str], spec: Spec, where: str) -> str:
    renamed = next((field.attr for field in spec.fields if field.markers.former == name), None)
    if renamed is not None:
        return f"{where} takes no {name!r}: it is called {renamed!r} now"
    hint = did_you_mean(name, accepted)
    return f"{where} takes no {name!r}{hint} (it takes {', '.join(accepted) or 'nothing'})"


def nearest(name: str, accepted: Iterable[str]) -> str | None:
    """The accepted name most similar to `name`, or else one that differs in upper and lower case alone; None where there is none."""
    from difflib import get_close_matches

    known = list(accepted)
    return next(iter(get_close_matches(name, known, n=1)), None) or next((each for each in known if each.lower() == name.lower()), None)


def did_you_mean(name: str, accepted: Iterable[str], form: str = "; {}") -> str:
    """The question whether a similar name was meant, inserted into `form`; "" where no name is similar."""
    near = nearest(name, accepted)
    return form.format(f"did you mean {near!r}?") if near is not None else ""


def replaced(params: Any, changes: Mapping[str, Any], place: str = "") -> Any:
    """Copy `params` with `changes` to some of its fields. Raises the errors of `build`."""
    cls = type(params)
    if cls is dict:
        return {**params, **changes}
    spec = _spec(cls)
    changed, others = _by_field(spec, changes, cls, place or cls.__qualname__)
    values = {
        field.attr: getattr(params, field.attr)
        for field in spec.fields
        if field.alias is not None and hasattr(params, field.attr) and not _reached(field, others)
    }
    extras = (params.__pydantic_extra__ or {}) if spec.extras else {}
    return _constructed(cls, spec, {**values, **changed}, {**extras, **others})


def restore(params_class: type, fields: Mapping[str, Any], untracked: Mapping[str, Any] | None = None) -> Any:
    """Make the params whose tree held `fields` (values, as `from_tree` gives them, under their names in identity).

    Fields left out of the tree, as they equalled their pinned value, get it back; `untracked` ones get their value given here, else their
    default. The result has exactly the tracked values given, even if `__post_init__` changes them.

    Raises ParamsError for a field that the class no longer has.
    """
    spec = _spec(params_class)
    values = {**fields}
    wanted: dict[str, Any] = {}
    for field in spec.fields:
        if field.markers.untracked:
            if untracked is not None and field.attr in untracked:
                wanted[field.attr] = untracked[field.attr]
        elif field.name in values:
            wanted[field.attr] = values.pop(field.name)
        elif field.markers.pin is not NO_PIN:
            wanted[field.attr] = field.markers.pin
    if values and not spec.extras:
        raise ParamsError(
            f"{params_class.__qualname__} has no {', '.join(map(repr, values))} any more; where it was renamed, mark the new field "
            "formerly(...)"
        )
    made = _made(params_class, spec, wanted, values)
    for attr, value in wanted.items():
        if not _holds(made, attr, value):
            object.__setattr__(made, attr, value)
    return made


def _made(params_class: type, spec: Spec, wanted: dict[str, Any], extras: dict[str, Any]) -> Any:
    try:
        return _constructed(params_class, spec, wanted, extras)
    except TypeError as error:
        if spec.kind == "dataclass" and spec.also_accepts:
            return object.__new__(params_class)  # its constructor requires arguments that it does not keep: only the fields are known
        raise ParamsError(f"{params_class.__qualname__} cannot be made from {', '.join(wanted)} any more: {error}") from error


def _holds(made: Any, attr: str, value: Any) -> bool:
    try:
        held = getattr(made, attr)
    except AttributeError:
        return False
    return held is value or encoding.encode(held, nodes=[]) == encoding.encode(value, nodes=[])


_ARRAYS = ("array", "matrix", "recarray", "masked", "scalar", "dtype", "numpy.ma.masked")


def rebuild(tag: str, content: Any, where: str = "") -> Any:
    """Make the value that was reduced to `content` under `tag`; `where` is the reference of its class, for types of users.

    Raises ParamsError for types that cannot be made again from a record.
    """
    if tag in _ARRAYS:
        from persistable.params import numpy

        return numpy.rebuild(tag, content)
    if tag.startswith("pandas."):
        from persistable.params import pandas

        return pandas.rebuild(tag, content)
    if tag.startswith(("polars.", "pyarrow.")):
        from persistable.params import arrow

        return arrow.rebuild(tag, content)
    if where and tag in _OF_USERS:
        return _OF_USERS[tag](dereference(where), content)
    found = _REBUILD.get(tag)
    if found is None:
        raise ParamsError(f"a value of kind {tag!r} cannot be made again from a record; make the node with the value itself")
    return found(content)


def _namedtuple(cls: Any, content: Any) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, tuple)):
        raise ParamsError(f"{cls!r:.60} is no named tuple any more")
    made: Any = cls
    return made._make(value for _, value in content[1])


def _enum(cls: Any) -> Any:
    """Return `cls` itself. Raises ParamsError if it is no enum: an arbitrary name in a record is never called."""
    from enum import EnumMeta

    if not isinstance(cls, EnumMeta):
        raise ParamsError(f"{cls!r:.60} is no enum any more")
    return cls


_OF_USERS: dict[str, Any] = {
    "enum": lambda cls, content: _enum(cls)[content["member"]],
    "flag": lambda cls, content: _enum(cls)(content["value"]),
    "namedtuple": _namedtuple,
}


def _imported(where: str, spread: bool = False) -> Callable[[Any], Any]:
    """Return a function that imports `where`, ``module:qualname``, and calls it with the content, or if `spread` with the items of it.

    Items of a dict are passed by name.
    """

    def rebuilt(content: Any) -> Any:
        from importlib import import_module

        module, _, qualname = where.partition(":")
        make: Any = import_module(module)
        for name in qualname.split("."):
            make = getattr(make, name)
        if not spread:
            return make(content)
        return make(**content) if isinstance(content, dict) else make(*content)

    return rebuilt


def _renamed(content: Any, **names: str) -> Any:
    return {names.get(name, name): part for name, part in content.items()}


def _clock(name: str, content: Any) -> Any:
    """A ``datetime`` or ``time``: its text, its fold, and its zone or offset if it has one."""
    import datetime as dt

    made = getattr(dt, name).fromisoformat(content[0]).replace(fold=content[1])
    if len(content) < 3:
        return made
    return made.replace(tzinfo=dt.timezone(content[2]) if isinstance(content[2], dt.timedelta) else content[2])


def _decimal(content: Any) -> Any:
    from decimal import Decimal

    return Decimal((content[0], tuple(map(int, content[1])), content[2]))


def _partial(content: Any) -> Any:
    from functools import partial

    return partial(content["func"], *content["args"], **content["keywords"])


def _union(content: Any) -> Any:
    from functools import reduce
    from operator import or_

    return reduce(or_, sorted(content, key=lambda part: part is type(None)))


def _alias(content: Any) -> Any:
    origin, args = content
    return origin[args if len(args) != 1 else args[0]]


def _estimator(content: Any) -> Any:
    from persistable.params.other_libraries import is_described

    cls = content["class"]
    if not (isinstance(cls, type) and is_described(cls)):  # a record may name any object, and not every object may be called
        raise ParamsError(f"{cls!r:.60} is no class of estimators, kernels or splitters of scikit-learn")
    return cls(**content["params"])


def _pytz(content: Any) -> Any:
    from importlib import import_module

    pytz = import_module("pytz")
    name, offset = content
    if name is None:
        return pytz.FixedOffset(offset.total_seconds() // 60)
    zone = pytz.timezone(name)
    return zone if offset is None else next((each for each in getattr(zone, "_tzinfos", {}).values() if each._utcoffset == offset), zone)


def _tensor(content: Any) -> Any:
    from importlib import import_module

    torch = import_module("torch")
    dtype = _torch(content["dtype"])
    flat = torch.frombuffer(bytearray(content["data"]), dtype=dtype) if content["data"] else torch.empty(0, dtype=dtype)
    made = flat.reshape(content["shape"])
    if "kind" in content:
        return torch.nn.Parameter(made, requires_grad=content.get("requires_grad", False))
    return made.requires_grad_(content.get("requires_grad", False))


def _torch(content: Any) -> Any:
    from importlib import import_module

    return getattr(import_module("torch"), content.removeprefix("torch."))


def _scorer(content: Any) -> Any:
    from importlib import import_module

    response = content["response"]
    make = import_module("sklearn.metrics").make_scorer
    taken = {"response_method": tuple(response) if isinstance(response, list) else response}
    return make(content["function"], greater_is_better=content["sign"] > 0, **taken, **content["options"])


_REBUILD: dict[str, Any] = {
    "sklearn.scorer": _scorer,
    "pydantic.url": _imported("pydantic:AnyUrl"),
    "pytz": _pytz,
    "url": _imported("upath:UPath"),
    "httpx.url": _imported("httpx:URL"),
    "yarl.url": _imported("yarl:URL"),
    "torch.Tensor": _tensor,
    "torch.device": _imported("torch:device"),
    "torch.dtype": _torch,
    "torch.layout": _torch,
    "torch.memory_format": _torch,
    "torch.Size": _imported("torch:Size"),
    "scipy.sparse": _imported("persistable.params.scientific:rebuild_sparse"),
    "xarray.DataArray": lambda content: _imported("xarray:DataArray", spread=True)(_renamed(content, variable="data")),
    "xarray.Dataset": lambda content: _imported("xarray:Dataset", spread=True)(_renamed(content, data="data_vars")),
    "xarray.Variable": _imported("xarray:Variable", spread=True),
    "Counter": _imported("collections:Counter"),
    "Ellipsis": lambda _: ...,
    "NotImplemented": lambda _: NotImplemented,
    "OrderedDict": _imported("collections:OrderedDict"),
    "alias": _alias,
    "argparse.Namespace": _imported("argparse:Namespace", spread=True),
    "array.array": _imported("array:array", spread=True),
    "bytearray": bytearray,
    "complex": lambda content: complex(*content),
    "date": _imported("datetime:date.fromisoformat"),
    "datetime": lambda content: _clock("datetime", content),
    "decimal": _decimal,
    "defaultdict": lambda content: _imported("collections:defaultdict", spread=True)([content["default_factory"], content["items"]]),
    "deque": lambda content: _imported("collections:deque", spread=True)(_renamed(content, items="iterable")),
    "estimator": _estimator,
    "fraction": _imported("fractions:Fraction", spread=True),
    "ipaddress": _imported("ipaddress:ip_address"),
    "mappingproxy": _imported("types:MappingProxyType"),
    "module": _imported("importlib:import_module"),
    "partial": _partial,
    "path": _imported("pathlib:Path"),
    "range": lambda content: range(*content),
    "reference": dereference,
    "regex": _imported("re:compile", spread=True),
    "slice": lambda content: slice(content["start"], content["stop"], content["step"]),
    "time": lambda content: _clock("time", content),
    "timedelta": _imported("datetime:timedelta", spread=True),
    "timezone": _imported("datetime:timezone"),
    "union": _union,
    "uuid": _imported("uuid:UUID"),
    "zoneinfo": _imported("zoneinfo:ZoneInfo"),
}
