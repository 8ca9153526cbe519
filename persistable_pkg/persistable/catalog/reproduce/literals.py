"""Values as Python text, with the imports that it needs."""

# Values of every type pass through here, so pyright may find unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import builtins
import keyword
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from persistable.errors import ParamsError, PersistableError
from persistable.fileio.base import FileIO
from persistable.nodes.node import Persistable
from persistable.params.encoding import encode, fields_of
from persistable.params.fields import NO_PIN
from persistable.params.reduced_values import Refused
from persistable.params.reducers import MAINS, reference
from persistable.params.trees import from_tree, item_tree

_BUILTINS = frozenset(dir(builtins))
_MOST_ITEMS = 2000


class NoText(Exception):
    """Error for a value without Python text. ``path`` is its place, dotted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str] = []


class Literals:
    """Writes values as Python text.

    taken: names that may not be used for imports. nodes: returns the text for a node. nothing: a value that is written None.
    """

    def __init__(self, taken: Iterable[str], nodes: Callable[[Any], str], nothing: Any = None) -> None:
        self._taken = {*taken}
        self._nodes = nodes
        self._nothing = nothing
        self._imported: dict[tuple[str, str], str] = {}
        self.here: dict[str, None] = {}
        """Names that were defined in a script or notebook, so that they cannot be imported."""

    def imports(self) -> list[str]:
        """The import statements for all text written so far, sorted."""
        lines: list[str] = []
        by_module: dict[str, list[str]] = {}
        for (module, name), alias in self._imported.items():
            if not name:
                lines.append(f"import {module}" if alias == module else f"import {module} as {alias}")
            else:
                by_module.setdefault(module, []).append(name if alias == name else f"{name} as {alias}")
        return sorted(lines) + [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(by_module.items())]

    def name(self, where: str) -> str:
        """The name by which the text refers to `where`, ``module:qualname``; its import is added."""
        module, _, qualname = where.partition(":")
        first, _, rest = qualname.partition("#")[0].partition(".")
        if module in MAINS or module.endswith(".py"):
            self.here[first] = None
            return f"{first}.{rest}" if rest else first
        if module == "builtins" and first in _BUILTINS and first not in self._taken:
            return f"{first}.{rest}" if rest else first
        alias = self._imported.get((module, first))
        if alias is None:
            alias = self._imported[module, first] = self._free(first)
        return f"{alias}.{rest}" if rest else alias

    def module(self, name: str, alias: str = "") -> str:
        """The name by which the text refers to a module; its import is added."""
        known = self._imported.get((name, ""))
        if known is None:
            known = self._imported[name, ""] = self._free(alias or name)
        return known

    def _free(self, name: str) -> str:
        found, number = name, 1
        while found in self._taken or keyword.iskeyword(found) or (found in _BUILTINS and number > 1):
            number += 1
            found = f"{name.replace('.', '_')}_{number}"
        self._taken.add(found)
        return found

    def text(self, value: Any) -> str:
        """The text of `value`: evaluated, it has the same identity. Raises NoText."""
        kind = type(value)
        if value is self._nothing or value is None:
            return "None"
        if isinstance(value, Persistable):
            return self._nodes(value)
        plain = _PLAIN.get(kind)
        if plain is not None:
            return plain(value)
        container = _CONTAINERS.get(kind)
        if container is not None:
            if len(value) > _MOST_ITEMS:
                raise NoText(f"it has {len(value)} items")
            return container(self, value)
        if isinstance(value, FileIO):
            return self._format(value)
        return self._object(value)

    def call(self, function: str, args: Iterable[str], kwargs: Iterable[tuple[str, str]], width: int = 120, indent: str = "") -> str:
        """A call, on several lines where it would be too long for one."""
        parts = [*args]
        odd: list[str] = []
        for name, text in kwargs:
            if name.isidentifier() and not keyword.iskeyword(name):
                parts.append(f"{name}={text}")
            else:
                odd.append(f"{name!r}: {text}")
        if odd:
            parts.append(f"**{{{', '.join(odd)}}}")
        line = f"{function}({', '.join(parts)})"
        if len(line) + len(indent) <= width or not parts or "\n" in line:
            return line
        return f"{function}(\n" + "".join(f"{indent}    {part},\n" for part in parts) + f"{indent})"

    def keywords(self, params: Any) -> list[tuple[str, str]] | None:
        """The keywords of the call that makes a params object; None where that call would make a different one."""
        spec = fields_of(type(params))
        if spec is None or any(field.alias is None and not field.markers.untracked for field in spec.fields):
            return None
        values: dict[str, Any] = {}
        for field in spec.fields:
            if field.alias is None or not hasattr(params, field.attr):
                continue
            values[field.alias] = getattr(params, field.attr)
        if spec.extras:
            values.update(params.__pydantic_extra__ or {})
        optional = {field.alias: field.attr for field in spec.fields if field.markers.untracked or field.markers.pin is not NO_PIN}
        untracked = {field.alias for field in spec.fields if field.markers.untracked}
        values = self._without_defaults(type(params), values, optional)
        texts: dict[str, str] = {}
        for name, value in values.items():
            text = self._untracked(value) if name in untracked else self.at(name, value)
            if text is not None:
                texts[name] = text
        try:
            made = type(params)(**{name: values[name] for name in texts})
            same = encode(made, nodes=[]) == encode(params, nodes=[])
        except Exception:  # noqa: BLE001 - a class of users may raise anything
            return None
        return [*texts.items()] if same else None

    def _without_defaults(self, cls: type, values: dict[str, Any], optional: dict[Any, str]) -> dict[str, Any]:
        """`values` without those of fields that identity may leave out, where the class gives them the same value by default."""
        try:
            made = cls(**{name: value for name, value in values.items() if name not in optional})
            return {
                name: value for name, value in values.items() if name not in optional or not is_same(getattr(made, optional[name]), value)
            }
        except Exception:  # noqa: BLE001 - it requires them, or cannot be made twice
            return values

    def _untracked(self, value: Any) -> str | None:
        """The text of an untracked value; None for one without text, for None, and for empty collections."""
        try:
            return self.text(value) if value not in (None, {}, (), []) else None
        except Exception:  # noqa: BLE001 - it changes nothing
            return None

    def at(self, step: Any, value: Any) -> str:
        """The text of a part of a value, at `step` of it. Raises NoText, with that step in its path."""
        try:
            return self.text(value)
        except NoText as error:
            error.path.insert(0, str(step))
            raise

    def _object(self, value: Any) -> str:
        kind = type(value)
        for write in (_of_numpy, _of_stdlib, _of_enum, _of_reference, _of_fields, _of_estimator):
            try:
                found = write(self, value, kind)
            except Refused:
                continue
            if found is not None:
                return found
        return self._from_tree(value)

    def _from_tree(self, value: Any) -> str:
        """Write a value without a literal as a call that reads its params tree."""
        try:
            data = item_tree(value)
            if encode(from_tree(data)) != encode(value):
                raise NoText("its tree gives another value")
        except ParamsError as error:
            found = NoText(str(error))
            found.path = [part for part in str(error.__dict__.get("path", "")).split(".") if part and "path" in error.__dict__]
            raise found from error
        except PersistableError as error:
            raise NoText(str(error)) from error
        return f"{self.name('persistable.params:from_tree')}({self.text(data)})"

    def _format(self, io: FileIO[Any]) -> str:
        spec = io.spec()
        kind, options = type(io), spec.get("options", {})
        home = "persistable.fileio" if getattr(sys.modules["persistable.fileio"], kind.__name__, None) is kind else kind.__module__
        try:
            if kind(**options).spec() == spec:
                return self.call(
                    self.name(f"{home}:{kind.__qualname__}"), [], [(name, self.at(name, each)) for name, each in options.items()]
                )
        except Exception:  # noqa: BLE001 - a format of the user, of which only the spec is known
            pass
        return f"{self.name('persistable.fileio.registry:fileio_from_spec')}({self.text(spec)})"


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two values have the same identity."""
    try:
        return one is other or bool(encode(one, nodes=[]) == encode(other, nodes=[]))
    except Exception:  # noqa: BLE001 - a value without encoding is written down
        return False


# plain values and containers


def _float(value: float) -> str:
    return repr(value) if value - value == 0 else f'float("{value}")'


_PLAIN: dict[type, Callable[[Any], str]] = {
    bool: repr,
    int: lambda value: repr(value) if value.bit_length() < 10_000 else hex(value),
    float: _float,
    str: repr,
    bytes: repr,
    bytearray: repr,
    complex: lambda value: f"complex({_float(value.real)}, {_float(value.imag)})",
    range: repr,
    type(...): lambda _: "...",
    type(NotImplemented): lambda _: "NotImplemented",
}


def _list(literals: Literals, value: Any) -> str:
    return f"[{', '.join(literals.at(i, item) for i, item in enumerate(value))}]"


def _tuple(literals: Literals, value: Any) -> str:
    items = [literals.at(i, item) for i, item in enumerate(value)]
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def _dict(literals: Literals, value: Any) -> str:
    return f"{{{', '.join(f'{literals.at(key, key)}: {literals.at(key, item)}' for key, item in value.items())}}}"


def _set(literals: Literals, value: Any) -> str:
    return f"{{{', '.join(sorted(literals.text(item) for item in value))}}}" if value else "set()"


def _frozenset(literals: Literals, value: Any) -> str:
    return f"frozenset({_set(literals, value)})" if value else "frozenset()"


_CONTAINERS: dict[type, Callable[[Literals, Any], str]] = {list: _list, tuple: _tuple, dict: _dict, set: _set, frozenset: _frozenset}


# the rest, by origin: each function returns None for values of another origin


def _of_numpy(literals: Literals, value: Any, kind: type) -> str | None:
    if kind.__module__ != "numpy" or (np := sys.modules.get("numpy")) is None:
        return None
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        plain = value.item()
        if type(plain) in (bool, int, float, complex, str, bytes) and encode(plain) == encode(value):
            return literals.text(plain)
    if kind is not np.ndarray or value.dtype.kind not in "biufcUS" or value.size > _MOST_ITEMS:
        return None
    alias, dtype = literals.module("numpy", "np"), value.dtype.str
    if value.size == 0:
        return f"{alias}.zeros({value.shape!r}, dtype={dtype!r})"
    items = value.tolist()
    same = encode(np.array(items, dtype=dtype)) == encode(value)
    return f"{alias}.array({literals.text(items)}, dtype={dtype!r})" if same else None


def _of_stdlib(literals: Literals, value: Any, kind: type) -> str | None:
    import datetime as dt

    module, name = kind.__module__, kind.__name__
    if module == "datetime":
        zone = getattr(value, "tzinfo", None)
        if zone is not None and type(zone) is not dt.timezone and type(zone).__module__ != "zoneinfo":
            return None
        literals.module("datetime")
        if zone is not None and type(zone).__module__ == "zoneinfo":
            literals.module("zoneinfo")
        return repr(value)
    if module == "zoneinfo":
        literals.module("zoneinfo")
        return repr(value)
    if module.partition(".")[0] == "pathlib":
        return f"{literals.name('pathlib:Path')}({value.as_posix()!r})"
    if (module, name) in (("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID")):
        own = literals.name(f"{module}:{name}")
        return f"{own}{repr(value)[len(name) :]}"
    if (module, name) == ("functools", "partial") and not value.__dict__:
        args = [literals.at("func", value.func), *(literals.at(i, each) for i, each in enumerate(value.args))]
        return literals.call(
            literals.name("functools:partial"), args, [(key, literals.at(key, each)) for key, each in value.keywords.items()]
        )
    return None


def _of_enum(literals: Literals, value: Any, kind: type) -> str | None:
    import enum

    if isinstance(value, enum.Flag):
        return f"{literals.name(reference(kind))}({int(value.value)})"
    if isinstance(value, enum.Enum):
        member = value.name
        return f"{literals.name(reference(kind))}.{member}" if member.isidentifier() else f"{literals.name(reference(kind))}[{member!r}]"
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names: Any = value._fields
        items = [literals.at(name, item) for name, item in zip(names, value, strict=True)]
        return literals.call(literals.name(reference(kind)), items, [])
    return None


def _of_reference(literals: Literals, value: Any, _: type) -> str | None:
    """Write functions and classes by name."""
    if not (isinstance(value, type) or callable(value)) or not isinstance(getattr(value, "__qualname__", None), str):
        return None
    data = item_tree(value)
    where = data.get("$reference") if isinstance(data, dict) else None
    if not isinstance(where, str) or where.startswith("types:"):
        return None
    module, name = where.split(":", 1)
    if module not in MAINS and not _leads_to(module, name, value):
        return None
    return literals.name(where)


def _leads_to(module: str, name: str, value: Any) -> bool:
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value or found == value


def _of_fields(literals: Literals, value: Any, kind: type) -> str | None:
    """Write params objects: dataclasses, attrs classes, pydantic models."""
    if fields_of(kind) is None:
        return None
    keywords = literals.keywords(value)
    where = "persistable:Secret" if kind.__module__ == "persistable" else reference(kind)
    return None if keywords is None else literals.call(literals.name(where), [], keywords)


def _of_estimator(literals: Literals, value: Any, kind: type) -> str | None:
    from persistable.params.other_libraries import is_described

    if kind.__module__.partition(".")[0] != "sklearn" and not any(base.__module__.startswith("sklearn.") for base in kind.__mro__):
        return None
    if not is_described(kind):
        return None
    data = item_tree(value)
    names = list(data["$estimator"]["params"]) if isinstance(data, dict) and "$estimator" in data else None
    if names is None:
        return None
    held = {name: getattr(value, name) for name in names if hasattr(value, name)}
    if held.keys() != {*names} or encode(kind(**held)) != encode(value):
        return None
    return literals.call(literals.name(reference(kind)), [], [(name, literals.at(name, each)) for name, each in held.items()])
